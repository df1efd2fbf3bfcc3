"""Sealing of the store's secrets: AES-256-GCM under a key that lies in a file of its own.

SEC: STATION.SECRETS_SEALED. No key lies in the store's files but sealed, bound to its record.
SEC: STATION.KEY_FILE_MODE. A key file that others than its owner may use is refused.

Source: SP 800-38D 5.2.1.1, 8.2.2 (random IVs of 96 bits: far fewer than 2^32 are ever made).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sw.ike.secret import Secret

KEY_OCTETS = 32
KEY_FILE_MAX = 4096
IV_OCTETS = 12


class SealError(Exception):
    """A key file that cannot be used, or sealed octets that do not open. Tells no secret."""


class Sealer:
    """Seals and opens octets, bound to what they belong to.

    Parameters
    ----------
    key : Secret
        32 octets.
    """

    def __init__(self, key: Secret) -> None:
        if len(key) != KEY_OCTETS:
            raise SealError(f"a sealing key has {KEY_OCTETS} octets, not {len(key)}")
        self._aead = AESGCM(key.reveal())

    def seal(self, plain: Secret, aad: bytes) -> bytes:
        """IV, ciphertext and ICV."""
        iv = os.urandom(IV_OCTETS)
        return iv + self._aead.encrypt(iv, plain.reveal(), aad)

    def open(self, sealed: bytes, aad: bytes) -> Secret:
        """What was sealed; raises SealError if a bit of it, of `aad` or of the key is another."""
        try:
            return Secret(self._aead.decrypt(sealed[:IV_OCTETS], sealed[IV_OCTETS:], aad))
        except (InvalidTag, TypeError, ValueError):
            raise SealError("sealed with another key, or changed since") from None


def create_key_file(path: Path) -> None:
    """Make a key file of mode 0600; raises SealError if one is there, or cannot be made."""
    new = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new.unlink(missing_ok=True)
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(os.urandom(KEY_OCTETS).hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        # Under its name it is there as a whole or not at all, and no other file is overwritten.
        path.hardlink_to(new)
        new.unlink()
        sync_directory(path.parent)
    except OSError as error:
        raise SealError(f"cannot make the key file {path}: {error.strerror or error}") from error


def load_key_file(path: Path) -> Sealer:
    """A sealer with the key in the file; raises SealError, saying what to do."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise SealError(
            f"the key file {path} is missing; restore it from where you keep it: without it "
            "nothing in the store can be read. For a new store type: holdfast station init"
        ) from None
    except OSError as error:
        raise SealError(f"cannot read the key file {path}: {error.strerror or error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise SealError(f"{path} is no key file: it is no file at all")
    if status.st_mode & 0o077:
        raise SealError(
            f"others than its owner may use the key file {path} (mode "
            f"{stat.S_IMODE(status.st_mode):04o}); type: chmod 0600 {path}"
        )
    try:
        with path.open("rb") as file:
            key = Secret(bytes.fromhex(file.read(KEY_FILE_MAX).decode("ascii").strip()))
    except OSError as error:
        raise SealError(f"cannot read the key file {path}: {error.strerror or error}") from error
    except ValueError:
        # What Python says of it would show the file's content.
        raise SealError(f"{path} is no key file: it does not hold hexadecimal digits") from None
    if len(key) != KEY_OCTETS:
        raise SealError(f"{path} is no key file: it does not hold {KEY_OCTETS} octets")
    return Sealer(key)


def sync_directory(path: Path) -> None:
    """Make the entries of a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
