"""Frames in which a host tells its addresses, right and spoiled, by literal numbers of RFCs."""

from __future__ import annotations

import random
import struct
from typing import Any

from verif.fuzz.sealing import ALL_NODES, HOST_MAC, HOST_V4, HOST_V6, ethernet, neighbour

GUEST_MAC = bytes.fromhex("02000000000b")
"""Of a machine behind the host, whose frames pass a bridge in it."""


class Announcements:
    """Draws frames of the host.

    Parameters
    ----------
    rng : random.Random
        Its only source of chance.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def mac(self) -> bytes:
        """Mostly the host's."""
        return self.rng.choice((HOST_MAC, HOST_MAC, HOST_MAC, GUEST_MAC))

    def arp(self) -> bytes:
        """From its sender, who has an address (RFC 826)."""
        rng, mac = self.rng, self.mac()
        packet = struct.pack(
            ">HHBBH6s4s6s4s",
            *(1, 0x0800, 6, 4, rng.choice((1, 2)), mac, HOST_V4[:3] + rng.randbytes(1)),
            *(bytes(6), rng.choice((HOST_V4, bytes(4)))),
        )
        return ethernet(packet, 0x0806, destination=b"\xff" * 6, source=mac)

    def odd_arp(self) -> bytes:
        """A probe, of a group, of nobody, for another, or of another kind (RFC 5227 2.1.1)."""
        rng = self.rng
        frame = bytearray(self.arp())
        match rng.randrange(6):
            case 0:
                frame[28:32] = bytes(4)
            case 1:
                frame[6] = frame[22] = rng.choice((3, 0xFF))
            case 2:
                frame[6:12] = frame[22:28] = bytes(6)
            case 3:
                frame[20:22] = rng.choice((b"\0\0", b"\0\3", b"\1\1", b"\0\x81"))
            case 4:
                frame[rng.choice((6, 22)) + rng.randrange(6)] ^= 1 << rng.randrange(8)
            case _:
                frame[rng.randrange(12, 22)] ^= 1 << rng.randrange(8)
        return bytes(frame)

    def discovery(self) -> bytes:
        """An advertisement or a solicitation (RFC 4861 4.3, 4.4)."""
        rng = self.rng
        packet = neighbour(
            source=HOST_V6[:8] + rng.randbytes(8),
            destination=ALL_NODES,
            kind=rng.choice((135, 136)),
            options=rng.choice((b"", b"\2\1" + HOST_MAC)),
        )
        return self.framed(packet)

    def odd_discovery(self) -> bytes:
        """From no address, a group or the link's; another type, hop limit, version or protocol."""
        rng = self.rng
        no_host = (bytes(16), ALL_NODES, b"\xfe\x80" + HOST_V6[2:], b"\xfe" + HOST_V6[1:])
        how: dict[str, Any] = {"source": HOST_V6, "kind": rng.choice((135, 136))}
        how |= rng.choice(
            (
                {"source": rng.choice(no_host)},
                {"kind": rng.choice((134, 137, 128))},
                {"hops": rng.choice((254, 64, 0))},
                {},
            )
        )
        packet = bytearray(neighbour(destination=ALL_NODES, **how))
        if how.keys() == {"source", "kind"} and how["source"] == HOST_V6:
            packet[rng.choice((0, 0, 6))] ^= 1 << rng.randrange(4, 8)
        return self.framed(bytes(packet))

    def framed(self, packet: bytes) -> bytes:
        """A frame from the host, or from a guest."""
        return ethernet(packet, 0x86DD, destination=b"\x33\x33\0\0\0\1", source=self.mac())

    def spoiled(self) -> bytes:
        """An announcement with a few bits changed, cut short, or with VLAN tags."""
        rng = self.rng
        frame = bytearray(rng.choice((self.arp, self.discovery))())
        match rng.randrange(3):
            case 0:
                for _ in range(rng.choice((1, 2))):
                    frame[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
            case 1:
                del frame[rng.choice((40, 41, 42, 76, 77, 78, rng.randrange(1, 90))) :]
            case _:
                frame[12:12] = b"\x81\0\0\5" * rng.choice((1, 2))
        return bytes(frame)

    def other(self) -> bytes:
        """Anything else."""
        rng = self.rng
        return ethernet(rng.randbytes(rng.randrange(1, 200)), rng.choice((0x0800, 0x86DD, 0x88B5)))
