"""Pass, take or drop: the verdict over a frame from the wire, and its one counter."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from hw.net.parser import FrameFields
from spec import headers
from spec.counters import COUNTER_COUNT, Counter
from spec.sa import BANKS

__all__ = ["ArpRequest", "BankView", "FrameClassifier", "TakenKind", "TakenMeta"]


class TakenKind(enum.Enum, shape=2):
    """How a taken packet came."""

    ESP = 0
    ESP_IN_UDP = 1
    CLEAR = 2


TakenMeta = data.StructLayout(
    {"kind": TakenKind, "octets": 11, "mac": 48, "ip": 32, "port": 16},
)
"""Of a taken packet: how it came, its octets (ESP packet or clear message), and its sender's MAC,
IPv4 address and outer UDP port."""

ArpRequest = data.StructLayout({"mac": 48, "ip": 32})
"""Who asked for the host's address."""

BankView = data.StructLayout(
    {"receives": 1, "spi": 32, "peered": 1, "peer_ip": 32},
)
"""A bank as the classifier sees it: `receives` packets for `spi`; `peered` makes ESP from
`peer_ip` ours."""


class FrameClassifier(wiring.Component):
    """Decides over each frame that the parser has walked.

    A frame to pass is released to the host (`host_commit`) five cycles after its headers were
    walked, without looking at the rest of it. A frame to take or drop is decided on when it has
    ended. From the last octet to `release` it takes six cycles.

    Exactly one bit of `count` besides FRAMES_IN is raised per frame; a frame given to `taken` is
    counted later, by whoever ends it.

    Attributes
    ----------
    host_lost, take_lost : Signal, in
        The frame did not fit the buffer towards the host, or those for taken packets.
    host_commit, host_discard, take_commit, take_discard : Signal, out
        To those buffers.
    taken : TakenMeta, out
        Of the packet that `take_commit` releases, in that cycle.
    arp : ArpRequest, out
        To be answered; given with `arp_stb`, where there is `arp_room`.
    host_up, clear_allowed : Signal, in
        The OS is up (it answers ARP itself); presence may be answered on the clear port.

    Source: docs/packet_walk.md; RFC 4301 5.2, RFC 3948 2.2.
    """

    fields: In(FrameFields)
    walked: In(1)
    ended: In(1)
    release: Out(1)
    host_lost: In(1)
    host_commit: Out(1)
    host_discard: Out(1)
    take_lost: In(1)
    take_commit: Out(1)
    take_discard: Out(1)
    host_mac: In(48)
    host_ip: In(32)
    host_up: In(1)
    clear_allowed: In(1)
    banks: In(data.ArrayLayout(BankView, BANKS))
    taken: Out(TakenMeta)
    arp: Out(ArpRequest)
    arp_stb: Out(1)
    arp_room: In(1)
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

        # First rank: comparisons, each in a register of its own.
        mac_is_ours = registered(
            "mac_is_ours", (ethernet.destination == self.host_mac) | ethernet.destination[40]
        )
        has_address = registered("has_address", self.host_ip != 0)
        to_host_ip = registered("to_host_ip", have.ipv4 & (ipv4.destination == self.host_ip))
        is_v4 = registered("is_v4", (ipv4.version == 4) & (ipv4.header_words >= 5))
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
        is_esp = registered("is_esp", ipv4.protocol == headers.PROTOCOL_ESP)
        # Have.udp implies protocol and offset; have.spi implies protocol, offset and port.
        to_secured = registered(
            "to_secured", have.udp & (udp.destination_port == headers.PORT_RMCP_SECURED)
        )
        to_clear = registered(
            "to_clear", have.udp & (udp.destination_port == headers.PORT_RMCP_CLEAR)
        )
        udp_holds_spi = registered("udp_holds_spi", have.udp & have.spi & (udp.octets >= 12))
        spi_is_marker = registered("spi_is_marker", fields.esp.spi == 0)
        hits = Signal(BANKS)
        peers = Signal(BANKS)
        for number in range(BANKS):
            bank = self.banks[number]
            m.d.sync += [
                hits[number].eq(bank.receives & have.spi & (fields.esp.spi == bank.spi)),
                peers[number].eq(bank.peered & (ipv4.source == bank.peer_ip)),
            ]
        # The length and checksum conditions, used only once the frame has ended.
        header_octets = Signal(6)
        l4_octets = Signal(16)
        m.d.comb += header_octets.eq(ipv4.header_words << 2)
        m.d.sync += l4_octets.eq(ipv4.total_octets - header_octets)
        covers_header = registered("covers_header", ipv4.total_octets >= header_octets)
        sum_is_right = registered("sum_is_right", fields.ipv4_sum == 0xFFFF)
        not_over = registered("not_over", ipv4.total_octets <= headers.IP_MAX_OCTETS)
        frame_octets = Signal(17)
        m.d.sync += frame_octets.eq(ipv4.total_octets + headers.ETHERNET.octets)
        is_whole = registered("is_whole", fields.octets >= frame_octets)
        is_fragment = registered("is_fragment", ipv4.more_fragments | (ipv4.fragment_offset != 0))
        udp_octets = Signal(16)
        m.d.sync += udp_octets.eq(udp.octets - headers.UDP.octets)
        udp_covers_header = registered("udp_covers_header", udp.octets >= headers.UDP.octets)
        # A message without one octet would leave nothing in the buffer to end it.
        clear_is_short = registered(
            "clear_is_short", udp.octets < headers.UDP.octets + headers.RMCP.octets
        )
        runt = registered("runt", ~have.ethernet)

        # Second rank.
        ours_ip = mac_is_ours & has_address & to_host_ip & is_v4
        arp_ours = registered(
            "arp_ours",
            mac_is_ours & has_address & is_arp_request & arp_for_host & ~self.host_up,
        )
        esp_ours = registered("esp_ours", ours_ip & is_esp & (hits.any() | peers.any()))
        encap_ours = registered(
            "encap_ours",
            ours_ip & udp_holds_spi & ~spi_is_marker & (hits.any() | peers.any()),
        )
        secured_ours = registered("secured_ours", ours_ip & to_secured)
        clear_ours = registered("clear_ours", ours_ip & to_clear)
        spi_known = registered("spi_known", hits.any())
        l4_fits = registered("l4_fits", l4_octets >= 4)
        l4_fits_udp = registered("l4_fits_udp", l4_octets >= headers.UDP.octets)
        frame_fits = registered("frame_fits", covers_header & sum_is_right & not_over & is_whole)
        udp_fits = registered("udp_fits", udp_covers_header & (udp.octets <= l4_octets))

        ours = Signal()
        udp_ours = Signal()
        m.d.comb += [
            udp_ours.eq(encap_ours | secured_ours | clear_ours),
            ours.eq(arp_ours | esp_ours | udp_ours),
        ]

        meta = self.taken
        m.d.sync += [meta.mac.eq(ethernet.source), meta.ip.eq(ipv4.source)]
        m.d.sync += meta.port.eq(udp.source_port)
        with m.If(esp_ours):
            m.d.sync += [meta.kind.eq(TakenKind.ESP), meta.octets.eq(l4_octets)]
        with m.Else():
            m.d.sync += meta.octets.eq(udp_octets)
            with m.If(clear_ours):
                m.d.sync += meta.kind.eq(TakenKind.CLEAR)
            with m.Else():
                m.d.sync += meta.kind.eq(TakenKind.ESP_IN_UDP)
        m.d.comb += [
            self.arp.mac.eq(arp.sender_mac),
            self.arp.ip.eq(arp.sender_ip),
        ]

        def count(counter):
            return self.count[counter].eq(1)

        # Third rank: the first of the rules that applies; FRAMES_IN: the packet is to be taken.
        verdict = Signal(range(COUNTER_COUNT))
        rules = [
            (runt | fields.err, Counter.DROP_FRAME),
            (~ours, Counter.PASSED),
            (arp_ours, Counter.DELIVERED),
            (
                ~frame_fits | (esp_ours & ~l4_fits) | (udp_ours & ~l4_fits_udp),
                Counter.DROP_IP_HEADER,
            ),
            (is_fragment, Counter.DROP_FRAGMENT),
            (udp_ours & ~udp_fits, Counter.DROP_UDP_LENGTH),
            (secured_ours, Counter.DROP_CLEAR_PROTECTED),
            (~clear_ours & ~spi_known, Counter.DROP_UNKNOWN_SPI),
            (clear_ours & ~self.clear_allowed, Counter.DROP_CLEAR_POLICY),
            (clear_ours & clear_is_short, Counter.DROP_RMCP_MALFORMED),
        ]
        refusals = [reason for _, reason in rules if reason.name.startswith("DROP_")]
        m.d.sync += verdict.eq(Counter.FRAMES_IN)
        for condition, reason in reversed(rules):
            with m.If(condition):
                m.d.sync += verdict.eq(reason)

        wait = Signal(2)
        with m.FSM():
            with m.State("walking"):
                with m.If(self.ended):
                    m.d.sync += wait.eq(0)
                    m.next = "settle"
                with m.Elif(self.walked):
                    m.d.sync += wait.eq(wait + 1)
                    with m.If(wait == 3):
                        with m.If(ours):
                            m.next = "body"
                        with m.Else():
                            m.d.comb += self.host_commit.eq(1)
                            m.next = "passing"
            with m.State("body"):
                with m.If(self.ended):
                    m.next = "settle"
            with m.State("settle"):
                # The three ranks take in what the last octet changed.
                m.d.sync += wait.eq(wait + 1)
                with m.If(wait == 3):
                    m.d.sync += wait.eq(0)
                    m.next = "verdict"
            with m.State("verdict"):
                m.d.comb += [self.release.eq(1), count(Counter.FRAMES_IN)]
                m.d.comb += self.take_discard.eq(~self.take_commit)
                m.d.comb += self.host_discard.eq(~self.host_commit)
                m.next = "walking"
                with m.Switch(verdict):
                    for reason in refusals:
                        with m.Case(reason):
                            m.d.comb += count(reason)
                    with m.Case(Counter.PASSED):
                        m.d.comb += self.host_commit.eq(1)
                        with m.If(self.host_lost):
                            m.d.comb += count(Counter.DROP_HOST_FULL)
                        with m.Else():
                            m.d.comb += count(Counter.PASSED)
                    with m.Case(Counter.DELIVERED):  # an ARP request
                        with m.If(self.arp_room):
                            m.d.comb += [self.arp_stb.eq(1), count(Counter.DELIVERED)]
                        with m.Else():
                            m.d.comb += count(Counter.DROP_OVERLOAD)
                    with m.Default():
                        with m.If(self.take_lost):
                            m.d.comb += count(Counter.DROP_OVERLOAD)
                        with m.Else():
                            m.d.comb += self.take_commit.eq(1)
            with m.State("passing"):
                with m.If(self.ended):
                    m.d.sync += wait.eq(0)
                    m.next = "passed"
            with m.State("passed"):
                m.d.sync += wait.eq(wait + 1)
                with m.If(wait == 1):  # the buffer knows of its last octet
                    m.d.sync += wait.eq(0)
                    m.d.comb += [self.release.eq(1), count(Counter.FRAMES_IN)]
                    m.d.comb += self.take_discard.eq(1)
                    m.next = "walking"
                    with m.If(fields.err):
                        m.d.comb += count(Counter.DROP_FRAME)
                    with m.Elif(self.host_lost):
                        m.d.comb += count(Counter.DROP_HOST_FULL)
                    with m.Else():
                        m.d.comb += count(Counter.PASSED)
        return m
