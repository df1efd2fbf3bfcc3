"""Ciphers of the data path: key store, AES, GHASH and the engine that joins them.

`CipherUnit` is what a data path instantiates; the rest is exported for benches and proofs.
"""

from hw.crypto.aes import AesCore
from hw.crypto.cipher import CipherEngine, CipherMode, CipherUnit, cipher_job_layout
from hw.crypto.ghash import Ghash
from hw.crypto.key_expansion import KeyExpansion, expand_layout
from hw.crypto.key_store import KeyStore, key_write_layout, zeroise_layout
from hw.crypto.keyed_aes import KeyedAes

__all__ = [
    "AesCore",
    "CipherEngine",
    "CipherMode",
    "CipherUnit",
    "Ghash",
    "KeyExpansion",
    "KeyStore",
    "KeyedAes",
    "cipher_job_layout",
    "expand_layout",
    "key_write_layout",
    "zeroise_layout",
]
