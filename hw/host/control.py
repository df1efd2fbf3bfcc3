"""What the registers of the host's bus mean: status in, settings and commands out."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.host.events import EventWord
from hw.host.monitor import BootWord
from hw.host.registers import BusSignature, RegisterBank
from hw.ipsec.layouts import BootRequest, LifetimeSelect
from spec import headers, host, pet, registers, sa
from spec.counters import COUNTER_COUNT
from spec.registers import ADDRESS_BITS, BOOT_TAKEN_MAGIC, BY_NAME
from spec.store import CONFIG_WORDS
from spec.suites import Suite

__all__ = ["ControlRegisters"]


class ControlRegisters(wiring.Component):
    """The register map of one NIC.

    Parameters
    ----------
    suites : tuple of Suite
        What is built in.
    ack_ms, grace_ms, replay_window, contexts : int
        As of the SAD and the windows; only told here.
    lifetimes : bool
        As of the SAD; only told here.
    alerts : bool
        They are built in; else ALERTS stays 0.
    learning : bool
        HOST_LEARN is built in; else it stays 0.

    Attributes
    ----------
    bus : BusSignature, in
    counter : Signal, out; counter_value : Signal, in
        To the counters' memory.
    host_status : struct, in
        Fields of HOST_STATUS.
    sa_states, sa_busy, sa_result, sa_spi_in : Signal, in
        Of the SAD, states and SPIs of each bank.
    sa_soft, sa_hard : Signal, in
        Of each bank, that a limit of its lifetime is reached.
    lifetime_stb, lifetime_select : out; lifetime, lifetime_asked : Signal, in
        SA_LIFETIME: to the SAD and back, as in `BankLifetimes`.
    context : Signal, out
        SA_CONTEXT.
    store_status : struct, in
        Fields of STORE_STATUS.
    store_save_stb : Signal, out
        A write of STORE_SAVE_CONFIG.
    config_index : Signal, in; config_word : Signal, out
        A word of spec.store.CONFIG_WORDS.
    config_stb, config_data : Signal, in
        That word comes back from the store, which is like a write of the bus.
    zeroise : Signal, in
        Empties POLICY and the BOOT registers as long as it is 1.
    boot_stb, boot_valid, boot : Signal, in
        What a power command asks of the firmware: the BOOT registers, or that they be emptied.
        `boot_valid` and `boot` are still there in the cycle after the strobe.
    host_mac, host_ip, host_ip6, enterprise, window_ms : Signal, out
        Settings.
    learns_arp, learns_neighbour : Signal, out; learnt_stb, learnt_v6, learnt_number, learnt : in
        HOST_LEARN, and a word of the host's addresses that was learnt, as in `AddressLearner`
        (`SEC: HOST.LEARNT_FROM_HOST`).
    station_authorised, keeps_sa : Signal, out
        Policy.
    clear_off : Signal, out
        POLICY says that nothing leaves in clear.
    clear_port : struct, out
        Fields of CLEAR_PORT, with `what` 0 where POLICY says so.
    alive_stb, firmware_stb, stop_stb : Signal, out
        The heartbeat of the OS, of firmware, and their orderly end; a cycle late.
    told_stb, told : out; progress : in
        To the monitor, and from there: BOOT_PROGRESS.
    event_number, events_lost, event : in; event_select : out
        Of the log of events, and of its alerts.
    alerts_enabled, alerts_clear, alerts_heartbeat_s : Signal, out
        ALERTS.
    stage_stb, command_stb, address, data : Signal, out
        A write to whatever register, the SAD's own among them; one to SA_COMMAND.
    """

    def __init__(
        self,
        *,
        suites: tuple[Suite, ...],
        ack_ms: int,
        grace_ms: int,
        replay_window: int,
        contexts: int = sa.CONTEXTS,
        alerts: bool = True,
        lifetimes: bool = True,
        learning: bool = True,
    ):
        self._suites = suites
        self._contexts = contexts
        self._alerts = alerts
        self._lifetimes = lifetimes
        self._learning = learning
        self._constants = {
            "id": registers.ID_MAGIC,
            "map_hash": registers.MAP_HASH,
            "version": registers.VERSION,
            "suites": sum(1 << suite for suite in suites),
            "packet_max": headers.IP_MAX_OCTETS,
            "ack_ms": ack_ms,
            "grace_ms": grace_ms,
        }
        self._replay_window = replay_window
        super().__init__(
            {
                "bus": In(BusSignature()),
                "counter": Out(range(COUNTER_COUNT)),
                "counter_value": In(32),
                "host_status": In(_fields_of("HOST_STATUS")),
                "sa_states": In(data.ArrayLayout(3, sa.ALL_BANKS)),
                "sa_busy": In(1),
                "sa_result": In(4),
                "sa_spi_in": In(data.ArrayLayout(32, sa.ALL_BANKS)),
                "sa_soft": In(sa.ALL_BANKS),
                "sa_hard": In(sa.ALL_BANKS),
                "lifetime_stb": Out(1),
                "lifetime_select": Out(LifetimeSelect),
                "lifetime": In(64),
                "lifetime_asked": In(1),
                "context": Out(range(sa.CONTEXTS)),
                "store_status": In(_fields_of("STORE_STATUS")),
                "store_save_stb": Out(1),
                "config_index": In(range(len(CONFIG_WORDS))),
                "config_word": Out(32),
                "config_stb": In(1),
                "config_data": In(32),
                "zeroise": In(1),
                "boot_stb": In(1),
                "boot_valid": In(1),
                "boot": In(BootRequest),
                "host_mac": Out(48),
                "host_ip": Out(32),
                "host_ip6": Out(128),
                "learns_arp": Out(1),
                "learns_neighbour": Out(1),
                "learnt_stb": In(1),
                "learnt_v6": In(1),
                "learnt_number": In(2),
                "learnt": In(32),
                "enterprise": Out(32),
                "window_ms": Out(20),
                "station_authorised": Out(1),
                "clear_off": Out(1),
                "keeps_sa": Out(1),
                "clear_port": Out(_fields_of("CLEAR_PORT")),
                "alive_stb": Out(1),
                "firmware_stb": Out(1),
                "stop_stb": Out(1),
                "told_stb": Out(1),
                "told": Out(BootWord),
                "progress": In(BootWord),
                "event_number": In(8),
                "events_lost": In(8),
                "alerts_enabled": Out(1),
                "alerts_clear": Out(1),
                "alerts_heartbeat_s": Out(10),
                "event_select": Out(range(host.EVENTS)),
                "event": In(EventWord),
                "stage_stb": Out(1),
                "command_stb": Out(1),
                "address": Out(ADDRESS_BITS),
                "data": Out(32),
            }
        )

    @property
    def suites(self) -> tuple[Suite, ...]:
        """What is built in."""
        return self._suites

    def elaborate(self, platform):
        m = Module()
        m.submodules.bank = bank = RegisterBank()
        wiring.connect(m, wiring.flipped(self.bus), bank.bus)
        values, stb = bank.values, bank.stb
        for name, value in self._constants.items():
            m.d.comb += values[name][0].eq(value)

        # What changes is told a cycle late, so that no path goes on into the bus.
        def fields(name, parts):
            for field in BY_NAME[name].fields:
                told = Signal(field.width, name=f"{name.lower()}_{field.name}")
                m.d.sync += told.eq(parts[field.name])
                target = values[name.lower()][0][field.lsb : field.lsb + field.width]
                m.d.comb += target.eq(told)

        limits = {
            "contexts": self._contexts,
            "banks": sa.BANKS,
            "window": self._replay_window,
            "lanes": 1,
            "alerts": int(self._alerts),
            "lifetimes": int(self._lifetimes),
        }
        for field in BY_NAME["LIMITS"].fields:
            target = values.limits[0][field.lsb : field.lsb + field.width]
            m.d.comb += target.eq(limits[field.name])
        fields("HOST_STATUS", self.host_status)
        fields("STORE_STATUS", self.store_status)
        busy = Signal()
        m.d.sync += busy.eq(self.sa_busy)
        at = {field.name: field.lsb for field in BY_NAME["SA_STATUS"].fields}
        for number in range(sa.CONTEXTS):
            status = values.sa_status[number]
            for half, name in enumerate(("bank_a", "bank_b")):
                told = Signal(3, name=f"sa_status_{number}_{name}")
                m.d.sync += told.eq(self.sa_states[sa.BANKS * number + half])
                m.d.comb += status[at[name] : at[name] + len(told)].eq(told)
            for name, of_all in (("soft", self.sa_soft), ("hard", self.sa_hard)):
                told = Signal(sa.BANKS, name=f"sa_status_{number}_{name}")
                m.d.sync += told.eq(of_all.word_select(number, sa.BANKS))
                m.d.comb += status[at[f"{name}_a"] :][: len(told)].eq(told)
            if number < self._contexts:
                m.d.comb += status[at["busy"]].eq(busy)
        sa_result = Signal(4)
        m.d.sync += sa_result.eq(self.sa_result)
        m.d.comb += values.sa_result[0].eq(sa_result)
        m.d.comb += [
            *(values.sa_spi_in[n].eq(self.sa_spi_in[n]) for n in range(sa.ALL_BANKS)),
            self.counter.eq(bank.counter),
            bank.counter_value.eq(self.counter_value),
        ]

        restores = {
            where: self.config_stb & (self.config_index == number)
            for number, where in enumerate(CONFIG_WORDS)
        }

        # Policy only tightens, until everything is zeroised.
        policy = Signal(sum(field.width for field in BY_NAME["POLICY"].fields))
        station_authorised, clear_off, locked, keeps_sa = policy
        comes_back = restores["POLICY", 0]
        with m.If(self.zeroise):
            m.d.sync += policy.eq(0)
        with m.Elif(stb.policy | comes_back):
            written, kept = Mux(stb.policy, bank.data, 0), Mux(comes_back, self.config_data, 0)
            m.d.sync += policy.eq(policy | written | kept)
        m.d.comb += [
            values.policy[0].eq(policy),
            self.station_authorised.eq(station_authorised),
            self.clear_off.eq(clear_off),
            self.keeps_sa.eq(keeps_sa),
        ]

        # `SEC: HOST.SETTINGS_LOCK`; the lock comes back with the rest, which it does not bar.
        stored = {}
        learns = {
            **{
                (name, 0): self.learnt_stb & ~self.learnt_v6 & (self.learnt_number == n)
                for n, name in enumerate(("HOST_MAC_HI", "HOST_MAC_LO", "HOST_IP"))
            },
            **{
                ("HOST_IP6", n): self.learnt_stb & self.learnt_v6 & (self.learnt_number == n)
                for n in range(4)
            },
        }
        for name in ("HOST_MAC_HI", "HOST_MAC_LO", "HOST_IP", "HOST_IP6", "ENTERPRISE"):
            register = BY_NAME[name]
            for n in range(register.count):
                word = Signal(32, name=f"{name.lower()}_{n}", init=register.reset)
                stored[name, n] = word
                if self._learning and (name, n) in learns:
                    with m.If(learns[name, n] & ~locked):
                        m.d.sync += word.eq(self.learnt)
                with m.If(stb[name.lower()][n] & ~locked):
                    m.d.sync += word.eq(bank.data)
                with m.If(restores[name, n]):
                    m.d.sync += word.eq(self.config_data)
                m.d.comb += values[name.lower()][n].eq(word)
        m.d.comb += [
            values.host_mac_hi[0][16:].eq(0),
            self.host_mac.eq(Cat(stored["HOST_MAC_LO", 0], stored["HOST_MAC_HI", 0][:16])),
            self.host_ip.eq(stored["HOST_IP", 0]),
            self.host_ip6.eq(Cat(stored["HOST_IP6", n] for n in reversed(range(4)))),
            self.enterprise.eq(stored["ENTERPRISE", 0]),
        ]

        lifetime_stb = Signal()
        which = self.lifetime_select
        if self._lifetimes:
            at = {field.name: field.lsb for field in BY_NAME["SA_LIFETIME"].fields}
            m.d.sync += lifetime_stb.eq(stb.sa_lifetime)
            with m.If(stb.sa_lifetime):
                m.d.sync += [
                    which.bank.eq(bank.data[at["bank"] :]),
                    which.outbound.eq(bank.data[at["outbound"]]),
                    which.octets.eq(bank.data[at["octets"]]),
                ]
            shown = values.sa_lifetime[0]
            m.d.comb += [
                self.lifetime_stb.eq(lifetime_stb),
                shown[at["bank"] :][: len(which.bank)].eq(which.bank),
                shown[at["outbound"]].eq(which.outbound),
                shown[at["octets"]].eq(which.octets),
                shown[at["busy"]].eq(lifetime_stb | self.lifetime_asked),
                values.sa_lifetime_hi[0].eq(self.lifetime[32:]),
                values.sa_lifetime_lo[0].eq(self.lifetime[:32]),
            ]

        learn = Signal(2)
        if self._learning:
            with m.If(learns["HOST_IP6", 3] & ~locked):
                m.d.sync += learn[1].eq(0)
            with m.If(stb.host_learn & ~locked):
                m.d.sync += learn.eq(bank.data)
        m.d.comb += [
            values.host_learn[0].eq(learn),
            Cat(self.learns_arp, self.learns_neighbour).eq(Mux(locked, 0, learn)),
        ]

        with m.If(stb.sa_context):
            m.d.sync += self.context.eq(bank.data)
        m.d.comb += values.sa_context[0].eq(self.context)

        for field in BY_NAME["CLEAR_PORT"].fields:
            first = BY_NAME["CLEAR_PORT"].reset >> field.lsb & ((1 << field.width) - 1)
            part = Signal(field.width, name=f"clear_port_{field.name}", init=first)
            there = slice(field.lsb, field.lsb + field.width)
            with m.If(self.zeroise):
                m.d.sync += part.eq(first)
            with m.Elif(restores["CLEAR_PORT", 0]):
                m.d.sync += part.eq(self.config_data[there])
            with m.Elif(stb.clear_port & ~locked):
                m.d.sync += part.eq(bank.data[there])
            is_off = clear_off if field.name == "what" else 0
            m.d.comb += [
                values.clear_port[0][there].eq(part),
                self.clear_port[field.name].eq(Mux(is_off, 0, part)),
            ]

        with m.Switch(self.config_index):
            for number, (name, n) in enumerate(CONFIG_WORDS):
                with m.Case(number):
                    m.d.comb += self.config_word.eq(values[name.lower()][n])
        saves = Signal(4)
        store_command = Signal()
        octets = registers.STORE_SAVE_CONFIG.to_bytes(4, "little")
        m.d.sync += [
            store_command.eq(stb.store_command),
            saves.eq(Cat(bank.data.word_select(n, 8) == octet for n, octet in enumerate(octets))),
        ]
        m.d.comb += self.store_save_stb.eq(store_command & saves.all())

        window_ms = Signal(20, init=host.HEARTBEAT_MS_DEFAULT)
        is_new, is_below, is_above = Signal(), Signal(), Signal()
        given = Signal.like(window_ms)
        m.d.sync += [
            is_new.eq(stb.heartbeat_ms),
            is_below.eq(bank.data < host.HEARTBEAT_MS_MIN),
            is_above.eq(bank.data > host.HEARTBEAT_MS_MAX),
            given.eq(bank.data),
        ]
        with m.If(is_new):
            m.d.sync += window_ms.eq(given)
            with m.If(is_below):
                m.d.sync += window_ms.eq(host.HEARTBEAT_MS_MIN)
            with m.If(is_above):
                m.d.sync += window_ms.eq(host.HEARTBEAT_MS_MAX)
        m.d.comb += [values.heartbeat_ms[0].eq(window_ms), self.window_ms.eq(window_ms)]
        heartbeat, alive, begins, stop = Signal(), Signal(4), Signal(4), Signal(4)
        boots, taken = Signal(), Signal(4)
        m.d.sync += [heartbeat.eq(stb.heartbeat), boots.eq(stb.boot_taken)]
        for equal, word in (
            (alive, host.HEARTBEAT_MAGIC),
            (begins, host.HEARTBEAT_BOOT),
            (stop, host.HEARTBEAT_STOP),
            (taken, BOOT_TAKEN_MAGIC),
        ):
            octets = word.to_bytes(4, "little")
            m.d.sync += equal.eq(
                Cat(bank.data.word_select(n, 8) == octet for n, octet in enumerate(octets))
            )

        # What the firmware is to do once: until it has read it, or another command boots the host.
        boot = Signal(BootRequest)
        valid = Signal()
        sets, empties = Signal(), Signal()
        m.d.sync += [sets.eq(self.boot_stb & ~self.zeroise), empties.eq(boots & taken.all())]
        with m.If(empties):
            m.d.sync += [boot.eq(0), valid.eq(0)]
        with m.If(sets):
            m.d.sync += [
                boot.eq(Mux(self.boot_valid, self.boot.as_value(), 0)),
                valid.eq(self.boot_valid),
            ]
        with m.If(self.zeroise):
            m.d.sync += [boot.eq(0), valid.eq(0)]
        parts = {name: boot[name] for name, _ in BootRequest} | {"valid": valid}
        for name in ("BOOT_COMMAND", "BOOT_OPTIONS"):
            for field in BY_NAME[name].fields:
                target = values[name.lower()][0][field.lsb : field.lsb + field.width]
                m.d.comb += target.eq(parts[field.name])
        m.d.comb += values.boot_enterprise[0].eq(boot.enterprise)

        m.d.comb += [
            self.told_stb.eq(stb.boot_progress),
            self.told.eq(bank.data[: BootWord.size]),
            values.boot_progress[0].eq(self.progress.as_value()),
        ]
        if self._alerts:
            self._alert_settings(m, bank, stb, locked)
        event = Signal(EventWord)
        m.d.sync += event.eq(self.event)
        m.d.comb += [
            values.events[0].eq(Cat(self.event_number, self.events_lost)),
            values.alerts[0].eq(
                Cat(self.alerts_enabled, self.alerts_clear, Const(0, 14), self.alerts_heartbeat_s)
            ),
            self.event_select.eq(bank.event),
            bank.event_value.eq(event.as_value()),
        ]

        m.d.comb += [
            self.alive_stb.eq(heartbeat & alive.all()),
            self.firmware_stb.eq(heartbeat & begins.all()),
            self.stop_stb.eq(heartbeat & stop.all()),
            self.stage_stb.eq(bank.write),
            self.command_stb.eq(stb.sa_command),
            self.address.eq(bank.address),
            self.data.eq(bank.data),
        ]
        return m

    def _alert_settings(self, m, bank, stb, locked):
        """A write of ALERTS."""
        with m.If(stb.alerts):
            m.d.sync += self.alerts_enabled.eq(self.alerts_enabled | bank.data[0])
        with m.If(stb.alerts & ~locked):
            heartbeat_s = bank.data[16:26]
            m.d.sync += [
                self.alerts_clear.eq(bank.data[1]),
                self.alerts_heartbeat_s.eq(
                    Mux(heartbeat_s > pet.HEARTBEAT_S_MAX, pet.HEARTBEAT_S_MAX, heartbeat_s)
                ),
            ]


def _fields_of(name: str) -> data.StructLayout:
    """The fields of a register, without the gaps between them."""
    return data.StructLayout({field.name: field.width for field in BY_NAME[name].fields})
