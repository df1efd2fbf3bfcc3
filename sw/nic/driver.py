"""The NIC's registers by name, as the agent uses them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

from spec import registers as facts
from spec.counters import Counter
from spec.host import (
    EVENTS,
    HEARTBEAT_BOOT,
    HEARTBEAT_MAGIC,
    HEARTBEAT_MS_MAX,
    HEARTBEAT_MS_MIN,
    HEARTBEAT_STOP,
    BootError,
    BootKind,
    BootProgress,
    ClearPort,
    HostEvent,
    HostState,
)
from spec.pet import HEARTBEAT_S_MAX
from spec.rmcp import Role
from spec.sa import BANKS, CONTEXTS, BankState, LifetimeWord, SadCommand, SadResult, SaFlag
from spec.store import CONFIG_PAIR
from spec.suites import Suite
from sw.nic.errors import (
    CapabilityError,
    NicError,
    SadBadSpiError,
    SadBusyError,
    SadError,
    SadForbiddenError,
    SadIncompleteError,
    SadTimeoutError,
    SadUnknownCommandError,
    SadUnsupportedError,
    WrongNicError,
)
from sw.nic.sa import UNLIMITED, StagedSa
from sw.nic.transport import RegisterTransport

POLL_COUNT = 1000
"""Times that a pending command's result is read before the driver gives up."""
POLL_PAUSE_S = 0.001
_IP6_WORDS = 4
NO_IP6 = IPv6Address(0)
"""No IPv6 address."""
_State = TypeVar("_State", bound=IntEnum)

_REFUSALS: dict[SadResult, tuple[type[SadError], str]] = {
    SadResult.BUSY: (
        SadBusyError,
        "no bank is free, for one is unproven or retiring; try again, or abort the unproven one",
    ),
    SadResult.INCOMPLETE: (SadIncompleteError, "no bank is staged, or part of the SA is missing"),
    SadResult.UNSUPPORTED: (SadUnsupportedError, "it does not have this suite or these flags"),
    SadResult.BAD_SPI: (
        SadBadSpiError,
        "an SPI is below 256, or an inbound SPI is the other bank's; negotiate another",
    ),
    SadResult.FORBIDDEN: (
        SadForbiddenError,
        "an administrator's SA joins no NIC that has a proven one of somebody else; configure the "
        "role operator, or zeroise the NIC and begin anew",
    ),
    SadResult.UNKNOWN: (SadUnknownCommandError, "it does not know the command"),
}


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a NIC can do.

    Parameters
    ----------
    version : int
        Gateware version, major in bits 31:16, minor below.
    suites : frozenset of Suite
        Suites built in, as far as this driver knows them.
    contexts, banks : int
        Contexts in the SAD, and banks of each.
    window : int
        Anti-replay window in packets.
    lanes : int
        Octets a cycle.
    packet_max : int
        Longest protected IP packet taken, in octets.
    ack_ms, grace_ms : int
        Acknowledge timer, and grace of a retiring bank.
    """

    version: int
    suites: frozenset[Suite]
    contexts: int
    banks: int
    window: int
    lanes: int
    packet_max: int
    ack_ms: int
    grace_ms: int


@dataclass(frozen=True, slots=True)
class HostStatus:
    """The host as the NIC sees it, with the inputs and outputs behind that."""

    state: HostState
    watchdog_expired: bool
    reset_in: bool
    sleep_in: bool
    off_in: bool
    reset_out: bool
    power_out: bool


@dataclass(frozen=True, slots=True)
class BootRequest:
    """What a station asks of the host's firmware (DSP0136 3.2.4.1).

    Parameters
    ----------
    enterprise : int
        Whose special command and OEM parameters these are.
    special_command, special_parameter : int
        `spec.rmcp.SpecialCommand` where the enterprise is ASF's, and its parameter.
    boot_options : int
        `spec.rmcp.BootOption` bits.
    oem_parameters : int
    """

    enterprise: int
    special_command: int
    special_parameter: int
    boot_options: int
    oem_parameters: int


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event of the NIC's log.

    Parameters
    ----------
    number : int
        Its number, modulo 256.
    kind : HostEvent
        What happened.
    state, before : HostState
        The host's state after it, and before it.
    code : int
        What firmware had told last (`spec.host.BootError`, `BootProgress`); of
        `spec.host.BANK_EVENTS` the number of the bank.
    """

    number: int
    kind: HostEvent
    state: HostState
    before: HostState
    code: int


@dataclass(frozen=True, slots=True)
class SaStatus:
    """The two banks.

    Parameters
    ----------
    bank_a, bank_b : BankState
        Their states.
    busy : bool
        Keys are being expanded or zeroised.
    spi_in_a, spi_in_b : int
        Their inbound SPIs; 0 where the bank is EMPTY.
    soft_a, soft_b, hard_a, hard_b : bool
        A limit of their lifetime is reached.
    """

    bank_a: BankState
    bank_b: BankState
    busy: bool
    spi_in_a: int
    spi_in_b: int
    soft_a: bool = False
    soft_b: bool = False
    hard_a: bool = False
    hard_b: bool = False


@dataclass(frozen=True, slots=True)
class BankUse:
    """What passed under a bank: packets, and octets that its algorithm was applied to."""

    received_packets: int
    received_octets: int
    sent_packets: int
    sent_octets: int


@dataclass(frozen=True, slots=True)
class Policy:
    """What the NIC lets replace a proven SA, and what its clear port says."""

    station_authorised: bool = False
    clear_off: bool = False
    settings_locked: bool = False
    """Addresses, enterprise number, ClearPortSetting and Alerts stay as they are."""
    keeps_sa: bool = False
    """Where the NIC has a store: the proven SA of each context outlives a loss of power."""


@dataclass(frozen=True, slots=True)
class ClearPortSetting:
    """What the NIC's clear port answers, and when: while the OS is not up.

    Parameters
    ----------
    what : ClearPort
    after_s : int
        Seconds of silence of all stations after which it is open; 0: in cold boot alone.
    """

    what: ClearPort = ClearPort.DISCOVERY
    after_s: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.after_s < 1 << 16:
            raise ValueError(f"after_s must be from 0 to 65535, not {self.after_s}")


@dataclass(frozen=True, slots=True)
class Alerts:
    """Whether alerts are sent, also in clear where no SA is proven, and the heartbeat's period."""

    enabled: bool = False
    clear: bool = False
    heartbeat_s: int = 0


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """How the NIC's non-volatile store stands.

    Parameters
    ----------
    present : bool
        There is one, and its flash answers.
    restoring : bool
        Just after power-on: what it kept is being taken up.
    failing : bool
        The flash did not take what was due; it is tried again.
    config_due : bool
        The configuration waits to be saved.
    has_config : bool
        A configuration is in it.
    contexts : tuple of int
        Contexts whose proven SA is in it.
    refused, failed : int
        Records and entries with a wrong check value; operations that the flash did not do. Both
        stop at 255.
    """

    present: bool
    restoring: bool
    failing: bool
    config_due: bool
    has_config: bool
    contexts: tuple[int, ...]
    refused: int
    failed: int


class NicDriver:
    """The one that knows register names; everything about their places comes from `spec`.

    Parameters
    ----------
    transport : RegisterTransport
        The way to the registers; `close` closes it.
    pause : callable
        Called with seconds between two polls of a pending command.

    Raises
    ------
    WrongNicError
        Not our NIC, or another register map: nothing was written.
    TransportError
        From any method, when the way to the registers fails.
    """

    def __init__(
        self, transport: RegisterTransport, *, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._transport = transport
        self._pause = pause
        self._check_map()
        self._capabilities = self._read_capabilities()

    def close(self) -> None:
        """Close the transport; harmless when repeated."""
        self._transport.close()

    def __enter__(self) -> NicDriver:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def boot_request(self) -> BootRequest | None:
        """What a station asked of the host's firmware with the last command that boots."""
        command = self._read_fields("BOOT_COMMAND")
        if not command.pop("valid"):
            return None
        return BootRequest(
            enterprise=self._read("BOOT_ENTERPRISE"), **command, **self._read_fields("BOOT_OPTIONS")
        )

    def boot_taken(self) -> None:
        """The firmware has read it: it is not to be done again."""
        self._write("BOOT_TAKEN", facts.BOOT_TAKEN_MAGIC)

    def capabilities(self) -> Capabilities:
        """What this NIC can do, as read when it was opened."""
        return self._capabilities

    def set_host_address(self, mac: bytes, ip: IPv4Address, ip6: IPv6Address = NO_IP6) -> None:
        """Tell the NIC whose frames are the host's. While it is told, nothing is the NIC's.

        What it has already is not told again, so that nothing is lost meanwhile.

        Parameters
        ----------
        mac : bytes
            Six octets.
        ip : IPv4Address
            0.0.0.0 for none: then every frame to an IPv4 address passes.
        ip6 : IPv6Address
            The same, of IPv6; `::` for none.

        Raises
        ------
        CapabilityError
            They are locked at others.
        """
        if len(mac) != 6:
            raise ValueError(f"a MAC address has 6 octets, not {len(mac)}")
        is_so = self.host_address() == (mac, ip, ip6)
        if is_so or not self._may_set(is_so):
            return
        self._write("HOST_IP", 0)
        for index in range(_IP6_WORDS):
            self._write("HOST_IP6", 0, index)
        self._write("HOST_MAC_HI", int.from_bytes(mac[:2], "big"))
        self._write("HOST_MAC_LO", int.from_bytes(mac[2:], "big"))
        self._write("HOST_IP", int(ip))
        # The first word last: until then it is an address in ::/32, which is nobody's.
        for index in reversed(range(_IP6_WORDS)):
            self._write("HOST_IP6", _ip6_word(ip6, index), index)

    def host_address(self) -> tuple[bytes, IPv4Address, IPv6Address]:
        """MAC, IPv4 and IPv6 address as `set_host_address` left them."""
        mac = self._read("HOST_MAC_HI").to_bytes(4, "big")[2:]
        mac += self._read("HOST_MAC_LO").to_bytes(4, "big")
        ip6 = b"".join(
            self._read("HOST_IP6", index).to_bytes(4, "big") for index in range(_IP6_WORDS)
        )
        return mac, IPv4Address(self._read("HOST_IP")), IPv6Address(ip6)

    def stage_sa(self, sa: StagedSa) -> None:
        """Load an SA into its context's free bank and make it READY; then wipe the keys in `sa`.

        On any failure the staged bank is zeroised as far as the NIC can be reached, the bank that
        is proven goes on, and `sa` keeps its keys, so that the caller can try again or wipe them.

        Raises
        ------
        CapabilityError
            This NIC cannot do it; nothing was written.
        SadError
            One kind for each of `spec.sa.SadResult`'s refusals, and SadTimeoutError.
        """
        self._require(sa)
        self._command(SadCommand.STAGE, sa.context)
        try:
            self._write_sa(sa)
            self._command(SadCommand.READY, sa.context)
        except NicError:
            self._abort_after_failure(sa.context)
            raise
        sa.wipe()

    def abort(self, context: int = 0) -> None:
        """Zeroise a context's bank that is not proven, if there is one; done when this returns."""
        self._command(SadCommand.ABORT, context)

    def heartbeat(self) -> None:
        """The OS is alive; to be repeated within the window."""
        self._write("HEARTBEAT", HEARTBEAT_MAGIC)

    def start_boot(self) -> None:
        """Firmware begins: the window counts, and the host stays in PRE_BOOT."""
        self._write("HEARTBEAT", HEARTBEAT_BOOT)

    def tell_boot(self, kind: BootKind, code: BootError | BootProgress) -> None:
        """Tell what firmware does, or why it does not go on.

        Raises
        ------
        ValueError
            The code is none of that kind.
        """
        wanted = BootError if kind is BootKind.ERROR else BootProgress
        if not isinstance(code, wanted):
            raise ValueError(f"{kind.name} is told with a {wanted.__name__}, not {code!r}")
        fields = {field.name: field.lsb for field in facts.BY_NAME["BOOT_PROGRESS"].fields}
        self._write("BOOT_PROGRESS", kind << fields["kind"] | code << fields["code"])

    def boot_told(self) -> tuple[BootKind, int]:
        """Kind and code of what firmware told last; ERROR and 0 where it told nothing."""
        fields = self._read_fields("BOOT_PROGRESS")
        return _known(BootKind, fields["kind"]), fields["code"]

    def events(self) -> tuple[LoggedEvent, ...]:
        """The newest events of the log, oldest first; what is overwritten meanwhile is left out."""
        following = self._read_fields("EVENTS")["next"]
        found = []
        for number in range(following - EVENTS, following):
            fields = self._read_fields("EVENT", number % EVENTS)
            if fields["kind"] == 0 or fields["number"] != number % 256:
                continue
            found.append(
                LoggedEvent(
                    number=fields["number"],
                    kind=_known(HostEvent, fields["kind"]),
                    state=_known(HostState, fields["state"]),
                    before=_known(HostState, fields["before"]),
                    code=fields["code"],
                )
            )
        return tuple(found)

    def stop_heartbeat(self) -> None:
        """The OS stops in good order: no hang is concluded."""
        self._write("HEARTBEAT", HEARTBEAT_STOP)

    def set_heartbeat_window(self, milliseconds: int) -> None:
        """How long after a heartbeat the host counts as up."""
        if not HEARTBEAT_MS_MIN <= milliseconds <= HEARTBEAT_MS_MAX:
            raise ValueError(
                f"heartbeat window {milliseconds} ms is not in "
                f"{HEARTBEAT_MS_MIN} to {HEARTBEAT_MS_MAX}"
            )
        self._write("HEARTBEAT_MS", milliseconds)

    def heartbeat_window(self) -> int:
        """The same, in milliseconds, as the NIC has it."""
        return self._read("HEARTBEAT_MS")

    def store_status(self) -> StoreStatus:
        """How the NIC's store stands."""
        fields = self._read_fields("STORE_STATUS")
        records = fields["records"]
        return StoreStatus(
            present=bool(fields["present"]),
            restoring=bool(fields["restoring"]),
            failing=bool(fields["failing"]),
            config_due=bool(fields["config_due"]),
            has_config=bool(records >> CONFIG_PAIR & 1),
            contexts=tuple(context for context in range(CONTEXTS) if records >> context & 1),
            refused=fields["refused"],
            failed=fields["failed"],
        )

    def save_config(self) -> None:
        """Have addresses, policy, enterprise number and clear port saved in the NIC's store.

        It is done some time later, once a minute at most; `store_status` tells of it. Without a
        store it does nothing.
        """
        self._write("STORE_COMMAND", facts.STORE_SAVE_CONFIG)

    def host_status(self) -> HostStatus:
        """The host as the NIC sees it."""
        fields = self._read_fields("HOST_STATUS")
        return HostStatus(
            state=_known(HostState, fields["state"]),
            watchdog_expired=bool(fields["watchdog_expired"]),
            reset_in=bool(fields["reset_in"]),
            sleep_in=bool(fields["sleep_in"]),
            off_in=bool(fields["off_in"]),
            reset_out=bool(fields["reset_out"]),
            power_out=bool(fields["power_out"]),
        )

    def sa_status(self, context: int = 0) -> SaStatus:
        """The two banks of a context; the SPIs are read after the states: a step newer, perhaps."""
        fields = self._read_fields("SA_STATUS", context)
        return SaStatus(
            bank_a=_known(BankState, fields["bank_a"]),
            bank_b=_known(BankState, fields["bank_b"]),
            busy=bool(fields["busy"]),
            spi_in_a=self._read("SA_SPI_IN", BANKS * context),
            spi_in_b=self._read("SA_SPI_IN", BANKS * context + 1),
            **{name: bool(fields[name]) for name in ("soft_a", "soft_b", "hard_a", "hard_b")},
        )

    def bank_use(self, bank: int) -> BankUse | None:
        """What passed under a bank, numbered through all contexts; None in a NIC that counts none.

        Raises
        ------
        NicError
            It stays busy.
        """
        if not self.has_lifetimes:
            return None
        received = [self._counted(bank, 0, octets) for octets in (0, 1)]
        return BankUse(*received, *(self._counted(bank, 1, octets) for octets in (0, 1)))

    def _counted(self, bank: int, outbound: int, octets: int) -> int:
        at = {field.name: field.lsb for field in facts.BY_NAME["SA_LIFETIME"].fields}
        self._write(
            "SA_LIFETIME", bank << at["bank"] | outbound << at["outbound"] | octets << at["octets"]
        )
        for _ in range(POLL_COUNT):
            if not self._read_fields("SA_LIFETIME")["busy"]:
                return self._read("SA_LIFETIME_HI") << 32 | self._read("SA_LIFETIME_LO")
            self._pause(POLL_PAUSE_S)
        raise SadTimeoutError(f"the count of bank {bank} did not come; the NIC may be stopped")

    def counters(self) -> dict[Counter, int]:
        """All counters, read one after the other."""
        return {counter: self._read("COUNTERS", counter) for counter in Counter}

    def alerts(self) -> Alerts:
        """Whether and how alerts are sent."""
        fields = self._read_fields("ALERTS")
        return Alerts(bool(fields["enabled"]), bool(fields["clear"]), fields["heartbeat_s"])

    @property
    def has_lifetimes(self) -> bool:
        """Whether this build counts packets and octets of each SA."""
        return bool(self._read_fields("LIMITS")["lifetimes"])

    @property
    def has_alerts(self) -> bool:
        """Whether this build sends alerts."""
        return bool(self._read_fields("LIMITS")["alerts"])

    def set_alerts(self, alerts: Alerts) -> None:
        """Say whether and how alerts are sent. Once enabled they stay so until power-on.

        Raises
        ------
        ValueError
            The period is none.
        CapabilityError
            They are enabled and are not to be, or are locked otherwise, or are to be enabled in a
            build that has none: nothing was written.
        """
        if not 0 <= alerts.heartbeat_s <= HEARTBEAT_S_MAX:
            raise ValueError(
                f"a heartbeat of alerts every {alerts.heartbeat_s} s is not in "
                f"0 to {HEARTBEAT_S_MAX}"
            )
        if not self.has_alerts:
            if alerts.enabled:
                raise CapabilityError("this build of the NIC has no alerts")
            return
        now = self.alerts()
        if now.enabled and not alerts.enabled:
            raise CapabilityError("the NIC sends alerts until its power is off")
        # Locked, they can still be enabled, and nothing else: a write does that and no more.
        self._may_set(replace(alerts, enabled=now.enabled) == now)
        value = 0
        for field in facts.BY_NAME["ALERTS"].fields:
            value |= int(getattr(alerts, field.name)) << field.lsb
        self._write("ALERTS", value)

    @property
    def policy(self) -> Policy:
        """The policy bits as they stand in the NIC."""
        fields = self._read_fields("POLICY")
        return Policy(**{name: bool(value) for name, value in fields.items()})

    def set_policy(self, policy: Policy) -> None:
        """Set policy bits. A bit that is set stays so until zeroise-all or power-on.

        Raises
        ------
        CapabilityError
            A bit that is set in the NIC is to be cleared: nothing was written.
        """
        now = self.policy
        bits = facts.BY_NAME["POLICY"].fields
        if any(getattr(now, bit.name) and not getattr(policy, bit.name) for bit in bits):
            raise CapabilityError(
                "the NIC's policy can only be tightened; power it off, or press zeroise, to "
                "begin anew"
            )
        value = 0
        for bit in bits:
            value |= int(getattr(policy, bit.name)) << bit.lsb
        self._write("POLICY", value)

    def set_enterprise(self, enterprise: int) -> None:
        """Enterprise number of the OEM messages.

        Raises CapabilityError if it is locked at another one.
        """
        if self._may_set(self.enterprise() == enterprise):
            self._write("ENTERPRISE", enterprise)

    @property
    def clear_port(self) -> ClearPortSetting:
        """What the clear port answers, as POLICY.clear_off does not forbid it."""
        fields = self._read_fields("CLEAR_PORT")
        known = fields["what"] in set(ClearPort)
        what = ClearPort(fields["what"]) if known else ClearPort.NOTHING
        return ClearPortSetting(what, fields["after_s"] if fields["unheard"] else 0)

    def set_clear_port(self, setting: ClearPortSetting) -> None:
        """Tell the NIC what its clear port answers; raises CapabilityError if that is locked."""
        if self._may_set(self.clear_port == setting):
            values = {
                "what": setting.what,
                "unheard": setting.after_s > 0,
                "after_s": setting.after_s,
            }
            fields = facts.BY_NAME["CLEAR_PORT"].fields
            self._write("CLEAR_PORT", sum(values[f.name] << f.lsb for f in fields))

    def _may_set(self, is_so: bool) -> bool:
        """Whether settings can be written; raises CapabilityError if not, and it `is_so` not."""
        if not self.policy.settings_locked:
            return True
        if not is_so:
            raise CapabilityError(
                "the NIC's addresses, enterprise number, clear port and alerts are locked as they "
                "are; power it off, or press zeroise, to begin anew"
            )
        return False

    def enterprise(self) -> int:
        """Enterprise number of the OEM messages."""
        return self._read("ENTERPRISE")

    def _check_map(self) -> None:
        magic = self._read("ID")
        if magic != facts.ID_MAGIC:
            raise WrongNicError(
                f"this is no Holdfast NIC: its ID register reads {magic:#010x}, not "
                f"{facts.ID_MAGIC:#010x}; check that the right device is named"
            )
        found = self._read("MAP_HASH")
        if found != facts.MAP_HASH:
            raise WrongNicError(
                f"the NIC has register map {found:#010x}, this driver {facts.MAP_HASH:#010x}; "
                "install gateware and software of the same release"
            )

    def _read_capabilities(self) -> Capabilities:
        suites = self._read("SUITES")
        limits = self._read_fields("LIMITS")
        return Capabilities(
            version=self._read("VERSION"),
            suites=frozenset(
                suite for suite in Suite if suite is not Suite.NONE and suites >> suite & 1
            ),
            contexts=limits["contexts"],
            banks=limits["banks"],
            window=limits["window"],
            lanes=limits["lanes"],
            packet_max=self._read("PACKET_MAX"),
            ack_ms=self._read("ACK_MS"),
            grace_ms=self._read("GRACE_MS"),
        )

    def _require(self, sa: StagedSa) -> None:
        has = self._capabilities
        if sa.suite not in has.suites:
            names = ", ".join(sorted(suite.name for suite in has.suites)) or "none"
            raise CapabilityError(
                f"this NIC has no suite {sa.suite.name} (it has: {names}); "
                "configure one that it has"
            )
        if has.contexts <= sa.context:
            raise CapabilityError(
                f"this NIC has {has.contexts} contexts, so none with the number {sa.context}"
            )
        if has.banks < BANKS:
            raise CapabilityError(
                f"this NIC's contexts have {has.banks} banks; {BANKS} are needed to keep the last "
                "SA that worked"
            )
        if has.window < sa.window:
            raise CapabilityError(
                f"this NIC's anti-replay window is {has.window} packets, the SA needs {sa.window}"
            )
        if has.packet_max < sa.packet_octets:
            raise CapabilityError(
                f"this NIC takes protected packets of {has.packet_max} octets at most, "
                f"the station may send {sa.packet_octets}"
            )

        if sa.lifetime != UNLIMITED and not self.has_lifetimes:
            raise CapabilityError("this NIC does not count what limits of a lifetime are about")

    def _write_sa(self, sa: StagedSa) -> None:
        self._write("STAGE_SPI_IN", sa.spi_in)
        self._write("STAGE_SPI_OUT", sa.spi_out)
        self._write("STAGE_SUITE", sa.suite)
        flags = SaFlag.ESN if sa.esn else SaFlag(0)
        if sa.tunnel:
            flags |= SaFlag.TUNNEL
        if sa.role is Role.ADMINISTRATOR:
            flags |= SaFlag.ADMINISTRATOR
        if isinstance(sa.peer_ip, IPv6Address):
            flags |= SaFlag.IPV6
            self._write("STAGE_PEER_IP", 0)
            for index in range(_IP6_WORDS):
                self._write("STAGE_PEER_IP6", _ip6_word(sa.peer_ip, index), index)
        else:
            self._write("STAGE_PEER_IP", int(sa.peer_ip))
        self._write("STAGE_FLAGS", flags)
        self._write("STAGE_SALT_IN", int.from_bytes(sa.salt_in, "big"))
        self._write("STAGE_SALT_OUT", int.from_bytes(sa.salt_out, "big"))
        self._write_sequence("STAGE_RX_SEQ", sa.rx_sequence)
        self._write_sequence("STAGE_TX_SEQ", sa.tx_sequence)
        self._write_key("STAGE_KEY_IN", sa.key_in)
        self._write_key("STAGE_KEY_OUT", sa.key_out)
        self._write_key("STAGE_AUTH_IN", sa.auth_in)
        self._write_key("STAGE_AUTH_OUT", sa.auth_out)
        if sa.ah is not None:
            self._write("STAGE_AH_SPI_IN", sa.ah.spi_in)
            self._write("STAGE_AH_SPI_OUT", sa.ah.spi_out)
            self._write_sequence("STAGE_AH_RX_SEQ", sa.ah.rx_sequence)
            self._write_sequence("STAGE_AH_TX_SEQ", sa.ah.tx_sequence)
            self._write_key("STAGE_AH_AUTH_IN", sa.ah.key_in)
            self._write_key("STAGE_AH_AUTH_OUT", sa.ah.key_out)

        for word in LifetimeWord:
            name, _, half = word.name.lower().rpartition("_")
            limit = getattr(sa.lifetime, name)
            if limit:
                value = limit >> 32 if half == "hi" else limit & 0xFFFF_FFFF
                self._write("STAGE_LIFETIME", value, word)

    def _write_sequence(self, name: str, number: int) -> None:
        self._write(f"{name}_HI", number >> 32)
        self._write(f"{name}_LO", number & 0xFFFF_FFFF)

    def _write_key(self, name: str, key: bytearray) -> None:
        for index in range(len(key) // 4):
            self._write(name, int.from_bytes(key[4 * index : 4 * index + 4], "big"), index)

    def _abort_after_failure(self, context: int) -> None:
        # The first failure is the one to tell; the NIC's acknowledge timer or the next STAGE
        # clears what an abort that fails too leaves behind.
        try:
            self._command(SadCommand.ABORT, context)
        except NicError:
            return

    def _command(self, command: SadCommand, context: int) -> None:
        self._write("SA_CONTEXT", context)
        self._write("SA_COMMAND", command)
        for poll in range(POLL_COUNT):
            if poll:
                self._pause(POLL_PAUSE_S)
            value = self._read("SA_RESULT")
            if value == SadResult.OK:
                return
            if value != SadResult.PENDING:
                self._refuse(command, value)
        raise SadTimeoutError(
            f"{command.name} was still pending after {POLL_COUNT} polls; the NIC may be stopped"
        )

    @staticmethod
    def _refuse(command: SadCommand, value: int) -> None:
        try:
            kind, reason = _REFUSALS[SadResult(value)]
        except (ValueError, KeyError):
            raise SadError(f"{command.name} ended with the unknown result {value}") from None
        raise kind(f"the NIC refused {command.name}: {reason}")

    def _read(self, name: str, index: int = 0) -> int:
        return self._transport.read(facts.BY_NAME[name].address + 4 * index)

    def _write(self, name: str, value: int, index: int = 0) -> None:
        self._transport.write(facts.BY_NAME[name].address + 4 * index, value)

    def _read_fields(self, name: str, index: int = 0) -> dict[str, int]:
        value = self._read(name, index)
        return {
            field.name: value >> field.lsb & ((1 << field.width) - 1)
            for field in facts.BY_NAME[name].fields
        }


def _ip6_word(address: IPv6Address, index: int) -> int:
    return int.from_bytes(address.packed[4 * index : 4 * index + 4], "big")


def _known(kind: type[_State], value: int) -> _State:
    try:
        return kind(value)
    except ValueError:
        raise WrongNicError(
            f"the NIC tells the unknown {kind.__name__} {value}; check its line, and that gateware "
            "and software are of the same release"
        ) from None
