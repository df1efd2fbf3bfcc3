"""The register map as the bus sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spec import registers as facts
from spec.counters import Counter
from spec.headers import IP_MAX_OCTETS
from spec.host import ClearPort, HostEvent
from spec.layout import Access, Register
from spec.pet import HEARTBEAT_S_MAX
from spec.sa import BANKS, CONTEXTS
from spec.store import CONFIG_PAIR
from verif.model.learner import arp_announces, neighbour_announces

if TYPE_CHECKING:
    from verif.model.nic import NicModel

LANES = 1
LOCKABLE = (
    *("HOST_MAC_HI", "HOST_MAC_LO", "HOST_IP", "HOST_IP6", "HOST_LEARN"),
    *("ENTERPRISE", "CLEAR_PORT"),
)
"""Take no write once POLICY.settings_locked is set."""
CLEAR_PORT_BITS = 0xFFFF_0103
LEARN_BITS = 3
POLICY_BITS = sum(1 << f.lsb for f in facts.BY_NAME["POLICY"].fields)
BY_ADDRESS: dict[int, tuple[Register, int]] = {
    register.address + 4 * index: (register, index)
    for register in facts.REGISTERS
    for index in range(register.count)
}


def address_of(name: str, index: int = 0) -> int:
    """Octet address of a register by name; raises KeyError or IndexError for one not there."""
    register = facts.BY_NAME[name]
    if not 0 <= index < register.count:
        raise IndexError(f"register {name} has no element {index}")
    return register.address + 4 * index


def pack_fields(name: str, **values: int) -> int:
    """A register's value from its fields; raises KeyError for a field it has not."""
    fields = {f.name: f for f in facts.BY_NAME[name].fields}
    return sum((value & (1 << fields[f].width) - 1) << fields[f].lsb for f, value in values.items())


def unpack_fields(name: str, value: int) -> dict[str, int]:
    """The fields of a register's value."""
    return {f.name: value >> f.lsb & (1 << f.width) - 1 for f in facts.BY_NAME[name].fields}


class Bus:
    """Reads and writes of a `NicModel`.

    Writes to read-only and unmapped addresses do nothing, reads of write-only and unmapped ones
    give zero; the two lowest address bits are ignored.
    """

    def __init__(self, nic: NicModel) -> None:
        self.nic = nic
        self.stored = {
            (r.name, i): r.reset
            for r in facts.REGISTERS
            if r.access is Access.RW
            for i in range(r.count)
        }
        self._lifetime = 0
        """What SA_LIFETIME_HI and SA_LIFETIME_LO show."""

    def write(self, address: int, value: int) -> None:
        """A write of 32 bits."""
        if not 0 <= value < 1 << 32:
            raise ValueError(f"{value:#x} is not a 32-bit number")
        register, index = BY_ADDRESS.get(address & ~3, (None, 0))
        if register is None or register.access is Access.RO:
            return
        nic = self.nic
        match register.name:
            case "HEARTBEAT":
                nic.host.heartbeat(value)
            case "BOOT_TAKEN":
                if value == facts.BOOT_TAKEN_MAGIC:
                    nic.engine.boot = None
            case "HEARTBEAT_MS":
                nic.host.set_window(value)
                self.stored["HEARTBEAT_MS", 0] = nic.host.window_ms
            case name if name in LOCKABLE and self.policy("settings_locked"):
                return
            case "CLEAR_PORT":
                self.stored["CLEAR_PORT", 0] = value & CLEAR_PORT_BITS
            case "HOST_LEARN":
                self.stored["HOST_LEARN", 0] = value & LEARN_BITS if nic.learns else 0
            case "BOOT_PROGRESS":
                nic.host.tell(value >> 8 & 3, value & 0xFF)
            case "ALERTS" if nic.has_alerts:
                fields = unpack_fields("ALERTS", value)
                nic.alerts.enabled |= bool(fields["enabled"])
                if not self.policy("settings_locked"):
                    nic.alerts.clear = bool(fields["clear"])
                    nic.alerts.heartbeat_s = min(fields["heartbeat_s"], HEARTBEAT_S_MAX)
                self.stored["ALERTS", 0] = pack_fields(
                    "ALERTS",
                    enabled=nic.alerts.enabled,
                    clear=nic.alerts.clear,
                    heartbeat_s=nic.alerts.heartbeat_s,
                )
            case "ALERTS":
                return
            case "HOST_MAC_HI":
                self.stored["HOST_MAC_HI", 0] = value & 0xFFFF
            case "POLICY":  # set only, so that a compromised OS cannot loosen it
                if not nic.sad.held:
                    self.stored["POLICY", 0] |= value & POLICY_BITS
            case "SA_CONTEXT":
                self.stored["SA_CONTEXT", 0] = nic.sad.context = value & (CONTEXTS - 1)
            case "SA_COMMAND":
                nic.sad.command(value)
            case "STORE_COMMAND":
                if nic.store is not None and value == facts.STORE_SAVE_CONFIG:
                    nic.store.save_config()
            case "SA_LIFETIME" if nic.has_lifetimes:
                fields = unpack_fields("SA_LIFETIME", value)
                fields["busy"] = 0
                self.stored["SA_LIFETIME", 0] = pack_fields("SA_LIFETIME", **fields)
                self._lifetime = self._counted(**fields)
            case "SA_LIFETIME":
                return
            case "STAGE_LIFETIME" if not nic.has_lifetimes:
                return
            case name if name.startswith("STAGE_"):
                nic.sad.write(name, index, value)
            case name:
                self.stored[name, index] = value
        self.mirror()

    def read(self, address: int) -> int:
        """A read of 32 bits."""
        register, index = BY_ADDRESS.get(address & ~3, (None, 0))
        if register is None or register.access is Access.WO:
            return 0
        if register.name == "BOOT_PROGRESS":
            kind, code = self.nic.host.progress
            return pack_fields("BOOT_PROGRESS", kind=kind, code=code)
        if register.access is Access.RW:
            return self.stored[register.name, index]
        return self._status(register.name, index)

    def _counted(self, bank: int, outbound: int, octets: int, busy: int) -> int:
        """One of the numbers of SA_LIFETIME."""
        if bank >= len(self.nic.sad.banks):
            return 0
        chosen = self.nic.sad.banks[bank]
        way = chosen.sent if outbound else chosen.received
        return way.octets if octets else way.packets

    def _boot(self, name: str) -> int:
        """What DSP0136 3.2.4.1 has in 11 octets, in three registers."""
        asked = self.nic.engine.boot
        if asked is None:
            return 0
        whole = int.from_bytes(asked, "big")
        match name:
            case "BOOT_COMMAND":
                return 1 << 31 | (whole >> 48 & 0xFF) | (whole >> 32 & 0xFFFF) << 8
            case "BOOT_OPTIONS":
                return (whole >> 16 & 0xFFFF) | (whole & 0xFFFF) << 16
        return whole >> 56

    def clear_policy(self) -> None:
        """What zeroise-all does here."""
        self.stored["POLICY", 0] = 0
        self.stored["CLEAR_PORT", 0] = facts.BY_NAME["CLEAR_PORT"].reset
        self.mirror()

    def stored_word(self, name: str, index: int = 0) -> int:
        """What a register that can be read and written holds."""
        return self.stored[name, index]

    def policy(self, name: str) -> bool:
        """A bit of POLICY."""
        return bool(self.stored["POLICY", 0] & pack_fields("POLICY", **{name: 1}))

    @property
    def clear_port(self) -> ClearPort:
        """What the clear port answers where it is open."""
        what = self.stored["CLEAR_PORT", 0] & 3
        if self.policy("clear_off") or what not in set(ClearPort):
            return ClearPort.NOTHING
        return ClearPort(what)

    @property
    def clear_after_s(self) -> int:
        """Seconds of silence after which the clear port is open outside of cold boot; 0: never."""
        word = self.stored["CLEAR_PORT", 0]
        return word >> 16 if word & 0x100 else 0

    def learn(self, frame: bytes) -> None:
        """What HOST_LEARN says of a frame that the host sends."""
        learns = unpack_fields("HOST_LEARN", self.stored["HOST_LEARN", 0])
        if self.policy("settings_locked"):
            return
        mac = self.nic.host_mac
        arp = arp_announces(frame)
        if learns["arp"] and arp is not None and mac in (0, arp[0]):
            self.stored["HOST_MAC_HI", 0], self.stored["HOST_MAC_LO", 0] = divmod(arp[0], 1 << 32)
            self.stored["HOST_IP", 0] = arp[1]
        address = neighbour_announces(frame, mac)
        if learns["neighbour"] and address is not None:
            for index in range(4):
                self.stored["HOST_IP6", index] = address >> 32 * (3 - index) & 0xFFFFFFFF
            self.stored["HOST_LEARN", 0] = pack_fields("HOST_LEARN", arp=learns["arp"])

    def mirror(self) -> None:
        """Tells the others what was written."""
        self.nic.sad.station_authorised = self.policy("station_authorised")
        self.nic.engine.enterprise = self.stored["ENTERPRISE", 0]
        self.nic.engine.clear_everything = self.clear_port == ClearPort.EVERYTHING

    def _status(self, name: str, index: int) -> int:
        nic, banks = self.nic, self.nic.sad.banks
        match name:
            case "ID":
                return facts.ID_MAGIC
            case "MAP_HASH":
                return facts.MAP_HASH
            case "VERSION":
                return facts.VERSION
            case "SUITES":
                return sum(1 << suite for suite in nic.sad.suites)
            case "LIMITS":
                return pack_fields(
                    name,
                    contexts=nic.sad.contexts,
                    banks=BANKS,
                    window=nic.sad.window,
                    lanes=LANES,
                    alerts=nic.has_alerts,
                    lifetimes=nic.has_lifetimes,
                )
            case "PACKET_MAX":
                return IP_MAX_OCTETS
            case "ACK_MS":
                return nic.sad.ack_ms
            case "GRACE_MS":
                return nic.sad.grace_ms
            case "HOST_STATUS":
                return pack_fields(
                    name,
                    state=nic.host_state,
                    watchdog_expired=nic.host.watchdog_expired,
                    reset_in=nic.host.reset_in,
                    sleep_in=nic.host.sleep_in,
                    off_in=nic.host.off_in,
                    reset_out=nic.pins.levels["reset"],
                    power_out=nic.pins.levels["power"],
                )
            case "STORE_STATUS":
                if nic.store is None:
                    return 0
                records = sum(1 << pair for pair in nic.store.records)
                records |= (nic.store.config is not None) << CONFIG_PAIR
                return pack_fields(name, present=1, records=records)
            case "BOOT_COMMAND" | "BOOT_OPTIONS" | "BOOT_ENTERPRISE":
                return self._boot(name)
            case "EVENTS":
                return pack_fields(name, next=nic.log.next, lost=nic.alerts.lost)
            case "EVENT":
                event = nic.log.at(index)
                if event is None:
                    return 0
                return pack_fields(
                    name,
                    kind=event.kind,
                    state=event.state,
                    before=event.before,
                    code=event.code,
                    number=event.number,
                )
            case "SA_RESULT":
                return nic.sad.result
            case "SA_STATUS":
                if index >= nic.sad.contexts:
                    return 0
                bank_a, bank_b = banks[BANKS * index : BANKS * (index + 1)]
                return pack_fields(
                    name,
                    bank_a=bank_a.state,
                    bank_b=bank_b.state,
                    busy=nic.sad.held,
                    soft_a=HostEvent.SOFT_LIMIT in bank_a.reached,
                    soft_b=HostEvent.SOFT_LIMIT in bank_b.reached,
                    hard_a=HostEvent.HARD_LIMIT in bank_a.reached,
                    hard_b=HostEvent.HARD_LIMIT in bank_b.reached,
                )
            case "SA_LIFETIME_HI":
                return self._lifetime >> 32
            case "SA_LIFETIME_LO":
                return self._lifetime & 0xFFFFFFFF
            case "SA_SPI_IN":
                return banks[index].spi_in if index < len(banks) else 0
            case "COUNTERS":
                return nic.counters[Counter(index)]
        raise KeyError(f"register {name} has no value in the model")
