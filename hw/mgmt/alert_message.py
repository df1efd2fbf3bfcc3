"""The message of an alert, octet by octet: an SNMPv1 trap with a PET in it."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.headers import octets_of
from hw.host.monitor import HOST_STATE_BITS
from spec import pet
from spec.host import HostEvent, HostState
from spec.pet import ALERTS, BINDING, BINDING_CONSTANTS, BerTag

__all__ = ["ALERT_OCTETS", "TICKS_AT", "TICKS_OCTETS", "AlertMessage"]

TICKS_OCTETS = 5
"""Most octets of a time stamp: 32 bits, and a leading zero where the first of them is set."""

_Item = int | tuple[str, int]
"""An octet of the message: itself, or which octet of what."""


def _oid(numbers: tuple[int, ...]) -> list[_Item]:
    octets: list[_Item] = [40 * numbers[0] + numbers[1]]
    for number in numbers[2:]:
        if number >= 1 << 14:
            raise ValueError(f"{number} in an object identifier takes more than two octets")
        octets += [0x80 | number >> 7] * (number > 0x7F) + [number & 0x7F]
    return octets


def _tlv(tag: BerTag, value: list[_Item]) -> list[_Item]:
    """A value whose length does not change, in the short form."""
    return [tag, len(value), *value]


def _parts(name: str, octets: int) -> list[_Item]:
    return [(name, n) for n in range(octets)]


def _binding() -> list[_Item]:
    value: list[_Item] = []
    for field in BINDING.fields:
        octets = field.bits // 8
        if field.name in BINDING_CONSTANTS:
            value += BINDING_CONSTANTS[field.name].to_bytes(octets, "big")
        else:
            value += _parts(field.name, octets)
    return value


def _template() -> tuple[list[_Item], int, int, int]:
    """All octets with the longest time stamp; where that begins; the two lengths without it."""
    bindings = _tlv(
        BerTag.SEQUENCE,
        _tlv(
            BerTag.SEQUENCE,
            _tlv(BerTag.OBJECT_IDENTIFIER, _oid((*pet.PET_OID, 1)))
            + _tlv(BerTag.OCTET_STRING, _binding()),
        ),
    )
    specific: list[_Item] = [("sensor", 0), pet.EVENT_TYPE, ("offset", 0)]
    before = [
        *_tlv(BerTag.OBJECT_IDENTIFIER, _oid(pet.PET_OID)),
        *_tlv(BerTag.IP_ADDRESS, _parts("agent", 4)),
        *_tlv(BerTag.INTEGER, [pet.GENERIC_TRAP]),
        *_tlv(BerTag.INTEGER, specific),
        BerTag.TIME_TICKS,
        ("ticks_octets", 0),
    ]
    head = [
        *_tlv(BerTag.INTEGER, [pet.SNMP_VERSION_1]),
        *_tlv(BerTag.OCTET_STRING, list(pet.COMMUNITY)),
        BerTag.TRAP_PDU,
        ("pdu_octets", 0),
    ]
    start = [BerTag.SEQUENCE, ("message_octets", 0), *head, *before]
    pdu = len(before) + len(bindings)
    message = len(head) + pdu
    return [*start, *_parts("ticks", TICKS_OCTETS), *bindings], len(start), pdu, message


_TEMPLATE, TICKS_AT, _PDU_OCTETS, _MESSAGE_OCTETS = _template()
ALERT_OCTETS = len(_TEMPLATE)
"""Octets of the message with the longest time stamp, which begins at TICKS_AT."""
_HEAD_OCTETS = 2


class AlertMessage(wiring.Component):
    """Gives octet `index` of the message, two cycles later.

    Numbers are in BER's shortest form, so the time stamp takes one to five octets. `index` counts
    as if it had five; those that it has are the first of them.

    Attributes
    ----------
    kind, state, before, code : Signal, in
        Of the event, as the log has them.
    sequence : Signal, in
        Of the PET.
    begin, uptime : Signal, in
        Strobe: a message of this time, in hundredths of a second; it is right seven cycles later.
    ticks_octets : Signal, out
        Octets of the time stamp.
    agent, enterprise : Signal, in
        The host's IPv4 address; who made the NIC.
    octets : Signal, out
        Of the whole message.
    index : Signal, in; data : Signal, out

    Source: RFC 1157 4.1.6, ITU-T X.690 8.3, IPMI PET 1.0, DSP0136 3.1.
    """

    kind: In(4)
    state: In(HOST_STATE_BITS)
    before: In(HOST_STATE_BITS)
    code: In(8)
    sequence: In(16)
    begin: In(1)
    uptime: In(32)
    ticks_octets: Out(3)
    agent: In(32)
    enterprise: In(32)
    octets: Out(7)
    index: In(7)
    data: Out(8)

    def elaborate(self, platform):
        m = Module()
        sensor, offset, severity, entity, data_1, data_2, data_3 = (Signal(8) for _ in range(7))
        pdu_octets, message_octets = Signal(8), Signal(8)
        ticks = Signal(8 * TICKS_OCTETS)
        with m.If(self.begin):
            m.d.sync += [ticks.eq(self.uptime), self.ticks_octets.eq(TICKS_OCTETS)]
        # Nine equal bits do not begin a number.
        with m.Elif((ticks[-9:] == 0) & (self.ticks_octets > 1)):
            m.d.sync += [ticks.eq(ticks << 8), self.ticks_octets.eq(self.ticks_octets - 1)]
        m.d.sync += [
            pdu_octets.eq(_PDU_OCTETS + self.ticks_octets),
            message_octets.eq(_MESSAGE_OCTETS + self.ticks_octets),
            self.octets.eq(_HEAD_OCTETS + _MESSAGE_OCTETS + self.ticks_octets),
        ]
        with m.Switch(self.kind):
            for kind, facts in ALERTS.items():
                with m.Case(kind):
                    m.d.sync += [
                        sensor.eq(facts.sensor),
                        offset.eq(facts.offset),
                        severity.eq(facts.severity),
                        entity.eq(facts.entity),
                    ]
                    m.d.sync += data_1.eq(facts.data_1)
                    if facts.data_1 == pet.DATA_1_STATES:
                        m.d.sync += [data_2.eq(self.state), data_3.eq(self.before)]
                    else:
                        m.d.sync += [data_2.eq(self.code), data_3.eq(0)]
                    if facts.sensor == ALERTS[HostEvent.STATE].sensor:
                        for state in HostState:
                            with m.If(self.state == state):
                                m.d.sync += offset.eq(pet.ACPI_OFFSETS.get(state, facts.offset))
        values = {
            "message_octets": [message_octets],
            "pdu_octets": [pdu_octets],
            "agent": octets_of(self.agent),
            "sensor": [sensor],
            "offset": [offset],
            "ticks_octets": [Cat(self.ticks_octets, Const(0, 5))],
            "ticks": octets_of(ticks),
            "sequence": octets_of(self.sequence),
            "severity": [severity],
            "entity": [entity],
            "event_data_1": [data_1],
            "event_data_2": [data_2],
            "event_data_3": [data_3],
            "manufacturer": octets_of(self.enterprise),
        }
        # A constant, or the number of one of those that change.
        changing = [(name, n) for name, octets in values.items() for n in range(len(octets))]
        words = [
            item if isinstance(item, int) else 1 << 8 | changing.index(item) for item in _TEMPLATE
        ]
        width = 9
        rom = Const(sum(word << width * n for n, word in enumerate(words)), width << 7)
        word = Signal(width)
        chosen = Signal(8)
        row = Cat(values[name][n] for name, n in changing)
        m.d.comb += chosen.eq(row.word_select(word[: (len(changing) - 1).bit_length()], 8))
        m.d.sync += [
            word.eq(rom.word_select(self.index, width)),
            self.data.eq(Mux(word[8], chosen, word[:8])),
        ]
        return m
