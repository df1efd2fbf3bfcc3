"""Whose addresses stand in an IP header, compared octet by octet as they pass."""

from amaranth.hdl import Array, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.headers import octets_of
from spec.sa import BANKS

__all__ = ["AddressMatch"]


class AddressMatch(wiring.Component):
    """Says whether a packet is to the host, and from which bank's station.

    An answer is right three cycles after the last octet of its address.

    Attributes
    ----------
    clear : Signal, in
        Another packet begins.
    stb, octet : Signal, in
        An octet of an address; `is_source` and `index` (0 to 15; of IPv4 12 to 15) say which.
    v6 : Signal, in
    host_ip, host_ip6 : Signal, in
    peer_ip, peer_v6 : array of Signal, in
    to_host, from_peer : Signal, out

    Source: RFC 791 3.1, RFC 8200 3.
    """

    clear: In(1)
    stb: In(1)
    is_source: In(1)
    index: In(4)
    octet: In(8)
    v6: In(1)
    host_ip: In(32)
    host_ip6: In(128)
    peer_ip: In(data.ArrayLayout(128, BANKS))
    peer_v6: In(BANKS)
    to_host: Out(1, init=1)
    from_peer: Out(BANKS)

    def elaborate(self, platform):
        m = Module()
        # Rank 1: which octet. Rank 2: what it should be. Rank 3: whether it is.
        index = Signal(4)
        octet, late = Signal(8), Signal(8)
        stb, stb_late = Signal(), Signal()
        is_source, source_late = Signal(), Signal()
        m.d.sync += [
            index.eq(self.index),
            octet.eq(self.octet),
            late.eq(octet),
            stb.eq(self.stb),
            stb_late.eq(stb),
            is_source.eq(self.is_source),
            source_late.eq(is_source),
        ]
        host, host6 = Signal(8), Signal(8)
        m.d.sync += [
            host.eq(Array(octets_of(self.host_ip))[index[:2]]),
            host6.eq(Array(octets_of(self.host_ip6))[index]),
        ]
        is_wrong = Signal()
        with m.If(self.v6):
            m.d.comb += is_wrong.eq(late != host6)
        with m.Else():
            m.d.comb += is_wrong.eq(late != host)
        with m.If(self.clear):
            m.d.sync += self.to_host.eq(1)
        with m.Elif(stb_late & ~source_late & is_wrong):
            m.d.sync += self.to_host.eq(0)
        for n in range(BANKS):
            peer = Signal(8, name=f"peer_{n}")
            family = Signal(name=f"family_{n}")
            same = Signal(name=f"same_{n}", init=1)
            m.d.sync += [
                peer.eq(Array(octets_of(self.peer_ip[n]))[index]),
                family.eq(self.peer_v6[n] == self.v6),
            ]
            with m.If(self.clear):
                m.d.sync += same.eq(1)
            with m.Elif(stb_late & source_late & (late != peer)):
                m.d.sync += same.eq(0)
            m.d.comb += self.from_peer[n].eq(same & family)
        return m
