"""The NIC: everything between the two MACs, the register bus and the pins, without a board."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hw.crypto import GcmUnit
from hw.eth.arbiter import FrameArbiter
from hw.eth.fifo import PacketFifo
from hw.host.monitor import HostMonitor
from hw.host.power_pins import PowerPins
from hw.host.registers import BusSignature, RegisterBank
from hw.ipsec.esp_in import EspInbound, MessageMeta
from hw.ipsec.gcm_share import GcmShare
from hw.ipsec.sad import SecurityAssociationDatabase
from hw.ipsec.window import ReplayWindow
from hw.mgmt.command_engine import CommandEngine
from hw.net.classifier import FrameClassifier, TakenMeta
from hw.net.parser import FrameParser
from hw.net.reply import ReplyBuilder, ReplyKind
from hw.stream import PacketBeat, PacketSignature, SkidBuffer
from spec import headers, host, registers, sa
from spec.counters import Counter
from spec.layout import Access
from spec.registers import BY_NAME
from spec.suites import SUITES

__all__ = ["Nic"]

_HOST_BUFFER = 4096
_TAKEN_BUFFER = 4096
_TAKEN_PACKETS = 16
_PLAIN_BUFFER = 2048
_PLAIN_MESSAGES = 8
_SEND_BUFFER = 512
_SEND_FRAME_MAX = 160


class Nic(wiring.Component):
    """The whole NIC in one clock domain, one octet per cycle on each of its four streams.

    From `wire_rx` a frame goes, by the verdict of the classifier, to `host_tx` bit for bit, to the
    inbound path, or nowhere; each ends under exactly one counter. `wire_rx` is never stalled
    inside a frame, and for at most eight cycles after it. Frames of `host_rx` go to `wire_tx`
    unchanged, between whole frames of the NIC's own.

    Parameters
    ----------
    clock_hz : int
        Frequency of the clock; at least 1000.
    ack_ms, grace_ms : int
        Acknowledge timer and grace of the SAD, in milliseconds.
    replay_window : int
        Width of the anti-replay window in packets, a power of two from 8 to 1024.

    Attributes
    ----------
    pin_reset, pin_power : Signal, out
        To the host's reset and power button, active high.
    pin_host_reset, pin_host_sleep, pin_host_off, pin_zeroise : Signal, in
        From the host and from the board's own button; active high, not synchronised.
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
        replay_window: int = sa.REPLAY_WINDOW,
    ):
        if clock_hz < 1000:
            raise ValueError(f"clock_hz must be at least 1000, not {clock_hz}")
        self._clock_hz = clock_hz
        self._ack_ms = ack_ms
        self._grace_ms = grace_ms
        self._replay_window = replay_window
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
                "tap": Out(PacketSignature()),
            }
        )

    @property
    def clock_hz(self) -> int:
        """Frequency of the clock."""
        return self._clock_hz

    @property
    def replay_window(self) -> int:
        """Width of the anti-replay window in packets."""
        return self._replay_window

    def elaborate(self, platform):
        m = Module()

        tick_ms = Signal()
        cycles_per_ms = self._clock_hz // 1000
        cycle = Signal(range(cycles_per_ms + 1))
        m.d.comb += tick_ms.eq(cycle == 0)
        m.d.sync += cycle.eq(cycle - 1)
        with m.If(tick_ms):
            m.d.sync += cycle.eq(cycles_per_ms - 1)

        pins = {}
        for name in ("host_reset", "host_sleep", "host_off", "zeroise"):
            pins[name] = Signal(name=f"{name}_in")
            m.submodules[f"synchronise_{name}"] = FFSynchronizer(
                getattr(self, f"pin_{name}"), pins[name]
            )

        m.submodules.registers = regs = RegisterBank()
        m.submodules.sad = sad = SecurityAssociationDatabase(
            ack_ms=self._ack_ms, grace_ms=self._grace_ms
        )
        m.submodules.window = window = ReplayWindow(banks=sa.BANKS, window=self._replay_window)
        m.submodules.gcm = gcm = GcmUnit(slots=2 * sa.BANKS)
        m.submodules.share = share = GcmShare()
        m.submodules.parser = parser = FrameParser()
        m.submodules.classifier = classifier = FrameClassifier()
        m.submodules.host_buffer = host_buffer = PacketFifo(depth=_HOST_BUFFER)
        m.submodules.taken_buffer = taken_buffer = PacketFifo(depth=_TAKEN_BUFFER)
        m.submodules.esp_in = esp_in = EspInbound()
        m.submodules.plain_buffer = plain_buffer = PacketFifo(depth=_PLAIN_BUFFER)
        m.submodules.engine = engine = CommandEngine()
        m.submodules.builder = builder = ReplyBuilder()
        m.submodules.send_buffer = send_buffer = PacketFifo(depth=_SEND_BUFFER)
        m.submodules.arbiter = arbiter = FrameArbiter()
        m.submodules.monitor = monitor = HostMonitor()
        m.submodules.power_pins = power_pins = PowerPins()

        registers_of = self._registers(m, regs, sad, monitor, power_pins, pins)

        # Wire to parser, and by the verdict to the host or to the inbound path.
        wiring.connect(m, wiring.flipped(self.wire_rx), parser.i)
        wiring.connect(m, parser.frame, host_buffer.i)
        wiring.connect(m, host_buffer.o, wiring.flipped(self.host_tx))
        wiring.connect(m, parser.body, taken_buffer.i)
        m.submodules.taken_meta = taken_meta = SyncFIFOBuffered(
            width=TakenMeta.size, depth=_TAKEN_PACKETS
        )
        m.d.comb += [
            classifier.fields.eq(parser.fields),
            classifier.walked.eq(parser.walked),
            classifier.ended.eq(parser.ended),
            parser.release.eq(classifier.release),
            classifier.host_lost.eq(host_buffer.lost),
            host_buffer.commit.eq(classifier.host_commit),
            host_buffer.discard.eq(classifier.host_discard),
            classifier.take_lost.eq(taken_buffer.lost | ~taken_meta.w_rdy),
            taken_buffer.commit.eq(classifier.take_commit),
            taken_buffer.discard.eq(classifier.take_discard),
            classifier.host_mac.eq(registers_of["host_mac"]),
            classifier.host_ip.eq(registers_of["host_ip"]),
            classifier.host_up.eq(monitor.state == host.HostState.OS_UP),
            classifier.clear_allowed.eq(
                (monitor.state == host.HostState.COLD_BOOT) & ~registers_of["clear_off"]
            ),
            classifier.banks.eq(sad.views),
        ]

        m.d.sync += [
            taken_meta.w_en.eq(classifier.take_commit),
            taken_meta.w_data.eq(classifier.taken),
        ]

        # Inbound ESP.
        wiring.connect(m, taken_buffer.o, esp_in.i)
        wiring.connect(m, esp_in.plain, plain_buffer.i)
        m.submodules.messages = messages = SyncFIFOBuffered(
            width=MessageMeta.size, depth=_PLAIN_MESSAGES
        )
        m.d.comb += [
            esp_in.meta.payload.eq(taken_meta.r_data),
            esp_in.meta.valid.eq(taken_meta.r_rdy),
            taken_meta.r_en.eq(esp_in.meta.ready),
            esp_in.keys.eq(sad.keys),
            plain_buffer.commit.eq(esp_in.plain_commit),
            plain_buffer.discard.eq(esp_in.plain_discard),
            esp_in.plain_lost.eq(plain_buffer.lost),
            esp_in.message_room.eq(messages.w_rdy),
            sad.prove_stb.eq(esp_in.prove_stb),
            sad.prove_bank.eq(esp_in.prove_bank),
            window.bank.eq(esp_in.window_bank),
            window.esn.eq(esp_in.window_esn),
            window.sequence.eq(esp_in.window_sequence),
            window.check_stb.eq(esp_in.window_check_stb),
            window.update_stb.eq(esp_in.window_update_stb),
            esp_in.window_busy.eq(window.busy),
            esp_in.window_high.eq(window.high),
            esp_in.window_old.eq(window.old),
            esp_in.window_duplicate.eq(window.duplicate),
            window.load_stb.eq(sad.load_stb),
            window.load_bank.eq(sad.load_bank),
            window.load_edge.eq(sad.load_edge),
        ]
        m.d.sync += [
            messages.w_en.eq(esp_in.plain_commit),
            messages.w_data.eq(esp_in.message),
        ]
        for name, user, text, out in (
            ("inbound", esp_in, esp_in.text, esp_in.plaintext),
            ("outbound", builder, builder.text, builder.ciphertext),
        ):
            wiring.connect(m, user.job, getattr(share, f"{name}_job"))
            wiring.connect(m, text, getattr(share, f"{name}_i"))
            wiring.connect(m, getattr(share, f"{name}_o"), out)
            wiring.connect(m, getattr(share, f"{name}_tag"), user.tag)
        wiring.connect(m, share.job, gcm.job)
        wiring.connect(m, share.i, gcm.i)
        wiring.connect(m, gcm.o, share.o)
        wiring.connect(m, gcm.tag, share.tag)
        m.d.comb += [
            gcm.write.stb.eq(sad.key_write_stb),
            gcm.write.slot.eq(sad.key_write_slot),
            gcm.write.index.eq(sad.key_write_index),
            gcm.write.data.eq(sad.key_write_data),
            gcm.expand.stb.eq(sad.expand_stb),
            gcm.expand.slot.eq(sad.expand_slot),
            gcm.expand.aes256.eq(sad.expand_aes256),
            gcm.zeroise.stb.eq(sad.zeroise_stb),
            gcm.zeroise.slot.eq(sad.zeroise_slot),
            sad.keys_busy.eq(gcm.busy | gcm.zeroising),
        ]

        # Command engine, pins.
        wiring.connect(m, plain_buffer.o, engine.i)
        m.d.comb += [
            engine.meta.payload.eq(messages.r_data),
            engine.meta.valid.eq(messages.r_rdy),
            messages.r_en.eq(engine.meta.ready),
            engine.enterprise.eq(registers_of["enterprise"]),
            engine.bank_states.eq(sad.states),
            *(engine.bank_spis[n].eq(sad.views[n].spi) for n in range(sa.BANKS)),
            engine.host_state.eq(monitor.state),
            engine.host_off.eq(pins["host_off"]),
            engine.host_sleep.eq(pins["host_sleep"]),
            engine.watchdog_expired.eq(monitor.watchdog_expired),
            sad.commit_stb.eq(engine.commit_stb),
            sad.commit_spi.eq(engine.commit_spi),
            sad.commit_under.eq(engine.commit_under),
            engine.commit_result.eq(sad.commit_result),
            engine.commit_bank.eq(sad.commit_bank),
            power_pins.stb.eq(engine.power_stb),
            power_pins.action.eq(engine.power_action),
            power_pins.off_in.eq(pins["host_off"]),
            power_pins.sleep_in.eq(pins["host_sleep"]),
            power_pins.tick_ms.eq(tick_ms),
            self.pin_reset.eq(power_pins.reset),
            self.pin_power.eq(power_pins.power),
            self.tap.payload.eq(engine.tap.payload),
            self.tap.valid.eq(engine.tap.valid),
            sad.tick_ms.eq(tick_ms),
            sad.zeroise_all.eq(pins["zeroise"]),
            monitor.tick_ms.eq(tick_ms),
            monitor.reset_in.eq(pins["host_reset"]),
            monitor.sleep_in.eq(pins["host_sleep"]),
            monitor.off_in.eq(pins["host_off"]),
            monitor.any_proven.eq(sad.any_proven),
        ]

        # Replies: ARP first, it is one frame and the asker waits with others.
        asked = Signal()
        asker = Signal.like(classifier.arp)
        m.d.comb += classifier.arp_room.eq(~asked)
        with m.If(classifier.arp_stb):
            m.d.sync += [asked.eq(1), asker.eq(classifier.arp)]
        turn_is_arp = Signal()
        in_turn = Signal()
        m.d.comb += [
            builder.host_mac.eq(registers_of["host_mac"]),
            builder.host_ip.eq(registers_of["host_ip"]),
            builder.keys.eq(sad.keys),
            sad.tx_stb.eq(builder.tx_stb),
            sad.tx_bank.eq(builder.tx_bank),
        ]
        # A cycle late, which is long before the builder has a frame in it.
        m.d.sync += builder.room.eq(send_buffer.level <= _SEND_BUFFER - _SEND_FRAME_MAX)
        m.d.sync += in_turn.eq(builder.reply.valid & ~builder.reply.ready)
        turn_was_arp = Signal()
        m.d.sync += turn_was_arp.eq(turn_is_arp)
        with m.If(in_turn):
            m.d.comb += turn_is_arp.eq(turn_was_arp)
        with m.Else():
            m.d.comb += turn_is_arp.eq(asked)
        with m.If(turn_is_arp):
            m.d.comb += [
                builder.reply.valid.eq(asked),
                builder.reply.payload.kind.eq(ReplyKind.ARP),
                builder.reply.payload.mac.eq(asker.mac),
                builder.reply.payload.ip.eq(asker.ip),
            ]
            with m.If(builder.reply.ready):
                m.d.sync += asked.eq(0)
        with m.Else():
            m.d.comb += [
                builder.reply.valid.eq(engine.reply.valid),
                builder.reply.payload.eq(engine.reply.payload),
                engine.reply.ready.eq(builder.reply.ready),
            ]
        wiring.connect(m, builder.o, send_buffer.i)
        m.d.comb += [
            send_buffer.commit.eq(builder.commit),
            send_buffer.discard.eq(builder.discard),
        ]
        wiring.connect(m, send_buffer.o, arbiter.urgent)
        wiring.connect(m, wiring.flipped(self.host_rx), arbiter.normal)
        m.submodules.wire_buffer = wire_buffer = SkidBuffer(PacketBeat)
        wiring.connect(m, arbiter.o, wire_buffer.i)
        wiring.connect(m, wire_buffer.o, wiring.flipped(self.wire_tx))

        # Counters: each reason comes from one place, but for those that two may raise at once.
        sources = (classifier.count, esp_in.count, engine.count)
        for counter in Counter:
            strobes = Signal(len(sources), name=f"count_{counter.name.lower()}")
            value = Signal(32, name=f"counter_{counter.name.lower()}")
            m.d.sync += strobes.eq(Cat(source[counter] for source in sources))
            m.d.sync += value.eq(value + sum(strobes))
            m.d.comb += regs.values.counters[counter].eq(value)
        return m

    def _registers(self, m, regs, sad, monitor, power_pins, pins):
        """Connects the register bank; returns what the packet path needs of it."""
        wiring.connect(m, wiring.flipped(self.bus), regs.bus)
        values = regs.values
        constants = {
            "id": registers.ID_MAGIC,
            "map_hash": registers.MAP_HASH,
            "version": registers.VERSION,
            "suites": sum(1 << suite for suite in SUITES),
            "packet_max": headers.IP_MAX_OCTETS,
            "ack_ms": self._ack_ms,
            "grace_ms": self._grace_ms,
        }
        for name, value in constants.items():
            m.d.comb += values[name][0].eq(value)

        def fields(name, **parts):
            for field in BY_NAME[name].fields:
                part = Signal(field.width, name=f"{name.lower()}_{field.name}")
                m.d.comb += part.eq(parts.pop(field.name))
                target = values[name.lower()][0][field.lsb : field.lsb + field.width]
                m.d.comb += target.eq(part)
            if parts:
                raise KeyError(f"register {name} has no field {sorted(parts)}")

        fields("LIMITS", contexts=sa.CONTEXTS, banks=sa.BANKS, window=self._replay_window, lanes=1)
        fields(
            "HOST_STATUS",
            state=monitor.state,
            watchdog_expired=monitor.watchdog_expired,
            reset_in=pins["host_reset"],
            sleep_in=pins["host_sleep"],
            off_in=pins["host_off"],
            reset_out=power_pins.reset,
            power_out=power_pins.power,
        )
        fields("SA_STATUS", bank_a=sad.states[0], bank_b=sad.states[1], busy=sad.busy)
        m.d.comb += values.sa_result[0].eq(sad.result)
        for n in range(sa.BANKS):
            m.d.comb += values.sa_spi_in[n].eq(sad.views[n].spi)

        stored = {}
        for name in ("HOST_MAC_HI", "HOST_MAC_LO", "HOST_IP", "ENTERPRISE"):
            register = BY_NAME[name]
            stored[name] = Signal(32, name=name.lower(), init=register.reset)
            with m.If(regs.stb[name.lower()]):
                m.d.sync += stored[name].eq(regs.data)
            m.d.comb += values[name.lower()][0].eq(stored[name])
        m.d.comb += values.host_mac_hi[0][16:].eq(0)

        # Policy only tightens, until everything is zeroised
        policy = Signal(sum(field.width for field in BY_NAME["POLICY"].fields))
        with m.If(pins["zeroise"]):
            m.d.sync += policy.eq(0)
        with m.Elif(regs.stb.policy):
            m.d.sync += policy.eq(policy | regs.data)
        m.d.comb += [values.policy[0].eq(policy), sad.station_authorised.eq(policy[0])]

        window_ms = Signal(20, init=host.HEARTBEAT_MS_DEFAULT)
        with m.If(regs.stb.heartbeat_ms):
            with m.If(regs.data < host.HEARTBEAT_MS_MIN):
                m.d.sync += window_ms.eq(host.HEARTBEAT_MS_MIN)
            with m.Elif(regs.data > host.HEARTBEAT_MS_MAX):
                m.d.sync += window_ms.eq(host.HEARTBEAT_MS_MAX)
            with m.Else():
                m.d.sync += window_ms.eq(regs.data)
        m.d.comb += [
            values.heartbeat_ms[0].eq(window_ms),
            monitor.window_ms.eq(window_ms),
            monitor.alive_stb.eq(regs.stb.heartbeat & (regs.data == host.HEARTBEAT_MAGIC)),
            monitor.stop_stb.eq(regs.stb.heartbeat & (regs.data == host.HEARTBEAT_STOP)),
        ]

        stage_stb = Const(0)
        for register in registers.REGISTERS:
            if register.access is Access.WO and register.name.startswith("STAGE_"):
                stage_stb = stage_stb | regs.stb[register.name.lower()].any()
        m.d.comb += [
            sad.stage_stb.eq(stage_stb),
            sad.stage_address.eq(regs.address),
            sad.stage_data.eq(regs.data),
            sad.command_stb.eq(regs.stb.sa_command),
            sad.command.eq(regs.data),
        ]
        return {
            "host_mac": Cat(stored["HOST_MAC_LO"], stored["HOST_MAC_HI"][:16]),
            "host_ip": stored["HOST_IP"],
            "enterprise": stored["ENTERPRISE"],
            "clear_off": policy[1],
        }
