"""Pass, take or drop: the verdict over a frame from the wire, and its one counter."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.ipsec.layouts import TOKENS, BankView, Protocol, TakenKind, TakenMeta
from hw.net.addresses import AddressMatch
from hw.net.parser import AddressOctet, FrameFields
from spec import headers
from spec.counters import COUNTER_COUNT, Counter
from spec.sa import ALL_BANKS

__all__ = ["FrameClassifier"]

_SETTLE_CYCLES = 6
"""From `walked` or `ended` to the verdict: two cycles that the last fields come late, three ranks,
and one."""

_SOLICITATION_SUM = (headers.NEIGHBOUR_HOP_LIMIT - headers.PROTOCOL_ICMPV6) + (
    headers.PROTOCOL_ICMPV6 << 8
)
"""What `SolicitationWalk` lets be summed of a right one: minus zero, and next header and hop limit
as they are instead of the pseudo header's next header."""
_BANK_BITS = tuple(
    sum(1 << n for n in range(ALL_BANKS) if n >> bit & 1)
    for bit in range((ALL_BANKS - 1).bit_length())
)
"""For each bit of a bank's number the banks that have it."""


class FrameClassifier(wiring.Component):
    """Decides over each frame that the parser has walked.

    A frame to pass is released to the host (`host_commit`) eight cycles after its headers were
    walked, without looking at the rest of it. A frame to take or drop is decided on when it has
    ended. From the last octet to `release` it takes ten cycles at most.

    Exactly one bit of `count` besides FRAMES_IN is raised per frame; a frame given to `taken` is
    counted later, by whoever ends it.

    Attributes
    ----------
    fields, walked, ended, address : in
        From the parser, and `release` to it.
    host_lost, take_lost : Signal, in
        The frame did not fit the buffer towards the host, or those for taken packets.
    host_commit, host_discard, take_commit, take_discard : Signal, out
        To those buffers.
    token : Signal, in
        Number of the sender's record.
    taken : TakenMeta, out
        Of the packet that `take_commit` releases, in that cycle; `tags` also with `asked_stb`.
    asked_stb : Signal, out; asked_room : Signal, in
        Somebody asks for the host's MAC address and is to be answered, given where there is room.
    asked_v6, asked_to_all : Signal, out
        With it: by a neighbour solicitation, not by ARP; and the answer goes to all nodes.
    host_up, clear_allowed : Signal, in
        The OS is up (it answers such itself); presence may be answered on the clear port.

    Source: docs/packet_walk.md; RFC 4301 5.2, RFC 3948 2.2, RFC 4861 7.1.1 and 7.2.3.
    """

    fields: In(FrameFields)
    walked: In(1)
    ended: In(1)
    address: In(AddressOctet)
    release: Out(1)
    host_lost: In(1)
    host_commit: Out(1)
    host_discard: Out(1)
    take_lost: In(1)
    take_commit: Out(1)
    take_discard: Out(1)
    host_mac: In(48)
    host_ip: In(32)
    host_ip6: In(128)
    host_up: In(1)
    clear_allowed: In(1)
    banks: In(data.ArrayLayout(BankView, ALL_BANKS))
    peer_stb: In(1)
    peer_bank: In(range(ALL_BANKS))
    peer_v6: In(1)
    peer_index: In(4)
    peer_octet: In(8)
    token: In(range(TOKENS))
    taken: Out(TakenMeta)
    asked_stb: Out(1)
    asked_room: In(1)
    asked_v6: Out(1)
    asked_to_all: Out(1)
    count: Out(COUNTER_COUNT)

    def elaborate(self, platform):
        m = Module()
        fields = self.fields
        ethernet, arp, ipv4, udp = fields.ethernet, fields.arp, fields.ipv4, fields.udp
        have = fields.have

        def registered(name, expression):
            signal = Signal(name=name)
            m.d.sync += signal.eq(expression)
            return signal

        m.submodules.match = match = AddressMatch()
        m.d.comb += [
            match.clear.eq(self.release),
            match.stb.eq(self.address.stb),
            match.is_source.eq(self.address.is_source),
            match.index.eq(self.address.index),
            match.octet.eq(self.address.data),
            match.target.eq(self.address.target),
            match.v6.eq(fields.v6),
            match.host_ip.eq(self.host_ip),
            match.host_ip6.eq(self.host_ip6),
        ]
        for name in ("peer_stb", "peer_bank", "peer_v6", "peer_index", "peer_octet"):
            m.d.comb += getattr(match, name).eq(getattr(self, name))

        # First rank: comparisons, each in a register of its own.
        mac_is_ours = registered(
            "mac_is_ours", (ethernet.destination == self.host_mac) | ethernet.destination[40]
        )
        has_v4 = registered("has_v4", self.host_ip != 0)
        is_ip = registered(
            "is_ip",
            have.ip
            & (fields.v6 | ((ipv4.version == headers.VERSION_IPV4) & (ipv4.header_words >= 5))),
        )
        version_is_right = registered(
            "version_is_right", ~fields.v6 | (fields.ipv6.version == headers.VERSION_IPV6)
        )
        is_arp_request = registered(
            "is_arp_request",
            have.arp
            & (arp.hardware_type == headers.ARP_HARDWARE_ETHERNET)
            & (arp.protocol_type == headers.ETHERTYPE_IPV4)
            & (arp.hardware_octets == 6)
            & (arp.protocol_octets == 4)
            & (arp.operation == headers.ARP_REQUEST),
        )
        arp_for_host = registered("arp_for_host", arp.target_ip == self.host_ip)
        is_esp = registered("is_esp", have.protocol & (fields.protocol == headers.PROTOCOL_ESP))
        is_ah = registered("is_ah", have.protocol & (fields.protocol == headers.PROTOCOL_AH))
        # Have.udp implies protocol and offset; with have.spi it implies the port as well.
        to_secured = registered(
            "to_secured", have.udp & (udp.destination_port == headers.PORT_RMCP_SECURED)
        )
        to_clear = registered(
            "to_clear", have.udp & (udp.destination_port == headers.PORT_RMCP_CLEAR)
        )
        udp_holds_spi = registered("udp_holds_spi", have.udp & have.spi & (udp.octets >= 12))
        spi_is_marker = registered("spi_is_marker", fields.spi == 0)
        hits = Signal(ALL_BANKS)
        peers = Signal(ALL_BANKS)
        for number in range(ALL_BANKS):
            bank = self.banks[number]
            main = registered(f"main_hit_{number}", fields.spi == bank.spi_in)
            outer = registered(f"outer_hit_{number}", fields.spi == bank.ah_spi_in)
            receives = registered(f"receives_{number}", bank.receives & have.spi)
            alone = bank.protocol == Protocol.AH
            both = bank.protocol == Protocol.BOTH
            m.d.sync += [
                hits[number].eq(
                    receives & Mux(is_ah, (alone & main) | (both & outer), ~alone & main),
                ),
                peers[number].eq(bank.peered & match.from_peer[number]),
            ]
        # Lengths and sums, used only once the frame has ended.
        total = Signal(17)
        with m.If(fields.v6):
            m.d.sync += total.eq(fields.ipv6.payload_octets + headers.IPV6.octets)
        with m.Else():
            m.d.sync += total.eq(ipv4.total_octets)
        l4_octets = Signal(18)
        m.d.sync += l4_octets.eq(total - fields.header_octets)
        sum_is_right = registered("sum_is_right", fields.v6 | (fields.ones_sum == 0xFFFF))
        not_over = registered("not_over", total <= headers.IP_MAX_OCTETS)
        network = Signal(5)
        m.d.sync += network.eq(headers.ETHERNET.octets + (fields.tags << 2))
        behind = Signal(15)
        m.d.sync += behind.eq(fields.octets - network)
        is_whole = registered("is_whole", ~behind[-1] & (behind[:14] >= total))
        is_fragment = registered(
            "is_fragment",
            fields.fragment | (~fields.v6 & (ipv4.more_fragments | (ipv4.fragment_offset != 0))),
        )
        udp_octets = Signal(16)
        m.d.sync += udp_octets.eq(udp.octets - headers.UDP.octets)
        udp_covers_header = registered("udp_covers_header", udp.octets >= headers.UDP.octets)
        # A message without one octet would leave nothing in the buffer to end it.
        clear_is_short = registered(
            "clear_is_short", udp.octets < headers.UDP.octets + headers.RMCP.octets
        )
        runt = registered("runt", ~have.ethernet)
        fault = registered("fault", fields.fault)

        # A solicitation is taken for a right one until all of it is there. Its last octet reaches
        # the sum two cycles late, and that is as late as it may be.
        neighbour = fields.neighbour
        asks_rightly = registered(
            "asks_rightly",
            ~self.ended | (neighbour.whole & (fields.ones_sum == _SOLICITATION_SUM)),
        )
        asks_for_host = registered(
            "asks_for_host",
            neighbour.asks
            & (fields.ipv6.version == headers.VERSION_IPV6)
            & (match.asked_group | (match.asked_host & ~neighbour.probe)),
        )

        # Second rank.
        ours_ip = mac_is_ours & match.to_host & is_ip & version_is_right
        arp_ours = registered(
            "arp_ours", mac_is_ours & has_v4 & is_arp_request & arp_for_host & ~self.host_up
        )
        neighbour_ours = registered(
            "neighbour_ours",
            mac_is_ours & match.to_host & asks_for_host & asks_rightly & ~self.host_up,
        )
        known = Signal()
        m.d.comb += known.eq(hits.any())
        wanted = known | peers.any()
        raw_ours = registered("raw_ours", ours_ip & (is_esp | is_ah) & wanted)
        encap_ours = registered("encap_ours", ours_ip & udp_holds_spi & ~spi_is_marker & wanted)
        secured_ours = registered("secured_ours", ours_ip & to_secured)
        clear_ours = registered("clear_ours", ours_ip & to_clear)
        chain_ours = registered("chain_ours", ours_ip & fields.v6 & fault & peers.any())
        # Of the banks that receive one at most has the SPI in the protocol.
        spi_known = registered("spi_known", known)
        l4_fits = registered("l4_fits", ~l4_octets[-1] & (l4_octets[:17] >= 4))
        l4_fits_udp = registered(
            "l4_fits_udp", ~l4_octets[-1] & (l4_octets[:17] >= headers.UDP.octets)
        )
        l4_fits_none = registered("l4_fits_none", ~l4_octets[-1])
        frame_fits = registered("frame_fits", sum_is_right & not_over & is_whole)
        udp_fits = registered("udp_fits", udp_covers_header & (udp.octets <= l4_octets[:17]))
        options_matter = registered("options_matter", fault & (fields.v6 | is_ah))

        ours = Signal()
        udp_ours = Signal()
        m.d.comb += [
            udp_ours.eq(encap_ours | secured_ours | clear_ours),
            ours.eq(arp_ours | neighbour_ours | raw_ours | udp_ours | chain_ours),
            self.asked_v6.eq(neighbour_ours),
            self.asked_to_all.eq(neighbour_ours & neighbour.probe),
        ]
        header_fits = Mux(raw_ours, l4_fits, Mux(udp_ours, l4_fits_udp, l4_fits_none))

        meta = self.taken
        with_udp = Signal(8)
        m.d.comb += with_udp.eq(fields.header_octets + headers.UDP.octets)
        m.d.sync += [
            meta.bank.eq(Cat((hits & mask).any() for mask in _BANK_BITS)),
            meta.token.eq(self.token),
            meta.encapsulated.eq(encap_ours),
            meta.v6.eq(fields.v6),
            meta.tags.eq(fields.tags),
            meta.header_octets.eq(Mux(raw_ours, fields.header_octets, with_udp)),
            meta.octets.eq(Mux(raw_ours, l4_octets, udp_octets)),
            meta.spi.eq(fields.spi),
            meta.sequence.eq(fields.sequence),
            meta.iv.eq(fields.iv),
            meta.ah_next.eq(fields.ah.next_header),
            meta.ah_words.eq(fields.ah.length),
            meta.ah_reserved.eq(fields.ah.reserved != 0),
            meta.esp_spi.eq(fields.esp_spi),
            meta.esp_sequence.eq(fields.esp_sequence),
            meta.kind.eq(Mux(clear_ours, TakenKind.CLEAR, Mux(is_ah, TakenKind.AH, TakenKind.ESP))),
        ]

        def count(counter):
            return self.count[counter].eq(1)

        # Third rank: the first of the rules that applies; FRAMES_IN: the packet is to be taken.
        verdict = Signal(range(COUNTER_COUNT))
        rules = [
            (runt | fields.err, Counter.DROP_FRAME),
            (~ours, Counter.PASSED),
            (arp_ours | neighbour_ours, Counter.DELIVERED),
            (~frame_fits | ~header_fits, Counter.DROP_IP_HEADER),
            (is_fragment, Counter.DROP_FRAGMENT),
            (options_matter, Counter.DROP_IP_OPTION),
            (udp_ours & ~udp_fits, Counter.DROP_UDP_LENGTH),
            (secured_ours, Counter.DROP_CLEAR_PROTECTED),
            (~clear_ours & ~spi_known, Counter.DROP_UNKNOWN_SPI),
            (clear_ours & ~self.clear_allowed, Counter.DROP_CLEAR_POLICY),
            (clear_ours & clear_is_short, Counter.DROP_RMCP_MALFORMED),
        ]
        refusals = [reason for _, reason in rules if reason.name.startswith("DROP_")]
        passes = Signal()  # the verdict is that, known for itself
        m.d.sync += [verdict.eq(Counter.FRAMES_IN), passes.eq(~(runt | fields.err | ours))]
        for condition, reason in reversed(rules):
            with m.If(condition):
                m.d.sync += verdict.eq(reason)

        # How long the last field that could matter has been there.
        wait = Signal(range(_SETTLE_CYCLES + 1))
        settled = Signal()
        decides = Signal()  # in the state "verdict"
        m.d.sync += [self.release.eq(0), decides.eq(0)]
        m.d.comb += settled.eq(wait == _SETTLE_CYCLES - 1)
        with m.FSM():
            with m.State("walking"):
                with m.If(self.ended):
                    m.d.sync += wait.eq(0)
                    m.next = "settle"
                with m.Elif(self.walked):
                    m.d.sync += wait.eq(wait + 1)
                    with m.If(settled):
                        with m.If(ours):
                            m.next = "body"
                        with m.Else():
                            m.d.comb += self.host_commit.eq(1)
                            m.next = "passing"
            with m.State("body"):
                with m.If(self.ended):
                    m.d.sync += wait.eq(_SETTLE_CYCLES - 4)
                    m.next = "settle"
            with m.State("settle"):
                # The ranks take in what the last octet changed: of a frame whose headers ended
                # long ago, its length alone.
                m.d.sync += wait.eq(wait + 1)
                with m.If(settled):
                    m.d.sync += [wait.eq(0), self.release.eq(1), decides.eq(1)]
                    m.next = "verdict"
            with m.State("verdict"):
                m.next = "walking"
            with m.State("passing"):
                with m.If(self.ended):
                    m.d.sync += wait.eq(0)
                    m.next = "passed"
            with m.State("passed"):
                m.d.sync += wait.eq(wait + 1)
                m.d.sync += self.release.eq(wait == 0)
                with m.If(wait == 1):  # the buffer knows of its last octet
                    m.d.sync += wait.eq(0)
                    m.d.comb += count(Counter.FRAMES_IN)
                    m.d.comb += self.take_discard.eq(1)
                    m.next = "walking"
                    with m.If(fields.err):
                        m.d.comb += count(Counter.DROP_FRAME)
                    with m.Elif(self.host_lost):
                        m.d.comb += count(Counter.DROP_HOST_FULL)
                    with m.Else():
                        m.d.comb += count(Counter.PASSED)
        with m.If(decides):
            m.d.comb += [
                count(Counter.FRAMES_IN),
                self.take_discard.eq(~self.take_commit),
                self.host_commit.eq(passes),
                self.host_discard.eq(~passes),
            ]
            with m.Switch(verdict):
                for reason in refusals:
                    with m.Case(reason):
                        m.d.comb += count(reason)
                with m.Case(Counter.PASSED):
                    with m.If(self.host_lost):
                        m.d.comb += count(Counter.DROP_HOST_FULL)
                    with m.Else():
                        m.d.comb += count(Counter.PASSED)
                with m.Case(Counter.DELIVERED):  # somebody asks for the host
                    with m.If(self.asked_room):
                        m.d.comb += [self.asked_stb.eq(1), count(Counter.DELIVERED)]
                    with m.Else():
                        m.d.comb += count(Counter.DROP_OVERLOAD)
                with m.Default():
                    with m.If(self.take_lost):
                        m.d.comb += count(Counter.DROP_OVERLOAD)
                    with m.Else():
                        m.d.comb += self.take_commit.eq(1)
        return m
