"""Alerts: the Platform Event Trap 1.0 in an SNMPv1 trap, as ASF 2.0 wants it (DSP0136 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from spec.host import HostEvent, HostState
from spec.layout import Field, Header

PORT_SNMP_TRAP = 162
SNMP_VERSION_1 = 0
COMMUNITY = b"public"
PET_OID = (1, 3, 6, 1, 4, 1, 3183, 1, 1)
"""Enterprise of every PET; its variable binding has one number more, 1."""
GENERIC_TRAP = 6
"""enterpriseSpecific (RFC 1157 4.1.6)."""
EVENT_TYPE = 0x6F
"""Sensor-specific: the middle octet of the specific trap, between sensor type and offset."""

ALERT_SENDS = 3
"""Times that an alert is sent, with the same sequence number (DSP0136 3.1.1.1). A heartbeat is sent
once."""
ALERT_SPACING_MS = 500
"""From one sending to the next, of whatever alert: two frames a second to each station at most."""
HEARTBEAT_S_MAX = 600
"""Longest period of the heartbeat (DSP0136 3.1.5.5)."""


class BerTag(IntEnum):
    """Tags of the trap (RFC 1155 6, RFC 1157 4.1)."""

    INTEGER = 0x02
    OCTET_STRING = 0x04
    OBJECT_IDENTIFIER = 0x06
    SEQUENCE = 0x30
    IP_ADDRESS = 0x40
    TIME_TICKS = 0x43
    TRAP_PDU = 0xA4


class Severity(IntEnum):
    """Event severity."""

    MONITOR = 0x01
    NON_CRITICAL = 0x08
    CRITICAL = 0x10


class Entity(IntEnum):
    """What an event is about (DSP0136 A.7, A.8)."""

    SYSTEM_CHASSIS = 23
    FIRMWARE = 34
    OPERATING_SYSTEM = 35
    MANAGEMENT_DEVICE = 38


BINDING = Header(
    "pet",
    (
        Field("guid", 128),
        Field("sequence", 16),
        Field("local_timestamp", 32),
        Field("utc_offset", 16),
        Field("trap_source", 8),
        Field("event_source", 8),
        Field("severity", 8),
        Field("sensor_device", 8),
        Field("sensor_number", 8),
        Field("entity", 8),
        Field("entity_instance", 8),
        Field("event_data_1", 8),
        Field("event_data_2", 8),
        Field("event_data_3", 8),
        Field("event_data_rest", 40),
        Field("language", 8),
        Field("manufacturer", 32),
        Field("system", 16),
        Field("oem", 8),
    ),
    "IPMI Platform Event Trap Format Specification 1.0, table 3",
)
"""The value of the variable binding."""
BINDING_CONSTANTS = {
    "guid": 0,
    "local_timestamp": 0,
    "utc_offset": 0xFFFF,
    "trap_source": 0x50,
    "event_source": 0x68,
    "sensor_device": 0xFF,
    "sensor_number": 0,
    "entity_instance": 0,
    "event_data_rest": 0,
    "language": 0xFF,
    "system": 0,
    "oem": 0xC1,
}
"""Fields that are the same in all alerts: a NIC (50h) that follows ASF (68h), no GUID, no clock, no
sensor on a bus, no OEM fields. `manufacturer` is the enterprise number of our OEM messages."""


DATA_1_FIRMWARE = 0x40
"""Event data 1: event data 2 is firmware's code; DSP0136 3.1.5.2."""
DATA_1_BANK = 0x80
"""Event data 2, an OEM code, is the number of a bank; IPMI 2.0 table 29-6."""
DATA_1_STATES = 0xA0
"""Event data 2 and 3, OEM codes, are the HostState after the event and before it."""


@dataclass(frozen=True, slots=True)
class AlertFacts:
    """How an event is told.

    Parameters
    ----------
    sensor, offset : int
        Event sensor type and event offset. The offset of STATE is that of the state: ACPI_OFFSETS.
    severity : Severity
        How bad it is.
    entity : Entity
        What it is about.
    data_1 : int
        What event data 2 and 3 are: DATA_1_STATES, or DATA_1_FIRMWARE or DATA_1_BANK.
    """

    sensor: int
    offset: int
    severity: Severity
    entity: Entity
    data_1: int = DATA_1_STATES


ALERTS = {
    HostEvent.STATE: AlertFacts(0x22, 0, Severity.MONITOR, Entity.SYSTEM_CHASSIS),
    HostEvent.WATCHDOG: AlertFacts(0x20, 1, Severity.CRITICAL, Entity.OPERATING_SYSTEM),
    HostEvent.BOOT_PROGRESS: AlertFacts(
        0x0F, 2, Severity.MONITOR, Entity.FIRMWARE, DATA_1_FIRMWARE
    ),
    HostEvent.BOOT_ERROR: AlertFacts(0x0F, 0, Severity.CRITICAL, Entity.FIRMWARE, DATA_1_FIRMWARE),
    HostEvent.BOOT_HANG: AlertFacts(0x0F, 1, Severity.CRITICAL, Entity.FIRMWARE, DATA_1_FIRMWARE),
    HostEvent.TAMPER: AlertFacts(0x06, 5, Severity.NON_CRITICAL, Entity.MANAGEMENT_DEVICE),
    HostEvent.ZEROISED: AlertFacts(0x28, 3, Severity.CRITICAL, Entity.MANAGEMENT_DEVICE),
    HostEvent.SOFT_LIMIT: AlertFacts(
        0x28, 0, Severity.NON_CRITICAL, Entity.MANAGEMENT_DEVICE, DATA_1_BANK
    ),
    HostEvent.HARD_LIMIT: AlertFacts(
        0x28, 1, Severity.CRITICAL, Entity.MANAGEMENT_DEVICE, DATA_1_BANK
    ),
    HostEvent.PRESENT: AlertFacts(0x25, 0, Severity.MONITOR, Entity.SYSTEM_CHASSIS),
}
"""Sensor types: 22h system ACPI power state, 20h OS critical stop (offset 1: run-time stop), 0Fh
system firmware (error, hang, progress), 06h platform security violation attempt (5: out-of-band
access), 28h management subsystem health (0: sensor access degraded, 1: controller access degraded,
3: management controller unavailable), 25h entity presence (DSP0136 3.1.5 and A.8, IPMI 2.0 table
42-3). None has its first bit set: the specific trap would be an octet longer."""
ACPI_OFFSETS = {HostState.SUSPEND: 0x08, HostState.SOFT_OFF: 0x06}
"""Offsets of sensor type 22h: sleeping, soft-off; 0, working, of every other state."""
