"""Adapter from `spec.headers` to gateware: fields captured off the wire, or laid out as octets."""

from collections.abc import Callable

from amaranth.hdl import Cat, Const, Module, Signal, Value

from spec.layout import Header

__all__ = ["HeaderCapture", "header_octets", "octets_of"]


class HeaderCapture:
    """Registers that take chosen fields of a header as its octets pass.

    Each field is a number in network order (its first octet in the top bits), valid from the cycle
    after its last octet until the next capture of it.

    Parameters
    ----------
    header : Header
        The layout.
    fields : tuple of str
        Names of the fields to keep; others cost nothing.
    """

    def __init__(self, header: Header, fields: tuple[str, ...]):
        self._header = header
        self._signals = {
            name: Signal(header.width(name), name=f"{header.name}_{name}") for name in fields
        }

    def __getattr__(self, name: str) -> Signal:
        try:
            return self.__dict__["_signals"][name]
        except KeyError:
            raise AttributeError(f"field {name!r} is not captured") from None

    def capture(
        self, m: Module, *, stb: Value, is_at: Callable[[int], Value], octet: Value
    ) -> None:
        """Takes `octet` in each cycle with `stb`, as the octet of the header that `is_at` names."""
        lanes: dict[int, list] = {}
        for name, signal in self._signals.items():
            begin = self._header.bit_offset(name)
            width = self._header.width(name)
            for number in range(begin // 8, (begin + width + 7) // 8):
                first = max(begin, 8 * number)
                end = min(begin + width, 8 * number + 8)
                target = signal[width - (end - begin) : width - (first - begin)]
                source = octet[8 * number + 8 - end : 8 * number + 8 - first]
                lanes.setdefault(number, []).append(target.eq(source))
        for number, statements in lanes.items():
            with m.If(stb & is_at(number)):
                m.d.sync += statements


def octets_of(value: Value) -> list[Value]:
    """The octets of a number in network order, first octet first."""
    width = len(value)
    if width % 8:
        raise ValueError(f"{width} bits are not whole octets")
    return [value[width - 8 * n - 8 : width - 8 * n] for n in range(width // 8)]


def header_octets(header: Header, **fields: Value | int) -> list[Value]:
    """The octets of `header`, first octet first; fields not named are zero.

    Raises KeyError for a name that the header does not have.
    """
    for name in fields:
        header.width(name)
    parts = []
    for field in header.fields:
        value = fields.get(field.name, 0)
        if isinstance(value, int):
            value = Const(value, field.bits)
        if len(value) != field.bits:
            raise ValueError(
                f"{header.name}.{field.name} has {field.bits} bits, the value has {len(value)}"
            )
        parts.append(value)
    return octets_of(Cat(*reversed(parts)))
