"""Alerts as SNMPv1 traps: RFC 1157 in BER, written from the text of both."""

from __future__ import annotations

from spec.host import HostEvent, HostState
from spec.pet import (
    ACPI_OFFSETS,
    ALERTS,
    BINDING,
    BINDING_CONSTANTS,
    COMMUNITY,
    DATA_1_STATES,
    EVENT_TYPE,
    GENERIC_TRAP,
    PET_OID,
    SNMP_VERSION_1,
    BerTag,
)
from verif.model.host import Event


def tlv(tag: int, value: bytes) -> bytes:
    """A value with tag and length (ITU-T X.690 8.1)."""
    count = len(value)
    if count < 0x80:
        return bytes([tag, count]) + value
    size = (count.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + count.to_bytes(size, "big") + value


def number(value: int, tag: int = BerTag.INTEGER) -> bytes:
    """A number that is not negative, as short as can be (X.690 8.3)."""
    return tlv(tag, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def object_identifier(numbers: tuple[int, ...]) -> bytes:
    """X.690 8.19."""
    octets = bytearray()
    for one in (40 * numbers[0] + numbers[1], *numbers[2:]):
        digits = [one & 0x7F]
        while one := one >> 7:
            digits.append(one & 0x7F | 0x80)
        octets += bytes(reversed(digits))
    return tlv(BerTag.OBJECT_IDENTIFIER, bytes(octets))


def trap(event: Event, sequence: int, ticks: int, agent: int, enterprise: int) -> bytes:
    """The message of an alert.

    Parameters
    ----------
    event : Event
        What it tells.
    sequence : int
        Of the PET.
    ticks : int
        Hundredths of a second since power-on.
    agent, enterprise : int
        The host's IPv4 address, and the enterprise number of the OEM messages.
    """
    facts = ALERTS[event.kind]
    offset = facts.offset
    if event.kind is HostEvent.STATE:
        offset = ACPI_OFFSETS.get(event.state, offset)
    data: tuple[int, int, int]
    if facts.data_1 == DATA_1_STATES:
        data = (DATA_1_STATES, event.state, event.before)
    else:
        data = (facts.data_1, event.code, 0)
    binding = BINDING.pack(
        **BINDING_CONSTANTS,
        sequence=sequence,
        severity=facts.severity,
        entity=facts.entity,
        event_data_1=data[0],
        event_data_2=data[1],
        event_data_3=data[2],
        manufacturer=enterprise,
    )
    variable = tlv(
        BerTag.SEQUENCE, object_identifier((*PET_OID, 1)) + tlv(BerTag.OCTET_STRING, binding)
    )
    pdu = (
        object_identifier(PET_OID)
        + tlv(BerTag.IP_ADDRESS, agent.to_bytes(4, "big"))
        + number(GENERIC_TRAP)
        + number(facts.sensor << 16 | EVENT_TYPE << 8 | offset)
        + number(ticks, BerTag.TIME_TICKS)
        + tlv(BerTag.SEQUENCE, variable)
    )
    return tlv(
        BerTag.SEQUENCE,
        number(SNMP_VERSION_1) + tlv(BerTag.OCTET_STRING, COMMUNITY) + tlv(BerTag.TRAP_PDU, pdu),
    )


def heartbeat(state: HostState) -> Event:
    """What a heartbeat tells."""
    return Event(0, HostEvent.PRESENT, state, state, 0)
