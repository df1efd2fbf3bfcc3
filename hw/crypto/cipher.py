"""What the AES core of the data path is asked to do."""

from amaranth.lib import data, enum

from spec import suites

__all__ = ["CipherMode", "cipher_job_layout"]


class CipherMode(enum.Enum, shape=2):
    """What becomes of a packet's octets; values of `spec.suites.Cipher`."""

    GCM = suites.Cipher.GCM
    CBC = suites.Cipher.CBC
    GMAC = suites.Cipher.GMAC


def cipher_job_layout(*, slots: int) -> data.StructLayout:
    """What the cipher unit shall do with the next octets.

    - `mode`, `encrypt`; `slot`, `aes256`: the key and its size.
    - `nonce`: 12 octets (GCM, GMAC), lane 0 first.
    - `aad`, `aad_octets`: 0, 8 or 12 octets (GCM, GMAC), lane 0 first.
    - `octets`: how many come in.
    """
    return data.StructLayout(
        {
            "mode": CipherMode,
            "encrypt": 1,
            "slot": range(slots),
            "aes256": 1,
            "nonce": 96,
            "aad": 96,
            "aad_octets": 4,
            "octets": 11,
        }
    )
