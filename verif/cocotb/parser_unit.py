"""The part of the NIC from the wire to the two buffers, as `hw.nic` puts it together."""

from amaranth.hdl import Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.eth.fifo import PacketFifo
from hw.ipsec.layouts import RECORD_OCTETS, TOKENS, BankView, TakenMeta
from hw.net.classifier import FrameClassifier
from hw.net.parser import FrameParser
from hw.stream import PacketSignature
from spec.counters import COUNTER_COUNT
from spec.sa import ALL_BANKS

__all__ = ["DEPTH", "ParserUnit", "VerdictBits"]

DEPTH = 2048
"""Octets of each buffer: the longest frame, and a few short ones."""


VerdictBits = data.StructLayout(
    {
        "host_commit": 1,
        "host_discard": 1,
        "host_lost": 1,
        "take_commit": 1,
        "take_discard": 1,
        "take_lost": 1,
        "asked_stb": 1,
        "asked_v6": 1,
        "asked_to_all": 1,
        "ended": 1,
    }
)
"""What the classifier says to the buffers, and they to it; `ended`: over the frame."""


class ParserUnit(wiring.Component):
    """`FrameParser`, `FrameClassifier` and a `PacketFifo` on either way.

    Attributes
    ----------
    wire_rx : packet stream, in
    host, taken : packet stream, out
        What was committed.
    verdict : struct, out
        The strobes of the classifier, what it knew of the buffers, and `TakenMeta`.
    record : struct, out
        Of the parser.
    host_mac, host_ip, host_ip6, host_up, clear_allowed, banks, peer_*, token, asked_room : in
        Of the classifier.
    """

    wire_rx: In(PacketSignature())
    host: Out(PacketSignature())
    taken: Out(PacketSignature())
    count: Out(COUNTER_COUNT)
    verdict: Out(VerdictBits)
    meta: Out(TakenMeta)
    record: Out(data.StructLayout({"stb": 1, "offset": range(RECORD_OCTETS), "data": 8}))
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
    asked_room: In(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.parser = parser = FrameParser()
        m.submodules.classifier = classifier = FrameClassifier()
        m.submodules.host_buffer = host_buffer = PacketFifo(depth=DEPTH)
        m.submodules.taken_buffer = taken_buffer = PacketFifo(depth=DEPTH)
        wiring.connect(m, wiring.flipped(self.wire_rx), parser.i)
        wiring.connect(m, parser.frame, host_buffer.i)
        wiring.connect(m, host_buffer.o, wiring.flipped(self.host))
        wiring.connect(m, parser.body, taken_buffer.i)
        wiring.connect(m, taken_buffer.o, wiring.flipped(self.taken))
        for name in ("fields", "walked", "ended", "address"):
            m.d.comb += getattr(classifier, name).eq(getattr(parser, name))
        for name in (
            *("host_mac", "host_ip", "host_ip6", "host_up", "clear_allowed", "banks"),
            *("peer_stb", "peer_bank", "peer_v6", "peer_index", "peer_octet"),
        ):
            m.d.comb += getattr(classifier, name).eq(getattr(self, name))
        verdict = self.verdict
        m.d.comb += [
            classifier.token.eq(self.token),
            classifier.asked_room.eq(self.asked_room),
            parser.release.eq(classifier.release),
            classifier.host_lost.eq(host_buffer.lost),
            classifier.take_lost.eq(taken_buffer.lost),
            host_buffer.commit.eq(classifier.host_commit),
            host_buffer.discard.eq(classifier.host_discard),
            taken_buffer.commit.eq(classifier.take_commit),
            taken_buffer.discard.eq(classifier.take_discard),
            self.count.eq(classifier.count),
            self.meta.eq(classifier.taken),
            self.record.eq(parser.record),
            verdict.host_commit.eq(classifier.host_commit),
            verdict.host_discard.eq(classifier.host_discard),
            verdict.host_lost.eq(host_buffer.lost),
            verdict.take_commit.eq(classifier.take_commit),
            verdict.take_discard.eq(classifier.take_discard),
            verdict.take_lost.eq(taken_buffer.lost),
            verdict.asked_stb.eq(classifier.asked_stb),
            verdict.asked_v6.eq(classifier.asked_stb & classifier.asked_v6),
            verdict.asked_to_all.eq(classifier.asked_stb & classifier.asked_to_all),
            verdict.ended.eq(classifier.release),
        ]
        return m
