"""Neighbour solicitations, as they pass: all that their rules say but target and checksum."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spec import headers
from spec.headers import IPV6, NEIGHBOUR

__all__ = ["SolicitationWalk"]

_UNIT = headers.OPTION_UNIT_OCTETS
_UNITS_MIN = NEIGHBOUR.octets // _UNIT
_UNITS_MAX = headers.NEIGHBOUR_OCTETS_MAX // _UNIT


class SolicitationWalk(wiring.Component):
    """Walks through an IPv6 header and the ICMPv6 message right behind it.

    Attributes
    ----------
    clear : Signal, in
        Another frame begins.
    stb, octet : Signal, in
        An octet of the header or of what is behind it; `is_zero` and `is_ones` tell that it is 00h
        or FFh.
    in_ip, in_message, at, is_at : Signal, in
        Which one: of the IPv6 header or of the ICMPv6 message, and where in that; the last value
        of `at` stands for all that follow. `is_at`: the same, a bit for each.
    covered : Signal, out
        The octet that is there goes into the sum: the message, all of the IPv6 header but its
        first word. That is the pseudo header's sum and FFh - 3Ah + 3A00h more.
    bad : Signal, out
        It is no solicitation, or not a right one; stays until `clear`.
    asks : Signal, out
        The target has passed.
    whole : Signal, out
        So has all of the message.
    probe : Signal, out
        The source is the unspecified address.

    Source: RFC 4861 4.3, 4.6, 7.1.1; RFC 8200 3.
    """

    clear: In(1)
    stb: In(1)
    octet: In(8)
    is_zero: In(1)
    is_ones: In(1)
    in_ip: In(1)
    in_message: In(1)
    at: In(6)
    is_at: In(IPV6.octets)
    covered: Out(1)
    bad: Out(1)
    asks: Out(1)
    whole: Out(1)
    probe: Out(1, init=1)

    def elaborate(self, platform):
        m = Module()
        at, is_at, octet = self.at, self.is_at, self.octet
        units = Signal(range(_UNITS_MAX + 1))  # of eight octets of the message, that still come
        rest = Signal(3)  # the same of the option under way, behind this one
        inside = Signal()
        m.d.comb += [
            inside.eq(self.in_message & (units != 0)),
            self.covered.eq((self.in_ip & (at >= 4)) | inside),
            self.asks.eq(self.in_message & (at >= NEIGHBOUR.octets)),
            self.whole.eq(self.asks & (units == 0) & (rest == 0) & ~self.bad),
        ]

        def of_ip(name):
            return self.in_ip & is_at[IPV6.octet_offset(name)]

        def of_message(name):
            return self.in_message & is_at[NEIGHBOUR.octet_offset(name)]

        payload = IPV6.octet_offset("payload_octets")
        source = IPV6.octet_offset("source")
        is_length = Signal()
        faults = [
            of_ip("payload_octets") & ~self.is_zero,
            is_length & ((octet[:3] != 0) | (octet[3:] < _UNITS_MIN) | (octet[3:] > _UNITS_MAX)),
            of_ip("hop_limit") & ~self.is_ones,
            # A group is neither asked for nor asks.
            (of_ip("source") | of_message("target")) & self.is_ones,
            of_message("type") & (octet != headers.NEIGHBOUR_SOLICITATION),
            of_message("code") & ~self.is_zero,
        ]
        m.d.comb += is_length.eq(self.in_ip & is_at[payload + 1])
        in_option = inside & self.asks
        is_type = in_option & (at[:3] == 0) & (rest == 0)
        is_octets = in_option & (at[:3] == 1)
        faults += [
            is_type & self.probe & (octet == headers.OPTION_SOURCE_LINK_LAYER),
            is_octets & (rest == 0) & (self.is_zero | (octet[3:] != 0)),
        ]
        with m.If(self.stb):
            with m.If(is_length):
                m.d.sync += units.eq(octet[3:])
            with m.Elif(inside & at[:3].all()):
                m.d.sync += units.eq(units - 1)
            with m.If(is_octets):
                m.d.sync += rest.eq(rest - 1)
                with m.If(rest == 0):
                    m.d.sync += rest.eq(octet[:3] - 1)
            with m.If(self.in_ip & (at >= source) & (at < source + 16) & ~self.is_zero):
                m.d.sync += self.probe.eq(0)
            for fault in faults:
                with m.If(fault):
                    m.d.sync += self.bad.eq(1)
        with m.If(self.clear):
            m.d.sync += [self.bad.eq(0), self.probe.eq(1), rest.eq(0)]
        return m
