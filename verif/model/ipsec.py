"""AH, ESP and AH around ESP: the checks inbound in their order, and the way out."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hmac import HMAC

from spec.counters import Counter
from spec.headers import (
    AH,
    ESP,
    ESP_TRAILER_OCTETS,
    IPV4,
    IPV6,
    PORT_RMCP_SECURED,
    PROTOCOL_ESP,
    PROTOCOL_IPV4,
    PROTOCOL_IPV6,
    PROTOCOL_NO_NEXT,
    PROTOCOL_UDP,
    UDP,
)
from spec.suites import OUTER_ICV_OCTETS, Cipher, Hash, Protocol, SuiteFacts
from verif.model.classifier import TakeProtected, View
from verif.model.parser import IPV4_WORDS_MIN
from verif.model.sad import Bank, Direction, Sad

AES_BLOCK_OCTETS = 16
TEXT_MIN_OCTETS = 4
"""Of the encrypted part of ESP: padding and trailer alone, on a multiple of four."""
AH_ALIGN_V4, AH_ALIGN_V6 = 4, 8
"""AH is a multiple of these (RFC 4302 2.2, 3.3.3.2.1)."""


@dataclass(frozen=True, slots=True)
class Inside:
    """Whom an answer goes to inside of the protection.

    Parameters
    ----------
    v6 : bool or None
        In tunnel mode, the packet inside was IPv6. None in transport mode.
    source : int
        In tunnel mode, its source address.
    port : int
        UDP source port.
    """

    v6: bool | None
    source: int
    port: int


@dataclass(frozen=True, slots=True)
class Opened:
    """A packet that passed every check.

    Parameters
    ----------
    bank : int
        Which bank authenticated it.
    inside : Inside
        Whom to answer.
    message : bytes
        UDP payload.
    """

    bank: int
    inside: Inside
    message: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Halves:
    """A packet whose lengths are right: its AH and its ESP, where it has them."""

    ah: bytes = field(repr=False)
    esp: bytes = field(repr=False)
    behind_ah: bytes = field(repr=False)


def ah_octets(facts: SuiteFacts, v6: bool, padded: bool) -> int:
    """Length of a suite's AH header with its ICV, and with padding up to eight octets or not.

    IPv6 always pads; IPv4 need not, and Linux does (RFC 4302 2.6, 3.3.3.2.1).
    """
    icv = OUTER_ICV_OCTETS if facts.has_outer else facts.iv_octets + facts.icv_octets
    align = AH_ALIGN_V6 if v6 or padded else AH_ALIGN_V4
    octets = AH.octets + icv
    return octets + -octets % align


def high_half(number: int, esn: bool) -> bytes:
    """The half of a number that is authenticated and not sent (RFC 4303 2.2.1)."""
    return (number >> 32).to_bytes(4, "big") if esn else b""


def associated_data(spi: int, number: int, esn: bool) -> bytes:
    """AAD of AES-GCM in ESP: SPI and sequence number, 64 bits of it with ESN (RFC 4106 5)."""
    low = (number & 0xFFFFFFFF).to_bytes(4, "big")
    return spi.to_bytes(4, "big") + high_half(number, esn) + low


def keyed_hash(facts_hash: Hash, key: bytes, data: bytes, octets: int) -> bytes:
    """The first `octets` octets of an HMAC (RFC 2104, RFC 4868 2.1, RFC 2404)."""
    algorithm = hashes.SHA1() if facts_hash is Hash.SHA_1 else hashes.SHA256()
    mac = HMAC(key, algorithm)
    mac.update(data)
    return mac.finalize()[:octets]


def gmac(key: bytes, nonce: bytes, data: bytes) -> bytes:
    """AES-GMAC (SP 800-38D 3)."""
    return AESGCM(key).encrypt(nonce, b"", data)


def ah_icv(
    facts: SuiteFacts, keys: Direction, headers: bytes, ah: bytes, behind: bytes, high: bytes
) -> bytes:
    """The ICV of AH over what is before it and behind it; `ah` holds it as zeros.

    Padding behind the ICV is covered as it stands. With GMAC the IV, which stands in the ICV field
    before the tag, is covered as it is. The high half of the number comes last.

    Source: RFC 4302 3.3.3, RFC 4543 4.
    """
    data = headers + ah + behind + high
    if facts.has_outer:
        return keyed_hash(Hash.SHA_256, keys.outer, data, OUTER_ICV_OCTETS)
    if facts.cipher is Cipher.GMAC:
        return gmac(keys.key, keys.salt + ah[AH.octets : AH.octets + facts.iv_octets], data)
    return keyed_hash(facts.hash, keys.auth, data, facts.icv_octets)


def open_packet(taken: TakeProtected, view: View) -> Opened | Counter:
    """Checks a packet, moves windows and bank state, and gives its UDP payload.

    Returns
    -------
    Opened or Counter
        The counter is the reason of the drop.

    Source: RFC 4303 3.4, RFC 4302 3.4.
    """
    sad = view.sad
    under = sad.find(taken.protocol, taken.spi)
    if under is None:
        return Counter.DROP_UNKNOWN_SPI
    bank = sad.banks[under]
    facts = bank.facts
    assert facts is not None
    halves = _halves(taken, bank, facts)
    if isinstance(halves, Counter):
        return halves
    numbers = _numbers(bank, halves)
    if isinstance(numbers, Counter):
        return numbers
    plaintext = _authenticated(taken.headers, bank, facts, halves, numbers)
    if plaintext is None:
        return Counter.DROP_ICV
    # Authenticated: from here on the packet has worked, even if its inside is refused.
    _move(bank, halves, numbers, sad, under)
    if halves.esp:
        applied = text_octets(facts, halves.esp)
    else:
        applied = covered_octets(taken.headers + taken.packet, bank.esn)
    sad.count(under, bank.received, applied)
    next_header = halves.ah[0] if halves.ah else 0
    if halves.esp:
        pad_octets, next_header = plaintext[-2], plaintext[-1]
        inner_octets = len(plaintext) - ESP_TRAILER_OCTETS - pad_octets
        if inner_octets < 0:
            return Counter.DROP_PADDING
        if plaintext[inner_octets:-ESP_TRAILER_OCTETS] != bytes(range(1, pad_octets + 1)):
            return Counter.DROP_PADDING
        if next_header == PROTOCOL_NO_NEXT:
            return Counter.DROP_DUMMY
        plaintext = plaintext[:inner_octets]
    if next_header not in ((PROTOCOL_IPV4, PROTOCOL_IPV6) if bank.tunnel else (PROTOCOL_UDP,)):
        return Counter.DROP_NEXT_HEADER
    return _selected(plaintext, next_header, under, view)


def text_octets(facts: SuiteFacts, esp: bytes) -> int:
    """Octets that ESP encrypts, padding and trailer included."""
    return len(esp) - ESP.octets - facts.iv_octets - facts.icv_octets


def covered_octets(packet: bytes, esn: bool) -> int:
    """Octets that the ICV of AH alone covers, the half of the number included that is not sent."""
    return len(packet) + len(high_half(0, esn))


def _halves(taken: TakeProtected, bank: Bank, facts: SuiteFacts) -> _Halves | Counter:
    packet = taken.packet
    if taken.protocol == PROTOCOL_ESP:
        if facts.has_outer:
            return Counter.DROP_PROTOCOL
        return _esp_fault(packet, facts) or _Halves(ah=b"", esp=packet, behind_ah=b"")
    # The header is read as far as the packet goes.
    header = AH.unpack(packet.ljust(AH.octets, b"\0"))
    octets = 4 * (header["length"] + 2)
    v6 = taken.sender.v6
    least = 4 if facts.has_outer else UDP.octets
    fits = (
        octets in (ah_octets(facts, v6, False), ah_octets(facts, v6, True))
        and len(packet) >= octets + least
    )
    behind = packet[octets:]
    if facts.has_outer:
        esp_inside = header["next_header"] == PROTOCOL_ESP
        if fits and esp_inside and int.from_bytes(behind[:4], "big") != bank.spi_in:
            return Counter.DROP_UNKNOWN_SPI
        if not esp_inside:
            return Counter.DROP_PROTOCOL
    if not fits or header["reserved"]:
        return Counter.DROP_AH_LENGTH
    if facts.has_outer:
        reason = _esp_fault(behind, facts)
        if reason is not None:
            return reason
    return _Halves(packet[:octets], behind if facts.has_outer else b"", behind)


def _esp_fault(esp: bytes, facts: SuiteFacts) -> Counter | None:
    octets = text_octets(facts, esp)
    least = AES_BLOCK_OCTETS if facts.cipher is Cipher.CBC else TEXT_MIN_OCTETS
    if octets < least or octets % facts.align_octets:
        return Counter.DROP_ESP_LENGTH
    return None


def _numbers(bank: Bank, halves: _Halves) -> tuple[int, int] | Counter:
    """The whole numbers of the main half and of AH around it, whose window is asked first."""
    assert bank.window is not None
    outer = 0
    main = halves.esp or halves.ah
    layout = ESP if halves.esp else AH
    if bank.outer_window is not None:
        outer, reason = bank.outer_window.check(AH.unpack(halves.ah)["sequence"])
        if reason is not None:
            return reason
    number, reason = bank.window.check(layout.unpack(main)["sequence"])
    return (number, outer) if reason is None else reason


def _move(bank: Bank, halves: _Halves, numbers: tuple[int, int], sad: Sad, under: int) -> None:
    assert bank.window is not None
    bank.window.accept(numbers[0])
    if bank.outer_window is not None:
        bank.outer_window.accept(numbers[1])
    sad.prove(under)


def _authenticated(
    headers: bytes, bank: Bank, facts: SuiteFacts, halves: _Halves, numbers: tuple[int, int]
) -> bytes | None:
    """What the packet carries: of ESP the plaintext with its trailer. None if an ICV is wrong."""
    assert bank.inbound is not None
    if halves.ah:
        at = AH.octets + (0 if facts.has_outer else facts.iv_octets)
        end = at + (OUTER_ICV_OCTETS if facts.has_outer else facts.icv_octets)
        zeroed = halves.ah[:at] + bytes(end - at) + halves.ah[end:]
        high = high_half(numbers[1 if facts.has_outer else 0], bank.esn)
        want = ah_icv(facts, bank.inbound, headers, zeroed, halves.behind_ah, high)
        if not hmac.compare_digest(want, halves.ah[at:end]):
            return None
    if halves.esp:
        return _open_esp(halves.esp, bank, facts, numbers[0])
    return halves.behind_ah


def _open_esp(esp: bytes, bank: Bank, facts: SuiteFacts, number: int) -> bytes | None:
    keys = bank.inbound
    assert keys is not None
    start = ESP.octets + facts.iv_octets
    end = len(esp) - facts.icv_octets
    iv, text, icv = esp[ESP.octets : start], esp[start:end], esp[end:]
    aad = associated_data(bank.spi_in, number, bank.esn)
    if facts.cipher is Cipher.GCM:
        try:
            return AESGCM(keys.key).decrypt(keys.salt + iv, text + icv, aad)
        except InvalidTag:
            return None
    if not hmac.compare_digest(_esp_icv(facts, keys, esp[:end], aad, number, bank.esn), icv):
        return None
    if facts.cipher is Cipher.CBC:
        decryptor = BlockCipher(AES(keys.key), CBC(iv)).decryptor()
        return decryptor.update(text) + decryptor.finalize()
    return text


def _esp_icv(
    facts: SuiteFacts, keys: Direction, esp: bytes, aad: bytes, number: int, esn: bool
) -> bytes:
    """ICV of ESP from its header to the end of its payload, for all ciphers but GCM.

    Source: RFC 4543 3 (GMAC); RFC 4303 2.2.1, 2.8.
    """
    if facts.cipher is Cipher.GMAC:
        iv = esp[ESP.octets : ESP.octets + facts.iv_octets]
        return gmac(keys.key, keys.salt + iv, aad + esp[ESP.octets :])
    return keyed_hash(facts.hash, keys.auth, esp + high_half(number, esn), facts.icv_octets)


def _selected(carried: bytes, next_header: int, under: int, view: View) -> Opened | Counter:
    v6, source = None, 0
    if next_header != PROTOCOL_UDP:
        v6 = next_header == PROTOCOL_IPV6
        inner = _inner_v6(carried) if v6 else _inner_v4(carried)
        if inner is None or inner[1] != view.host_address(v6):
            return Counter.DROP_SELECTOR
        source, _, carried = inner
    if len(carried) < UDP.octets:
        return Counter.DROP_SELECTOR
    udp = UDP.unpack(carried)
    if udp["destination_port"] != PORT_RMCP_SECURED or udp["octets"] != len(carried):
        return Counter.DROP_SELECTOR
    return Opened(under, Inside(v6, source, udp["source_port"]), carried[UDP.octets :])


def _inner_v4(packet: bytes) -> tuple[int, int, bytes] | None:
    """Source, destination and UDP datagram of a packet in a tunnel; None if it is not right."""
    if len(packet) < IPV4.octets:
        return None
    ip = IPV4.unpack(packet)
    if (
        ip["version"] != 4
        or ip["header_words"] < IPV4_WORDS_MIN
        or ip["total_octets"] != len(packet)
        or ip["more_fragments"]
        or ip["fragment_offset"]
        or ip["protocol"] != PROTOCOL_UDP
    ):
        return None
    return ip["source"], ip["destination"], packet[4 * ip["header_words"] :]


def _inner_v6(packet: bytes) -> tuple[int, int, bytes] | None:
    if len(packet) < IPV6.octets:
        return None
    ip = IPV6.unpack(packet)
    if (
        ip["version"] != 6
        or IPV6.octets + ip["payload_octets"] != len(packet)
        or ip["next_header"] != PROTOCOL_UDP
    ):
        return None
    return ip["source"], ip["destination"], packet[IPV6.octets :]


# --- outbound ---------------------------------------------------------------------------------


def seal_esp(inner: bytes, next_header: int, bank: Bank, number: int) -> bytes:
    """An ESP packet around `inner`.

    The IV is the sequence number, so that no nonce repeats as long as no number does; of CBC it is
    the number as a block, encrypted (SP 800-38A appendix C).

    Source: RFC 4303 3.3, RFC 4106 3.1, RFC 3602 3, RFC 4543 3.
    """
    facts, keys = bank.facts, bank.outbound
    assert facts is not None
    assert keys is not None
    pad_octets = -(len(inner) + ESP_TRAILER_OCTETS) % facts.align_octets
    text = inner + bytes(range(1, pad_octets + 1)) + bytes([pad_octets, next_header])
    header = ESP.pack(spi=bank.spi_out, sequence=number & 0xFFFFFFFF)
    aad = associated_data(bank.spi_out, number, bank.esn)
    iv = number.to_bytes(8, "big") if facts.iv_octets == 8 else b""
    if facts.cipher is Cipher.GCM:
        return header + iv + AESGCM(keys.key).encrypt(keys.salt + iv, text, aad)
    if facts.cipher is Cipher.CBC:
        encryptor = BlockCipher(AES(keys.key), CBC(bytes(AES_BLOCK_OCTETS))).encryptor()
        block = number.to_bytes(AES_BLOCK_OCTETS, "big")
        text = encryptor.update(block + text) + encryptor.finalize()
    body = header + iv + text
    return body + _esp_icv(facts, keys, body, aad, number, bank.esn)


def seal_ah(
    headers: bytes, behind: bytes, next_header: int, v6: bool, bank: Bank, number: int
) -> bytes:
    """An AH header for `behind`; `headers` are those before it as AH covers them.

    Source: RFC 4302 3.3, RFC 4543 4.
    """
    facts, keys = bank.facts, bank.outbound
    assert facts is not None
    assert keys is not None
    octets = ah_octets(facts, v6, False)
    spi = bank.word("STAGE_AH_SPI_OUT") if facts.has_outer else bank.spi_out
    head = AH.pack(
        next_header=next_header,
        length=octets // 4 - 2,
        spi=spi,
        sequence=number & 0xFFFFFFFF,
    )
    if facts.cipher is Cipher.GMAC and not facts.has_outer:
        head += number.to_bytes(facts.iv_octets, "big")
    high = high_half(number, bank.esn)
    icv = ah_icv(facts, keys, headers, head.ljust(octets, b"\0"), behind, high)
    return (head + icv).ljust(octets, b"\0")


def has_ah(facts: SuiteFacts) -> bool:
    """Whether a suite's packets begin with AH."""
    return facts.protocol is not Protocol.ESP
