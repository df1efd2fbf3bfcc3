"""What an endpoint tells its caller. Every event names the connection by its id."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from spec.suites import Suite
from sw.ike.address import Address
from sw.ike.config import Identity
from sw.ike.secret import Secret
from sw.ike.selectors import TrafficSelector


class CloseReason(Enum):
    """Why a connection ended."""

    LOCAL = "local"
    """`close` or `abandon` was called."""
    PEER = "peer"
    """The peer deleted the IKE SA."""
    TIMEOUT = "timeout"
    """A request was not answered, however often it was sent."""
    AUTHENTICATION = "authentication"
    """Identity, pre-shared key or certificate do not fit, seen from either side."""
    REFUSED = "refused"
    """The peer answered IKE_SA_INIT with an error."""
    PROTOCOL = "protocol"
    """A genuine message broke RFC 7296."""
    REPLACED = "replaced"
    """The peer said INITIAL_CONTACT on a newer connection (RFC 7296 2.4)."""


class ExchangeKind(Enum):
    """What an exchange is for."""

    CONNECT = "connect"
    CREATE_CHILD = "create_child"
    REKEY_CHILD = "rekey_child"
    DELETE_CHILD = "delete_child"
    REKEY_IKE = "rekey_ike"
    LIVENESS = "liveness"
    READY = "ready"
    CLOSE = "close"


class FailureReason(Enum):
    """Why an exchange failed while the connection may go on."""

    REFUSED = "refused"
    """The peer sent the error notification that the event names."""
    UNACCEPTABLE = "unacceptable"
    """The peer's choice is none of what was offered; its Child SA is being deleted."""
    REDUNDANT = "redundant"
    """The peer rekeyed the same SA at the same time, and its new one stays (RFC 7296 2.8.1)."""
    NO_SUCH_SA = "no_such_sa"
    """The SA it was for is gone."""
    NO_SPI = "no_spi"
    """No free SPI was to be had."""
    CLOSED = "closed"
    """The connection ended first."""


@dataclass(frozen=True, slots=True)
class IkeSaEstablished:
    """Both sides are authenticated."""

    connection: int
    initiator: bool
    local_id: Identity
    peer_id: Identity
    address: Address
    encap_udp: bool
    """A NAT was found (or is pretended): ESP goes in UDP on port 4500."""
    peer_is_holdfast: bool


@dataclass(frozen=True, slots=True, eq=False)
class ChildSaEstablished:
    """A pair of ESP SAs was agreed on. This is the only place where its keys appear.

    Of each direction: cipher key, its salt, HMAC key; as long as the suite says, empty where it
    has none.
    `spi_in` is ours; it names the Child SA in every call and event. `rekeyed_spi` is our inbound
    SPI of the Child SA that it replaces: that one stays until `delete_child`.
    `initiator` tells whether this side began the exchange.
    """

    connection: int
    spi_in: int
    spi_out: int
    suite: Suite
    key_in: Secret
    salt_in: Secret
    auth_in: Secret
    key_out: Secret
    salt_out: Secret
    auth_out: Secret
    esn: bool
    encap_udp: bool
    transport: bool
    ts_local: tuple[TrafficSelector, ...]
    ts_remote: tuple[TrafficSelector, ...]
    rekeyed_spi: int | None
    initiator: bool
    address: Address

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """All of its keys."""
        inbound = (self.key_in, self.salt_in, self.auth_in)
        return (*inbound, self.key_out, self.salt_out, self.auth_out)

    def wipe(self) -> None:
        """Overwrite its keys."""
        for secret in self.secrets:
            secret.wipe()


@dataclass(frozen=True, slots=True)
class ChildSaReady:
    """The peer says that it has loaded its side of this Child SA ("SA is ready for use")."""

    connection: int
    spi_in: int
    spi_out: int


@dataclass(frozen=True, slots=True)
class ChildSaReadyDelivered:
    """The peer has acknowledged our `notify_ready`."""

    connection: int
    spi_in: int


@dataclass(frozen=True, slots=True)
class ChildSaDeleted:
    """IKE on either side has let go of this Child SA (RFC 7296 1.4.1)."""

    connection: int
    spi_in: int
    spi_out: int
    by_peer: bool


@dataclass(frozen=True, slots=True)
class IkeSaRekeyed:
    """The IKE SA was replaced; connection and Child SAs go on (RFC 7296 2.18)."""

    connection: int
    initiator: bool


@dataclass(frozen=True, slots=True)
class PeerAlive:
    """The peer has answered `check_liveness`."""

    connection: int


@dataclass(frozen=True, slots=True)
class AddressChanged:
    """The NAT in front of the peer gave it a new address (RFC 7296 2.23): ESP goes there too."""

    connection: int
    address: Address


@dataclass(frozen=True, slots=True)
class ExchangeFailed:
    """An exchange came to nothing. Everything that existed before it still does."""

    connection: int
    exchange: ExchangeKind
    reason: FailureReason
    spi: int | None
    """Our inbound SPI of the Child SA it was about."""
    notify: int | None = None


@dataclass(frozen=True, slots=True)
class IkeSaClosed:
    """The connection ended. Last event of a connection.

    IKE knows these Child SAs no longer. What a NIC or a store holds of them is not touched by
    that: an SA that worked goes on working.
    """

    connection: int
    reason: CloseReason
    children: tuple[int, ...]
    """Our inbound SPIs."""
    notify: int | None = None
    why: str = ""
    """Of a failed authentication: what does not fit, in plain words."""


Event = (
    IkeSaEstablished
    | ChildSaEstablished
    | ChildSaReady
    | ChildSaReadyDelivered
    | ChildSaDeleted
    | IkeSaRekeyed
    | PeerAlive
    | AddressChanged
    | ExchangeFailed
    | IkeSaClosed
)
