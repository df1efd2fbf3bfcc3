"""The NIC's register map, once. All registers are 32 bits wide, at octet addresses."""

from __future__ import annotations

import hashlib

from spec.counters import COUNTER_COUNT
from spec.host import EVENTS, HEARTBEAT_MS_DEFAULT, ClearPort
from spec.layout import Access, BitField, Register
from spec.rmcp import OEM_ENTERPRISE_DEFAULT
from spec.sa import ALL_BANKS, CONTEXTS

ID_MAGIC = 0x484F4C44
"""'HOLD' in ASCII."""
BOOT_TAKEN_MAGIC = 0x424F4F54
"""'BOOT' in ASCII."""
VERSION = 0x0003_0000
ADDRESS_BITS = 12
STORE_SAVE_CONFIG = 0x53415645
"""Written to STORE_COMMAND; 'SAVE' in ASCII. Other values do nothing."""

REGISTERS: tuple[Register, ...] = (
    Register("ID", 0x000, Access.RO, "ID_MAGIC of this family."),
    Register("MAP_HASH", 0x004, Access.RO, "First 32 bits of the SHA-256 of this map."),
    Register("VERSION", 0x008, Access.RO, "Gateware version: major in bits 31:16, minor below."),
    Register("SUITES", 0x00C, Access.RO, "Bit n set: the suite with number n is built in."),
    Register(
        "LIMITS",
        0x010,
        Access.RO,
        "What this build has.",
        (
            BitField("contexts", 0, 8, "Contexts in the SAD."),
            BitField("banks", 8, 4, "Banks a context."),
            BitField("window", 12, 12, "Anti-replay window in packets."),
            BitField("lanes", 24, 4, "Octets per cycle."),
            BitField("alerts", 28, 1, "It sends alerts."),
            BitField("lifetimes", 29, 1, "It counts packets and octets of each SA."),
        ),
    ),
    Register("PACKET_MAX", 0x014, Access.RO, "Longest protected IP packet taken, in octets."),
    Register("ACK_MS", 0x018, Access.RO, "Acknowledge timer in milliseconds."),
    Register("GRACE_MS", 0x01C, Access.RO, "Grace of a retiring bank in milliseconds."),
    Register(
        "HOST_STATUS",
        0x020,
        Access.RO,
        "The host as the NIC sees it.",
        (
            BitField("state", 0, 4, "spec.host.HostState."),
            BitField("watchdog_expired", 4, 1, "The heartbeat's window passed."),
            BitField("reset_in", 8, 1, "Host reset input."),
            BitField("sleep_in", 9, 1, "Host sleep input."),
            BitField("off_in", 10, 1, "Host power-off input."),
            BitField("reset_out", 12, 1, "The reset pin is asserted."),
            BitField("power_out", 13, 1, "The power button pin is asserted."),
        ),
    ),
    Register(
        "HEARTBEAT",
        0x024,
        Access.WO,
        "HEARTBEAT_MAGIC: alive; HEARTBEAT_BOOT: firmware begins; HEARTBEAT_STOP: stopping.",
    ),
    Register(
        "HEARTBEAT_MS",
        0x028,
        Access.RW,
        "Window of the heartbeat in milliseconds; clamped to its limits.",
        reset=HEARTBEAT_MS_DEFAULT,
    ),
    Register(
        "BOOT_PROGRESS",
        0x02C,
        Access.RW,
        "What firmware told last; each write of a known kind is an event. 0 after a reset of the "
        "host.",
        (
            BitField("code", 0, 8, "spec.host.BootError or BootProgress."),
            BitField("kind", 8, 2, "spec.host.BootKind; a write with another value does nothing."),
        ),
    ),
    Register("HOST_MAC_HI", 0x030, Access.RW, "Octets 0 and 1 of the host's MAC address."),
    Register("HOST_MAC_LO", 0x034, Access.RW, "Octets 2 to 5 of the host's MAC address."),
    Register("HOST_IP", 0x038, Access.RW, "The host's IPv4 address; 0: none, nothing is ours."),
    Register(
        "POLICY",
        0x03C,
        Access.RW,
        "Policy bits; each can be set by the bus but cleared only by zeroise-all or power-on.",
        (
            BitField(
                "station_authorised",
                0,
                1,
                "Once a bank is proven nothing but Commit replaces it; else the first packet "
                "authenticated under a READY bank commits it.",
            ),
            BitField(
                "clear_off",
                1,
                1,
                "The clear port answers nothing, whatever CLEAR_PORT says.",
            ),
            BitField(
                "settings_locked",
                2,
                1,
                "HOST_MAC, HOST_IP, HOST_IP6, HOST_LEARN, ENTERPRISE, CLEAR_PORT and ALERTS take "
                "no write, but for ALERTS.enabled; and no address is learnt.",
            ),
            BitField(
                "keeps_sa",
                3,
                1,
                "Where there is a store: the proven SA of each context is kept in its flash, and "
                "comes back at power-on, if the configuration that was saved has this bit.",
            ),
        ),
    ),
    Register(
        "ENTERPRISE",
        0x040,
        Access.RW,
        "Enterprise number of the OEM messages.",
        reset=OEM_ENTERPRISE_DEFAULT,
    ),
    Register(
        "HOST_LEARN",
        0x044,
        Access.RW,
        "Which of the host's addresses are taken from what the host announces on its own side of "
        "the NIC; 0 where that is not built in.",
        (
            BitField(
                "arp",
                0,
                1,
                "HOST_IP from each ARP frame that HOST_MAC sends; HOST_MAC too, while it is 0.",
            ),
            BitField(
                "neighbour",
                1,
                1,
                "HOST_IP6 from the next neighbour discovery of HOST_MAC that has an address of "
                "more than the link; then the bit falls.",
            ),
        ),
    ),
    Register(
        "HOST_IP6",
        0x050,
        Access.RW,
        "The host's IPv6 address, first octet in bits 31:24 of the first word; 0: none.",
        count=4,
    ),
    Register(
        "BOOT_COMMAND",
        0x060,
        Access.RO,
        "What the last reset, power-up or power-cycle asked of the host's firmware; all 0 if "
        "nothing, or once BOOT_TAKEN was written.",
        (
            BitField("special_command", 0, 8, "spec.rmcp.SpecialCommand."),
            BitField("special_parameter", 8, 16, "Its parameter."),
            BitField("valid", 31, 1, "These three registers hold something."),
        ),
    ),
    Register(
        "BOOT_OPTIONS",
        0x064,
        Access.RO,
        "The same.",
        (
            BitField("boot_options", 0, 16, "spec.rmcp.BootOption bits."),
            BitField("oem_parameters", 16, 16, "For the enterprise of BOOT_ENTERPRISE."),
        ),
    ),
    Register("BOOT_ENTERPRISE", 0x068, Access.RO, "The same: whose special command it is."),
    Register("BOOT_TAKEN", 0x06C, Access.WO, "BOOT_TAKEN_MAGIC: the firmware has read them."),
    Register(
        "CLEAR_PORT",
        0x070,
        Access.RW,
        "What the clear port answers, and when: while the OS is not up. Zeroise-all gives it its "
        "value after reset again.",
        (
            BitField("what", 0, 2, "spec.host.ClearPort."),
            BitField("unheard", 8, 1, "Not in cold boot alone, but also after silence."),
            BitField(
                "after_s",
                16,
                16,
                "With unheard: seconds since a packet was authenticated under any SA; 0: never.",
            ),
        ),
        reset=ClearPort.DISCOVERY,
    ),
    Register("SA_COMMAND", 0x080, Access.WO, "A spec.sa.SadCommand, for the context SA_CONTEXT."),
    Register("SA_RESULT", 0x084, Access.RO, "spec.sa.SadResult of the last SA_COMMAND."),
    Register("SA_CONTEXT", 0x088, Access.RW, "Context that SA_COMMAND is for; bits 1:0."),
    Register(
        "SA_LIFETIME",
        0x08C,
        Access.RW,
        "Which of the numbers that were counted SA_LIFETIME_HI and SA_LIFETIME_LO show, as it was "
        "at one moment after the write.",
        (
            BitField("bank", 0, 3, "Bank, as in SA_SPI_IN."),
            BitField("outbound", 8, 1, "What was sent under it; else what was received."),
            BitField("octets", 9, 1, "Octets that the algorithm was applied to; else packets."),
            BitField("busy", 31, 1, "They do not show it yet: read again. Not written."),
        ),
    ),
    Register(
        "STORE_STATUS",
        0x090,
        Access.RO,
        "The non-volatile store; 0 where none is built in.",
        (
            BitField("present", 0, 1, "A flash answers."),
            BitField("restoring", 1, 1, "After power-on, SA_COMMAND does nothing and says BUSY."),
            BitField("failing", 2, 1, "The flash did not take what was due; it is tried again."),
            BitField("config_due", 3, 1, "The configuration waits to be saved."),
            BitField("records", 8, 5, "Bit n: pair n of spec.store has a record."),
            BitField(
                "refused", 16, 8, "Records and entries with a wrong check value; stops at 255."
            ),
            BitField("failed", 24, 8, "Operations that the flash did not do; stops at 255."),
        ),
    ),
    Register("STORE_COMMAND", 0x094, Access.WO, "STORE_SAVE_CONFIG: save the configuration."),
    Register("SA_LIFETIME_HI", 0x098, Access.RO, "Bits 63:32; 0 of an EMPTY bank."),
    Register("SA_LIFETIME_LO", 0x09C, Access.RO, "Bits 31:0."),
    Register(
        "SA_STATUS",
        0x0A0,
        Access.RO,
        "The two banks of each context; 0 beyond LIMITS.contexts.",
        (
            BitField("bank_a", 0, 4, "spec.sa.BankState of bank A."),
            BitField("bank_b", 4, 4, "spec.sa.BankState of bank B."),
            BitField("busy", 8, 1, "Keys of some context are being expanded or zeroised."),
            BitField("soft_a", 9, 1, "The soft limit of bank A's lifetime is reached."),
            BitField("soft_b", 10, 1, "The same of bank B."),
            BitField("hard_a", 11, 1, "The hard limit of bank A's lifetime is reached."),
            BitField("hard_b", 12, 1, "The same of bank B."),
        ),
        count=CONTEXTS,
    ),
    Register(
        "SA_SPI_IN",
        0x0C0,
        Access.RO,
        "Inbound SPI of bank A and B of each context; 0 if EMPTY.",
        count=ALL_BANKS,
    ),
    Register(
        "STAGE_SPI_IN",
        0x100,
        Access.WO,
        "Inbound SPI of ESP, or of AH where the suite has no ESP, in network order as a number.",
    ),
    Register("STAGE_SPI_OUT", 0x104, Access.WO, "Outbound SPI."),
    Register("STAGE_SUITE", 0x108, Access.WO, "spec.suites.Suite."),
    Register("STAGE_FLAGS", 0x10C, Access.WO, "spec.sa.SaFlag bits."),
    Register("STAGE_PEER_IP", 0x110, Access.WO, "IPv4 address of the station; 0 with SaFlag.IPV6."),
    Register(
        "STAGE_SALT_IN",
        0x114,
        Access.WO,
        "Inbound salt, first octet in bits 31:24; or 0.",
    ),
    Register("STAGE_SALT_OUT", 0x118, Access.WO, "Outbound salt."),
    Register("STAGE_RX_SEQ_HI", 0x11C, Access.WO, "Right edge of the inbound window, bits 63:32."),
    Register("STAGE_RX_SEQ_LO", 0x120, Access.WO, "Right edge, bits 31:0; 0 for a fresh SA."),
    Register("STAGE_TX_SEQ_HI", 0x124, Access.WO, "Last outbound number used, bits 63:32."),
    Register("STAGE_TX_SEQ_LO", 0x128, Access.WO, "Last outbound number used; 0 for a fresh SA."),
    Register(
        "STAGE_KEY_IN",
        0x140,
        Access.WO,
        "Inbound key, 4 or 8 words; first octet of the key in bits 31:24 of the first word.",
        count=8,
    ),
    Register("STAGE_KEY_OUT", 0x160, Access.WO, "Outbound key, likewise.", count=8),
    Register("STAGE_AH_SPI_IN", 0x12C, Access.WO, "With AH and ESP: the inbound SPI of AH."),
    Register("STAGE_AH_SPI_OUT", 0x130, Access.WO, "With AH and ESP: the outbound SPI of AH."),
    Register("STAGE_AH_RX_SEQ_HI", 0x180, Access.WO, "Right edge of AH's window, bits 63:32."),
    Register("STAGE_AH_RX_SEQ_LO", 0x184, Access.WO, "Right edge of AH's window, bits 31:0."),
    Register("STAGE_AH_TX_SEQ_HI", 0x188, Access.WO, "Last outbound number of AH, bits 63:32."),
    Register("STAGE_AH_TX_SEQ_LO", 0x18C, Access.WO, "Last outbound number of AH, bits 31:0."),
    Register(
        "STAGE_PEER_IP6",
        0x190,
        Access.WO,
        "With SaFlag.IPV6: IPv6 address of the station, as HOST_IP6.",
        count=4,
    ),
    Register("STAGE_AUTH_IN", 0x1A0, Access.WO, "Inbound HMAC key, 5 or 8 words.", count=8),
    Register("STAGE_AUTH_OUT", 0x1C0, Access.WO, "Outbound HMAC key, likewise.", count=8),
    Register(
        "STAGE_AH_AUTH_IN",
        0x1E0,
        Access.WO,
        "With AH and ESP: inbound HMAC key of AH.",
        count=8,
    ),
    Register(
        "STAGE_AH_AUTH_OUT",
        0x200,
        Access.WO,
        "With AH and ESP: outbound HMAC key of AH.",
        count=8,
    ),
    Register(
        "STAGE_LIFETIME",
        0x220,
        Access.WO,
        "Limits of its lifetime by spec.sa.LifetimeWord; may be left out: none.",
        count=8,
    ),
    Register(
        "COUNTERS", 0x280, Access.RO, "Counters by spec.counters.Counter.", count=COUNTER_COUNT
    ),
    Register(
        "EVENTS",
        0x300,
        Access.RO,
        "The log of events.",
        (
            BitField("next", 0, 8, "Number that the next event gets; counts on from 255 with 0."),
            BitField(
                "lost",
                8,
                8,
                "Events that were overwritten before their alert was sent; stays at 255.",
            ),
        ),
    ),
    Register(
        "ALERTS",
        0x304,
        Access.RW,
        "Whether and how alerts are sent.",
        (
            BitField("enabled", 0, 1, "Under SAs; once set it stays so until power-on."),
            BitField(
                "clear",
                1,
                1,
                "In clear too, to a station under whose context no SA is proven any more; not with "
                "POLICY.clear_off.",
            ),
            BitField(
                "heartbeat_s", 16, 10, "Period of the heartbeat in seconds, at most 600; 0: none."
            ),
        ),
    ),
    Register(
        "EVENT",
        0x340,
        Access.RO,
        "The newest events, each at its number modulo spec.host.EVENTS; 0: there was none yet.",
        (
            BitField("kind", 0, 4, "spec.host.HostEvent."),
            BitField("state", 4, 4, "spec.host.HostState after it."),
            BitField("before", 8, 4, "The state before it."),
            BitField(
                "code",
                16,
                8,
                "BOOT_PROGRESS.code at that time; of SOFT_LIMIT and HARD_LIMIT the bank.",
            ),
            BitField("number", 24, 8, "Number of the event."),
        ),
        count=EVENTS,
    ),
)

BY_NAME: dict[str, Register] = {register.name: register for register in REGISTERS}


def canonical_map() -> str:
    """The map as text, one line a register or field, in which every fact of the interface shows."""
    lines = []
    for register in REGISTERS:
        lines.append(
            f"{register.name} {register.address:03x} {register.access.name} {register.count} "
            f"{register.reset:08x}"
        )
        lines += [f"  {f.name} {f.lsb} {f.width}" for f in register.fields]
    return "\n".join(lines) + "\n"


MAP_HASH = int.from_bytes(hashlib.sha256(canonical_map().encode()).digest()[:4], "big")
"""What MAP_HASH reads as; the driver refuses another."""


def _check() -> None:
    used: dict[int, str] = {}
    for register in REGISTERS:
        for index in range(register.count):
            address = register.address + 4 * index
            if address % 4 or not 0 <= address < 1 << ADDRESS_BITS:
                raise ValueError(f"register {register.name}: bad address {address:#x}")
            if address in used:
                raise ValueError(f"registers {register.name} and {used[address]} overlap")
            used[address] = register.name


_check()
