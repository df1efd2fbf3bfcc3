"""The whole NIC, frame by frame."""

from __future__ import annotations

from dataclasses import replace

from spec.counters import Counter
from spec.headers import ETHERNET, ETHERTYPE_ARP, ETHERTYPE_IPV6
from spec.host import ClearPort, HostEvent, HostState
from spec.pet import PORT_SNMP_TRAP
from spec.sa import (
    ACK_MS_DEFAULT,
    BANKS,
    CONTEXTS,
    GRACE_MS_DEFAULT,
    REPLAY_WINDOW,
    BankState,
)
from spec.suites import Suite, built_in
from verif.model import arp, neighbour
from verif.model.alerts import Alert, AlertSender
from verif.model.classifier import (
    AnswerArp,
    AnswerNeighbour,
    Drop,
    Pass,
    TakeClear,
    TakeProtected,
    View,
    classify,
)
from verif.model.engine import CommandEngine
from verif.model.events import Output, Pin, ToHost, ToWire
from verif.model.host import EventLog, HostMonitor
from verif.model.ipsec import Inside, open_packet
from verif.model.parser import Parsed, parse
from verif.model.pet import trap
from verif.model.pins import PinSequencer
from verif.model.registers import Bus, address_of
from verif.model.reply import Replier, ethernet
from verif.model.sad import Sad
from verif.model.store import Store

WINDOW_MIN, WINDOW_MAX = 32, 1024


class NicModel:
    """Reference of `hw.nic.Nic`.

    Parameters
    ----------
    ack_ms, grace_ms : int
        The SAD's timers, in milliseconds.
    replay_window : int
        Numbers in an anti-replay window: 32 to 1024.
    suites : tuple of Suite
        What is built in; others are UNSUPPORTED.
    contexts : int
        Contexts of the SAD.
    has_store : bool
        There is a non-volatile store.
    has_lifetimes : bool
        Packets and octets of each SA are counted, and limits are minded.
    has_alerts : bool
        Alerts are built in.
    learns : bool
        HOST_LEARN is.

    Attributes
    ----------
    counters : dict of Counter to int
        32 bits each, wrapping.
    verdict : Counter or None
        What the last frame from the wire ended under.
    message : bytes or None
        UDP payload with which the last frame reached the command engine, in clear or after every
        check of IPsec; None if it did not. The engine may still have refused it.
    now_ms : int
        Milliseconds since power-on.
    """

    def __init__(
        self,
        *,
        ack_ms: int = ACK_MS_DEFAULT,
        grace_ms: int = GRACE_MS_DEFAULT,
        replay_window: int = REPLAY_WINDOW,
        suites: tuple[Suite, ...] | None = None,
        contexts: int = CONTEXTS,
        has_store: bool = False,
        has_alerts: bool = True,
        has_lifetimes: bool = True,
        learns: bool = True,
    ) -> None:
        if ack_ms <= 0 or grace_ms <= 0:
            raise ValueError(f"timers must be positive, not {ack_ms} and {grace_ms} ms")
        if not WINDOW_MIN <= replay_window <= WINDOW_MAX:
            raise ValueError(
                f"the window must be {WINDOW_MIN} to {WINDOW_MAX}, not {replay_window}"
            )
        self._contexts = contexts
        self._sad_options = (
            ack_ms,
            grace_ms,
            replay_window,
            built_in() if suites is None else suites,
            contexts,
        )
        self.has_alerts = has_alerts
        self.has_lifetimes = has_lifetimes
        self.learns = learns
        self._power_on()
        self.store = Store(self) if has_store else None

    def _power_on(self) -> None:
        self.sad = Sad(*self._sad_options)
        self.host = HostMonitor()
        self.log = EventLog()
        self.alerts = AlertSender(self._contexts)
        self.pins = PinSequencer(self.host)
        self.engine = CommandEngine(self.sad, self.host, self.pins)
        self.bus = Bus(self)
        self.counters = dict.fromkeys(Counter, 0)
        self.verdict: Counter | None = None
        self.message: bytes | None = None
        self.now_ms = 0
        self._shown = dict(self.pins.levels)
        self._alerts: list[Output] = []
        self._told = 0

    def power_cut(self) -> None:
        """Power is lost, and returns: what the store has comes back."""
        self._power_on()
        if self.store is not None:
            self.store.restore()

    def _settle(self) -> None:
        if self.store is not None:
            self.store.settle()

    # --- frames -------------------------------------------------------------------------------

    def wire_receive(self, frame: bytes, err: bool = False) -> list[Output]:
        """A frame from the wire, without preamble and FCS.

        Parameters
        ----------
        frame : bytes
            At least one octet.
        err : bool
            Receive error or bad FCS. (The gateware may have begun to pass such a frame, and then
            ends it with `err`, which is no frame.)

        Returns
        -------
        list of Output
            All it caused, in order.
        """
        if not frame:
            raise ValueError("a frame has at least one octet")
        self.message = None
        self._count(Counter.FRAMES_IN)
        if err or len(frame) < ETHERNET.octets:
            verdict, outputs = self._refuse(Counter.DROP_FRAME)
        else:
            verdict, outputs = self._decide(parse(frame))
        self.verdict = verdict
        self._count(verdict)
        if verdict is Counter.DROP_ICV:
            self.log.wrong_icv(self.host.progress[1])
        self.sad.drop_spent()
        self._settle()
        self._observe()
        return outputs + self._pin_events() + self._take_alerts()

    def host_receive(self, frame: bytes, err: bool = False) -> list[Output]:
        """A frame from the host: leaves on the wire as it is, and may tell its addresses."""
        if not err:
            self.bus.learn(frame)
        return [ToWire(frame, err)]

    @staticmethod
    def _refuse(counter: Counter) -> tuple[Counter, list[Output]]:
        return counter, []

    def _decide(self, parsed: Parsed) -> tuple[Counter, list[Output]]:
        view = self._view()
        match classify(parsed, view):
            case Pass():
                return Counter.PASSED, [ToHost(parsed.frame)]
            case Drop(counter):
                return self._refuse(counter)
            case AnswerArp():
                assert parsed.arp is not None
                reply = arp.reply(parsed.arp, self.host_mac, self.host_ip)
                to = parsed.arp["sender_mac"]
                frame = ethernet(to, self.host_mac, parsed.tags, ETHERTYPE_ARP, reply)
                return Counter.DELIVERED, [ToWire(frame)]
            case AnswerNeighbour():
                to, reply = neighbour.advertisement(parsed, self.host_mac, self.host_ip6)
                frame = ethernet(to, self.host_mac, parsed.tags, ETHERTYPE_IPV6, reply)
                return Counter.DELIVERED, [ToWire(frame)]
            case TakeClear(sender, message):
                return self._engine(Replier(view, sender), message, None, None)
            case TakeProtected() as taken:
                opened = open_packet(taken, view)
                if isinstance(opened, Counter):
                    return self._refuse(opened)
                self.alerts.ways[opened.bank // BANKS] = (taken.sender, opened.inside)
                replier = Replier(view, taken.sender)
                return self._engine(replier, opened.message, opened.bank, opened.inside)
        raise AssertionError("classify returned no decision")

    def _engine(
        self, replier: Replier, message: bytes, under: int | None, inside: Inside | None
    ) -> tuple[Counter, list[Output]]:
        self.message = message
        counter, answers = self.engine.handle(message, under)
        outputs: list[Output] = []
        for answer in answers:
            if answer.bank is None or inside is None:
                outputs.append(ToWire(replier.clear(answer.message)))
                continue
            if self.sad.is_spent(answer.bank):
                continue
            frame = replier.protected(inside, self.sad.banks[answer.bank], answer.message)
            if frame is not None:
                outputs.append(ToWire(frame))
        if self.engine.zeroises:
            self.engine.zeroises = False
            # The message itself may have been the first under its bank.
            self.log.observe(self.host_state, self.host.progress[1])
            self.host.happened.append(HostEvent.ZEROISED)
            self._zeroise()
        return counter, outputs

    def _zeroise(self) -> None:
        self.sad.zeroise_all()
        self.bus.clear_policy()
        self.engine.boot = None
        if self.store is not None:
            self.store.void()

    def _view(self) -> View:
        state = self.host_state
        return View(
            host_mac=self.host_mac,
            host_ip=self.host_ip,
            host_ip6=self.host_ip6,
            os_up=state is HostState.OS_UP,
            clear_open=self._clear_open(state),
            sad=self.sad,
        )

    def _clear_open(self, state: HostState) -> bool:
        """Whether anything is answered on the clear port now."""
        if self.bus.clear_port is ClearPort.NOTHING or state is HostState.OS_UP:
            return False
        after_ms = 1000 * self.bus.clear_after_s
        return state is HostState.COLD_BOOT or 0 < after_ms <= self.sad.silent_ms

    def _count(self, counter: Counter) -> None:
        self.counters[counter] = (self.counters[counter] + 1) & 0xFFFFFFFF

    # --- bus, pins, time ----------------------------------------------------------------------

    def bus_write(self, register: int | str, value: int, index: int = 0) -> None:
        """Writes a register, by octet address or by name and index."""
        self.bus.write(self._address(register, index), value)
        self._settle()
        self._observe()

    def bus_read(self, register: int | str, index: int = 0) -> int:
        """Reads a register, by octet address or by name and index."""
        return self.bus.read(self._address(register, index))

    def set_pins(
        self,
        *,
        reset: bool | None = None,
        sleep: bool | None = None,
        off: bool | None = None,
        zeroise: bool | None = None,
    ) -> None:
        """Drives input pins; None leaves one as it is.

        `zeroise` acts as long as it is asserted: banks and POLICY are and stay empty.
        """
        self.host.set_pins(reset, sleep, off)
        if zeroise is not None:
            if zeroise and not self.sad.held:
                self.host.happened.append(HostEvent.ZEROISED)
            self.sad.held = zeroise
        if self.sad.held:
            self._zeroise()
        self._observe()

    def advance(self, ms: int) -> list[Output]:
        """Lets time pass, and tells the pins that changed."""
        outputs: list[Output] = []
        for _ in range(ms):
            self.now_ms += 1
            self.sad.tick()
            self._settle()
            self.host.tick()
            self.log.tick()
            self.alerts.tick()
            self.pins.tick()
            self._observe()
            outputs += self._pin_events() + self._take_alerts()
        return outputs + self._take_alerts()

    @property
    def host_state(self) -> HostState:
        """The host's state as HOST_STATUS tells it."""
        return self.host.state(self.sad.proven)

    @property
    def host_mac(self) -> int:
        """HOST_MAC as a number of 48 bits."""
        return self.bus.stored_word("HOST_MAC_HI") << 32 | self.bus.stored_word("HOST_MAC_LO")

    @property
    def host_ip(self) -> int:
        """HOST_IP."""
        return self.bus.stored_word("HOST_IP")

    @property
    def host_ip6(self) -> int:
        """HOST_IP6 as a number of 128 bits."""
        return sum(self.bus.stored_word("HOST_IP6", i) << 32 * (3 - i) for i in range(4))

    def _observe(self) -> None:
        """Notes what happened, then the state that it led to."""
        code = self.host.progress[1]
        for kind in self.host.happened:
            self.log.note(kind, code)
        self.host.happened.clear()
        self.log.observe(self.host_state, code)
        for kind, bank in self.sad.happened:
            self.log.note(kind, bank)
        self.sad.happened.clear()
        self.alerts.notice(self.log.since(self._told))
        self._told = self.log.next
        alert = self.alerts.due(self.host_state)
        if alert is not None:
            self._send(alert)

    def _send(self, alert: Alert) -> None:
        """Builds an alert for every station that can be told."""
        message = trap(
            alert.event,
            alert.sequence,
            alert.ticks,
            self.host_ip,
            self.bus.stored_word("ENTERPRISE"),
        )
        view = self._view()
        for context, way in enumerate(self.alerts.ways):
            if way is None:
                continue
            sender, inside = way
            banks = self.sad.banks[BANKS * context : BANKS * (context + 1)]
            proven = [bank for bank in banks if bank.state is BankState.PROVEN]
            if proven:
                to = replace(inside, port=PORT_SNMP_TRAP)
                frame = Replier(view, sender).protected(to, proven[0], message)
            elif self.alerts.clear and not self.bus.policy("clear_off"):
                frame = Replier(view, replace(sender, port=PORT_SNMP_TRAP)).clear(message)
            else:
                continue
            if frame is not None:
                self._alerts.append(ToWire(frame))

    def _take_alerts(self) -> list[Output]:
        alerts = list(self._alerts)
        self._alerts.clear()
        return alerts

    @staticmethod
    def _address(register: int | str, index: int) -> int:
        if isinstance(register, str):
            return address_of(register, index)
        return register + 4 * index

    def _pin_events(self) -> list[Output]:
        changed = {n: v for n, v in self.pins.levels.items() if v != self._shown[n]}
        self._shown.update(changed)
        return [Pin(name, level, self.now_ms) for name, level in changed.items()]
