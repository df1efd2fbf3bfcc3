"""What was on the wire, taken apart by hand with the keys of the time: AES-GCM with 256 bits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sw.ike.ike_sa import IkeSa
from sw.ike.keymat import IkeKeys
from verif.unit.sw.ike.net import Net

SIDES = {"station": ("sk_ei", "sk_pi", 35), "host": ("sk_er", "sk_pr", 36)}
"""SK_e and SK_p of each side, and the type of its identification payload."""


def exchanges(net: Net) -> list[int]:
    """Exchange types on the wire, each run of fragments once."""
    kinds = [(who, d.data[18]) for who, d in net.wire]
    return [kind[1] for at, kind in enumerate(kinds) if at == 0 or kinds[at - 1] != kind]


def on_wire(net: Net, who: str, exchange: int) -> list[bytes]:
    """What a side sent in an exchange."""
    return [d.data for sender, d in net.wire if sender == who and d.data[18] == exchange]


class KeySpy:
    """Keeps the octets of all keys that are installed, once each."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.keys: list[dict[str, bytes]] = []
        install = IkeSa.install_keys

        def spied(sa: IkeSa, keys: IkeKeys) -> None:
            names = ("sk_d", "sk_ei", "sk_er", "sk_pi", "sk_pr")
            found = {name: getattr(keys, name).reveal() for name in names}
            if found not in self.keys:
                self.keys.append(found)
            install(sa, keys)

        patch.setattr(IkeSa, "install_keys", spied)


def _plain(data: bytes, sk_e: bytes, at: int) -> bytes:
    """Decrypt what is protected from `at` on."""
    nonce = sk_e[32:] + data[at : at + 8]
    plain = AESGCM(sk_e[:32]).decrypt(nonce, data[at + 8 :], data[:at])
    return plain[: -1 - plain[-1]]


def message(datagrams: list[bytes], sk_e: bytes) -> tuple[bytes, int, bytes]:
    """Header, first payload inside and octets inside, of a message in one piece or in more."""
    if datagrams[0][16] == 46:
        (data,) = datagrams
        return data[:28], data[28], _plain(data, sk_e, 32)
    inner = b"".join(_plain(data, sk_e, 36) for data in datagrams)
    return datagrams[0][:28], datagrams[0][28], inner


def bodies(first: int, octets: bytes) -> dict[int, list[bytes]]:
    """Payloads by type, without their generic headers."""
    found: dict[int, list[bytes]] = {}
    while first:
        following, length = octets[0], int.from_bytes(octets[2:4], "big")
        found.setdefault(first, []).append(octets[4:length])
        first, octets = following, octets[length:]
    return found


def signed_by(
    who: str, net: Net, spy: KeySpy, prf: Callable[[bytes, bytes], bytes]
) -> tuple[bytes, dict[int, list[bytes]]]:
    """What a side has to prove behind one IKE_INTERMEDIATE, and the payloads of its IKE_AUTH.

    Source: RFC 7296 2.15, RFC 9242 3.3.2.
    """
    before, after = spy.keys
    chains = b""
    for side, (sk_e, sk_p, _) in SIDES.items():
        head, first, inner = message(on_wire(net, side, 43), before[sk_e])
        length = 28 + 4 + len(inner)
        clear = head[:16] + bytes([46]) + head[17:24] + length.to_bytes(4, "big")
        clear += bytes([first, 0]) + (4 + len(inner)).to_bytes(2, "big")
        chains += prf(before[sk_p], clear + inner)
    sk_e, sk_p, id_type = SIDES[who]
    (own,) = on_wire(net, who, 34)
    (other,) = on_wire(net, next(side for side in SIDES if side != who), 34)
    nonce = bodies(other[16], other[28:])[40][0]
    head, first, inner = message(on_wire(net, who, 35), after[sk_e])
    message_id = head[20:24]
    assert message_id == bytes([0, 0, 0, 2])
    inside = bodies(first, inner)
    signed = own + nonce + prf(after[sk_p], inside[id_type][0]) + chains + message_id
    return signed, inside
