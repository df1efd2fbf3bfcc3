"""Holder of key octets that no repr, log, exception or pickle shows: SEC: IKE.SECRETS_HIDDEN."""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """Octets to be kept secret.

    `reveal()` is the only way to the octets; `wipe()` overwrites them once they are no longer
    needed (what `reveal` has already given out is beyond it). Two secrets compare in constant
    time. A wiped secret reveals nothing: `ValueError`.
    """

    __slots__ = ("_octets", "_wiped")

    def __init__(self, octets: bytes) -> None:
        self._octets = bytearray(octets)
        self._wiped = False

    def reveal(self) -> bytes:
        """Give the octets out."""
        if self._wiped:
            raise ValueError("this secret was wiped")
        return bytes(self._octets)

    def wipe(self) -> None:
        """Overwrite the octets."""
        self._octets[:] = bytes(len(self._octets))
        self._wiped = True

    @property
    def wiped(self) -> bool:
        """Whether `wipe` was called."""
        return self._wiped

    def __len__(self) -> int:
        return len(self._octets)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return not (self._wiped or other._wiped) and hmac.compare_digest(
            self._octets, other._octets
        )

    def __hash__(self) -> int:
        raise TypeError("a secret has no hash")

    def __repr__(self) -> str:
        return f"<Secret, {len(self._octets)} octets{', wiped' if self._wiped else ''}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not to be pickled")
