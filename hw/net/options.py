"""Options of IPv4 and IPv6 headers, as they pass: which octets AH covers as zeros."""

from amaranth.hdl import Module, Signal
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

    `zero` tells of the octet that is given whether AH covers it as zero. `fault` is raised behind
    an option that reaches beyond its header, or, of IPv4, is not in the table or shorter than two
    octets; it holds until `clear`. What stands behind a fault is not looked at.

    Attributes
    ----------
    begin : Signal, in
        With the last octet before the options of a header.
    stb, octet : Signal, in
    left : Signal, in
        Octets of the header behind this one.
    v6 : Signal, in
        The options are those of IPv6.

    Source: RFC 791 3.1, RFC 8200 4.2, RFC 4302 A1, A2.
    """

    begin: In(1)
    clear: In(1)
    stb: In(1)
    octet: In(8)
    left: In(8)
    v6: In(1)
    zero: Out(1)
    fault: Out(1)

    def elaborate(self, platform):
        m = Module()
        part = Signal(_Part)
        mutable = Signal()
        option_left = Signal(8)
        kind = self.octet

        def among(kinds):
            found = kind == kinds[0]
            for other in kinds[1:]:
                found = found | (kind == other)
            return found

        is_mutable, is_known = Signal(), Signal()
        m.d.comb += [
            is_mutable.eq(among(headers.IPV4_OPTIONS_MUTABLE)),
            is_known.eq(is_mutable | among(headers.IPV4_OPTIONS_IMMUTABLE)),
        ]
        bad = Signal()
        with m.Switch(part):
            with m.Case(_Part.TYPE):
                m.d.comb += self.zero.eq(~self.v6 & is_mutable)
                with m.If(self.v6):
                    m.d.comb += bad.eq((kind != _PAD) & (self.left == 0))
                with m.Else():
                    single = (kind == _PAD) | (kind == _NO_OPERATION)
                    m.d.comb += bad.eq(~is_known | (~single & (self.left == 0)))
                with m.If(self.stb):
                    m.d.sync += mutable.eq(
                        (self.v6 & ((kind & headers.IPV6_OPTION_MUTABLE) != 0))
                        | (~self.v6 & is_mutable)
                    )
                    with m.If(self.v6):
                        with m.If(kind != _PAD):
                            m.d.sync += part.eq(_Part.LENGTH)
                    with m.Elif(kind == _PAD):
                        m.d.sync += part.eq(_Part.REST)
                    with m.Elif(kind != _NO_OPERATION):
                        m.d.sync += part.eq(_Part.LENGTH)
            with m.Case(_Part.LENGTH):
                octets = Signal(9)
                m.d.comb += [
                    self.zero.eq(~self.v6 & mutable),
                    octets.eq(self.octet - 2),
                ]
                with m.If(self.v6):
                    m.d.comb += [octets.eq(self.octet), bad.eq(self.octet > self.left)]
                with m.Else():
                    m.d.comb += bad.eq((self.octet < 2) | (octets[:8] > self.left))
                with m.If(self.stb):
                    m.d.sync += [option_left.eq(octets), part.eq(_Part.DATA)]
                    with m.If(octets == 0):
                        m.d.sync += part.eq(_Part.TYPE)
            with m.Case(_Part.DATA):
                m.d.comb += self.zero.eq(mutable)
                with m.If(self.stb):
                    m.d.sync += option_left.eq(option_left - 1)
                    with m.If(option_left == 1):
                        m.d.sync += part.eq(_Part.TYPE)
        with m.If(self.stb & bad):
            m.d.sync += [part.eq(_Part.REST), self.fault.eq(1)]
        with m.If(self.begin):
            m.d.sync += part.eq(_Part.TYPE)
        with m.If(self.clear):
            m.d.sync += self.fault.eq(0)
        return m
