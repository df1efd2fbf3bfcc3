"""The host's addresses, from what the host itself announces."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.headers import octets_of
from hw.stream import PacketBeat
from spec import headers
from spec.headers import ARP, ETHERNET, IPV6, NEIGHBOUR

__all__ = ["AddressLearner"]

_SOURCE = ETHERNET.octet_offset("source")
_SENDER_MAC = ETHERNET.octets + ARP.octet_offset("sender_mac")
_SENDER_IP = ETHERNET.octets + ARP.octet_offset("sender_ip")
_SOURCE_IP6 = ETHERNET.octets + IPV6.octet_offset("source")
_KIND = ETHERNET.octets + IPV6.octets
_ARP_END = ETHERNET.octets + ARP.octets
_NEIGHBOUR_END = _KIND + NEIGHBOUR.octets
_MAC_OCTETS, _IP_OCTETS, _IP6_OCTETS = 6, 4, 16
_V4_OCTETS = _MAC_OCTETS + _IP_OCTETS
_FIRST = _SOURCE
"""Where in the memory either address begins."""
_ARP_BEGIN = ARP.pack(
    hardware_type=headers.ARP_HARDWARE_ETHERNET,
    protocol_type=headers.ETHERTYPE_IPV4,
    hardware_octets=_MAC_OCTETS,
    protocol_octets=_IP_OCTETS,
)[: ARP.octet_offset("operation") + 1]
"""Up to the high octet of the operation."""


if {place % 16 for place in (_SENDER_MAC, _SOURCE_IP6, _SENDER_IP - _MAC_OCTETS)} != {_FIRST}:
    raise ValueError("the addresses do not lie in the same places of the memory")


class AddressLearner(wiring.Component):
    """Watches the frames of the host, and takes the addresses that it announces.

    From an ARP frame, the sender's, if they are those of the frame's own source: the IPv4 address
    if the MAC is that of the host, both if the host has none yet. From neighbour discovery of the
    host's MAC, the source address, unless it is link-local. Frames with VLAN tags or `err` tell
    nothing, nor does one that begins while an address is written: 11 or 17 cycles.

    Attributes
    ----------
    stb : Signal, in; beat : PacketBeat, in
        An octet that the host sends.
    arp, neighbour : Signal, in
        What to take.
    host_mac : Signal, in
    w_stb, w_v6, w_number, w_data : Signal, out
        A word: of the IPv6 address, first word first; or HOST_MAC_HI, HOST_MAC_LO, HOST_IP. Of
        HOST_MAC_HI the upper half is of no meaning.

    Source: RFC 826, RFC 5227 2.1.1, RFC 4861 4.3 and 4.4.
    """

    stb: In(1)
    beat: In(PacketBeat)
    arp: In(1)
    neighbour: In(1)
    host_mac: In(48)
    w_stb: Out(1)
    w_v6: Out(1)
    w_number: Out(2)
    w_data: Out(32)

    def elaborate(self, platform):
        m = Module()
        # An octet a cycle late, and what is asked of it.
        stb, last, err = Signal(), Signal(), Signal()
        octet, at = Signal(8), Signal(range(_NEIGHBOUR_END + 1))
        is_zero = Signal()
        own = Signal(8)  # octet of HOST_MAC, if that is where it stands
        mac = octets_of(self.host_mac)
        # Which octet of it comes behind each place, but for whole eights.
        follows = {(_SOURCE + n - 1) % 8: one for n, one in enumerate(mac)}
        m.d.sync += stb.eq(self.stb)
        with m.If(self.stb):
            m.d.sync += [
                octet.eq(self.beat.data),
                last.eq(self.beat.last),
                err.eq(self.beat.err),
                at.eq(Mux(self.beat.first, 0, at + (at != _NEIGHBOUR_END))),
                is_zero.eq(self.beat.data == 0),
                own.eq(Array([follows.get(n, mac[0]) for n in range(8)])[at[:3]]),
            ]

        m.submodules.octets = octets = Memory(
            shape=8, depth=16, init=[], attrs={"ram_style": "distributed"}
        )
        write, read = octets.write_port(), octets.read_port(domain="comb")
        busy = Signal()
        # Octets lie where the low bits of their places in the frame say: there the sender's MAC is
        # where the source's was, and behind it its IPv4 address; the IPv6 address takes all 16.
        number = Signal(4)  # of the octet that is written to the registers

        def within(first, count):
            return (at >= first) & (at < first + count)

        in_source = within(_SOURCE, _MAC_OCTETS)
        in_mac, in_ip = within(_SENDER_MAC, _MAC_OCTETS), within(_SENDER_IP, _IP_OCTETS)
        in_ip6 = within(_SOURCE_IP6, _IP6_OCTETS)
        no_arp, no_neighbour, begins = Signal(), Signal(), Signal()
        has_mac, has_ip, has_own, is_own = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            write.en.eq(stb & ~busy & (in_source | Mux(no_arp, in_ip6, in_ip))),
            write.addr.eq(at),
            write.data.eq(octet),
            read.addr.eq(Mux(busy, number, at)),
        ]
        # What must stand at which place.
        ethertype = ETHERNET.octet_offset("ethertype")
        of_arp = headers.ETHERTYPE_ARP.to_bytes(2, "big") + _ARP_BEGIN
        of_ip6 = headers.ETHERTYPE_IPV6.to_bytes(2, "big")
        wrong_arp = wrong_neighbour = Const(0, 1)
        for place, value in enumerate(of_arp, start=ethertype):
            wrong_arp = wrong_arp | ((at == place) & (octet != value))
        operation = ETHERNET.octets + ARP.octet_offset("operation") + 1
        kind = (octet == headers.NEIGHBOUR_SOLICITATION) | (
            octet == headers.NEIGHBOUR_ADVERTISEMENT
        )
        wrong_arp = (
            wrong_arp
            | ((at == operation) & (octet != headers.ARP_REQUEST) & (octet != headers.ARP_REPLY))
            | (in_mac & (octet != read.data))
        )
        for place, value in enumerate(of_ip6, start=ethertype):
            wrong_neighbour = wrong_neighbour | ((at == place) & (octet != value))
        for name, value in (
            ("next_header", headers.PROTOCOL_ICMPV6),
            ("hop_limit", headers.NEIGHBOUR_HOP_LIMIT),
        ):
            place = ETHERNET.octets + IPV6.octet_offset(name)
            wrong_neighbour = wrong_neighbour | ((at == place) & (octet != value))
        wrong_neighbour = (
            wrong_neighbour
            | ((at == ETHERNET.octets) & (octet[4:] != headers.VERSION_IPV6))
            | ((at == _SOURCE_IP6) & (octet > headers.LEARNT_FIRST_OCTET_MAX))
            | ((at == _KIND) & ~kind)
        )
        is_group = Signal()
        late_arp, late_neighbour = Signal(), Signal()
        m.d.sync += [late_arp.eq(stb & wrong_arp), late_neighbour.eq(stb & wrong_neighbour)]
        with m.If(late_arp):
            m.d.sync += no_arp.eq(1)
        with m.If(late_neighbour):
            m.d.sync += no_neighbour.eq(1)
        with m.If(stb):
            with m.If(in_source):
                m.d.sync += is_own.eq(is_own & (octet == own))
                with m.If(own != 0):
                    m.d.sync += has_own.eq(1)
                with m.If(~is_zero):
                    m.d.sync += has_mac.eq(1)
                with m.If((at == _SOURCE) & octet[0]):
                    m.d.sync += is_group.eq(1)
            with m.If(Mux(no_arp, in_ip6, in_ip) & ~is_zero):
                m.d.sync += has_ip.eq(1)
            with m.If(at == 0):
                m.d.sync += [
                    Cat(no_arp, no_neighbour).eq((busy | begins).replicate(2)),
                    Cat(has_mac, has_ip, has_own, is_group).eq(0),
                    is_own.eq(1),
                ]

        # The frame has ended: two cycles late, for its last octet counts too.
        ends, whole_arp, whole_neighbour = Signal(), Signal(), Signal()
        takes_arp, takes_neighbour = Signal(), Signal()
        m.d.sync += [
            ends.eq(stb & last & ~err),
            whole_arp.eq(at >= _ARP_END - 1),
            whole_neighbour.eq(at >= _NEIGHBOUR_END - 1),
        ]
        m.d.comb += [
            takes_arp.eq(
                self.arp & whole_arp & ~no_arp & has_ip & Mux(has_own, is_own, has_mac) & ~is_group
            ),
            takes_neighbour.eq(
                self.neighbour & whole_neighbour & ~no_neighbour & has_ip & has_own & is_own
            ),
        ]
        m.d.comb += begins.eq(ends & ~busy & (takes_arp | takes_neighbour))
        with m.If(begins):
            m.d.sync += [busy.eq(1), number.eq(_FIRST), self.w_v6.eq(takes_neighbour)]
        end = Mux(self.w_v6, (_FIRST + _IP6_OCTETS - 1) % 16, _FIRST + _V4_OCTETS - 1)
        m.d.sync += [
            # Words are full behind their last octets, of which HOST_MAC_HI has two alone.
            self.w_stb.eq(
                busy & (number[:2] == Mux(self.w_v6, (_FIRST + 3) % 4, (_FIRST + 1) % 4))
            ),
            self.w_number.eq(
                Mux(self.w_v6, number[2:] - (_FIRST + 3) // 4, number[2:] - (_FIRST + 1) // 4)
            ),
        ]
        with m.If(busy):
            m.d.sync += [self.w_data.eq(Cat(read.data, self.w_data[:24])), number.eq(number + 1)]
            with m.If(number == end):
                m.d.sync += busy.eq(0)
        return m
