"""The command engine: what turns an authenticated RMCP message into pins and replies."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.headers import HeaderCapture, header_octets, octets_of
from hw.ipsec.layouts import EPOCH_BITS, BootRequest, MessageMeta, Reply, ReplyKind
from hw.mgmt.power import PowerAction
from hw.stream import PacketSignature
from spec import rmcp
from spec.counters import COUNTER_COUNT, Counter
from spec.headers import ASF, RMCP
from spec.rmcp import AsfType, OemType, SystemState
from spec.sa import ALL_BANKS, BANKS, CONTEXTS

__all__ = ["CommandEngine"]

_HEADER_OCTETS = RMCP.octets + ASF.octets


class CommandEngine(wiring.Component):
    """Decodes one message after another, acts on it, and answers.

    A message of n octets takes n + 8 cycles to its effect, and its replies follow one by one. It
    is one strobe of `count`: delivered, or the reason why not. An unknown type never moves a pin
    (`SEC: RMCP.UNKNOWN_INERT`), and a power command acts once for each (context, sequence, tag),
    also when it comes again under another SA of the context (`SEC: RMCP.ONCE`). In clear presence
    and capabilities are answered; with `clear_everything` the system state as well, and power
    commands act, once for each (sequence, tag) of their own (`SEC: CLEAR.NO_POWER`).

    What is an administrator's does nothing under an operator's SA, and is not answered
    (`SEC: RMCP.ROLE`). Zeroise is answered first, as far as `spec.rmcp.ZEROISE_ANSWER_CYCLES`
    allow; nobody can keep it back longer (`SEC: RMCP.ZEROISE`).

    Attributes
    ----------
    meta, i : streams, in
        Of messages; after `octets` octets the packet on `i` holds padding, which is thrown away.
    power_stb, power_action : out
        A command for the pins.
    boot_stb, boot_valid, boot : out
        A cycle after a command that boots the host: what it asks of the firmware, if anything.
    asked_bank, bank_states, bank_spis, commit_* : Signal
        To and from the SAD: the bank that the message came under, and what its context has.
    clear_everything : Signal, in
        What is not an administrator's, and of ASF, is obeyed in clear as well.
    zeroise_stb : Signal, out
        All that is secret or policy is to be emptied.
    reply : stream of Reply, out
    tap : PacketSignature, out
        The octets of each message as they are read, for observation; without backpressure. A
        message without octets shows as one beat with `err`.

    Source: DSP0136 3.2; docs/rmcp.md.
    """

    def __init__(self):
        super().__init__(
            {
                "meta": In(stream.Signature(MessageMeta)),
                "i": In(PacketSignature()),
                "enterprise": In(32),
                "clear_everything": In(1),
                "bank_states": In(data.ArrayLayout(3, BANKS)),
                "bank_spis": In(data.ArrayLayout(32, BANKS)),
                "host_state": In(4),
                "host_off": In(1),
                "host_sleep": In(1),
                "watchdog_expired": In(1),
                "power_stb": Out(1),
                "power_action": Out(PowerAction),
                "boot_stb": Out(1),
                "boot_valid": Out(1),
                "boot": Out(BootRequest),
                "commit_stb": Out(1),
                "commit_spi": Out(32),
                "commit_result": In(8),
                "commit_bank": In(range(ALL_BANKS)),
                "commit_epoch": In(EPOCH_BITS),
                "asked_bank": Out(range(ALL_BANKS)),
                "zeroise_stb": Out(1),
                "reply": Out(stream.Signature(Reply)),
                "tap": Out(PacketSignature()),
                "count": Out(COUNTER_COUNT),
            }
        )

    def elaborate(self, platform):
        m = Module()
        head = HeaderCapture(
            RMCP, ("version", "reserved", "sequence", "ack", "reserved_class", "message_class")
        )
        asf = HeaderCapture(ASF, ("enterprise", "type", "tag", "data_octets"))
        power = HeaderCapture(rmcp.POWER_DATA, tuple(name for name, _ in BootRequest))
        captures = ((head, RMCP.octets), (asf, ASF.octets), (power, rmcp.POWER_DATA.octets))
        commit_spi = power.enterprise  # octets 12 to 15 as well

        meta = Signal(MessageMeta)
        at = Signal(11)
        takes = Signal()
        m.d.comb += takes.eq(self.i.valid & self.i.ready)
        # Captured a cycle late, when `at` is one further.
        taken, octet = Signal(), Signal(8)
        place = at[:5]
        beyond = Signal()  # all that is captured, for `place` begins anew
        m.d.sync += [taken.eq(takes), octet.eq(self.i.payload.data)]
        start = 1
        for capture, count_of in captures:
            capture.capture(
                m,
                stb=taken & ~beyond,
                is_at=lambda number, start=start: place == start + number,
                octet=octet,
            )
            start += count_of
        with m.If(takes):
            m.d.sync += at.eq(at + 1)
            with m.If(place.all()):
                m.d.sync += beyond.eq(1)
        nothing = Signal()
        m.d.comb += [
            nothing.eq(meta.octets == 0),
            self.tap.valid.eq(takes & ((at < meta.octets) | (nothing & (at == 0)))),
            self.tap.payload.data.eq(Mux(nothing, 0, self.i.payload.data)),
            self.tap.payload.first.eq(at == 0),
            self.tap.payload.last.eq(nothing | (at == meta.octets - 1)),
            self.tap.payload.err.eq(nothing),
        ]

        # What kind of message it is, by name, for the two enterprises use the same numbers; every
        # term is at rest long before the verdict.
        def registered(name, expression):
            signal = Signal(name=name)
            m.d.sync += signal.eq(expression)
            return signal

        is_asf = registered("is_asf", asf.enterprise == rmcp.ASF_ENTERPRISE)
        # A setting that is written later does not keep back what was begun.
        reads, is_our_number, everything = Signal(), Signal(), Signal()
        with m.If(reads):
            m.d.sync += [
                is_our_number.eq(asf.enterprise == self.enterprise),
                everything.eq(self.clear_everything),
            ]
        is_oem = ~is_asf & is_our_number
        types = {
            kind.name: registered(kind.name.lower(), is_asf & (asf.type == kind))
            for kind in (
                AsfType.RESET,
                AsfType.POWER_UP,
                AsfType.POWER_DOWN,
                AsfType.POWER_CYCLE,
                AsfType.PRESENCE_PING,
                AsfType.CAPABILITIES_REQUEST,
                AsfType.SYSTEM_STATE_REQUEST,
            )
        } | {
            kind.name: registered(kind.name.lower(), is_oem & (asf.type == kind))
            for kind in (OemType.COMMIT, OemType.SA_STATUS_REQUEST, OemType.ZEROISE)
        }
        known = registered("known", Cat(types.values()).any())
        has_options = (
            types[AsfType.RESET.name]
            | types[AsfType.POWER_UP.name]
            | types[AsfType.POWER_CYCLE.name]
        )
        is_power = has_options | types[AsfType.POWER_DOWN.name]
        body_octets = Signal(11)
        m.d.sync += body_octets.eq(meta.octets - _HEADER_OCTETS)
        data_is_right = registered(
            "data_is_right",
            (asf.data_octets <= body_octets)
            & Mux(
                types[OemType.COMMIT.name],
                asf.data_octets == rmcp.COMMIT_DATA.octets,
                (asf.data_octets == 0)
                | (has_options & (asf.data_octets == rmcp.POWER_DATA.octets)),
            ),
        )
        above_role = registered(
            "above_role",
            ~meta.administrator
            & ((has_options & (asf.data_octets != 0)) | types[OemType.ZEROISE.name]),
        )
        header_is_whole = registered("header_is_whole", meta.octets >= RMCP.octets)
        message_is_whole = registered("message_is_whole", meta.octets >= _HEADER_OCTETS)
        is_plain = registered("is_plain", (head.version == rmcp.RMCP_VERSION) & (head.ack == 0))
        is_asf_class = registered(
            "is_asf_class",
            (head.message_class == rmcp.RMCP_CLASS_ASF) & (head.reserved_class == 0),
        )
        # What may come in clear, if it does.
        port_fits = registered(
            "port_fits",
            meta.protected
            | types[AsfType.PRESENCE_PING.name]
            | types[AsfType.CAPABILITIES_REQUEST.name]
            | (everything & (is_power | types[AsfType.SYSTEM_STATE_REQUEST.name])),
        )
        good = registered(
            "good",
            header_is_whole
            & is_plain
            & is_asf_class
            & message_is_whole
            & known
            & data_is_right
            & ~above_role
            & port_fits,
        )

        # (context, sequence, tag) of commands that were acted on: tag by the other two, and whether
        # there is one. What comes in clear is a context of its own, or it could use up a station's.
        m.submodules.remembered = remembered = Memory(shape=9, depth=2 * 256 * CONTEXTS, init=[])
        of_sender = Cat(head.sequence, Mux(meta.protected, meta.bank[1:], 0), ~meta.protected)
        recall = remembered.read_port(transparent_for=())
        remember = remembered.write_port()
        m.d.comb += [
            recall.addr.eq(of_sender),
            recall.en.eq(1),
            remember.addr.eq(of_sender),
            remember.data.eq(Cat(asf.tag, Const(1, 1))),
        ]
        recalled = Signal(9, reset_less=True)  # as the output register of block RAM is
        m.d.sync += recalled.eq(recall.data)
        acted_before = registered("acted_before", recalled == Cat(asf.tag, Const(1, 1)))

        m.d.sync += self.boot_stb.eq(self.power_stb & has_options)
        m.d.comb += [
            self.power_action.eq(asf.type[:2]),
            self.commit_spi.eq(commit_spi),
            self.boot_valid.eq(asf.data_octets != 0),
            *(self.boot[name].eq(getattr(power, name)) for name, _ in BootRequest),
            self.asked_bank.eq(meta.bank),
        ]

        # Replies.
        is_ack = Signal()
        commit_result = Signal(8)
        commit_bank = Signal(range(ALL_BANKS))
        commit_epoch = Signal(EPOCH_BITS)
        # As they are in the verdict, so that a reply that waits does not change.
        system_state = Signal(8)
        host_state = Signal(8)
        under = Signal(8)
        watchdog = Signal(8)
        states = [Signal(8, name=f"state_{n}") for n in range(BANKS)]
        spis = [Signal(32, name=f"spi_{n}") for n in range(BANKS)]
        snapshot = [
            system_state.eq(
                Mux(
                    self.host_off,
                    SystemState.SOFT_OFF,
                    Mux(self.host_sleep, SystemState.SLEEPING, SystemState.S0),
                )
            ),
            watchdog.eq(Mux(self.watchdog_expired, rmcp.WATCHDOG_EXPIRED, 0)),
            host_state.eq(self.host_state),
            *(state.eq(self.bank_states[n]) for n, state in enumerate(states)),
            *(spi.eq(self.bank_spis[n]) for n, spi in enumerate(spis)),
        ]
        m.d.comb += under.eq(meta.bank[0])
        answers = [
            (
                AsfType.PRESENCE_PING,
                AsfType.PRESENCE_PONG,
                header_octets(
                    rmcp.PONG_DATA,
                    enterprise=rmcp.ASF_ENTERPRISE,
                    entities=rmcp.PONG_ENTITIES,
                    interactions=rmcp.PONG_INTERACTIONS,
                ),
            ),
            (
                AsfType.CAPABILITIES_REQUEST,
                AsfType.CAPABILITIES_RESPONSE,
                header_octets(
                    rmcp.CAPABILITIES_DATA,
                    enterprise=rmcp.ASF_ENTERPRISE,
                    special_commands=rmcp.CAPABILITIES_SPECIAL_COMMANDS,
                    system=Mux(
                        everything, rmcp.CAPABILITIES_SYSTEM_CLEAR, rmcp.CAPABILITIES_SYSTEM
                    ),
                    firmware=rmcp.CAPABILITIES_FIRMWARE,
                ),
            ),
            (
                AsfType.SYSTEM_STATE_REQUEST,
                AsfType.SYSTEM_STATE_RESPONSE,
                header_octets(
                    rmcp.SYSTEM_STATE_DATA, system_state=system_state, watchdog_state=watchdog
                ),
            ),
            (
                OemType.COMMIT,
                OemType.COMMITTED,
                header_octets(rmcp.COMMITTED_DATA, spi=commit_spi, result=commit_result),
            ),
            (
                OemType.SA_STATUS_REQUEST,
                OemType.SA_STATUS_RESPONSE,
                header_octets(
                    rmcp.SA_STATUS_DATA,
                    bank_a_state=states[0],
                    bank_b_state=states[1],
                    under_bank=under,
                    host_state=host_state,
                    bank_a_spi=spis[0],
                    bank_b_spi=spis[1],
                ),
            ),
            (OemType.ZEROISE, OemType.ZEROISING, []),
        ]
        responds = registered(
            "responds", Cat(types[request.name] for request, _, _ in answers).any()
        )
        # Chosen in one cycle, offered from the next on, and the same until it is taken.
        reply = Signal.like(self.reply.payload)
        with m.If(~self.reply.valid):
            m.d.sync += self.reply.payload.eq(reply)
        m.d.comb += [
            reply.kind.eq(Mux(meta.protected, ReplyKind.PROTECTED, ReplyKind.CLEAR)),
            reply.bank.eq(meta.bank),
            reply.epoch.eq(meta.epoch),
            reply.token.eq(meta.token),
            reply.encapsulated.eq(meta.encapsulated),
            reply.v6.eq(meta.v6),
            reply.tags.eq(meta.tags),
            reply.inner_v6.eq(meta.inner_v6),
        ]
        with m.If(is_ack):
            octets = header_octets(
                RMCP,
                version=rmcp.RMCP_VERSION,
                sequence=head.sequence,
                ack=1,
                message_class=rmcp.RMCP_CLASS_ASF,
            )
            m.d.comb += [reply.octets.eq(len(octets)), reply.payload.eq(Cat(octets))]
        with m.Else():
            rmcp_octets = header_octets(
                RMCP,
                version=rmcp.RMCP_VERSION,
                sequence=rmcp.RMCP_NO_ACK_SEQUENCE,
                message_class=rmcp.RMCP_CLASS_ASF,
            )
            for request, response, octets in answers:
                with m.If(types[request.name]):
                    is_ours = isinstance(request, OemType)
                    enterprise = self.enterprise if is_ours else Const(rmcp.ASF_ENTERPRISE, 32)
                    asf_octets = [
                        *octets_of(enterprise),
                        Const(response, 8),
                        asf.tag,
                        Const(0, 8),
                        Const(len(octets), 8),
                    ]
                    whole = [*rmcp_octets, *asf_octets, *octets]
                    m.d.comb += [reply.octets.eq(len(whole)), reply.payload.eq(Cat(whole))]
            with m.If(types[OemType.COMMIT.name]):
                m.d.comb += [reply.bank.eq(commit_bank), reply.epoch.eq(commit_epoch)]

        def count(counter):
            return self.count[counter].eq(1)

        # The answer needs the keys: it is whole when the last reply is taken, or is not waited for.
        zeroises, responded, late = Signal(), Signal(), Signal()
        left = Signal(range(rmcp.ZEROISE_ANSWER_CYCLES))
        m.d.sync += [
            left.eq(left - 1),
            late.eq(zeroises & (left == 0)),
            self.zeroise_stb.eq(zeroises & (late | responded)),
        ]
        with m.If(late | responded):
            m.d.sync += zeroises.eq(0)

        wait = Signal(2)
        with m.FSM():
            with m.State("idle"):
                m.d.comb += self.meta.ready.eq(1)
                m.d.sync += [at.eq(0), beyond.eq(0), wait.eq(0)]
                with m.If(self.meta.valid):
                    m.d.sync += meta.eq(self.meta.payload)
                    m.next = "message"
            with m.State("message"):
                m.d.comb += [self.i.ready.eq(1), reads.eq(1)]
                with m.If(self.i.valid & self.i.payload.last):
                    m.next = "settle"
            with m.State("settle"):
                m.d.sync += wait.eq(wait + 1)
                with m.If(wait == 3):
                    m.next = "verdict"
            with m.State("verdict"):
                m.d.sync += [
                    *snapshot,
                    commit_result.eq(self.commit_result),
                    commit_bank.eq(self.commit_bank),
                    commit_epoch.eq(self.commit_epoch),
                ]
                m.next = "idle"
                with m.If(~header_is_whole | ~is_plain):
                    m.d.comb += count(Counter.DROP_RMCP_MALFORMED)
                with m.Elif(~is_asf_class):
                    m.d.comb += count(Counter.DROP_RMCP_UNKNOWN)
                with m.Elif(~message_is_whole):
                    m.d.comb += count(Counter.DROP_RMCP_MALFORMED)
                with m.Elif(~known):
                    m.d.comb += count(Counter.DROP_RMCP_UNKNOWN)
                with m.Elif(~data_is_right):
                    m.d.comb += count(Counter.DROP_RMCP_MALFORMED)
                with m.Elif(~port_fits):
                    m.d.comb += count(Counter.DROP_CLEAR_POLICY)
                with m.Elif(above_role):
                    m.d.comb += count(Counter.DROP_RMCP_ROLE)
                with m.If(good):
                    m.d.comb += [
                        count(Counter.DELIVERED),
                        self.power_stb.eq(is_power & ~acted_before),
                        remember.en.eq(is_power),
                        self.commit_stb.eq(types[OemType.COMMIT.name]),
                    ]
                    m.d.sync += [
                        zeroises.eq(types[OemType.ZEROISE.name]),
                        left.eq(rmcp.ZEROISE_ANSWER_CYCLES - 1),
                    ]
                    with m.If(head.sequence != rmcp.RMCP_NO_ACK_SEQUENCE):
                        m.next = "ack"
                    with m.Elif(responds):
                        m.next = "response"
            with m.State("ack"):
                m.d.comb += is_ack.eq(1)
                m.next = "send ack"
            with m.State("send ack"):
                m.d.comb += [is_ack.eq(1), self.reply.valid.eq(1)]
                with m.If(self.reply.ready):
                    m.next = "idle"
                    with m.If(responds):
                        m.next = "response"
            with m.State("response"):
                m.next = "send response"
            with m.State("send response"):
                m.d.comb += self.reply.valid.eq(1)
                with m.If(self.reply.ready):
                    m.d.comb += responded.eq(1)
                    m.next = "idle"
        return m
