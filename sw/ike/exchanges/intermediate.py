"""IKE_INTERMEDIATE: an additional key exchange before IKE_AUTH.

Its messages are protected with the keys of IKE_SA_INIT; what follows, with keys that came of both
exchanges. Source: RFC 9242 3, RFC 9370 2.2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sw.ike.constants import ExchangeType, Group
from sw.ike.errors import DropReason, IkeError, malformed
from sw.ike.events import CloseReason, ExchangeKind
from sw.ike.exchanges.base import Task
from sw.ike.groups import KeyExchange, answer_key_exchange, make_key_exchange
from sw.ike.keymat import IkeKeys, derive_ike_keys, skeyseed_rekey
from sw.ike.payloads import KePayload, Payload, find_error, require

if TYPE_CHECKING:
    from sw.ike.connection import Connection
    from sw.ike.ike_sa import IkeSa
    from sw.ike.secret import Secret


def _next_keys(sa: IkeSa, shared_secret: Secret) -> IkeKeys:
    """SKEYSEED(1) = prf(SK_d(0), SK(1) | Ni | Nr); nonces and SPIs are those of IKE_SA_INIT."""
    if sa.handshake is None:
        raise IkeError(DropReason.NO_ROW, "no IKE_SA_INIT went before")
    nonces = (sa.handshake.nonce_i, sa.handshake.nonce_r)
    skeyseed = skeyseed_rekey(sa.keys.prf, sa.keys.sk_d, shared_secret, *nonces)
    return derive_ike_keys(sa.keys.suite, skeyseed, *nonces, sa.spi_i, sa.spi_r)


class IntermediateTask(Task):
    """The initiator's side, for one candidate IKE SA."""

    kind = ExchangeKind.CONNECT
    exchange = ExchangeType.IKE_INTERMEDIATE
    reports = False

    def __init__(self) -> None:
        super().__init__()
        self._ke: KeyExchange | None = None

    def build(self, connection: Connection, sa: IkeSa) -> list[Payload]:
        """KEi(1) alone."""
        self._ke = make_key_exchange(sa.additional, connection.shared.rng)
        return [KePayload(self._ke.group, self._ke.public)]

    def process(
        self, connection: Connection, sa: IkeSa, payloads: Sequence[Payload], now: float
    ) -> None:
        """New keys; IKE_AUTH follows under them."""
        error = find_error(payloads)
        if error is not None:
            connection.candidate_failed(sa, CloseReason.REFUSED, now, error.notify)
            return
        ke = require(payloads, KePayload)
        if self._ke is None or ke.group != self._ke.group:
            raise IkeError(DropReason.UNACCEPTABLE, "key exchange value of another method")
        sa.install_keys(_next_keys(sa, self._ke.shared(ke.data)))
        sa.additional = Group.NONE


def respond(connection: Connection, sa: IkeSa, payloads: Sequence[Payload]) -> list[Payload]:
    """Answer with KEr(1); the new keys are in force after the answer. `IkeError` if none is due."""
    ke = require(payloads, KePayload)
    if sa.additional is Group.NONE or ke.group != sa.additional:
        raise malformed("no such additional key exchange was agreed on")
    public, shared_secret = answer_key_exchange(sa.additional, ke.data, connection.shared.rng)
    sa.install_keys_after_answer(_next_keys(sa, shared_secret))
    sa.additional = Group.NONE
    return [KePayload(ke.group, public)]
