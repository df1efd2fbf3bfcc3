"""Which signals of the NIC the pictures show, and what they are called in the compiled model."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from amaranth.lib import data

from hw.crypto import cipher_job_layout
from hw.ipsec.layouts import MessageMeta, Reply, TakenMeta
from hw.stream import PacketBeat
from spec.sa import ALL_BANKS

__all__ = ["NETS", "STREAMS", "Stream", "find_nets"]


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream of the NIC.

    Parameters
    ----------
    name
        As the pictures have it.
    ends
        What it joins, each as `submodule.port`; of the NIC's own ports the name alone.
    layout
        Of its payload; None: a bare number.
    has_ready
        Whether its sink may be not ready.
    """

    name: str
    ends: tuple[str, ...]
    layout: data.StructLayout | None = None
    has_ready: bool = True

    @property
    def parts(self) -> tuple[str, ...]:
        """Its signals."""
        return ("payload", "valid", "ready") if self.has_ready else ("payload", "valid")


def _cipher(user: str, end: str) -> Iterator[Stream]:
    """The cipher's streams of one user."""
    job = cipher_job_layout(slots=2 * ALL_BANKS)
    for part, layout in (("job", job), ("i", None), ("o", None), ("tag", None)):
        ends = (f"share.{user}_{part}", f"{end}.cipher_{part}")
        # The reply builder takes what it asked for at once.
        has_ready = (user, part) != ("outbound", "o")
        yield Stream(f"{user}_{part}", ends, layout, has_ready)


STREAMS = {
    stream.name: stream
    for stream in (
        Stream("wire_rx", ("wire_rx",), PacketBeat),
        Stream("wire_tx", ("wire_tx",), PacketBeat),
        Stream("host_tx", ("host_tx",), PacketBeat),
        Stream("parser.frame", ("host_buffer.i", "parser.frame"), PacketBeat, has_ready=False),
        Stream("parser.body", ("taken_buffer.i", "parser.body"), PacketBeat, has_ready=False),
        Stream("taken_meta", ("inbound.meta",), TakenMeta),
        Stream("taken_buffer", ("inbound.i", "taken_buffer.o"), PacketBeat),
        *_cipher("inbound", "inbound"),
        Stream("message", ("engine.meta", "inbound.message"), MessageMeta),
        Stream("plain", ("engine.i", "inbound.o"), PacketBeat),
        Stream("reply", ("engine.reply",), Reply),
        *_cipher("outbound", "builder"),
        Stream("builder.o", ("send_buffer.i", "builder.o"), PacketBeat, has_ready=False),
        Stream("send_buffer", ("send_buffer.o", "arbiter.urgent"), PacketBeat),
    )
}

_BARE = {
    **{name: (name,) for name in ("pin_reset",)},
    **{f"bus.{name}": (f"bus__{name}",) for name in ("addr", "w_stb", "w_data", "r_stb", "r_data")},
    "host_buffer.commit": ("host_buffer.commit", "classifier.host_commit"),
    "taken_buffer.commit": ("taken_buffer.commit", "classifier.take_commit"),
    "send_buffer.commit": ("send_buffer.commit", "builder.commit"),
}
NETS = {
    **_BARE,
    **{
        f"{stream.name}.{part}": tuple(f"{end}__{part}" for end in stream.ends)
        for stream in STREAMS.values()
        for part in stream.parts
    },
}
"""For each signal of the pictures the ports that it joins."""

_INSTANCE = re.compile(r"^  \\top\.\S+ +(\w+) \($(.*?)^  \);$", re.MULTILINE | re.DOTALL)
_CONNECTION = re.compile(r"^ +\.\\?([\w.]+)(\$\d+)? *\(\\?([\w.$]+) ?\),?$", re.MULTILINE)


def find_nets(verilog: str) -> dict[str, str]:
    """What the signals of `NETS` are called in the top module.

    Names that Amaranth makes up for wires are others after each change of the design; those of
    ports are not, and each instance says which wire stands at which port.

    Parameters
    ----------
    verilog
        The design.

    Raises
    ------
    LookupError
        If a signal is at none of its ports.
    """
    top = verilog[verilog.index("\nmodule top(") :]
    top = top[: top.index("\nendmodule")]
    found: dict[str, set[str]] = {}
    for instance, connections in _INSTANCE.findall(top):
        for port, _, net in _CONNECTION.findall(connections):
            found.setdefault(f"{instance}.{port}", set()).add(net)
    nets = {}
    for name, ends in NETS.items():
        wires = [end for end in ends if "." not in end]
        for end in ends:
            if len(found.get(end, ())) == 1:
                wires += found[end]
        if not wires:
            raise LookupError(
                f"{name} stands at none of {', '.join(ends)}: see verif/waves/signals.py"
            )
        nets[name] = wires[0]
    return nets
