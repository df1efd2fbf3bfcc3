"""Reads NIST's CAVP response files from the package `cryptography_vectors`."""

from collections.abc import Iterator
from dataclasses import dataclass

import cryptography_vectors

__all__ = [
    "EcbVector",
    "GcmVector",
    "HashVector",
    "cbc_vectors",
    "ecb_vectors",
    "gcm_vectors",
    "sha256_monte",
    "sha256_vectors",
]


@dataclass(frozen=True)
class EcbVector:
    """A text of one or more blocks under one key."""

    key: bytes
    plain: bytes
    cipher: bytes


@dataclass(frozen=True)
class GcmVector:
    """A case of authenticated encryption."""

    key: bytes
    nonce: bytes
    aad: bytes
    plain: bytes
    cipher: bytes
    tag: bytes


@dataclass(frozen=True)
class HashVector:
    """A message and its digest."""

    message: bytes
    digest: bytes


def _records(path: str) -> Iterator[dict[str, str]]:
    """Each record of a file, with the bracketed settings before it; names in lower case."""
    settings: dict[str, str] = {}
    record: dict[str, str] = {}
    with cryptography_vectors.open_vector_file(path, "r") as lines:
        for line in [*lines, ""]:
            name, equals, value = (part.strip() for part in line.strip("[] \r\n").partition("="))
            if line.startswith("["):
                settings[name.lower()] = value if equals else ""
                if not equals:
                    settings["section"] = name.lower()
            elif equals:
                record[name.lower()] = value
            elif record and not line.startswith("#"):
                yield {**settings, **record}
                record = {}


def ecb_vectors(section: str) -> Iterator[EcbVector]:
    """All AES-128 and AES-256 known-answer and multi-block vectors of ECB, of one `section`.

    Files `ciphers/AES/ECB/ECB{GFSbox,KeySbox,VarKey,VarTxt,MMT}{128,256}.rsp`, section "encrypt"
    or "decrypt".
    These are the AESAVS known-answer and multi-block tests; the package has no Monte Carlo files.
    """
    for size in (128, 256):
        for kind in ("GFSbox", "KeySbox", "VarKey", "VarTxt", "MMT"):
            for record in _records(f"ciphers/AES/ECB/ECB{kind}{size}.rsp"):
                if record["section"] == section:
                    yield EcbVector(
                        bytes.fromhex(record["key"]),
                        bytes.fromhex(record["plaintext"]),
                        bytes.fromhex(record["ciphertext"]),
                    )


def cbc_vectors() -> Iterator[tuple[bytes, bytes, bytes, bytes]]:
    """Key, IV, plaintext and ciphertext of all AES-128 and AES-256 vectors of CBC encryption.

    Files `ciphers/AES/CBC/CBC{GFSbox,KeySbox,VarKey,VarTxt,MMT}{128,256}.rsp`, section ENCRYPT.
    """
    for size in (128, 256):
        for kind in ("GFSbox", "KeySbox", "VarKey", "VarTxt", "MMT"):
            for record in _records(f"ciphers/AES/CBC/CBC{kind}{size}.rsp"):
                if record["section"] == "encrypt":
                    names = ("key", "iv", "plaintext", "ciphertext")
                    key, iv, plain, cipher = (bytes.fromhex(record[name]) for name in names)
                    yield key, iv, plain, cipher


def gcm_vectors() -> Iterator[GcmVector]:
    """All AES-GCM vectors with a 96-bit IV, a 128-bit tag and a key of 128 or 256 bits.

    Files `ciphers/AES/GCM/gcmEncryptExtIV{128,256}.rsp`.
    """
    for size in (128, 256):
        for record in _records(f"ciphers/AES/GCM/gcmEncryptExtIV{size}.rsp"):
            if record["ivlen"] == "96" and record["taglen"] == "128":
                yield GcmVector(
                    *(
                        bytes.fromhex(record[name])
                        for name in ("key", "iv", "aad", "pt", "ct", "tag")
                    )
                )


def sha256_vectors(kind: str) -> Iterator[HashVector]:
    """All vectors of `hashes/SHA2/SHA256{kind}Msg.rsp`, `kind` being Short or Long."""
    for record in _records(f"hashes/SHA2/SHA256{kind}Msg.rsp"):
        message = bytes.fromhex(record["msg"])[: int(record["len"]) // 8]
        yield HashVector(message, bytes.fromhex(record["md"]))


def sha256_monte() -> tuple[bytes, list[bytes]]:
    """Seed and checkpoints of the Monte Carlo test, `hashes/SHA2/SHA256Monte.rsp`."""
    records = list(_records("hashes/SHA2/SHA256Monte.rsp"))
    seed = next(bytes.fromhex(record["seed"]) for record in records if "seed" in record)
    return seed, [bytes.fromhex(record["md"]) for record in records if "md" in record]
