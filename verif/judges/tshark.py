"""Judge A: Wireshark's dissectors, by `tshark`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from verif.judges.sent import CONTENT, ESP_ICV, HEADERS, PCAP, Association, Sent, Verdict

AH_REASON = "tshark shows AH's ICV, and checks none"
GMAC_REASON = "tshark knows no ENCR_NULL_AUTH_AES_GMAC, so it stops at ESP"
ESN_REASON = "tshark's table of SAs has no upper half of the sequence number"

FIELDS = (
    "frame.protocols",
    "_ws.expert.severity",
    "_ws.malformed",
    "esp.icv_good",
    "esp.pad",
    "ip.checksum.status",
    "udp.checksum.status",
    "asf.iana",
    "asf.type",
    "asf.tag",
    "asf.len",
    "data.data",
    "arp.opcode",
    "arp.src.proto_ipv4",
    "icmpv6.type",
    "icmpv6.checksum.status",
    "icmpv6.nd.na.flag.s",
    "icmpv6.nd.na.target_address",
    "icmpv6.opt.target_linkaddr",
)
WARNING = 0x00600000
"""Least severity of what is wrong (epan/proto.h, PI_WARN)."""
GOOD, NOT_PRESENT = "1", "3"
"""Status of a checksum (epan/proto.h, PROTO_CHECKSUM_E_)."""

ENCRYPTION = {
    "gcm": "AES-GCM with 16 octet ICV [RFC4106]",
    "cbc": "AES-CBC [RFC3602]",
    "null": "NULL",
}
AUTHENTICATION = {
    "": "NULL",
    "sha256": "HMAC-SHA-256-128 [RFC4868]",
    "sha1": "HMAC-SHA-1-96 [RFC2404]",
}


def knows(sa: Association) -> bool:
    """Whether tshark can open its ESP."""
    return sa.kind.cipher in ENCRYPTION


def entry(sa: Association) -> str:
    """The SA as an entry of tshark's table: eight fields, in version 4.0."""
    key, auth = (f"0x{octets}" if octets else "" for octets in (sa.key + sa.salt, sa.auth))
    fields = (
        *(f"IPv{6 if sa.v6 else 4}", "*", "*", f"0x{sa.spi:08x}"),
        *(ENCRYPTION[sa.kind.cipher], key, AUTHENTICATION[sa.kind.hash], auth),
    )
    return "uat:esp_sa:" + ",".join(f'"{field}"' for field in fields)


def run(
    pcap: Path, associations: Sequence[Association], fields: Sequence[str] = FIELDS
) -> list[dict[str, list[str]]]:
    """All values of these fields, of each frame."""
    settings = (
        "esp.enable_encryption_decode:TRUE",
        "esp.enable_authentication_check:TRUE",
        "ip.check_checksum:TRUE",
        "udp.check_checksum:TRUE",
        *(entry(sa) for sa in associations),
    )
    command = [
        *("tshark", "-n", "-r", str(pcap), "-d", "udp.port==664,rmcp"),
        *(word for setting in settings for word in ("-o", setting)),
        *("-T", "fields", "-E", "separator=|", "-E", "aggregator=,", "-E", "occurrence=a"),
        *(word for name in fields for word in ("-e", name)),
    ]
    # Not with the settings of whoever runs this.
    environment = {**os.environ, "WIRESHARK_CONFIG_DIR": str(pcap.parent / "no_settings")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    complaint = [line for line in done.stderr.splitlines() if "could be dangerous" not in line]
    assert done.returncode == 0, done.stderr
    assert not complaint, complaint
    return [
        {
            name: value.split(",") if value else []
            for name, value in zip(fields, line.split("|"), strict=True)
        }
        for line in done.stdout.splitlines()
    ]


def layers(frame: Sent) -> Iterator[str]:
    """Names of the dissectors that a frame must come by, in order."""
    form, sa = frame.form, frame.sa
    yield "eth"
    yield "ethertype"
    yield from ("ieee8021ad", "ethertype") if form.tags == 2 else ()
    yield from ("vlan", "ethertype") if form.tags else ()
    if not frame.message and not form.v6:
        yield "arp"
        return
    yield "ipv6" if form.v6 else "ip"
    if not frame.message:
        yield "icmpv6"
        return
    if sa is not None:
        yield from ("udp", "udpencap") if form.encap else ()
        yield from ("ah",) if sa.kind.ah else ()
        yield from ("esp",) if sa.kind.esp else ()
        if sa.kind.esp and not knows(sa):
            return
        if form.inner_v6 is not None:
            yield "ipv6" if form.inner_v6 else "ip"
    yield from ("udp", "rmcp", "asf", "data")


def due(frame: Sent) -> dict[str, list[str]]:
    """The values of FIELDS that a frame must have; `esp.pad` stands aside."""
    walk = list(layers(frame))
    sums = [GOOD] * walk.count("udp")
    if frame.form.encap and not frame.form.v6:
        sums[0] = NOT_PRESENT  # RFC 3948 2.1
    values: dict[str, list[str]] = {name: [] for name in FIELDS if name != "esp.pad"}
    values["frame.protocols"] = [":".join(walk)]
    values["ip.checksum.status"] = [GOOD] * walk.count("ip")
    values["udp.checksum.status"] = sums
    if "asf" in walk:
        message = bytes.fromhex(frame.message)
        values["asf.iana"] = [str(int.from_bytes(message[4:8], "big"))]
        values["asf.type"], values["asf.tag"] = [f"0x{message[8]:02x}"], [f"0x{message[9]:02x}"]
        values["asf.len"], values["data.data"] = [str(message[11])], [message[12:].hex()]
    if "arp" in walk:
        values["arp.opcode"], values["arp.src.proto_ipv4"] = ["2"], ["10.99.0.2"]
    if "icmpv6" in walk:
        values["icmpv6.type"], values["icmpv6.checksum.status"] = ["136"], [GOOD]
        values["icmpv6.nd.na.flag.s"] = ["0" if frame.form.probe else "1"]
        values["icmpv6.nd.na.target_address"] = ["fd99::2"]
        values["icmpv6.opt.target_linkaddr"] = ["02:00:00:00:00:02"]
    if frame.sa is not None and "esp" in walk and knows(frame.sa):
        values["esp.icv_good"] = [GOOD]
    return values


def verdict(frame: Sent, said: dict[str, list[str]]) -> Verdict:
    """What tshark says of a frame."""
    sa, judged = frame.sa, {HEADERS}
    wanted = due(frame)
    if sa is None or not sa.kind.esp or knows(sa):
        judged.add(CONTENT)
    if wanted["esp.icv_good"]:
        if sa is not None and sa.esn:
            del wanted["esp.icv_good"]
        else:
            judged.add(ESP_ICV)
    faults = [
        f"{name} is {said[name]}, not {value}"
        for name, value in wanted.items()
        if said[name] != value and name != "_ws.expert.severity"
    ]
    if [value for value in said["_ws.expert.severity"] if int(value, 0) >= WARNING]:
        faults.append(f"expert info of severity {said['_ws.expert.severity']}")
    for pad in said["esp.pad"]:
        if bytes.fromhex(pad) != bytes(range(1, 1 + len(pad) // 2)):
            faults.append(f"padding {pad}")
    return Verdict(judged=frozenset(judged), faults=tuple(faults))


def judge(frames: Sequence[Sent], directory: Path) -> list[Verdict]:
    """What tshark says of the frames in the PCAP of a directory."""
    associations = {frame.sa.spi: frame.sa for frame in frames if frame.sa is not None}
    able = [sa for sa in associations.values() if sa.kind.esp and knows(sa)]
    said = run(directory / PCAP, able)
    return [verdict(frame, values) for frame, values in zip(frames, said, strict=True)]
