"""The one error of this package's parsers, and the reasons under which datagrams are dropped."""

from __future__ import annotations

from enum import Enum

from sw.ike.constants import NotifyType


class DropReason(Enum):
    """Why a datagram went no further. Each has its counter."""

    NOT_IKE = "not_ike"
    """On port 4500 without the non-ESP marker: ESP or a keepalive that the data plane owns."""
    KEEPALIVE = "keepalive"
    MALFORMED = "malformed"
    """Header, payload chain or payload does not follow RFC 7296 3."""
    VERSION = "version"
    CRITICAL = "critical"
    """An unknown payload with the critical bit."""
    UNKNOWN_SPI = "unknown_spi"
    BAD_ICV = "bad_icv"
    UNPROTECTED = "unprotected"
    """A clear message where only a protected one counts (RFC 7296 2.21)."""
    MESSAGE_ID = "message_id"
    """Outside the window of one, or a response that nothing waits for (RFC 7296 2.3)."""
    NO_ROW = "no_row"
    """The state table has no row for this exchange in this state."""
    EARLY = "early"
    """Names a Child SA that an answer still under way may make known; it will come again."""
    DUPLICATE = "duplicate"
    """A retransmission, answered from the cache."""
    COOKIE_DEMANDED = "cookie_demanded"
    HALF_OPEN_LIMIT = "half_open_limit"
    CONNECTION_LIMIT = "connection_limit"
    UNACCEPTABLE = "unacceptable"
    """Well formed, but nothing we would agree to (proposals, group, key exchange value)."""
    RATE_LIMIT = "rate_limit"
    FRAGMENT = "fragment"
    """Genuine, but does not fit those before it, or makes its message too long (RFC 7383 2.6)."""


class IkeError(Exception):
    """A message that cannot be used. Carries no octet of it, and no secret.

    Parameters
    ----------
    reason : DropReason
        Counter it belongs to.
    text : str
        What is wrong, in words.
    notify : NotifyType or None
        Error notification that tells the peer, where RFC 7296 allows one to be sent.
    notify_data : bytes
        Data of that notification.
    authenticated : bool
        Whether the message's ICV was right before the fault was found.
    """

    def __init__(
        self,
        reason: DropReason,
        text: str,
        *,
        notify: NotifyType | None = None,
        notify_data: bytes = b"",
        authenticated: bool = False,
    ) -> None:
        super().__init__(f"{reason.value}: {text}")
        self.reason = reason
        self.notify = notify
        self.notify_data = notify_data
        self.authenticated = authenticated


def malformed(text: str) -> IkeError:
    """Make the error of an ill-formed message (RFC 7296 2.21.3)."""
    return IkeError(DropReason.MALFORMED, text, notify=NotifyType.INVALID_SYNTAX)
