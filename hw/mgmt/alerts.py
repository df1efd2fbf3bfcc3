"""Sends an alert of each event in the log, and heartbeats, to each station."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.host.events import EventWord
from hw.host.monitor import HOST_STATE_BITS
from hw.ipsec.layouts import EPOCH_BITS, TOKENS, MessageMeta, Reply, ReplyKind
from hw.mgmt.alert_message import AlertMessage
from spec.host import EVENTS, HostEvent
from spec.pet import ALERT_SENDS, ALERT_SPACING_MS
from spec.sa import ALL_BANKS, BANKS, CONTEXTS

__all__ = ["HELD_TOKENS", "AlertSender", "HeldToken"]

HELD_TOKENS = CONTEXTS + 1
HeldToken = data.StructLayout({"valid": 1, "token": range(TOKENS)})
"""A sender's record that is not to be used for another one."""

_WAY = ("token", "encapsulated", "v6", "tags", "inner_v6")
_Way = data.StructLayout({"known": 1, **{name: MessageMeta[name].shape for name in _WAY}})
"""How the newest authenticated message of a context came; whether there was one."""
_MS_PER_SECOND = 1000
_TICKS_PER_SECOND = 100
_LOST_MAX = 255


class AlertSender(wiring.Component):
    """One alert at a time, ALERT_SENDS times, to each context that can be told of it.

    A context is told under its PROVEN bank, to whom its newest authenticated message came from and
    the way it came; without such a bank in clear, where allowed (`SEC: ALERT.CLEAR_BY_POLICY`);
    where no message came, not at all. Whatever happens, a station gets one frame in
    ALERT_SPACING_MS at most (`SEC: ALERT.RATE`), so no flood of events uses up outbound numbers, or
    the line. Events wait in the log meanwhile; what is overwritten there is counted.

    Attributes
    ----------
    enabled, clear, heartbeat_s : Signal, in
        Alerts are sent; also in clear; period of the heartbeat, 0 for none. Events from before
        `enabled` are not told of.
    number, event : in; take : Signal, out
        Of the log: the number of its next event, and the event in place `take`.
    state : Signal, in
        Of the host, for the heartbeat.
    learn_stb, learn : in
        A message that passed every check, and how it came.
    proven, epoch : Signal, in
        Of each bank.
    agent, enterprise : Signal, in
        As of AlertMessage.
    reply : stream of Reply, out
    held : array of HeldToken, out
        Records of senders that are needed.
    index, data, ticks_octets
        The message of the reply, as of AlertMessage.
    lost : Signal, out
        Events that were overwritten before their turn; stays at 255.

    Source: DSP0136 3.1.1.
    """

    tick_ms: In(1)
    enabled: In(1)
    clear: In(1)
    heartbeat_s: In(10)
    number: In(8)
    take: Out(range(EVENTS))
    event: In(EventWord)
    state: In(HOST_STATE_BITS)
    learn_stb: In(1)
    learn: In(MessageMeta)
    proven: In(ALL_BANKS)
    epoch: In(data.ArrayLayout(EPOCH_BITS, ALL_BANKS))
    agent: In(32)
    enterprise: In(32)
    reply: Out(stream.Signature(Reply))
    held: Out(data.ArrayLayout(HeldToken, HELD_TOKENS))
    index: In(7)
    data: Out(8)
    ticks_octets: Out(3)
    lost: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.submodules.message = message = AlertMessage()

        # How to reach each station.
        ways = [Signal(_Way, name=f"way_{n}") for n in range(CONTEXTS)]
        for number, way in enumerate(ways):
            with m.If(self.learn_stb & self.learn.protected & (self.learn.bank[1:] == number)):
                m.d.sync += [way.known.eq(1), *(way[n].eq(self.learn[n]) for n in _WAY)]
            m.d.comb += [
                self.held[number].valid.eq(way.known),
                self.held[number].token.eq(way.token),
            ]
        m.d.comb += [
            self.held[CONTEXTS].valid.eq(self.reply.valid),
            self.held[CONTEXTS].token.eq(self.reply.payload.token),
        ]

        # Time since power-on, in whole seconds, and the heartbeat.
        ms = Signal(range(_MS_PER_SECOND))
        second = Signal()
        uptime = Signal(32)
        beat_left, beats = Signal(10), Signal()
        m.d.sync += second.eq(self.tick_ms & (ms == _MS_PER_SECOND - 1))
        with m.If(self.tick_ms):
            m.d.sync += ms.eq(Mux(ms == _MS_PER_SECOND - 1, 0, ms + 1))
        begins_beat = Signal()
        with m.If(begins_beat):
            m.d.sync += beats.eq(0)
        with m.If(second):
            m.d.sync += [uptime.eq(uptime + _TICKS_PER_SECOND), beat_left.eq(beat_left - 1)]
            with m.If((beat_left <= 1) | (beat_left > self.heartbeat_s)):
                m.d.sync += [beat_left.eq(self.heartbeat_s), beats.eq(1)]
        with m.If(~self.enabled | (self.heartbeat_s == 0)):
            m.d.sync += beats.eq(0)

        # The event under way.
        event = Signal(EventWord)
        sequence = Signal(16)
        sends_left = Signal(range(ALERT_SENDS))
        spacing = Signal(range(ALERT_SPACING_MS + 1))
        settling = Signal(8)
        following = Signal(range(2 * EVENTS))  # of the log
        waiting = Signal.like(following)
        m.d.comb += [
            waiting.eq(self.number - following),
            self.take.eq(following),
            *(
                getattr(message, name).eq(getattr(event, name))
                for name in ("kind", "state", "before", "code")
            ),
            message.sequence.eq(sequence),
            message.uptime.eq(uptime),
            self.ticks_octets.eq(message.ticks_octets),
            message.agent.eq(self.agent),
            message.enterprise.eq(self.enterprise),
            message.index.eq(self.index),
            self.data.eq(message.data),
        ]
        with m.If(self.tick_ms & (spacing != 0)):
            m.d.sync += spacing.eq(spacing - 1)

        # Known a cycle late: the sender does not come back that soon.
        is_spaced = Signal()
        m.d.sync += is_spaced.eq(spacing == 0)
        is_late = Signal()
        m.d.comb += is_late.eq(waiting > EVENTS)
        with m.If(~self.enabled):
            m.d.sync += following.eq(self.number)
        with m.Elif(is_late):
            m.d.sync += following.eq(following + 1)
            with m.If(self.lost != _LOST_MAX):
                m.d.sync += self.lost.eq(self.lost + 1)

        # The context whose turn it is.
        context = Signal(range(CONTEXTS))
        way = Array(ways)[context]
        proven = Signal(BANKS)
        is_proven, bank = Signal(), Signal(range(ALL_BANKS))
        reply = self.reply.payload
        m.d.comb += [
            proven.eq(self.proven.word_select(context, BANKS)),
            is_proven.eq(proven.any()),
            bank.eq(Cat(proven[1], context)),
        ]

        def begin(what):
            m.d.sync += [
                event.eq(what),
                sequence.eq(sequence + 1),
                spacing.eq(ALERT_SPACING_MS),
                message.begin.eq(1),
            ]
            m.next = "settle"

        m.d.sync += message.begin.eq(0)
        beat = Signal(EventWord)
        m.d.comb += [
            beat.kind.eq(HostEvent.PRESENT),
            beat.state.eq(self.state),
            beat.before.eq(self.state),
        ]
        with m.FSM(name="sender"):
            with m.State("idle"):
                m.d.sync += context.eq(0)
                with m.If(self.enabled & ~is_late & is_spaced):
                    with m.If(sends_left != 0):
                        m.d.sync += [sends_left.eq(sends_left - 1), spacing.eq(ALERT_SPACING_MS)]
                        m.next = "context"
                    with m.Elif(waiting != 0):
                        m.d.sync += [following.eq(following + 1), sends_left.eq(ALERT_SENDS - 1)]
                        begin(self.event)
                    with m.Elif(beats):
                        m.d.comb += begins_beat.eq(1)
                        begin(beat)
            with m.State("settle"):
                # Until the packet that proved a bank has been answered, and told the way.
                m.d.sync += settling.eq(settling + 1)
                with m.If(settling.all()):
                    m.next = "context"
            with m.State("context"):
                m.d.sync += [
                    reply.kind.eq(Mux(is_proven, ReplyKind.PROTECTED, ReplyKind.CLEAR)),
                    reply.bank.eq(bank),
                    reply.epoch.eq(self.epoch[bank]),
                    *(reply[name].eq(way[name]) for name in _WAY),
                    reply.alert.eq(1),
                    reply.octets.eq(message.octets),
                ]
                with m.If(way.known & (is_proven | self.clear)):
                    m.next = "send"
                with m.Else():
                    m.next = "next context"
            with m.State("send"):
                m.d.comb += self.reply.valid.eq(1)
                with m.If(self.reply.ready):
                    m.next = "next context"
            with m.State("next context"):
                m.d.sync += context.eq(context + 1)
                m.next = "context"
                with m.If(context == CONTEXTS - 1):
                    m.next = "idle"
        return m
