"""What travels beside a packet between the stages of the path, and what they see of the SAD."""

from amaranth.hdl import Cat
from amaranth.lib import data, enum

from spec import rmcp, suites
from spec.sa import ALL_BANKS

__all__ = [
    "APPLIED_BITS",
    "BANK_WORDS",
    "EPOCH_BITS",
    "PAYLOAD_OCTETS",
    "RECORD_OCTETS",
    "TOKENS",
    "BankView",
    "BankWord",
    "BootRequest",
    "Cipher",
    "InboundSa",
    "InnerOffset",
    "LifetimeSelect",
    "LimitWrite",
    "MessageMeta",
    "OutboundSa",
    "Protocol",
    "RecordOffset",
    "Reply",
    "ReplyKind",
    "SuiteView",
    "TakenKind",
    "TakenMeta",
    "auth_slot",
    "key_slot",
]

EPOCH_BITS = 3
TOKENS = 64
"""Packets that may be between the classifier and the reply builder; each has its own record."""
RECORD_OCTETS = 32
"""Octets of a sender's record, written as the headers pass, and read as an answer is built."""
PAYLOAD_OCTETS = 28
"""Longest UDP payload of a reply: RMCP and ASF headers and 16 octets of data."""


class Cipher(enum.Enum, shape=2):
    """`spec.suites.Cipher` in gateware."""

    NULL = suites.Cipher.NULL
    GCM = suites.Cipher.GCM
    CBC = suites.Cipher.CBC
    GMAC = suites.Cipher.GMAC


class Protocol(enum.Enum, shape=2):
    """`spec.suites.Protocol` in gateware."""

    ESP = suites.Protocol.ESP
    AH = suites.Protocol.AH
    BOTH = suites.Protocol.BOTH


class RecordOffset(enum.IntEnum):
    """Where in a sender's record each part begins; multi-octet parts in network order."""

    MAC = 0
    """Ethernet source, 6 octets."""
    TAGS = 6
    """VLAN tags as they came, 4 octets each: EtherType and tag control. Outer tag first."""
    IP = 14
    """Outer IP source, 4 or 16 octets."""
    PORT = 30
    """Outer UDP source port, 2 octets: ESP in UDP, or a message in clear."""


class InnerOffset(enum.IntEnum):
    """The same for what was inside of the protection."""

    IP = 0
    """Source address of the packet in the tunnel, 4 or 16 octets."""
    PORT = 16
    """UDP source port, 2 octets."""


class TakenKind(enum.Enum, shape=2):
    """How a taken packet came."""

    ESP = 0
    AH = 1
    CLEAR = 2


TakenMeta = data.StructLayout(
    {
        "kind": TakenKind,
        "bank": range(ALL_BANKS),
        "token": range(TOKENS),
        "encapsulated": 1,
        "v6": 1,
        "tags": 2,
        "header_octets": 8,
        "octets": 11,
        "spi": 32,
        "sequence": 32,
        "iv": 64,
        "ah_next": 8,
        "ah_words": 8,
        "ah_reserved": 1,
        "esp_spi": 32,
        "esp_sequence": 32,
    }
)
"""Of a taken packet, which lies in the taken buffer from its IP header on, with what AH covers as
zeros replaced by zeros.

- `bank`: whose inbound SPI it has, of AH or ESP.
- `token`: number of the sender's record. `tags`: VLAN tags, 0 to 2. `v6`: IPv6.
- `encapsulated`: ESP in UDP.
- `header_octets`: before AH, ESP or the clear message; a UDP header around them included.
- `octets`: of AH or ESP from its first octet to the packet's last, or of the clear message.
- `spi`, `sequence`: of AH (kind AH) or ESP.
- `iv`: the eight octets behind the ESP header, or, of AH alone, behind AH's sequence number; lane 0
  first.
- `ah_next`, `ah_words`, `ah_reserved`: AH's next header and length field, and that its reserved
  field is not zero.
- `esp_spi`, `esp_sequence`: of ESP in AH (`ah_next` = 50), else of no meaning.
"""

BankView = data.StructLayout(
    {
        "receives": 1,
        "epoch": EPOCH_BITS,
        "peered": 1,
        "protocol": Protocol,
        "spi_in": 32,
        "ah_spi_in": 32,
    }
)
"""What all of the path sees of a bank all the time.

- `receives`: packets are verified under it. `epoch` is another one each time that the bank stops to
  receive, so that a packet under way is not taken for one of a later SA in the same bank.
- `peered`: from READY on, AH and ESP from its station are ours.
- `ah_spi_in`: of the AH SA around ESP (Protocol.BOTH). Of AH alone it is `spi_in`.
"""


class BankWord(enum.IntEnum):
    """Where in a bank's record each word lies. All but SUITE and FLAGS are as they were staged."""

    SPI_IN = 0
    SPI_OUT = 1
    AH_SPI_IN = 2
    AH_SPI_OUT = 3
    SALT_IN = 4
    SALT_OUT = 5
    SUITE = 6
    """SuiteView of its suite."""
    FLAGS = 7
    """spec.sa.SaFlag."""
    RX_SEQ_HI = 8
    RX_SEQ_LO = 9
    TX_SEQ_HI = 10
    TX_SEQ_LO = 11
    """Last outbound number used, which counts on from what was staged."""
    AH_RX_SEQ_HI = 12
    AH_RX_SEQ_LO = 13
    AH_TX_SEQ_HI = 14
    AH_TX_SEQ_LO = 15
    PEER_IP = 16
    PEER_IP6 = 17
    """The first of four."""


BANK_WORDS = 32
"""Words of a bank's record, of 32 bits."""

SuiteView = data.StructLayout({"protocol": Protocol, "cipher": Cipher, "aes256": 1, "sha_1": 1})
"""What the path must know of a suite."""

InboundSa = data.StructLayout(
    {
        "suite": SuiteView,
        "esn": 1,
        "tunnel": 1,
        "administrator": 1,
        "spi_in": 32,
        "ah_spi_in": 32,
        "salt_in": 32,
    }
)
"""What of a bank's record verifies a packet."""

OutboundSa = data.StructLayout(
    {
        "suite": SuiteView,
        "esn": 1,
        "tunnel": 1,
        "spi_out": 32,
        "ah_spi_out": 32,
        "salt_out": 32,
        "tx_sequence": 64,
        "ah_tx_sequence": 64,
    }
)
"""What of a bank's record protects a reply. `tx_sequence`, `ah_tx_sequence`: the numbers to use."""

APPLIED_BITS = 11
"""Of the octets of one packet that an algorithm is applied to (RFC 4301 4.4.2.1): of ESP what is
encrypted, padding and trailer included; of AH alone all that its ICV covers."""

LimitWrite = data.StructLayout({"stb": 1, "bank": range(ALL_BANKS), "index": 3, "data": 32})
"""A word of the limits of a bank's lifetime, numbered as spec.sa.LifetimeWord."""

LifetimeSelect = data.StructLayout({"bank": range(ALL_BANKS), "outbound": 1, "octets": 1})
"""One of the numbers that are counted: of which bank and direction, octets or packets."""

MessageMeta = data.StructLayout(
    {
        "protected": 1,
        "administrator": 1,
        "bank": range(ALL_BANKS),
        "epoch": EPOCH_BITS,
        "token": range(TOKENS),
        "encapsulated": 1,
        "v6": 1,
        "tags": 2,
        "inner_v6": 1,
        "octets": 11,
    }
)
"""Of a message for the command engine: whether and under which bank it was authenticated, how it
came, and its octets. `administrator`: the SA that authenticated it is one's. `inner_v6`: in tunnel
mode, the packet inside was IPv6."""


BootRequest = data.StructLayout({field.name: field.bits for field in rmcp.POWER_DATA.fields})
"""What a power message asks of the host's firmware."""


class ReplyKind(enum.Enum, shape=2):
    """How a reply leaves."""

    PROTECTED = 0
    CLEAR = 1
    ARP = 2
    NEIGHBOUR = 3
    """Neighbour advertisement."""


Reply = data.StructLayout(
    {
        "kind": ReplyKind,
        "bank": range(ALL_BANKS),
        "epoch": EPOCH_BITS,
        "token": range(TOKENS),
        "encapsulated": 1,
        "v6": 1,
        "tags": 2,
        "inner_v6": 1,
        "alert": 1,
        "to_all": 1,
        "octets": 7,
        "payload": 8 * PAYLOAD_OCTETS,
    }
)
"""A reply: to the sender of the packet `token`, the way it came, under which bank, and its UDP
payload of `octets` octets; lane 0 is the first octet, lanes beyond it are 0. Of
an ARP answer the record's MAC and IP are those of the asker. A neighbour advertisement may go
`to_all` nodes instead; its `octets` are those of its option and of the target. An alert goes to
another port than the sender's, and its payload comes from elsewhere."""


def key_slot(bank, outbound):
    """Number of a bank's and direction's slot in the AES key store."""
    return Cat(outbound, bank)


def auth_slot(bank, outbound, outer):
    """Number of a bank's, direction's and half's slot in the HMAC key store."""
    return Cat(outbound, outer, bank)
