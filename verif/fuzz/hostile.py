"""Hostile frames by table: for each form of a right packet, every way to spoil it."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

from verif.fuzz.forms import CHAINS, OPTIONS, TAGS, Form, build
from verif.fuzz.generator import PING
from verif.fuzz.sealing import (
    AH,
    ALL_NODES,
    ESP,
    GROUP_V6,
    HOST_MAC,
    HOST_V4,
    HOST_V6,
    STATION_MAC,
    STATION_V4,
    STATION_V6,
    Sa,
    ethernet,
    ipv4,
    ipv6,
    neighbour,
    ones,
)

HEADS = {0: b"\0\1\4\0\0\0\0", 43: b"\0\0\0wxyz", 44: b"\0\0\0wxyz", 60: b"\0\1\4\0\0\0\0"}
"""The shortest extension header of each kind, behind its first octet."""
ENDLESS = (*range(1, 19), 40, 100, 180)
"""Extension headers in a chain that does not end."""
NEXT_HEADERS = (0, 4, 6, 41, 43, 44, 50, 51, 58, 59, 60, 255)


@dataclass(frozen=True, slots=True)
class Hostile:
    """A frame, and what is wrong with it."""

    name: str
    octets: bytes


def truncated(form: Form, sa: Sa) -> Iterator[Hostile]:
    """Cut at each octet: the frame; AH and ESP, in an IP packet that is right; the message."""
    octets = 1
    while octets < len(frame := build(form, sa)):
        yield Hostile(f"cut to {octets}", frame[:octets])
        octets += 1
    for less in range(1, octets - len(build(form, sa, spoil=lambda packet: b"")) + 1):
        shorter = build(form, sa, spoil=partial(resized, -less))
        yield Hostile(f"IP payload cut by {less}", shorter)
    for octets in range(len(PING)):
        yield Hostile(f"message cut to {octets}", build(form, sa, PING[:octets]))


def mended(frame: bytes, network: int) -> bytes:
    """The same with a right IPv4 checksum, over as many octets as the header says to have."""
    head = bytearray(frame[network : network + 4 * (frame[network] & 15)])
    head[10:12] = b"\0\0"
    check = struct.pack(">H", ones(bytes(head)))
    return frame[: network + 10] + check + frame[network + 12 :]


def changed(form: Form, sa: Sa, rng: random.Random, count: int | None) -> Iterator[Hostile]:
    """Each octet changed to `count` other values (all of the table: None).

    Those of an IPv4 header twice, with the checksum that was right and with the one that is.
    """
    network = 14 + 4 * form.tags
    header = range(network, network + 20 + len(OPTIONS.get(form.between, b"")))
    at = 0
    while at < len(frame := build(form, sa)):
        old = frame[at]
        values = sorted({*(old ^ 1 << n for n in range(8)), 0, 255, old + 1 & 255} - {old})
        for value in values if count is None else rng.sample(values, count):
            frame = build(form, sa)
            frame = frame[:at] + bytes([value]) + frame[at + 1 :]
            yield Hostile(f"octet {at} is {value:#04x}", frame)
            if not form.v6 and at in header:
                frame = build(form, sa)
                frame = mended(frame[:at] + bytes([value]) + frame[at + 1 :], network)
                yield Hostile(f"octet {at} is {value:#04x}, checksum right", frame)
        at += 1


def near(right: int, most: int) -> list[int]:
    """Values of a length that lies."""
    return sorted({(right - 1) % (most + 1), right + 1, 0, most} - {right})


def lengths(form: Form, sa: Sa) -> Iterator[Hostile]:
    """Lengths and next headers that lie: outside as anybody can, inside under the right ICV."""
    kind = sa.kind
    network = 14 + 4 * form.tags
    right = len(build(form, sa)) - network - (40 if form.v6 else 0)
    for total in (*near(right, 0xFFFF), right - 4, right + 4):
        for room in (0, 80):
            frame = build(form, sa, total=total) + bytes(room)
            yield Hostile(f"IP length {total} for {right}, {room} behind", frame)
    if not form.v6:
        words = 5 + len(OPTIONS[form.between]) // 4
        for value in near(words, 15):
            frame = build(form, sa)
            frame = frame[:network] + bytes([0x40 | value]) + frame[network + 1 :]
            yield Hostile(f"IHL {value} for {words}", mended(frame, network))
    if form.encap:
        right -= len(b"".join(b"\0" + body for _, body in CHAINS[form.between]))
        right -= 0 if form.v6 else 20
        for octets in (*near(right, 0xFFFF), 8, 11, 12, right - 4):
            frame = build(form, sa, udp_octets=octets)
            yield Hostile(f"UDP length {octets} for {right}", frame)
    chain = CHAINS[form.between] if form.v6 else ()
    for n, (number, body) in enumerate(chain):
        for length in near(body[0], 255):
            lying = (*chain[:n], (number, bytes([length]) + body[1:]), *chain[n + 1 :])
            yield Hostile(f"header {number} of length {length}", build(form, sa, chain=lying))
    if kind.ah:
        icv = 16 if kind.both else kind.iv + kind.icv
        octets = 12 + icv
        octets += -octets % (8 if form.v6 else 4)
        for length in near(octets // 4 - 2, 255):
            yield Hostile(f"AH length {length}", build(form, sa, ah={"length": length}))
        yield Hostile("AH reserved", build(form, sa, ah={"reserved": 1}))
    if kind.esp:
        for pad in (0, 1, 7, 254, 255):
            yield Hostile(f"pad length {pad}", build(form, sa, esp={"pad_octets": pad}))
        for pad in (1, 3, 5, 15, 17):
            padding = bytes(range(1, pad + 1))
            yield Hostile(f"{pad} octets of padding", build(form, sa, esp={"pad": padding}))
    for octets in near(8 + len(PING), 0xFFFF):
        yield Hostile(f"inner UDP length {octets}", build(form, sa, inner_octets=octets))
    if form.inside:
        right = len(PING) + (8 if form.inside == 6 else 28)
        for total in near(right, 0xFFFF):
            yield Hostile(f"inner IP length {total}", build(form, sa, inner_total=total))
    for number in NEXT_HEADERS:
        yield Hostile(f"next header {number}", build(form, sa, next_header=number))


def chains(form: Form, sa: Sa) -> Iterator[Hostile]:
    """Extension headers that lead to others and never end; IPv6 alone has them."""
    if not form.v6:
        return
    for kind, body in HEADS.items():
        for other in (kind, 60 if kind != 60 else 0):
            for count in ENDLESS:
                heads = tuple(
                    ((kind, other)[n % 2], HEADS[(kind, other)[n % 2]]) for n in range(count)
                )
                for behind in (b"", b"\x3c", bytes(40)):
                    packet = ipv6(kind, behind, extensions=heads)
                    name = f"{count} headers {kind}, {other}, {len(behind)} behind"
                    yield Hostile(name, ethernet(packet, 0x86DD)[: 54 + 8 * count + len(behind)])
                yield Hostile(f"{count} headers {kind}, {other}", build(form, sa, chain=heads))
        for length in (1, 2, 14, 15, 16, 31, 127, 255):
            long = ((kind, bytes([length]) + body[1:]),)
            yield Hostile(f"header {kind} of length {length}", build(form, sa, chain=long))
            filled = ((kind, bytes([length]) + body[1:].ljust(8 * length + 6, b"\0")),)
            if length < 128:
                yield Hostile(f"header {kind} of {length} units", build(form, sa, chain=filled))


def tagged(form: Form, sa: Sa, step: int) -> Iterator[Hostile]:
    """Three to two hundred VLAN tags, with a right packet behind them, and with nothing."""
    for count in range(3, 201, step):
        kinds = (TAGS[:1], TAGS[1:], TAGS)[count // step % 3]
        tags = b"".join(kinds[n % len(kinds)] for n in range(count))
        frame = build(form, sa, tags=tags)
        if len(frame) <= 1522:
            yield Hostile(f"{count} tags", frame)
        end = 12 + 4 * count - count // step % 4
        yield Hostile(f"{count} tags cut to {end}", frame[:end])


def icvs(form: Form, sa: Sa) -> Iterator[Hostile]:
    """An ICV that is too short or too long, by octets and by words."""
    kind = sa.kind
    for more in (-16, -12, -4, -2, -1, 1, 2, 4, 12, 16):
        yield Hostile(f"{more:+d} octets at the end", build(form, sa, spoil=partial(resized, more)))
        if kind.ah:
            end = 12 + (16 if kind.both else kind.iv + kind.icv)
            frame = build(form, sa, spoil=partial(resized, more, end=end))
            yield Hostile(f"ICV of AH {more:+d} octets", frame)
            frame = build(
                form, sa, spoil=partial(resized, more, end=end, length=(end + more) // 4 - 2)
            )
            yield Hostile(f"ICV of AH {more:+d} octets, as AH says", frame)


def resized(
    more: int, packet: bytes, *, end: int | None = None, length: int | None = None
) -> bytes:
    """A packet with so many octets more, or fewer, before `end`; AH says `length`."""
    end = len(packet) if end is None else end
    if length is not None:
        packet = packet[:1] + bytes([length]) + packet[2:]
    if more < 0:
        return packet[: max(end + more, 0)] + packet[end:]
    return packet[:end] + bytes(more) + packet[end:]


def crossed(forms: tuple[Form, Form], sas: tuple[Sa, Sa]) -> Iterator[Hostile]:
    """Packets with SPIs and keys of one SA and of the other, in all mixtures but the right ones."""
    for me, form in enumerate(forms):
        mine = sas[me]
        for spi, ah_spi, key, ah_key, numbers in product(sas, repeat=5):
            if ah_key is not mine and not ah_key.kind.both:
                continue
            right = spi is key and (ah_spi is ah_key is spi or not mine.kind.both)
            if right and spi.suite == mine.suite:
                continue
            for sa in sas:
                sa.sequence += 1
                sa.outer += 1
            mixed = replace(
                mine,
                spi=spi.spi,
                ah_spi=ah_spi.ah_spi,
                seed=key.seed,
                sequence=numbers.sequence,
                outer=numbers.outer,
            )
            mixed.ah_auth = ah_key.ah_auth
            owners = "".join("AB"[sas.index(sa)] for sa in (spi, ah_spi, key, ah_key, numbers))
            yield Hostile(f"{form}: SPIs, keys and numbers of {owners}", build(form, mixed))
        for other in (mine.ah_spi, sas[1 - me].ah_spi, sas[1 - me].spi):
            swapped = replace(mine, spi=other, ah_spi=mine.spi)
            yield Hostile(f"{form}: SPI {other:#x} for ESP", build(form, swapped))
            for protocol, source, to in (
                (ESP, STATION_V4, HOST_V4),
                (AH, STATION_V6, HOST_V6),
            ):
                head = struct.pack(">BBH", 17, 5, 0) if protocol == AH else b""
                packet = head + struct.pack(">II", other, mine.sequence + 1) + bytes(60)
                whole = (ipv6 if len(to) == 16 else ipv4)(protocol, packet, source, to)
                ethertype = 0x86DD if len(to) == 16 else 0x0800
                name = f"{form}: protocol {protocol}, SPI {other:#x}, zeros"
                yield Hostile(name, ethernet(whole, ethertype))


OWN_LINK = b"\1\1" + STATION_MAC
NONCE = bytes.fromhex("0e01112233445566")
OPTIONS_OF_NEIGHBOURS = (b"", OWN_LINK, NONCE, OWN_LINK + NONCE, b"\x0e\5" + bytes(38), NONCE * 5)


def solicited(packet: bytes, tags: bytes = b"", mac: bytes = b"\x33\x33\xff\0\0\2") -> bytes:
    """The frame that brings a solicitation."""
    return ethernet(packet, 0x86DD, tags=tags, destination=mac)


def summed(packet: bytes) -> bytes:
    """A packet of ICMPv6 with a right checksum, over as much as its IPv6 header says."""
    octets = int.from_bytes(packet[4:6], "big")
    message = packet[40:42] + b"\0\0" + packet[44:]
    pseudo = packet[8:40] + struct.pack(">II", octets, 58)
    check = struct.pack(">H", ones(pseudo + message[:octets]))
    return packet[:42] + check + packet[44:]


def solicitations(values: int | None, rng: random.Random) -> Iterator[Hostile]:
    """Neighbour solicitations in all forms, and each spoiled in every place and every field.

    Parameters
    ----------
    values : int or None
        Values that each octet is changed to; None: all of the table.
    rng : random.Random
        Chooses them.
    """
    forms = {
        f"{'probe' if probe else to.hex()[:4]} {options.hex()} {len(tags) // 4} tags": (
            neighbour(source=bytes(16) if probe else STATION_V6, destination=to, options=options),
            tags,
        )
        for probe, to, options, tags in product(
            (False, True),
            (GROUP_V6, HOST_V6),
            OPTIONS_OF_NEIGHBOURS,
            (b"", TAGS[0], TAGS[1] + TAGS[0]),
        )
    }
    for name, (packet, tags) in forms.items():
        yield Hostile(name, solicited(packet, tags))
        yield Hostile(f"{name}, more behind", solicited(packet, tags) + bytes(9))
    for mac in (HOST_MAC, b"\xff" * 6, b"\x33\x33\0\0\0\1", HOST_MAC[:5] + b"\3"):
        yield Hostile(f"to {mac.hex()}", solicited(neighbour(options=OWN_LINK), mac=mac))
    right = b""
    for options in (b"", OWN_LINK + NONCE):
        right = neighbour(options=options)
        for octets in range(1, 14 + len(right)):
            yield Hostile(f"cut to {octets}", solicited(right)[:octets])
        for octets in range(40, len(right)):
            cut = right[:4] + struct.pack(">H", octets - 40) + right[6:octets]
            yield Hostile(f"packet cut to {octets}, as it says", solicited(summed(cut)))
            yield Hostile(f"packet cut to {octets}, more behind", solicited(summed(cut)) + options)
        for at, old in enumerate(right):
            table = sorted({*(old ^ 1 << n for n in range(8)), 0, 1, 255} - {old})
            for value in table if values is None else rng.sample(table, values):
                wrong = right[:at] + bytes([value]) + right[at + 1 :]
                yield Hostile(f"octet {at} is {value:#04x}", solicited(wrong))
                yield Hostile(f"octet {at} is {value:#04x}, summed", solicited(summed(wrong)))
    for length in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 128, 255):
        for first, octets in ((b"", 8), (NONCE, 8), (b"", 40), (NONCE, 32), (b"", 48), (b"", 200)):
            options = first + (b"\x0e" + bytes([length])).ljust(octets, b"\1")
            yield Hostile(
                f"option of length {length} in {octets} behind {len(first)}",
                solicited(neighbour(options=options)),
            )
    for source, to, options in product(
        (STATION_V6, bytes(16), GROUP_V6, ALL_NODES, HOST_V6),
        (GROUP_V6, HOST_V6, ALL_NODES, STATION_V6, GROUP_V6[:12] + bytes(4)),
        (b"", OWN_LINK),
    ):
        packet = neighbour(source=source, destination=to, options=options)
        yield Hostile(f"{source.hex()} to {to.hex()}, {options.hex()}", solicited(packet))
    for kind, body in HEADS.items():
        chain = ipv6(58, right[40:], destination=GROUP_V6, extensions=((kind, body),), hops=255)
        yield Hostile(f"behind a header {kind}", solicited(chain))
