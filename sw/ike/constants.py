"""Numbers of the protocol, as IANA lists them under "IKEv2 Parameters" (RFC 7296 3)."""

from __future__ import annotations

from enum import IntEnum, IntFlag

IKE_PORT = 500
NATT_PORT = 4500
"""UDP ports of IKE, without and with the non-ESP marker (RFC 7296 2.23, RFC 3948 2.2)."""
NON_ESP_MARKER = bytes(4)
NAT_KEEPALIVE = b"\xff"
"""RFC 3948 2.3."""
VERSION = 0x20
"""Major version 2, minor version 0."""
IKE_SPI_OCTETS = 8
ESP_SPI_OCTETS = 4
ESP_SPI_MIN = 256
"""SPIs 1 to 255 are reserved by IANA, 0 is never on the wire (RFC 4303 2.1)."""
NONCE_OCTETS = 32
NONCE_MIN = 16
NONCE_MAX = 256
"""RFC 7296 3.9. What we send is half as long as the longest key of a PRF."""
COOKIE_MAX = 64
"""RFC 7296 2.6."""


class ExchangeType(IntEnum):
    """RFC 7296 3.1."""

    IKE_SA_INIT = 34
    IKE_AUTH = 35
    CREATE_CHILD_SA = 36
    INFORMATIONAL = 37
    IKE_INTERMEDIATE = 43
    """RFC 9242."""
    IKE_FOLLOWUP_KE = 44
    """RFC 9370 2.2.4."""


class Flag(IntFlag):
    """Flags of the IKE header (RFC 7296 3.1)."""

    INITIATOR = 0x08
    """Sent by the original initiator of the IKE SA."""
    VERSION = 0x10
    RESPONSE = 0x20


class PayloadType(IntEnum):
    """RFC 7296 3.2."""

    NONE = 0
    SA = 33
    KE = 34
    ID_I = 35
    ID_R = 36
    CERT = 37
    CERTREQ = 38
    AUTH = 39
    NONCE = 40
    NOTIFY = 41
    DELETE = 42
    VENDOR_ID = 43
    TS_I = 44
    TS_R = 45
    SK = 46
    CP = 47
    EAP = 48
    SKF = 53
    """RFC 7383 2.5."""


class Protocol(IntEnum):
    """Security protocol identifiers (RFC 7296 3.3.1)."""

    NONE = 0
    IKE = 1
    AH = 2
    ESP = 3


class TransformType(IntEnum):
    """RFC 7296 3.3.2."""

    ENCR = 1
    PRF = 2
    INTEG = 3
    DH = 4
    ESN = 5
    ADDKE1 = 6
    """First additional key exchange (RFC 9370 2.2.1); its numbers are those of type 4."""


class Encr(IntEnum):
    """Transform type 1 (RFC 3602, RFC 5282 7.2, RFC 7634 4)."""

    AES_CBC = 12
    AES_GCM_16 = 20
    CHACHA20_POLY1305 = 28


class PrfId(IntEnum):
    """Transform type 2 (RFC 4868)."""

    HMAC_SHA2_256 = 5
    HMAC_SHA2_384 = 6
    HMAC_SHA2_512 = 7


class Integ(IntEnum):
    """Transform type 3 (RFC 4868)."""

    HMAC_SHA2_256_128 = 12
    HMAC_SHA2_384_192 = 13
    HMAC_SHA2_512_256 = 14


class Group(IntEnum):
    """Transform type 4: key exchange methods. NONE is "no PFS", or no additional one.

    Source: RFC 3526, RFC 5903, RFC 8031, draft-ietf-ipsecme-ikev2-mlkem.
    """

    NONE = 0
    MODP_2048 = 14
    MODP_3072 = 15
    MODP_4096 = 16
    P256 = 19
    P384 = 20
    P521 = 21
    X25519 = 31
    X448 = 32
    ML_KEM_768 = 36
    ML_KEM_1024 = 37


INTEG_NONE = 0
ESN_NO = 0
ESN_YES = 1
"""Transform type 5 (RFC 7296 3.3.2)."""
KEY_LENGTH_ATTRIBUTE = 14
"""RFC 7296 3.3.5."""
AUTH_SHARED_KEY = 2
"""Authentication method "Shared Key Message Integrity Code" (RFC 7296 3.8)."""


class AuthMethod(IntEnum):
    """The other authentication methods (RFC 7296 3.8, RFC 4754, RFC 7427)."""

    RSA = 1
    ECDSA_P256 = 9
    ECDSA_P384 = 10
    ECDSA_P521 = 11
    DIGITAL_SIGNATURE = 14


class SignatureHash(IntEnum):
    """Hash algorithms of SIGNATURE_HASH_ALGORITHMS (RFC 7427 7, RFC 8420 2); SHA-1 is left out."""

    SHA2_256 = 2
    SHA2_384 = 3
    SHA2_512 = 4
    IDENTITY = 5


class CertEncoding(IntEnum):
    """What a CERT or CERTREQ payload holds (RFC 7296 3.6, RFC 7670). Others are passed over."""

    X509_SIGNATURE = 4
    RAW_PUBLIC_KEY = 15


class IdType(IntEnum):
    """RFC 7296 3.5. Others can be received, and match no configured identity."""

    IPV4_ADDR = 1
    FQDN = 2
    RFC822_ADDR = 3
    IPV6_ADDR = 5
    DER_ASN1_DN = 9
    KEY_ID = 11


class TsType(IntEnum):
    """Traffic selector types (RFC 7296 3.13.1)."""

    IPV4_ADDR_RANGE = 7
    IPV6_ADDR_RANGE = 8


class NotifyType(IntEnum):
    """Notify message types (RFC 7296 3.10.1): errors below 16384, status from there on."""

    UNSUPPORTED_CRITICAL_PAYLOAD = 1
    INVALID_IKE_SPI = 4
    INVALID_MAJOR_VERSION = 5
    INVALID_SYNTAX = 7
    INVALID_MESSAGE_ID = 9
    INVALID_SPI = 11
    NO_PROPOSAL_CHOSEN = 14
    INVALID_KE_PAYLOAD = 17
    AUTHENTICATION_FAILED = 24
    SINGLE_PAIR_REQUIRED = 34
    NO_ADDITIONAL_SAS = 35
    INTERNAL_ADDRESS_FAILURE = 36
    FAILED_CP_REQUIRED = 37
    TS_UNACCEPTABLE = 38
    INVALID_SELECTORS = 39
    TEMPORARY_FAILURE = 43
    CHILD_SA_NOT_FOUND = 44
    STATE_NOT_FOUND = 47
    """RFC 9370 2.2.4: there is nothing to follow up."""
    INITIAL_CONTACT = 16384
    NAT_DETECTION_SOURCE_IP = 16388
    NAT_DETECTION_DESTINATION_IP = 16389
    COOKIE = 16390
    USE_TRANSPORT_MODE = 16391
    REKEY_SA = 16393
    IKEV2_FRAGMENTATION_SUPPORTED = 16430
    """RFC 7383 2.3."""
    SIGNATURE_HASH_ALGORITHMS = 16431
    """RFC 7427 4."""
    INTERMEDIATE_EXCHANGE_SUPPORTED = 16438
    """RFC 9242 3.1."""
    ADDITIONAL_KEY_EXCHANGE = 16441
    """RFC 9370 2.2.4: links IKE_FOLLOWUP_KE to what it follows up."""
    SA_READY = 40960 + 664
    """Holdfast, private use: "SA is ready for use". Protocol ESP, SPI the sender's inbound SPI."""


NOTIFY_STATUS_FIRST = 16384
"""Below: an error; from here on: status, ignored if unknown (RFC 7296 3.10.1)."""
