"""The NIC: everything between the two MACs, the register bus and the pins, without a board."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from hw.crypto import CipherUnit
from hw.crypto.hmac import HmacUnit
from hw.eth.arbiter import FrameArbiter
from hw.eth.fifo import PacketFifo
from hw.host.control import ControlRegisters
from hw.host.counters import CounterFile
from hw.host.events import EventLog
from hw.host.learner import AddressLearner
from hw.host.monitor import HostMonitor
from hw.host.power_pins import PowerPins
from hw.host.registers import BusSignature
from hw.host.silence import StationSilence
from hw.ipsec.engine_share import EngineShare
from hw.ipsec.inbound import InboundPath
from hw.ipsec.layouts import BankView, Reply, ReplyKind, TakenMeta
from hw.ipsec.layouts import Protocol as SuiteProtocol
from hw.ipsec.sad import SecurityAssociationDatabase
from hw.mgmt.alerts import AlertSender
from hw.mgmt.command_engine import CommandEngine
from hw.net.classifier import FrameClassifier
from hw.net.parser import FrameParser
from hw.net.records import ASKER_TOKEN, SenderRecords
from hw.net.reply import ReplyBuilder
from hw.store.keeper import STATUS, StoreKeeper
from hw.stream import PacketBeat, PacketSignature, SkidBuffer
from hw.word_queue import WordQueue
from spec import host, sa, suites
from spec.counters import Counter
from spec.headers import LINK_LAYER_OPTION, NEIGHBOUR, UDP
from spec.registers import ADDRESS_BITS
from spec.suites import SUITES, Hash, Protocol, Suite

__all__ = ["Nic"]

_HOST_BUFFER = 4096
_TAKEN_BUFFER = 4096
_TAKEN_PACKETS = 16
_SEND_BUFFER = 512
_SEND_FRAME_MAX = 320
_ADVERTISED_OCTETS = NEIGHBOUR.octets + LINK_LAYER_OPTION.octets - UDP.octets
_FLASH_HZ_MAX = 20_000_000
"""Clock of the flash at most: far below what READ allows, for a board's long traces."""


class Nic(wiring.Component):
    """The whole NIC in one clock domain, one octet per cycle on each of its four streams.

    From `wire_rx` a frame goes, by the verdict of the classifier, to `host_tx` bit for bit, to the
    inbound path, or nowhere; each ends under exactly one counter. `wire_rx` is never stalled
    inside a frame, and for at most twelve cycles after it. Frames of `host_rx` go to `wire_tx`
    unchanged, between whole frames of the NIC's own.

    Parameters
    ----------
    clock_hz : int
        Frequency of the clock; at least 1000.
    ack_ms, grace_ms : int
        Acknowledge timer and grace of the SAD, in milliseconds.
    contexts : int
        Contexts of the SAD, 1 to spec.sa.CONTEXTS: stations that hold an SA of their own.
    replay_window : int
        Width of the anti-replay windows in packets, a power of two from 32 to 1024.
    sha_lanes : int
        HMAC messages that are computed at once, 1 to 8. With one lane the suites that need two
        HMACs of one packet are not built in.
    hmac_sha_1 : bool
        Build in the suites with HMAC-SHA-1-96, for old peers.
    lifetimes : bool
        Count packets and octets of each SA, and mind their limits.
    alerts : bool
        Build in alerts; without them the register ALERTS cannot be enabled.
    learning : bool
        Build in HOST_LEARN: the host's addresses may be taken from what it announces.
    flash_base : int or None
        Octet address of the non-volatile store in a serial flash; None: no store, and what the NIC
        knows goes with its power.

    Attributes
    ----------
    pin_reset, pin_power : Signal, out
        To the host's reset and power button, active high.
    pin_host_reset, pin_host_sleep, pin_host_off, pin_zeroise : Signal, in
        From the host and from the board's own button; active high, not synchronised.
    flash_sck, flash_cs_n, flash_mosi : Signal, out; flash_miso : Signal, in
        To the flash, with a store only.
    tap : PacketSignature, out
        Messages as the command engine reads them, for observation in simulation; no backpressure.

    Source: docs/packet_walk.md.
    """

    def __init__(
        self,
        *,
        clock_hz: int,
        ack_ms: int = sa.ACK_MS_DEFAULT,
        grace_ms: int = sa.GRACE_MS_DEFAULT,
        contexts: int = sa.CONTEXTS,
        replay_window: int = sa.REPLAY_WINDOW,
        sha_lanes: int = 2,
        hmac_sha_1: bool = False,
        alerts: bool = True,
        lifetimes: bool = True,
        learning: bool = True,
        flash_base: int | None = None,
    ):
        if clock_hz < 1000:
            raise ValueError(f"clock_hz must be at least 1000, not {clock_hz}")
        if not 1 <= sha_lanes <= 8:
            raise ValueError(f"sha_lanes must be from 1 to 8, not {sha_lanes}")
        self._clock_hz = clock_hz
        self._ack_ms = ack_ms
        self._grace_ms = grace_ms
        self._contexts = contexts
        self._replay_window = replay_window
        self._sha_lanes = sha_lanes
        self._hmac_sha_1 = hmac_sha_1
        self._has_alerts = alerts
        self._has_lifetimes = lifetimes
        self._learning = learning
        self._flash_base = flash_base
        flash_pins = {
            "flash_sck": Out(1),
            "flash_cs_n": Out(1, init=1),
            "flash_mosi": Out(1),
            "flash_miso": In(1),
        }
        super().__init__(
            {
                "wire_rx": In(PacketSignature()),
                "wire_tx": Out(PacketSignature()),
                "host_rx": In(PacketSignature()),
                "host_tx": Out(PacketSignature()),
                "bus": In(BusSignature()),
                "pin_reset": Out(1),
                "pin_power": Out(1),
                "pin_host_reset": In(1),
                "pin_host_sleep": In(1),
                "pin_host_off": In(1),
                "pin_zeroise": In(1),
                **({} if flash_base is None else flash_pins),
                "tap": Out(PacketSignature()),
            }
        )

    @property
    def clock_hz(self) -> int:
        """Frequency of the clock."""
        return self._clock_hz

    @property
    def contexts(self) -> int:
        """Contexts of the SAD."""
        return self._contexts

    @property
    def replay_window(self) -> int:
        """Width of the anti-replay windows in packets."""
        return self._replay_window

    @property
    def sha_lanes(self) -> int:
        """HMAC messages that are computed at once."""
        return self._sha_lanes

    @property
    def lifetimes(self) -> bool:
        """Packets and octets of each SA are counted."""
        return self._has_lifetimes

    @property
    def flash_base(self) -> int | None:
        """Octet address of the store in the flash; None without a store."""
        return self._flash_base

    @property
    def suites(self) -> tuple[Suite, ...]:
        """The suites built in."""
        return tuple(
            suite
            for suite in suites.built_in(hmac_sha_1=self._hmac_sha_1)
            if self._sha_lanes > 1
            or SUITES[suite].protocol is not Protocol.BOTH
            or SUITES[suite].hash is Hash.NONE
        )

    def elaborate(self, platform):
        m = Module()

        tick_ms = Signal()
        cycles_per_ms = self._clock_hz // 1000
        cycle = Signal(range(cycles_per_ms + 1))
        m.d.sync += [tick_ms.eq(cycle == 1), cycle.eq(cycle - 1)]
        with m.If(cycle == 0):
            m.d.sync += cycle.eq(cycles_per_ms - 1)

        pins = {}
        for name in ("host_reset", "host_sleep", "host_off", "zeroise"):
            pins[name] = Signal(name=f"{name}_in")
            m.submodules[f"synchronise_{name}"] = FFSynchronizer(
                getattr(self, f"pin_{name}"), pins[name]
            )

        m.submodules.control = control = ControlRegisters(
            suites=self.suites,
            ack_ms=self._ack_ms,
            grace_ms=self._grace_ms,
            replay_window=self._replay_window,
            contexts=self._contexts,
            alerts=self._has_alerts,
            lifetimes=self._has_lifetimes,
            learning=self._learning,
        )
        m.submodules.sad = sad = SecurityAssociationDatabase(
            contexts=self._contexts,
            ack_ms=self._ack_ms,
            grace_ms=self._grace_ms,
            suites=self.suites,
            lifetimes=self._has_lifetimes,
        )
        m.submodules.cipher = cipher = CipherUnit(slots=2 * sa.ALL_BANKS)
        m.submodules.hmac = hmac = HmacUnit(
            lanes=self._sha_lanes, slots=4 * sa.ALL_BANKS, sha_1=self._hmac_sha_1
        )
        m.submodules.share = share = EngineShare(lanes=self._sha_lanes, slots=2 * sa.ALL_BANKS)
        m.submodules.parser = parser = FrameParser()
        m.submodules.classifier = classifier = FrameClassifier()
        m.submodules.records = records = SenderRecords()
        m.submodules.host_buffer = host_buffer = PacketFifo(depth=_HOST_BUFFER)
        m.submodules.taken_buffer = taken_buffer = PacketFifo(
            depth=_TAKEN_BUFFER, carries_err=False
        )
        m.submodules.inbound = inbound = InboundPath(
            replay_window=self._replay_window, reserves=self._flash_base is not None
        )
        m.submodules.engine = engine = CommandEngine()
        m.submodules.builder = builder = ReplyBuilder()
        m.submodules.send_buffer = send_buffer = PacketFifo(depth=_SEND_BUFFER)
        m.submodules.arbiter = arbiter = FrameArbiter()
        m.submodules.monitor = monitor = HostMonitor()
        m.submodules.log = log = EventLog()
        m.submodules.power_pins = power_pins = PowerPins()

        zeroise = Signal()
        m.d.sync += zeroise.eq(pins["zeroise"] | engine.zeroise_stb)
        pins["zeroise"] = zeroise
        self._host_side(m, control, sad, monitor, power_pins, pins, tick_ms)
        self._events(m, control, monitor, log, sad, inbound, pins, tick_ms)
        alert = Signal(Reply)
        alert_valid, alert_ready = Signal(), Signal()
        if self._has_alerts:
            m.submodules.alerts = alerts = AlertSender()
            m.d.comb += [
                alert.eq(alerts.reply.payload),
                alert_valid.eq(alerts.reply.valid),
                alerts.reply.ready.eq(alert_ready),
            ]
            self._alerts(m, control, monitor, log, sad, inbound, records, builder, alerts, tick_ms)

        # The clear port, some cycles after what it depends on.
        m.submodules.silence = silence = StationSilence()
        what = control.clear_port.what
        clear_answers, clear_opens, clear_everything = Signal(), Signal(), Signal()
        m.d.comb += [
            silence.tick_ms.eq(tick_ms),
            silence.heard_stb.eq(inbound.prove_stb),
            silence.after_s.eq(control.clear_port.after_s),
            engine.clear_everything.eq(clear_everything),
        ]
        m.d.sync += [
            clear_answers.eq((what == host.ClearPort.DISCOVERY) | clear_everything),
            clear_everything.eq(what == host.ClearPort.EVERYTHING),
            clear_opens.eq(
                (monitor.state == host.HostState.COLD_BOOT)
                | (
                    control.clear_port.unheard
                    & silence.silent
                    & (monitor.state != host.HostState.OS_UP)
                )
            ),
        ]

        # Wire to parser, and by the verdict to the host or to the inbound path.
        wiring.connect(m, wiring.flipped(self.wire_rx), parser.i)
        wiring.connect(m, parser.frame, host_buffer.i)
        wiring.connect(m, host_buffer.o, wiring.flipped(self.host_tx))
        wiring.connect(m, parser.body, taken_buffer.i)
        m.submodules.taken_meta = taken_meta = WordQueue(TakenMeta, depth=_TAKEN_PACKETS)
        m.d.comb += [
            classifier.fields.eq(parser.fields),
            classifier.walked.eq(parser.walked),
            classifier.ended.eq(parser.ended),
            classifier.address.eq(parser.address),
            *(
                classifier.banks[n][name].eq(sad.banks[n][name])
                for n in range(sa.ALL_BANKS)
                for name, _ in BankView
            ),
            *(
                getattr(classifier, name).eq(getattr(sad, name))
                for name in ("peer_stb", "peer_bank", "peer_v6", "peer_index", "peer_octet")
            ),
            parser.release.eq(classifier.release),
            classifier.host_lost.eq(host_buffer.lost),
            host_buffer.commit.eq(classifier.host_commit),
            host_buffer.discard.eq(classifier.host_discard),
            classifier.take_lost.eq(taken_buffer.lost | ~taken_meta.room),
            taken_buffer.commit.eq(classifier.take_commit),
            taken_buffer.discard.eq(classifier.take_discard),
            classifier.host_mac.eq(control.host_mac),
            classifier.host_ip.eq(control.host_ip),
            classifier.host_ip6.eq(control.host_ip6),
            classifier.host_up.eq(monitor.state == host.HostState.OS_UP),
            classifier.clear_allowed.eq(clear_opens & clear_answers),
            classifier.token.eq(records.token),
        ]
        # Held from `take_commit` on, until it is taken.
        with m.If(taken_meta.i.ready):
            m.d.sync += taken_meta.i.valid.eq(0)
        with m.If(taken_meta.i.ready | ~taken_meta.i.valid):
            m.d.sync += taken_meta.i.payload.eq(classifier.taken)
        with m.If(classifier.take_commit):
            m.d.sync += taken_meta.i.valid.eq(1)

        # Inbound.
        m.d.comb += [
            *(inbound.receives[n].eq(bank.receives) for n, bank in enumerate(sad.banks)),
            *(inbound.epoch[n].eq(bank.epoch) for n, bank in enumerate(sad.banks)),
            sad.read_stb.eq(inbound.read_stb),
            sad.read_address.eq(inbound.read_address),
            inbound.read_data.eq(sad.read_data),
            inbound.host_ip.eq(control.host_ip),
            inbound.host_ip6.eq(control.host_ip6),
            sad.prove_stb.eq(inbound.prove_stb),
            sad.prove_bank.eq(inbound.prove_bank),
            sad.prove_octets.eq(inbound.prove_octets),
            sad.sent_stb.eq(builder.sent_stb),
            sad.sent_bank.eq(builder.sent_bank),
            sad.sent_octets.eq(builder.sent_octets),
            inbound.load_stb.eq(sad.load_stb),
            inbound.load_index.eq(sad.load_index),
            inbound.load_edge.eq(sad.load_edge),
        ]
        wiring.connect(m, taken_meta.o, inbound.meta)
        wiring.connect(m, taken_buffer.o, inbound.i)
        wiring.connect(m, inbound.message, engine.meta)
        wiring.connect(m, inbound.o, engine.i)

        self._engines(m, sad, cipher, hmac, share, inbound, builder)
        self._records(m, parser, classifier, records, inbound, builder)
        base = self._flash_base
        if base is None:
            self._bus_to_sad(m, control, sad)
            m.d.comb += [
                sad.send_stb.eq(builder.send_stb),
                builder.send_exhausted.eq(sad.send_exhausted),
                builder.send_done.eq(sad.send_done),
            ]
        else:
            self._store(m, base, control, sad, inbound, builder, pins, tick_ms)

        # Command engine, pins.
        m.d.comb += [
            engine.enterprise.eq(control.enterprise),
            sad.asked_bank.eq(engine.asked_bank),
            engine.bank_states.eq(sad.asked_states),
            engine.bank_spis.eq(sad.asked_spis),
            engine.host_state.eq(monitor.state),
            engine.host_off.eq(pins["host_off"]),
            engine.host_sleep.eq(pins["host_sleep"]),
            engine.watchdog_expired.eq(monitor.watchdog_expired),
            sad.commit_stb.eq(engine.commit_stb),
            sad.commit_spi.eq(engine.commit_spi),
            engine.commit_result.eq(sad.commit_result),
            engine.commit_bank.eq(sad.commit_bank),
            engine.commit_epoch.eq(
                Mux(sad.commit_bank[0], sad.asked_epochs[1], sad.asked_epochs[0])
            ),
            *(
                getattr(control, name).eq(getattr(engine, name))
                for name in ("boot_stb", "boot_valid", "boot")
            ),
            power_pins.stb.eq(engine.power_stb),
            power_pins.action.eq(engine.power_action),
            self.tap.payload.eq(engine.tap.payload),
            self.tap.valid.eq(engine.tap.valid),
        ]

        # Replies: who asks for the host's MAC address first, it is one frame and the asker waits
        # with others. Its record is free for the next one only when the builder is done.
        asked, asked_v6, asked_to_all = Signal(), Signal(), Signal()
        asked_tags = Signal(2)
        m.d.comb += classifier.asked_room.eq(~asked)
        with m.If(classifier.asked_stb):
            m.d.sync += [
                asked.eq(1),
                asked_v6.eq(classifier.asked_v6),
                asked_to_all.eq(classifier.asked_to_all),
                asked_tags.eq(classifier.taken.tags),
            ]
        turn_is_address, turn_is_alert = Signal(), Signal()
        m.d.comb += [
            builder.host_mac.eq(control.host_mac),
            builder.host_ip.eq(control.host_ip),
            builder.host_ip6.eq(control.host_ip6),
            builder.receives.eq(inbound.receives),
            builder.epoch.eq(inbound.epoch),
            *(
                getattr(sad, name).eq(getattr(builder, name))
                for name in ("send_bank", "send_takes")
            ),
            builder.sends.eq(sad.sends),
        ]
        # A cycle late, which is long before the builder has a frame in it.
        m.d.sync += builder.room.eq(send_buffer.level <= _SEND_BUFFER - _SEND_FRAME_MAX)
        # Whose turn it is, a cycle before it is used. Who waits for the builder keeps it; alerts
        # come last: whoever asked does not wait for more than one of them.
        with m.If(~builder.reply.valid | builder.reply.ready):
            m.d.sync += [
                turn_is_address.eq(asked & records.keep_ready & ~turn_is_address),
                turn_is_alert.eq(alert_valid & ~engine.reply.valid & ~asked & ~turn_is_alert),
            ]
        m.d.comb += builder.reply.payload.eq(engine.reply.payload)
        with m.If(turn_is_address):
            m.d.comb += [
                builder.reply.valid.eq(asked),
                builder.reply.payload.kind.eq(Mux(asked_v6, ReplyKind.NEIGHBOUR, ReplyKind.ARP)),
                builder.reply.payload.token.eq(ASKER_TOKEN),
                builder.reply.payload.v6.eq(asked_v6),
                builder.reply.payload.tags.eq(asked_tags),
                builder.reply.payload.alert.eq(0),
                builder.reply.payload.to_all.eq(asked_to_all),
                builder.reply.payload.octets.eq(_ADVERTISED_OCTETS),
            ]
            with m.If(builder.reply.ready):
                m.d.sync += asked.eq(0)
        with m.Elif(turn_is_alert):
            m.d.comb += [
                builder.reply.valid.eq(alert_valid),
                *(
                    builder.reply.payload[name].eq(alert[name])
                    for name, _ in Reply
                    if name != "payload"
                ),
                alert_ready.eq(builder.reply.ready),
            ]
        with m.Else():
            m.d.comb += [
                builder.reply.valid.eq(engine.reply.valid),
                engine.reply.ready.eq(builder.reply.ready),
            ]
        wiring.connect(m, builder.o, send_buffer.i)
        m.d.comb += [
            send_buffer.commit.eq(builder.commit),
            send_buffer.discard.eq(builder.discard),
        ]
        wiring.connect(m, send_buffer.o, arbiter.urgent)
        wiring.connect(m, wiring.flipped(self.host_rx), arbiter.normal)
        if self._learning:
            m.submodules.learner = learner = AddressLearner()
            m.d.comb += [
                learner.stb.eq(self.host_rx.valid & self.host_rx.ready),
                learner.beat.eq(self.host_rx.payload),
                learner.arp.eq(control.learns_arp),
                learner.neighbour.eq(control.learns_neighbour),
                learner.host_mac.eq(control.host_mac),
                control.learnt_stb.eq(learner.w_stb),
                control.learnt_v6.eq(learner.w_v6),
                control.learnt_number.eq(learner.w_number),
                control.learnt.eq(learner.w_data),
            ]
        m.submodules.wire_buffer = wire_buffer = SkidBuffer(PacketBeat)
        wiring.connect(m, arbiter.o, wire_buffer.i)
        wiring.connect(m, wire_buffer.o, wiring.flipped(self.wire_tx))

        # Each packet that is taken ends in one of these, and so does every other frame.
        sources = (classifier.count, inbound.count[0], inbound.count[1], engine.count)
        m.submodules.counters = counters = CounterFile(sources=len(sources))
        m.d.comb += [
            counters.index.eq(control.counter),
            control.counter_value.eq(counters.value),
            *(counters.count[n].eq(source) for n, source in enumerate(sources)),
        ]
        return m

    def _host_side(self, m, control, sad, monitor, power_pins, pins, tick_ms):
        """Registers, host state and pins."""
        wiring.connect(m, wiring.flipped(self.bus), control.bus)
        # A flip-flop of its own, for it goes to all banks.
        m.d.sync += sad.zeroise_all.eq(pins["zeroise"])
        status = control.host_status
        m.d.comb += [
            status.state.eq(monitor.state),
            status.watchdog_expired.eq(monitor.watchdog_expired),
            status.reset_in.eq(pins["host_reset"]),
            status.sleep_in.eq(pins["host_sleep"]),
            status.off_in.eq(pins["host_off"]),
            status.reset_out.eq(power_pins.reset),
            status.power_out.eq(power_pins.power),
            control.sa_states.eq(sad.states),
            control.sa_busy.eq(sad.busy),
            *(control.sa_spi_in[n].eq(sad.banks[n].spi_in) for n in range(sa.ALL_BANKS)),
            control.sa_soft.eq(sad.soft),
            control.sa_hard.eq(sad.hard),
            sad.lifetime_stb.eq(control.lifetime_stb),
            sad.lifetime_select.eq(control.lifetime_select),
            control.lifetime.eq(sad.lifetime),
            control.lifetime_asked.eq(sad.lifetime_asked),
            control.zeroise.eq(pins["zeroise"]),
            sad.station_authorised.eq(control.station_authorised),
            sad.tick_ms.eq(tick_ms),
            monitor.window_ms.eq(control.window_ms),
            monitor.alive_stb.eq(control.alive_stb),
            monitor.firmware_stb.eq(control.firmware_stb),
            monitor.stop_stb.eq(control.stop_stb),
            monitor.told_stb.eq(control.told_stb),
            monitor.told.eq(control.told),
            control.progress.eq(monitor.progress),
            monitor.tick_ms.eq(tick_ms),
            monitor.reset_in.eq(pins["host_reset"]),
            monitor.sleep_in.eq(pins["host_sleep"]),
            monitor.off_in.eq(pins["host_off"]),
            monitor.any_proven.eq(sad.any_proven),
            power_pins.off_in.eq(pins["host_off"]),
            power_pins.sleep_in.eq(pins["host_sleep"]),
            power_pins.tick_ms.eq(tick_ms),
            self.pin_reset.eq(power_pins.reset),
            self.pin_power.eq(power_pins.power),
        ]

    @staticmethod
    def _events(m, control, monitor, log, sad, inbound, pins, tick_ms):
        """What is noted in the log of events."""
        m.d.comb += [
            log.tick_ms.eq(tick_ms),
            log.state.eq(monitor.state),
            log.hung_stb.eq(monitor.hung_stb),
            log.hang_stb.eq(monitor.hang_stb),
            log.boot_stbs.eq(monitor.boot_stbs),
            log.code.eq(monitor.progress.code),
            log.icv_stb.eq(inbound.count[1][Counter.DROP_ICV]),
            log.zeroise.eq(pins["zeroise"]),
            log.bank_stbs.eq(Cat(sad.soft_stb, sad.hard_stb)),
            log.bank.eq(sad.told_bank),
            log.select.eq(control.event_select),
            control.event_number.eq(log.number),
            control.event.eq(log.selected),
        ]

    @staticmethod
    def _alerts(m, control, monitor, log, sad, inbound, records, builder, alerts, tick_ms):
        """What alerts are made of, and where they go."""
        m.d.comb += [
            alerts.tick_ms.eq(tick_ms),
            alerts.enabled.eq(control.alerts_enabled),
            alerts.clear.eq(control.alerts_clear & ~control.clear_off),
            alerts.heartbeat_s.eq(control.alerts_heartbeat_s),
            alerts.number.eq(log.number),
            log.take.eq(alerts.take),
            alerts.event.eq(log.taken),
            control.events_lost.eq(alerts.lost),
            alerts.state.eq(monitor.state),
            alerts.learn_stb.eq(inbound.message.valid & inbound.message.ready),
            alerts.learn.eq(inbound.message.payload),
            *(
                alerts.proven[n].eq(sad.states[n] == sa.BankState.PROVEN)
                for n in range(sa.ALL_BANKS)
            ),
            *(alerts.epoch[n].eq(bank.epoch) for n, bank in enumerate(sad.banks)),
            alerts.agent.eq(control.host_ip),
            alerts.enterprise.eq(control.enterprise),
            records.held.eq(alerts.held),
            alerts.index.eq(builder.alert_index),
            builder.alert_data.eq(alerts.data),
            builder.alert_ticks.eq(alerts.ticks_octets),
        ]

    @staticmethod
    def _bus_to_sad(m, control, sad):
        """The host's bus to the SAD, where no store is between."""
        m.d.comb += [
            sad.stage_stb.eq(control.stage_stb),
            sad.stage_address.eq(control.address),
            sad.stage_data.eq(control.data),
            sad.command_stb.eq(control.command_stb),
            sad.command.eq(control.data),
            sad.context.eq(control.context),
            control.sa_result.eq(sad.result),
        ]

    def _store(self, m, base, control, sad, inbound, builder, pins, tick_ms):
        """The store between them: first it has the SAD alone, and numbers go by its leave."""
        m.submodules.keeper = keeper = StoreKeeper(
            half_cycles=max(2, -(-self._clock_hz // (2 * _FLASH_HZ_MAX))), base=base
        )
        restoring = Signal()
        held = Signal(data.StructLayout({"address": ADDRESS_BITS, "data": 32}))
        m.d.comb += [
            restoring.eq(keeper.restoring),
            self.flash_sck.eq(keeper.sck),
            self.flash_cs_n.eq(keeper.cs_n),
            self.flash_mosi.eq(keeper.mosi),
            keeper.miso.eq(self.flash_miso),
            keeper.tick_ms.eq(tick_ms),
            keeper.zeroise.eq(pins["zeroise"]),
            keeper.keeps.eq(control.keeps_sa),
            *(keeper.states[n].eq(sad.states[n]) for n in range(sa.ALL_BANKS)),
            keeper.wipe.eq(sad.wipe),
            keeper.sad_busy.eq(sad.busy),
            keeper.result.eq(sad.result),
            sad.images_busy.eq(keeper.images_busy),
            sad.restored.eq(restoring),
            inbound.load_full.eq(restoring),
            sad.stage_stb.eq(Mux(restoring, keeper.stage_stb, control.stage_stb)),
            sad.stage_address.eq(Mux(restoring, keeper.stage_address, control.address)),
            sad.stage_data.eq(Mux(restoring, keeper.stage_data, control.data)),
            sad.command_stb.eq(Mux(restoring, keeper.command_stb, control.command_stb)),
            sad.command.eq(Mux(restoring, keeper.command, control.data)),
            sad.context.eq(Mux(restoring, keeper.context, control.context)),
            control.sa_result.eq(Mux(restoring, sa.SadResult.BUSY, sad.result)),
            keeper.held_stb.eq(sad.held_stb),
            keeper.held_bank.eq(sad.held_bank),
            keeper.held_address.eq(held.address),
            keeper.held_data.eq(held.data),
            keeper.config_save_stb.eq(control.store_save_stb),
            control.config_index.eq(keeper.config_index),
            keeper.config_word.eq(control.config_word),
            control.config_stb.eq(keeper.config_stb),
            control.config_data.eq(keeper.config_data),
            *(
                getattr(control.store_status, name).eq(getattr(keeper.status, name))
                for name, _ in STATUS
            ),
            inbound.hopeless.eq(keeper.hopeless),
            *(
                getattr(keeper, name).eq(getattr(inbound, name))
                for name in ("ask_stb", "ask_bank", "ask_outer", "ask_number")
            ),
            inbound.ask_done.eq(keeper.ask_done),
            keeper.send_stb.eq(builder.send_stb),
            keeper.send_bank.eq(builder.send_bank),
            sad.send_stb.eq(keeper.send_go),
            keeper.sent_stb.eq(sad.send_done),
            keeper.sent_taken.eq(~sad.send_exhausted),
            keeper.sent_both.eq(sad.sends.suite.protocol == SuiteProtocol.BOTH),
            keeper.sent_number.eq(sad.sends.tx_sequence),
            keeper.sent_outer_number.eq(sad.sends.ah_tx_sequence),
            builder.send_done.eq(sad.send_done | keeper.send_refused),
            builder.send_exhausted.eq(sad.send_exhausted | keeper.send_refused),
        ]
        m.d.sync += [held.address.eq(sad.stage_address), held.data.eq(sad.stage_data)]

    def _engines(self, m, sad, cipher, hmac, share, inbound, builder):
        """Keys to the stores, and the engines to both directions."""
        m.d.comb += [
            cipher.write.eq(sad.key_write),
            cipher.expand.eq(sad.key_expand),
            cipher.zeroise.eq(sad.key_zeroise),
            sad.keys_busy.eq(cipher.busy | cipher.zeroising),
            hmac.write.eq(sad.auth_write),
            hmac.expand.eq(sad.auth_expand),
            hmac.zeroise.eq(sad.auth_zeroise),
            sad.auth_busy.eq(hmac.busy | hmac.zeroising),
        ]
        for name in ("job", "i"):
            wiring.connect(m, getattr(share, name), getattr(cipher, name))
        for name in ("o", "tag"):
            wiring.connect(m, getattr(cipher, name), getattr(share, name))
        for n in range(self._sha_lanes):
            wiring.connect(m, getattr(share, f"lane_job_{n}"), getattr(hmac, f"job_{n}"))
            wiring.connect(m, getattr(share, f"lane_i_{n}"), getattr(hmac, f"i_{n}"))
            wiring.connect(m, getattr(hmac, f"tag_{n}"), getattr(share, f"lane_tag_{n}"))
        for name, user in (("inbound", inbound), ("outbound", builder)):
            wiring.connect(m, user.cipher_job, getattr(share, f"{name}_job"))
            wiring.connect(m, user.cipher_i, getattr(share, f"{name}_i"))
            wiring.connect(m, getattr(share, f"{name}_o"), user.cipher_o)
            wiring.connect(m, getattr(share, f"{name}_tag"), user.cipher_tag)
        for port, user, name in (
            ("main", inbound, "main_auth"),
            ("outer", inbound, "outer_auth"),
            ("outbound", builder, "auth"),
        ):
            wiring.connect(m, getattr(user, f"{name}_job"), getattr(share, f"{port}_auth_job"))
            wiring.connect(m, getattr(user, f"{name}_i"), getattr(share, f"{port}_auth_i"))
            wiring.connect(m, getattr(share, f"{port}_auth_tag"), getattr(user, f"{name}_tag"))

    @staticmethod
    def _records(m, parser, classifier, records, inbound, builder):
        """Senders' addresses, from the headers to the answer."""
        m.d.comb += [
            records.write_stb.eq(parser.record.stb),
            records.write_offset.eq(parser.record.offset),
            records.write_data.eq(parser.record.data),
            records.taken.eq(classifier.take_commit),
            records.asked.eq(classifier.asked_stb),
            records.keep.eq(inbound.keep),
            records.keep_token.eq(inbound.keep_token),
            inbound.keep_ready.eq(records.keep_ready),
            inbound.kept.eq(records.kept),
            records.inner_stb.eq(inbound.inner_stb),
            records.inner_token.eq(inbound.inner_token),
            records.inner_offset.eq(inbound.inner_offset),
            records.inner_data.eq(inbound.inner_data),
            records.read_token.eq(builder.record_token),
            records.read_inner.eq(builder.record_inner),
            records.read_offset.eq(builder.record_offset),
            builder.record_data.eq(records.read_data),
        ]
