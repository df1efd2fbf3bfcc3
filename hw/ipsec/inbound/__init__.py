"""Inbound IPsec: from a taken packet to a message that passed every check."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.crypto.cipher import cipher_job_layout
from hw.crypto.hmac import auth_job_layout, auth_octet_layout
from hw.ipsec.inbound.feeder import InboundFeeder
from hw.ipsec.inbound.front import InboundFront
from hw.ipsec.inbound.job import Pending
from hw.ipsec.inbound.plain import PlainPath
from hw.ipsec.inbound.verdict import InboundVerdict
from hw.ipsec.layouts import (
    APPLIED_BITS,
    BANK_WORDS,
    EPOCH_BITS,
    RECORD_OCTETS,
    TOKENS,
    MessageMeta,
    TakenMeta,
)
from hw.ipsec.window import ReplayWindow
from hw.stream import OctetSignature, PacketSignature
from hw.word_queue import WordQueue
from spec.counters import COUNTER_COUNT
from spec.sa import ALL_BANKS, REPLAY_WINDOW

__all__ = ["InboundPath"]

_PENDING = 8


class InboundPath(wiring.Component):
    """Front, feeder, plaintext path, windows and verdict, joined.

    Several packets are under way at once: the front looks at one while those before it are fed and
    others wait for their tags. Verdicts are in the order of the packets. A packet holds the feeder
    for as many cycles as it has octets (Ethernet's padding included) and two, with four more for
    each half of a number that is hashed; the front and the hand-over of a job, about 45 cycles, go
    on beside the packet before it. `SEC: ESP.NOTHING_BEFORE_VERDICT`.

    Parameters
    ----------
    replay_window : int
        Width of the anti-replay windows in packets.
    reserves : bool
        A number is accepted only once it is reserved in non-volatile memory; until then its packet
        waits, and those behind it.

    Attributes
    ----------
    ask_stb, ask_bank, ask_outer, ask_number : Signal, out; ask_done : Signal, in
        With `reserves`: an authenticated packet has this number; strobe: it is reserved.
    hopeless : Signal, in
        With `reserves`, for each bank: numbers cannot be reserved, and its packets are dropped.
    meta, i : streams, in
        Of taken packets, and these themselves, from their IP header on; `i` has at least the octets
        that `meta` says, and `last` with the last of a packet.
    receives, epoch, read_stb, read_address, read_data
        As in `InboundFront`.
    host_ip, host_ip6 : Signal, in
        Where a packet in a tunnel must go to.
    job, cipher, cipher_o, cipher_tag; main_auth_*, outer_auth_*
        To the engines, through their share.
    load_stb, load_index, load_edge, load_full : Signal, in
        Begin a window anew; index Cat(outer, bank).
    prove_stb, prove_bank, prove_octets : Signal, out
        As of `InboundVerdict`.
    keep, keep_token : Signal, out; keep_ready, kept : Signal, in
        The sender's record, to be kept until the answer.
    inner_stb, inner_token, inner_offset, inner_data : Signal, out
        Record of what was inside of a packet.
    message, o : streams, out
        To the command engine.
    count : array of Signal, out
        Strobes of front and verdict: the reason that a packet was dropped for.

    Source: RFC 4303 3.4, RFC 4302 3.4, docs/packet_walk.md.
    """

    def __init__(self, *, replay_window: int = REPLAY_WINDOW, reserves: bool = False):
        self._replay_window = replay_window
        self._reserves = reserves
        auth_job = stream.Signature(auth_job_layout(slots=4 * ALL_BANKS))
        auth_octet = stream.Signature(auth_octet_layout())
        tag = OctetSignature()
        super().__init__(
            {
                "meta": In(stream.Signature(TakenMeta)),
                "i": In(PacketSignature()),
                "receives": In(ALL_BANKS),
                "epoch": In(data.ArrayLayout(EPOCH_BITS, ALL_BANKS)),
                "read_stb": Out(1),
                "read_address": Out(range(ALL_BANKS * BANK_WORDS)),
                "read_data": In(32),
                "host_ip": In(32),
                "host_ip6": In(128),
                "cipher_job": Out(stream.Signature(cipher_job_layout(slots=2 * ALL_BANKS))),
                "cipher_i": Out(OctetSignature()),
                "cipher_o": In(OctetSignature()),
                "cipher_tag": In(tag),
                "main_auth_job": Out(auth_job),
                "main_auth_i": Out(auth_octet),
                "main_auth_tag": In(tag),
                "outer_auth_job": Out(auth_job),
                "outer_auth_i": Out(auth_octet),
                "outer_auth_tag": In(tag),
                "load_stb": In(1),
                "load_index": In(range(2 * ALL_BANKS)),
                "load_edge": In(64),
                "load_full": In(1),
                "ask_stb": Out(1),
                "ask_bank": Out(range(ALL_BANKS)),
                "ask_outer": Out(1),
                "ask_number": Out(64),
                "ask_done": In(1),
                "hopeless": In(ALL_BANKS),
                "prove_stb": Out(1),
                "prove_bank": Out(range(ALL_BANKS)),
                "prove_octets": Out(APPLIED_BITS),
                "inner_stb": Out(1),
                "inner_token": Out(range(TOKENS)),
                "inner_offset": Out(range(RECORD_OCTETS)),
                "inner_data": Out(8),
                "keep": Out(1),
                "keep_token": Out(range(TOKENS)),
                "keep_ready": In(1),
                "kept": In(range(TOKENS)),
                "message": Out(stream.Signature(MessageMeta)),
                "o": Out(PacketSignature()),
                "count": Out(data.ArrayLayout(COUNTER_COUNT, 2)),
            }
        )

    @property
    def replay_window(self) -> int:
        """Width of the anti-replay windows in packets."""
        return self._replay_window

    @property
    def reserves(self) -> bool:
        """A number is accepted only once it is reserved."""
        return self._reserves

    def elaborate(self, platform):
        m = Module()
        m.submodules.front = front = InboundFront()
        m.submodules.feeder = feeder = InboundFeeder()
        m.submodules.plain = plain = PlainPath()
        m.submodules.verdict = verdict = InboundVerdict()
        m.submodules.window = window = ReplayWindow(
            windows=2 * ALL_BANKS, window=self._replay_window
        )
        m.submodules.pending = pending = WordQueue(Pending, depth=_PENDING)

        for inner, outer in (
            (front.meta, self.meta),
            (feeder.i, self.i),
            (plain.cipher, self.cipher_o),
            (verdict.cipher_tag, self.cipher_tag),
            (verdict.main_tag, self.main_auth_tag),
            (verdict.outer_tag, self.outer_auth_tag),
        ):
            wiring.connect(m, wiring.flipped(outer), inner)
        for inner, outer in (
            (feeder.cipher_job, self.cipher_job),
            (feeder.cipher, self.cipher_i),
            (feeder.main_job, self.main_auth_job),
            (feeder.main, self.main_auth_i),
            (feeder.outer_job, self.outer_auth_job),
            (feeder.outer, self.outer_auth_i),
            (plain.message, self.message),
            (plain.o, self.o),
        ):
            wiring.connect(m, inner, wiring.flipped(outer))
        wiring.connect(m, front.job, feeder.job)
        wiring.connect(m, feeder.begin, plain.begin)
        wiring.connect(m, feeder.direct, plain.direct)
        wiring.connect(m, plain.finding, verdict.finding)
        wiring.connect(m, verdict.decision, plain.decision)
        wiring.connect(m, feeder.pending, pending.i)
        wiring.connect(m, pending.o, verdict.pending)
        wiring.connect(m, feeder.icv, verdict.icv)

        m.d.comb += [
            front.receives.eq(self.receives),
            front.epoch.eq(self.epoch),
            self.read_stb.eq(front.read_stb),
            self.read_address.eq(front.read_address),
            front.read_data.eq(self.read_data),
            *(
                verdict.banks[n].receives.eq(self.receives[n] & ~self.hopeless[n])
                for n in range(ALL_BANKS)
            ),
            *(verdict.banks[n].epoch.eq(self.epoch[n]) for n in range(ALL_BANKS)),
            self.keep.eq(feeder.keep),
            self.keep_token.eq(feeder.keep_token),
            feeder.keep_ready.eq(self.keep_ready),
            feeder.kept.eq(self.kept),
            plain.host_ip.eq(self.host_ip),
            plain.host_ip6.eq(self.host_ip6),
            self.prove_stb.eq(verdict.prove_stb),
            self.prove_bank.eq(verdict.prove_bank),
            self.prove_octets.eq(verdict.prove_octets),
            *(
                getattr(self, name).eq(getattr(plain, name))
                for name in ("inner_stb", "inner_token", "inner_offset", "inner_data")
            ),
            self.count[0].eq(front.count),
            self.count[1].eq(verdict.count),
        ]

        # The window serves the verdict first. Whose turn it is stands in a register: all that the
        # window is given hangs on it.
        wants, turn = Signal(), Signal()
        of_verdict = Signal()
        reserved = Signal(init=not self._reserves)
        m.d.sync += turn.eq(wants)
        if self._reserves:
            updates = verdict.window_update
            m.d.comb += [
                self.ask_stb.eq(updates & ~reserved),
                self.ask_bank.eq(verdict.window_bank),
                self.ask_outer.eq(verdict.window_outer),
                self.ask_number.eq(Cat(verdict.window_sequence, verdict.window_high)),
            ]
            with m.If(self.ask_done):
                m.d.sync += reserved.eq(1)
            with m.If(~updates | verdict.window_taken):
                m.d.sync += reserved.eq(0)
        m.d.comb += [
            wants.eq(verdict.window_recheck | (verdict.window_update & reserved)),
            window.recheck_stb.eq(verdict.window_recheck & turn),
            window.update_stb.eq(verdict.window_update & turn & reserved),
            window.check_stb.eq(front.window_stb & ~turn),
            window.given_high.eq(verdict.window_high),
            verdict.window_taken.eq(turn & ~window.busy & (reserved | verdict.window_recheck)),
            front.window_taken.eq(~turn & ~window.busy),
            front.window_done.eq(window.done & ~of_verdict),
            verdict.window_done.eq(window.done & of_verdict),
            front.window_high.eq(window.high),
            window.load_stb.eq(self.load_stb),
            window.load_index.eq(self.load_index),
            window.load_edge.eq(self.load_edge),
            window.load_full.eq(self.load_full),
        ]
        for user in (front, verdict):
            m.d.comb += [
                user.window_old.eq(window.old),
                user.window_duplicate.eq(window.duplicate),
            ]
        for user, chosen in ((front, ~turn), (verdict, turn)):
            with m.If(chosen):
                m.d.comb += [
                    window.index.eq(Cat(user.window_outer, user.window_bank)),
                    window.esn.eq(user.window_esn),
                    window.sequence.eq(user.window_sequence),
                ]
        with m.If(~window.busy):
            m.d.sync += of_verdict.eq(turn)
        return m
