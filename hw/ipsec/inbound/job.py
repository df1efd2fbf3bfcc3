"""What the stages of the inbound path hand on to each other."""

from amaranth.lib import data

from hw.ipsec.layouts import APPLIED_BITS, EPOCH_BITS, TOKENS, Cipher
from spec.sa import ALL_BANKS

__all__ = ["InboundJob", "Pending"]

InboundJob = data.StructLayout(
    {
        "refused": 1,
        "clear": 1,
        "bank": range(ALL_BANKS),
        "epoch": EPOCH_BITS,
        "token": range(TOKENS),
        "encapsulated": 1,
        "v6": 1,
        "tags": 2,
        "ah": 1,
        "both": 1,
        "cipher": Cipher,
        "aes256": 1,
        "sha_1": 1,
        "esn": 1,
        "tunnel": 1,
        "administrator": 1,
        "next_header": 8,
        "header_octets": 8,
        "padded": 1,
        "text_octets": 11,
        "cipher_octets": 11,
        "applied_octets": APPLIED_BITS,
        "spi": 32,
        "salt": 32,
        "iv": 64,
        "sequence": 32,
        "high": 32,
        "outer_sequence": 32,
        "outer_high": 32,
    }
)
"""What is to be done with the packet that stands first in the taken buffer.

- `refused`: nothing, it is thrown away. `clear`: it came in clear; what concerns an SA means
  nothing then.
- `ah`, `both`: AH is the first header; and ESP is in it.
- `cipher`, `aes256`, `sha_1`, `esn`, `tunnel`, `administrator`: of its SA. `epoch`: of the bank,
  when it was found.
- `next_header`, `padded`: of AH; four octets of padding stand behind its ICV.
- `header_octets`: before AH, ESP or the message.
- `text_octets`: of the ciphertext of ESP, of what follows AH alone, or of the message.
- `cipher_octets`: how many octets go to the cipher unit.
- `applied_octets`: those that count for the lifetime of the SA.
- `spi`, `salt`, `iv`: for its nonce and AAD.
- `sequence`, `high`: the two halves of the number of ESP or of AH alone; `outer_*`: of AH around
  ESP.
"""

Pending = data.StructLayout(
    {
        "clear": 1,
        "bank": range(ALL_BANKS),
        "epoch": EPOCH_BITS,
        "token": range(TOKENS),
        "encapsulated": 1,
        "v6": 1,
        "tags": 2,
        "by_cipher": 1,
        "both": 1,
        "sha_1": 1,
        "esn": 1,
        "administrator": 1,
        "applied_octets": APPLIED_BITS,
        "sequence": 32,
        "high": 32,
        "outer_sequence": 32,
        "outer_high": 32,
    }
)
"""Of a packet whose verdict is to come: as in `InboundJob`, and `by_cipher`: the cipher unit, not
an HMAC lane, makes the main tag."""
