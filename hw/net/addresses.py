"""Whose addresses stand in a packet's headers, compared octet by octet as they pass."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.headers import octets_of
from spec.headers import SOLICITED_NODE_PREFIX
from spec.sa import ALL_BANKS

__all__ = ["AddressMatch"]


class AddressMatch(wiring.Component):
    """Says whether a packet is to the host, and from which bank's station.

    An answer is right four cycles after the last octet of its address. Nothing is to a host whose
    address is 0. Of a neighbour solicitation its target is compared too.

    Attributes
    ----------
    clear : Signal, in
        Another packet begins.
    stb, octet : Signal, in
        An octet of an address; `is_source` and `index` (0 to 15; of IPv4 12 to 15) say which.
    v6 : Signal, in
    host_ip, host_ip6 : Signal, in
    peer_stb, peer_bank, peer_v6, peer_index, peer_octet : Signal, in
        Writes an octet of the address of a bank's station; `peer_index` as `index`.
    target : Signal, in
        Strobe, at least four cycles after the destination's last octet and one before the target's
        first: from here on `to_host` is of the target.
    to_host, from_peer : Signal, out
    asked_host, asked_group : Signal, out
        From `target` on: the destination was the host's IPv6 address, or its solicited-node group.

    Source: RFC 791 3.1, RFC 8200 3, RFC 4291 2.7.1.
    """

    clear: In(1)
    stb: In(1)
    is_source: In(1)
    index: In(4)
    octet: In(8)
    v6: In(1)
    host_ip: In(32)
    host_ip6: In(128)
    peer_stb: In(1)
    peer_bank: In(range(ALL_BANKS))
    peer_v6: In(1)
    peer_index: In(4)
    peer_octet: In(8)
    target: In(1)
    to_host: Out(1)
    asked_host: Out(1)
    asked_group: Out(1)
    from_peer: Out(ALL_BANKS)

    def elaborate(self, platform):
        m = Module()
        # Rank 1: which octet. Ranks 2 and 3: what it should be. Rank 4: whether it is.
        column, row = Signal(2), Signal(2)
        octets = [Signal(8, name=f"octet_{n}") for n in range(3)]
        of_source, of_host = Signal(3), Signal(3)
        octet = octets[-1]
        m.d.sync += [
            Cat(column, row).eq(self.index),
            Cat(octets).eq(Cat(self.octet, *octets)),
            of_source.eq(Cat(self.stb & self.is_source, of_source)),
            of_host.eq(Cat(self.stb & ~self.is_source, of_host)),
        ]

        def chosen(name, value):
            """The octet of the number, two cycles later."""
            found = Signal(8, name=name)
            words = len(value) // 32
            parts = Signal(data.ArrayLayout(8, words), name=f"{name}_parts")
            for n in range(words):
                m.d.sync += parts[n].eq(Array(octets_of(value)[4 * n : 4 * n + 4])[column])
                if words > 1:
                    with m.If(row != n):
                        m.d.sync += parts[n].eq(0)
            either = parts[0]
            for n in range(1, words):
                either = either | parts[n]
            m.d.sync += found.eq(either)
            return found

        host, host6 = chosen("host", self.host_ip), chosen("host6", self.host_ip6)
        # The group, likewise: a prefix, and the last octets of the address.
        group_octets = SOLICITED_NODE_PREFIX.to_bytes(13, "big") + bytes(3)
        prefix, group = Signal(8), Signal(8)
        is_low, low = Signal(), Signal()
        m.d.sync += [
            prefix.eq(Array([Const(one, 8) for one in group_octets])[Cat(column, row)]),
            is_low.eq((row == 3) & (column != 0)),
            group.eq(prefix),
            low.eq(is_low),
        ]
        same, any_set, same_group = Signal(init=1), Signal(), Signal(init=1)
        differs = octet != host6
        with m.If(of_host[-1] & Mux(self.v6, differs, octet != host)):
            m.d.sync += same.eq(0)
        with m.If(of_host[-1] & Mux(low, differs, octet != group)):
            m.d.sync += same_group.eq(0)
        with m.If(of_host[-1] & (octet != 0)):
            m.d.sync += any_set.eq(1)
        with m.If(self.target):
            m.d.sync += [
                self.asked_host.eq(same & any_set),
                self.asked_group.eq(same_group),
            ]
        with m.If(self.clear | self.target):
            m.d.sync += [same.eq(1), any_set.eq(0), same_group.eq(1)]
        m.d.comb += self.to_host.eq(same & any_set)
        m.submodules.peers = peers = Memory(
            shape=8 * ALL_BANKS, depth=16, init=[], attrs={"ram_style": "distributed"}
        )
        write, read = peers.write_port(granularity=8), peers.read_port(domain="comb")
        read_octets = Signal(8 * ALL_BANKS)
        m.d.comb += [
            write.addr.eq(self.peer_index),
            write.data.eq(self.peer_octet.replicate(ALL_BANKS)),
            write.en.eq(Mux(self.peer_stb, 1 << self.peer_bank, 0)),
            read.addr.eq(Cat(column, row)),
        ]
        m.d.sync += read_octets.eq(read.data)
        for n in range(ALL_BANKS):
            peer = Signal(8, name=f"peer_{n}")
            is_v6 = Signal(name=f"is_v6_{n}")
            family = Signal(name=f"family_{n}")
            from_peer = Signal(name=f"same_{n}", init=1)
            m.d.sync += [
                peer.eq(read_octets.word_select(n, 8)),
                family.eq(is_v6 == self.v6),
            ]
            with m.If(self.peer_stb & (self.peer_bank == n)):
                m.d.sync += is_v6.eq(self.peer_v6)
            with m.If(of_source[-1] & (octet != peer)):
                m.d.sync += from_peer.eq(0)
            with m.If(self.clear):
                m.d.sync += from_peer.eq(1)
            m.d.comb += self.from_peer[n].eq(from_peer & family)
        return m
