"""Options of IPv4 and IPv6 headers, as they pass: which octets AH covers as zeros."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from spec import headers

__all__ = ["OptionWalk"]

_PAD, _NO_OPERATION = 0, 1


class _Part(enum.Enum):
    TYPE = 0
    LENGTH = 1
    DATA = 2
    REST = 3


class OptionWalk(wiring.Component):
    """Walks through the options of one header after another, an octet in each cycle with `stb`.

    `zero` tells of the octet that is there whether AH covers it as zero. `fault` is raised behind
    a header with an option that reaches beyond it, or, of IPv4, behind one that is not in the table
    or shorter than two octets; it holds until `clear`. What stands behind a fault is not looked at.

    Attributes
    ----------
    begin : Signal, in
        With the last octet before the options of a header.
    take, came : Signal, in
        The next octet, in a cycle before its own `stb`.
    stb : Signal, in
    last : Signal, in
        The octet that is there is the last of its header.
    v6 : Signal, in
        The options are those of IPv6.

    Source: RFC 791 3.1, RFC 8200 4.2, RFC 4302 A1, A2.
    """

    begin: In(1)
    clear: In(1)
    take: In(1)
    came: In(8)
    stb: In(1)
    last: In(1)
    v6: In(1)
    zero: Out(1)
    fault: Out(1)

    def elaborate(self, platform):
        m = Module()
        part = Signal(_Part, init=_Part.REST)
        mutable = Signal()
        kind = self.came

        def among(kinds):
            found = kind == kinds[0]
            for other in kinds[1:]:
                found = found | (kind == other)
            return found

        # What the next octet would be as a type, or as a length: of IPv6 without the first two
        # octets of an option, of IPv4 with them.
        is_mutable, is_known, is_pad, is_single = (Signal() for _ in range(4))
        is_none, is_one, is_short = (Signal() for _ in range(3))
        octet = Signal(8)
        with m.If(self.take):
            m.d.sync += [
                octet.eq(kind),
                is_mutable.eq(among(headers.IPV4_OPTIONS_MUTABLE)),
                is_known.eq(among(headers.IPV4_OPTIONS_MUTABLE + headers.IPV4_OPTIONS_IMMUTABLE)),
                is_pad.eq(kind == _PAD),
                is_single.eq((kind == _PAD) | (kind == _NO_OPERATION)),
                is_none.eq(kind == Mux(self.v6, 0, 2)),
                is_one.eq(kind == Mux(self.v6, 1, 3)),
                is_short.eq(~self.v6 & (kind < 2)),
            ]
        option_left = Signal(8)
        ends = Signal()  # the next octet of data ends its option
        bad = Signal()
        with m.Switch(part):
            with m.Case(_Part.TYPE):
                m.d.comb += self.zero.eq(~self.v6 & is_mutable)
                with m.If(self.v6):
                    m.d.comb += bad.eq(~is_pad & self.last)
                with m.Else():
                    m.d.comb += bad.eq(~is_known | (~is_single & self.last))
                with m.If(self.stb):
                    m.d.sync += mutable.eq(
                        Mux(self.v6, (octet & headers.IPV6_OPTION_MUTABLE) != 0, is_mutable)
                    )
                    with m.If(~is_single | (self.v6 & ~is_pad)):
                        m.d.sync += part.eq(_Part.LENGTH)
                    with m.Elif(~self.v6 & is_pad):
                        m.d.sync += part.eq(_Part.REST)
            with m.Case(_Part.LENGTH):
                m.d.comb += [
                    self.zero.eq(~self.v6 & mutable),
                    bad.eq(is_short | (~is_none & self.last)),
                ]
                with m.If(self.stb):
                    m.d.sync += part.eq(_Part.DATA)
                    with m.If(is_none):
                        m.d.sync += part.eq(_Part.TYPE)
            with m.Case(_Part.DATA):
                m.d.comb += [self.zero.eq(mutable), bad.eq(~ends & self.last)]
                with m.If(self.stb & ends):
                    m.d.sync += part.eq(_Part.TYPE)
        with m.If(self.stb):
            m.d.sync += option_left.eq(option_left - 1)
            m.d.sync += ends.eq(option_left == Mux(self.v6, 2, 4))
            with m.If(part == _Part.LENGTH):
                m.d.sync += [option_left.eq(octet), ends.eq(is_one)]
            with m.If(bad):
                m.d.sync += self.fault.eq(1)
            with m.If(bad | self.last):
                m.d.sync += part.eq(_Part.REST)
        with m.If(self.begin):
            m.d.sync += part.eq(_Part.TYPE)
        with m.If(self.clear):
            m.d.sync += [part.eq(_Part.REST), self.fault.eq(0)]
        return m
