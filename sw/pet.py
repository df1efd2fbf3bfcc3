"""Alerts of a NIC: SNMPv1 traps with a Platform Event Trap in them, taken apart.

Source: RFC 1157 4.1.6, ITU-T X.690 8, IPMI PET 1.0, DSP0136 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from spec import pet
from spec.host import HostEvent, HostState
from spec.pet import ACPI_OFFSETS, ALERTS, BINDING, BerTag

_LONG_FORM = 0x80
_STATE_SENSOR = ALERTS[HostEvent.STATE].sensor
_CODED = (pet.DATA_1_FIRMWARE, pet.DATA_1_BANK)
_KINDS = {(facts.sensor, facts.offset): kind for kind, facts in ALERTS.items()} | {
    (_STATE_SENSOR, offset): HostEvent.STATE for offset in ACPI_OFFSETS.values()
}


class AlertError(ValueError):
    """These octets are no alert; the message says why."""


@dataclass(frozen=True, slots=True)
class Alert:
    """What a NIC tells.

    Parameters
    ----------
    kind : HostEvent or None
        What happened; None for a trap that is well-formed and not known here.
    sensor, event_type, offset : int
        The specific trap.
    sequence : int
        The same each time that an alert is sent.
    severity, entity : int
        As the PET has them.
    state, before : HostState or None
        The host's state after it and before it, where that is told.
    code : int or None
        Firmware's code, or the number of a bank, where that is told.
    uptime_s : float
        Time since the NIC got power.
    agent : IPv4Address
        The host's address.
    manufacturer : int
        Enterprise number.
    """

    kind: HostEvent | None
    sensor: int
    event_type: int
    offset: int
    sequence: int
    severity: int
    entity: int
    state: HostState | None
    before: HostState | None
    code: int | None
    uptime_s: float
    agent: IPv4Address
    manufacturer: int


class _Reader:
    """Values one after the other, in definite lengths."""

    def __init__(self, octets: bytes, what: str) -> None:
        self._octets = octets
        self._what = what
        self._at = 0

    def take(self, tag: BerTag) -> bytes:
        """The value of the next element, which has this tag."""
        if len(self._octets) - self._at < 2:
            raise AlertError(f"the {self._what} ends before its {tag.name}")
        found, count = self._octets[self._at : self._at + 2]
        start = self._at + 2
        if found != tag:
            raise AlertError(f"the {self._what} has tag {found:#04x} where {tag.name} belongs")
        if count & _LONG_FORM:
            more = count & ~_LONG_FORM
            if not 1 <= more <= 2:
                raise AlertError(f"a length in the {self._what} has {more} octets")
            count = int.from_bytes(self._octets[start : start + more], "big")
            start += more
        if len(self._octets) - start < count:
            raise AlertError(f"the {tag.name} in the {self._what} is longer than what holds it")
        self._at = start + count
        return self._octets[start : self._at]

    def end(self) -> None:
        """Nothing may follow."""
        if self._at != len(self._octets):
            raise AlertError(f"{len(self._octets) - self._at} octets behind the {self._what}")

    def number(self, tag: BerTag = BerTag.INTEGER) -> int:
        """The next element as a number that is not negative."""
        octets = self.take(tag)
        if not 1 <= len(octets) <= 5 or octets[0] & 0x80:
            raise AlertError(f"{octets.hex() or 'nothing'} in the {self._what} is no such number")
        return int.from_bytes(octets, "big")

    def identifier(self) -> tuple[int, ...]:
        """The next element as an object identifier."""
        octets = self.take(BerTag.OBJECT_IDENTIFIER)
        if not octets or octets[-1] & 0x80:
            raise AlertError(f"an object identifier in the {self._what} has no end")
        numbers, number = [], 0
        for octet in octets:
            number = number << 7 | octet & 0x7F
            if not octet & 0x80:
                numbers.append(number)
                number = 0
        return (*divmod(numbers[0], 40), *numbers[1:])


def parse_alert(octets: bytes) -> Alert:
    """The alert in a UDP payload; raises AlertError for whatever else it is."""
    outside = _Reader(octets, "message")
    message = _Reader(outside.take(BerTag.SEQUENCE), "message")
    outside.end()
    version = message.number()
    if version != pet.SNMP_VERSION_1:
        raise AlertError(f"SNMP version {version}, not 1 (which is told as 0)")
    message.take(BerTag.OCTET_STRING)
    trap = _Reader(message.take(BerTag.TRAP_PDU), "trap")
    message.end()
    enterprise = trap.identifier()
    if enterprise != pet.PET_OID:
        raise AlertError(f"enterprise {_dotted(enterprise)} is not that of a PET")
    agent = trap.take(BerTag.IP_ADDRESS)
    if len(agent) != 4:
        raise AlertError(f"an agent address of {len(agent)} octets")
    generic, specific = trap.number(), trap.number()
    if generic != pet.GENERIC_TRAP:
        raise AlertError(f"generic trap {generic} is not that of a PET")
    ticks = trap.number(BerTag.TIME_TICKS)
    bindings = _Reader(trap.take(BerTag.SEQUENCE), "list of variables")
    trap.end()
    variable = _Reader(bindings.take(BerTag.SEQUENCE), "variable")
    bindings.end()
    name = variable.identifier()
    if name != (*pet.PET_OID, 1):
        raise AlertError(f"variable {_dotted(name)} is not that of a PET")
    value = variable.take(BerTag.OCTET_STRING)
    variable.end()
    if len(value) < BINDING.octets:
        raise AlertError(f"a PET of {len(value)} octets; it has {BINDING.octets} at least")
    return _alert(BINDING.unpack(value), specific, ticks, IPv4Address(agent))


def _alert(fields: dict[str, int], specific: int, ticks: int, agent: IPv4Address) -> Alert:
    sensor, event_type, offset = specific >> 16 & 0xFF, specific >> 8 & 0xFF, specific & 0xFF
    known = event_type == pet.EVENT_TYPE and specific >> 24 == 0
    kind = _KINDS.get((sensor, offset)) if known else None
    states = fields["event_data_1"] == pet.DATA_1_STATES and kind is not None
    coded = fields["event_data_1"] in _CODED and kind is not None
    return Alert(
        kind=kind,
        sensor=sensor,
        event_type=event_type,
        offset=offset,
        sequence=fields["sequence"],
        severity=fields["severity"],
        entity=fields["entity"],
        state=_state(fields["event_data_2"]) if states else None,
        before=_state(fields["event_data_3"]) if states else None,
        code=fields["event_data_2"] if coded else None,
        uptime_s=ticks / 100,
        agent=agent,
        manufacturer=fields["manufacturer"],
    )


def _state(number: int) -> HostState | None:
    return HostState(number) if number in set(HostState) else None


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers[:32]))
