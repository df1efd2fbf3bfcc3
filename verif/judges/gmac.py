"""Judge C: AES-GMAC in ESP and AH, from the text of RFC 4543 and RFC 4302, octet by octet."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from verif.judges.sent import AH_ICV, ESP_ICV, Association, Sent, Verdict

REASON = "this judge reads AES-GMAC alone"

IV_OCTETS, TAG_OCTETS = 8, 16
AH_FIXED_OCTETS = 12


def right(sa: Association, iv: bytes, covered: bytes, tag: bytes) -> bool:
    """Whether the tag is that of the covered octets, under nonce salt | IV (RFC 4543 3.2)."""
    nonce = bytes.fromhex(sa.salt) + iv
    try:
        AESGCM(bytes.fromhex(sa.key)).decrypt(nonce, tag, covered)
    except InvalidTag:
        return False
    return True


def esp_is_right(sa: Association, esp: bytes) -> bool:
    """ENCR_NULL_AUTH_AES_GMAC: SPI, number, IV, payload and trailer (RFC 4543 3.3, Figure 4)."""
    high = sa.high.to_bytes(4, "big") if sa.esn else b""
    iv = esp[8 : 8 + IV_OCTETS]
    covered = esp[:4] + high + esp[4:-TAG_OCTETS]
    return esp[:4] == sa.spi.to_bytes(4, "big") and right(sa, iv, covered, esp[-TAG_OCTETS:])


def ah_is_right(sa: Association, packet: bytes) -> bool:
    """AUTH_AES_GMAC: all of the packet, what may change and the tag as zeros (RFC 4543 4).

    What may change is said in RFC 4302 3.3.3.1. The IV stands before the tag, is no part of the ICV
    (RFC 4543 3.4, Figure 5), and so is covered as it is. Over IPv6 four octets of padding follow
    the tag (RFC 4543 erratum 3643), covered too.
    """
    fields = bytearray(packet)
    if sa.v6:
        at = 40
        fields[0:4] = b"\x60\0\0\0"  # class and flow label
        fields[7] = 0  # hop limit
    else:
        at = 20
        fields[1] = 0  # TOS
        fields[6:8] = bytes(2)  # flags and fragment offset
        fields[8] = 0  # TTL
        fields[10:12] = bytes(2)  # checksum
    octets = 4 * (packet[at + 1] + 2)
    used = AH_FIXED_OCTETS + IV_OCTETS + TAG_OCTETS
    place = slice(at + AH_FIXED_OCTETS + IV_OCTETS, at + used)
    fields[place] = bytes(TAG_OCTETS)
    high = sa.high.to_bytes(4, "big") if sa.esn else b""
    iv = packet[at + AH_FIXED_OCTETS : at + AH_FIXED_OCTETS + IV_OCTETS]
    return (
        packet[at + 2 : at + 8] == bytes(2) + sa.spi.to_bytes(4, "big")
        and octets == used + (4 if sa.v6 else 0)
        and right(sa, iv, bytes(fields) + high, packet[place])
    )


def verdict(frame: Sent) -> Verdict:
    """What RFC 4543 says of a frame."""
    sa = frame.sa
    if sa is None or sa.kind.cipher != "gmac":
        return Verdict(judged=frozenset())
    rest = frame.octets[14 + len(frame.tags) // 2 :]
    octets = 40 + int.from_bytes(rest[4:6], "big") if sa.v6 else int.from_bytes(rest[2:4], "big")
    packet = rest[:octets]
    if sa.kind.ah:
        good, part = ah_is_right(sa, packet), AH_ICV
    else:
        at = (40 if sa.v6 else 20) + (8 if frame.form.encap else 0)
        good, part = esp_is_right(sa, packet[at:]), ESP_ICV
    faults = () if good else (f"{part} of AES-GMAC",)
    return Verdict(judged=frozenset({part}), faults=faults)
