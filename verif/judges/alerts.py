"""Judges of alerts: tshark's SNMP and scapy's, on what the NIC sent of an event BOOT_PROGRESS.

`Sent.message` is firmware's code alone, in hexadecimal; all else is written out here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.layers.snmp import SNMP, SNMPtrapv1

from verif.judges import tshark
from verif.judges.by_scapy import (
    HOST,
    REFUSALS,
    inside,
    opened,
    whole,
    wrong_frame,
    wrong_headers,
)
from verif.judges.sent import PCAP, Sent

OID = "1.3.6.1.4.1.3183.1.1"
PROGRESS = 0x0F6F02
"""Specific trap: sensor type 0Fh, sensor-specific, offset 02h (DSP0136 3.1.5.3)."""
FIELDS = (
    *("frame.protocols", "_ws.expert.severity", "_ws.malformed"),
    *("ip.checksum.status", "udp.checksum.status", "udp.dstport"),
    *("snmp.version", "snmp.community", "snmp.enterprise", "snmp.agent_addr"),
    *("snmp.generic_trap", "snmp.specific_trap", "snmp.time_stamp"),
    *("snmp.name", "snmp.value.octets"),
)


def wrong_binding(value: bytes, code: str) -> Iterator[str]:
    """Fields of the PET's 47 octets (IPMI PET 1.0, table 3)."""
    due = {
        "GUID": (value[:16], bytes(16)),
        "sequence": (value[16:18], b"\0\1"),
        "timestamp and UTC offset": (value[18:24], b"\0\0\0\0\xff\xff"),
        "source types": (value[24:26], b"\x50\x68"),
        "severity": (value[26:27], b"\1"),
        "sensor device and number": (value[27:29], b"\xff\0"),
        "entity": (value[29:31], bytes([34, 0])),
        "event data": (value[31:39], b"\x40" + bytes.fromhex(code) + bytes(6)),
        "language": (value[39:40], b"\xff"),
        "manufacturer": (value[40:44], (32473).to_bytes(4, "big")),
        "system and end of fields": (value[44:], b"\0\0\xc1"),
    }
    for name, (said, wanted) in due.items():
        if said != wanted:
            yield f"{name} {said.hex()}, not {wanted.hex()}"


def by_scapy(frame: Sent) -> Iterator[str]:
    """What scapy finds wrong."""
    form, sa, v6 = frame.form, frame.sa, frame.form.v6
    assert sa is not None
    ether = Ether(frame.octets)
    yield from wrong_frame(frame, ether)
    try:
        packet: Any = whole(bytes(ether[IPv6 if v6 else IP]), v6=v6)
        yield from wrong_headers(packet, v6=v6, zero_sum=form.encap and not v6)
        packet, _, faults = opened(frame, sa, packet)
        yield from faults
        yield from wrong_headers(packet, v6=inside(frame, sa, esp=False))
        datagram = packet[UDP]
        if (datagram.sport, datagram.dport) != (664, 162):
            yield f"ports {datagram.sport}, {datagram.dport}"
        octets = bytes(datagram.payload)
        message = SNMP(octets)
        if bytes(message) != octets:
            yield f"scapy writes {bytes(message).hex()}, not {octets.hex()}"
        trap = message[SNMPtrapv1]
        said = (
            *(message.version.val, message.community.val, trap.enterprise.val),
            *(trap.agent_addr.val, trap.generic_trap.val, trap.specific_trap.val),
        )
        if said != (0, b"public", OID, HOST[False], 6, PROGRESS):
            yield f"trap {said}"
        (variable,) = trap.varbindlist
        if variable.oid.val != f"{OID}.1":
            yield f"variable {variable.oid.val}"
        yield from wrong_binding(variable.value.val, frame.message)
    except REFUSALS as error:
        yield f"{type(error).__name__}: {error}"


def by_tshark(frame: Sent, said: dict[str, list[str]]) -> Iterator[str]:
    """What tshark finds wrong."""
    if said["_ws.malformed"]:
        yield f"malformed: {said['_ws.malformed']}"
    if [value for value in said["_ws.expert.severity"] if int(value, 0) >= tshark.WARNING]:
        yield f"expert info of severity {said['_ws.expert.severity']}"
    sa = frame.sa
    if sa is not None and sa.kind.esp and not tshark.knows(sa):
        return
    if not said["frame.protocols"][0].endswith(":udp:snmp"):
        yield f"protocols {said['frame.protocols']}"
        return
    if set(said["ip.checksum.status"]) - {tshark.GOOD} or said["udp.checksum.status"][-1] != "1":
        yield f"checksums {said['ip.checksum.status']}, {said['udp.checksum.status']}"
    due = {
        "snmp.version": "0",
        "snmp.community": "public",
        "snmp.enterprise": OID,
        "snmp.agent_addr": HOST[False],
        "snmp.generic_trap": "6",
        "snmp.specific_trap": str(PROGRESS),
        "snmp.name": f"{OID}.1",
    }
    for name, value in due.items():
        if said[name] != [value]:
            yield f"{name} is {said[name]}, not {value}"
    if said["udp.dstport"][-1:] != ["162"]:
        yield f"port {said['udp.dstport']}"
    for value in said["snmp.value.octets"]:
        yield from wrong_binding(bytes.fromhex(value), frame.message)
    if len(said["snmp.value.octets"]) != 1:
        yield f"{len(said['snmp.value.octets'])} variables"


def judge(frames: Sequence[Sent], directory: Path) -> tuple[list[str], int]:
    """All faults that any judge finds, and how many alerts tshark has read."""
    associations = {frame.sa.spi: frame.sa for frame in frames if frame.sa is not None}
    able = [sa for sa in associations.values() if sa.kind.esp and tshark.knows(sa)]
    faults: list[str] = []
    read = 0
    for frame, said in zip(frames, tshark.run(directory / PCAP, able, FIELDS), strict=True):
        wrong = [*by_scapy(frame), *by_tshark(frame, said)]
        faults += [f"{frame.label}: {fault}: {frame.octets.hex()}" for fault in wrong]
        read += bool(said["snmp.specific_trap"])
    return faults, read
