"""One peer: its IKE SA (and the ones before and after a rekey), its Child SAs, its queue.

A connection takes the datagrams that its endpoint routes to it, hands each to the exchange that
the state table names, and owns the timers. The calls that a user makes only queue an exchange; it
starts when datagrams are next asked for.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType

from sw.ike.address import Address
from sw.ike.child_sa import ChildSa
from sw.ike.config import ChildPolicy, Peer
from sw.ike.constants import NAT_KEEPALIVE, ExchangeType, Group, NotifyType, PayloadType
from sw.ike.errors import DropReason, IkeError, malformed
from sw.ike.events import (
    AddressChanged,
    CloseReason,
    ExchangeKind,
    FailureReason,
    IkeSaClosed,
    IkeSaEstablished,
    IkeSaRekeyed,
)
from sw.ike.exchanges import auth, create_child, follow_up, informational, intermediate, rekey_ike
from sw.ike.exchanges.base import Task
from sw.ike.exchanges.sa_init import InitTask
from sw.ike.ike_sa import NEVER, IkeSa, Row, State, row_for
from sw.ike.message import NO_SPI, Header, parse_body
from sw.ike.payloads import NotifyPayload, Payload, find_notify
from sw.ike.shared import Shared

_QUIET_STATES = (State.HALF_OPEN, State.LINGERING)


class Connection:
    """One peer. Made by an `IkeEndpoint`, never directly.

    Its public calls are those of a user; the rest serves the exchanges.
    """

    def __init__(self, connection_id: int, shared: Shared, sa: IkeSa, peer: Peer | None) -> None:
        self.id = connection_id
        self.shared = shared
        self.current = sa
        self.sas = [sa]
        self.children: dict[int, ChildSa] = {}
        self.closed = False
        self.why = ""
        """What did not fit, once authentication has failed."""
        self._closing = False
        self._peer = peer
        self._initiator = sa.initiator
        self._nat_local = False
        self._nat_remote = False
        self._waiting: deque[Task] = deque()
        self._init: InitTask | None = None
        self._followed: dict[bytes, IkeSa] = {}
        """Digest of an answer to IKE_SA_INIT -> the candidate that follows it up."""
        self._last_heard = 0.0
        self._last_sent = 0.0
        self.route(sa.local_spi)

    # What a user calls.

    @property
    def peer(self) -> Peer | None:
        """Who is at the other end; None before it is authenticated."""
        return self._peer

    @property
    def established(self) -> bool:
        """Whether both sides are authenticated, and the connection has not ended."""
        return not self.closed and self.current.state in (State.ESTABLISHED, State.DELETING)

    @property
    def address(self) -> Address:
        """Where the peer is to be found now."""
        return self.current.address

    @property
    def encap_udp(self) -> bool:
        """Whether a NAT was found (or is pretended): ESP goes in UDP (RFC 7296 2.23)."""
        return self._nat_local or self._nat_remote

    @property
    def child_sas(self) -> Mapping[int, ChildSa]:
        """The Child SAs by our inbound SPI, read-only, without keys."""
        return MappingProxyType(self.children)

    @property
    def last_heard(self) -> float:
        """When the last genuine message of the peer came."""
        return self._last_heard

    def create_child(self, policy: ChildPolicy | None = None) -> None:
        """Ask for one more Child SA. ChildSaEstablished or ExchangeFailed follows."""
        self.start(create_child.CreateChildTask(policy or self.child_policy))

    def rekey_child(self, spi: int, policy: ChildPolicy | None = None) -> None:
        """Ask for a Child SA that is to replace one, named by our inbound SPI.

        The old one stays until `delete_child`, on success and on failure.
        ChildSaEstablished with `rekeyed_spi`, or ExchangeFailed, follows.
        """
        self.start(create_child.CreateChildTask(policy or self.child_policy, spi))

    def delete_child(self, spi: int) -> None:
        """Delete a Child SA, named by our inbound SPI. ChildSaDeleted follows."""
        if spi in self.children:
            self.children[spi].deleting = True
        self.start(informational.DeleteChildTask(spi))

    def notify_ready(self, spi: int) -> None:
        """Tell the peer that our side of a Child SA is loaded. ChildSaReadyDelivered follows."""
        self.start(informational.ReadyTask(spi))

    def check_liveness(self) -> None:
        """Ask the peer whether it lives. PeerAlive or IkeSaClosed(TIMEOUT) follows."""
        self.start(informational.LivenessTask())

    def rekey(self) -> None:
        """Replace the IKE SA. IkeSaRekeyed or ExchangeFailed follows."""
        self.start(rekey_ike.RekeyIkeTask(self.shared.config.ike.groups))

    def close(self) -> None:
        """Delete the IKE SA. IkeSaClosed follows, at the latest after the last retry."""
        self._close(CloseReason.LOCAL)

    def abandon(self) -> None:
        """Forget the peer at once, without a word to it. IkeSaClosed(LOCAL) follows."""
        self.finish(CloseReason.LOCAL)

    # Tasks.

    def start(self, task: Task) -> None:
        """Queue an exchange, until the IKE SA stands and the window is free."""
        if self.closed or self._closing:
            task.fail(self, FailureReason.CLOSED)
            return
        ready = self.current.state is State.ESTABLISHED
        (self.current.tasks if ready else self._waiting).append(task)
        self.shared.touch(self)

    def start_init(self, task: InitTask) -> None:
        """Begin as initiator."""
        self._init = task
        self.current.tasks.append(task)
        self.shared.touch(self)

    def requeue(self, task: Task, sa: IkeSa) -> None:
        """Put a task at the head of the queue again."""
        if self._closing:
            task.fail(self, FailureReason.CLOSED)
            return
        target = self.current if sa.state is not State.ESTABLISHED else sa
        target.tasks.appendleft(task)
        self.shared.touch(self)

    def pump(self, now: float) -> None:
        """Start what can start."""
        for sa in list(self.sas):
            while sa in self.sas and sa.state not in _QUIET_STATES:
                task = sa.next_task(now)
                if task is None:
                    break
                payloads = task.build(self, sa)
                if payloads is not None:
                    self._send(sa.begin(task, task.exchange, payloads, now), sa.address, now)

    def _send(self, datagrams: tuple[bytes, ...], address: Address, now: float) -> None:
        self._last_sent = now
        for data in datagrams:
            self.shared.send(data, address)

    # Datagrams.

    def receive(
        self, header: Header, first: int, data: bytes, address: Address, now: float
    ) -> None:
        """Take a datagram. `IkeError` says why it was dropped."""
        failure: IkeError | None = None
        for sa in list(self.sas):
            if not _addressed_to(sa, header):
                continue
            try:
                if header.is_response:
                    self._response(sa, header, first, data, address, now)
                else:
                    self._request(sa, header, first, data, address, now)
            except IkeError as error:
                # Candidates share their SPIs: the next one may have the right key.
                failure = failure or error
                continue
            self.shared.touch(self)
            return
        raise failure or IkeError(DropReason.UNKNOWN_SPI, "no IKE SA with these SPIs")

    def _heard(self, sa: IkeSa, address: Address, now: float) -> None:
        self._last_heard = now
        if sa.state is State.HALF_OPEN:
            sa.address = address
        elif address != sa.address and self._nat_remote and not self._nat_local:
            sa.address = address
            if sa is self.current:
                self.shared.emit(AddressChanged(self.id, address))

    def _response(
        self, sa: IkeSa, header: Header, first: int, data: bytes, address: Address, now: float
    ) -> None:
        row = row_for(sa.state, header)
        out = sa.check_response(header)
        if row is Row.INIT_RESPONSE:
            self._init_response(sa, header, first, data, now)
            return
        try:
            payloads = sa.open(header, data, first)
        except IkeError as error:
            if not error.authenticated:
                raise
            self.shared.drop(error.reason)
            sa.finish()
            self._broken(sa, out.task, now)
            return
        if payloads is None:
            return
        sa.finish()
        self._heard(sa, address, now)
        if sa.state is not State.AUTH_SENT and find_notify(payloads, NotifyType.INVALID_SYNTAX):
            # Fatal for both sides, without a Delete (RFC 7296 2.21.3).
            out.task.fail(self, FailureReason.REFUSED, NotifyType.INVALID_SYNTAX)
            self.finish(CloseReason.PROTOCOL, notify=NotifyType.INVALID_SYNTAX)
            return
        try:
            out.task.process(self, sa, payloads, now)
        except IkeError as error:
            self.shared.drop(error.reason)
            self._broken(sa, out.task, now)

    def _broken(self, sa: IkeSa, task: Task, now: float) -> None:
        """A genuine response makes no sense."""
        task.fail(self, FailureReason.UNACCEPTABLE)
        if sa.state is State.AUTH_SENT:
            self.candidate_failed(sa, CloseReason.PROTOCOL, now)
        elif sa is self.current and sa.state is State.ESTABLISHED:
            self._close(CloseReason.PROTOCOL)
        elif sa is self.current:
            self.finish(CloseReason.PROTOCOL)
        else:
            self.remove(sa)

    def _init_response(
        self, sa: IkeSa, header: Header, first: int, data: bytes, now: float
    ) -> None:
        digest = hashlib.sha256(data).digest()
        self._followed = {key: one for key, one in self._followed.items() if one in self.sas}
        if self._init is None or digest in self._followed:
            raise IkeError(DropReason.DUPLICATE, "this answer is being followed up")
        unanswered = self._make_room()
        candidate = self._init.process_init(sa, header, data, parse_body(data, first), now)
        if candidate is None:
            sa.outstanding = None
            sa.tasks.append(self._init)
            return
        if unanswered is not None:
            self.remove(unanswered)
        if sa.outstanding is not None and not self._followed:
            # Time for IKE_AUTH first; then both go on, as the answer may be forged.
            sa.outstanding.deadline = now + sa.outstanding.interval
        self._followed[digest] = candidate
        self.sas.append(candidate)
        if candidate.additional is not Group.NONE:
            candidate.tasks.append(intermediate.IntermediateTask())
        candidate.tasks.append(auth.AuthTask())

    def _make_room(self) -> IkeSa | None:
        """Which candidate has to go for one more: the oldest that was asked in vain, if any.

        `IkeError` if all places are taken by candidates that may yet answer: forged answers can
        so take a place for no longer than one retransmission.
        """
        candidates = [sa for sa in self.sas if sa.state is State.AUTH_SENT]
        if len(candidates) < self.shared.config.limits.candidates:
            return None
        for sa in candidates:
            if sa.outstanding is not None and sa.outstanding.sends > 1:
                return sa
        raise IkeError(DropReason.HALF_OPEN_LIMIT, "enough answers are followed up")

    def _request(
        self, sa: IkeSa, header: Header, first: int, data: bytes, address: Address, now: float
    ) -> None:
        cached = sa.cached_answer(header, data, first)
        if cached is not None:
            self.shared.drop(DropReason.DUPLICATE)
            self._send(cached, address, now)
            return
        row = row_for(sa.state, header)
        try:
            payloads = sa.open(header, data, first)
        except IkeError as error:
            if not error.authenticated:
                raise
            response, ends = self._fault(error)
        else:
            if payloads is None:
                return
            self._heard(sa, address, now)
            try:
                response, ends = self._dispatch(row, sa, payloads, now)
            except IkeError as error:
                if error.reason is DropReason.EARLY:
                    raise
                response, ends = self._fault(error)
        whole = b"" if first == PayloadType.SKF else data
        self._send(sa.answer(header, whole, response), address, now)
        if ends is not None:
            self._ended(sa, ends, now)

    def _fault(self, error: IkeError) -> tuple[list[Payload], CloseReason | None]:
        """What a genuine but ill-formed request gets. INVALID_SYNTAX is fatal (2.21.3)."""
        self.shared.drop(error.reason)
        notify = error.notify or NotifyType.INVALID_SYNTAX
        fatal = notify == NotifyType.INVALID_SYNTAX
        return [NotifyPayload(notify, error.notify_data)], CloseReason.PROTOCOL if fatal else None

    def _dispatch(
        self, row: Row, sa: IkeSa, payloads: tuple[Payload, ...], now: float
    ) -> tuple[list[Payload], CloseReason | None]:
        """Have the exchange answer that the table names."""
        if row is Row.INTERMEDIATE_REQUEST:
            return intermediate.respond(self, sa, payloads), None
        if row is Row.AUTH_REQUEST:
            if sa.additional is not Group.NONE:
                raise malformed("IKE_AUTH before the additional key exchange")
            return auth.respond(self, sa, payloads)
        if row is Row.INFORMATIONAL_REQUEST:
            if informational.is_early(self, payloads):
                raise IkeError(DropReason.EARLY, "names a Child SA that is not known yet")
            return informational.respond(self, payloads)
        if row is Row.FOLLOW_UP_REQUEST:
            return follow_up.respond(self, sa, payloads, now), None
        under_way = sa.under_way
        if row is Row.CREATE_CHILD_REQUEST and not self._closing:
            follow_up.forget(self, sa)
            if rekey_ike.is_rekey(payloads):
                return rekey_ike.respond(self, sa, payloads, now), None
            if not isinstance(under_way, rekey_ike.RekeyIkeTask):
                return create_child.respond(self, sa, payloads, now), None
        return [NotifyPayload(NotifyType.TEMPORARY_FAILURE)], None

    # What the exchanges bring about.

    @property
    def known_peer(self) -> Peer:
        """The peer; `IkeError` before there is one."""
        if self._peer is None:
            raise IkeError(DropReason.NO_ROW, "the peer is not authenticated")
        return self._peer

    @property
    def child_policy(self) -> ChildPolicy:
        """What the peer may have."""
        return self.known_peer.child

    def child_by_peer_spi(self, spi_out: int) -> ChildSa | None:
        """The Child SA that the peer names by its inbound SPI."""
        return next((c for c in self.children.values() if c.spi_out == spi_out), None)

    def forget_child(self, spi_in: int) -> ChildSa | None:
        """Let go of a Child SA and of its SPI."""
        self.shared.child_spis.discard(spi_in)
        return self.children.pop(spi_in, None)

    def route(self, spi: bytes) -> None:
        """Have messages to this local IKE SPI come here."""
        self.shared.routes[spi] = self

    def unroute(self, spi: bytes) -> None:
        """Undo `route`, unless an IKE SA has the SPI."""
        if all(sa.local_spi != spi for sa in self.sas):
            self.shared.routes.pop(spi, None)

    def _others(self) -> list[Connection]:
        """Other established connections between the same identities."""
        peer = self.known_peer
        return [
            other
            for other in self.shared.connections.values()
            if other is not self
            and other.established
            and other.known_peer.identity == peer.identity
            and other.known_peer.local_identity == peer.local_identity
        ]

    def is_only_one(self) -> bool:
        """Whether INITIAL_CONTACT may be said (RFC 7296 2.4)."""
        return not self._others()

    def replace_older(self) -> None:
        """INITIAL_CONTACT was said, by an authenticated peer."""
        for other in self._others():
            other.finish(CloseReason.REPLACED)

    def _establish(self, sa: IkeSa) -> None:
        peer, handshake = self.known_peer, sa.handshake
        if handshake is None:
            raise IkeError(DropReason.NO_ROW, "no IKE_SA_INIT went before")
        self.current = sa
        sa.state, sa.expires, sa.handshake = State.ESTABLISHED, NEVER, None
        self._nat_local, self._nat_remote = handshake.nat_local, handshake.nat_remote
        self.shared.half_open.pop(self.id, None)
        self.shared.emit(
            IkeSaEstablished(
                connection=self.id,
                initiator=self._initiator,
                local_id=peer.local_identity,
                peer_id=peer.identity,
                address=sa.address,
                encap_udp=self.encap_udp,
                peer_is_holdfast=handshake.peer_is_holdfast,
            )
        )
        sa.tasks.extend(self._waiting)
        self._waiting.clear()

    def authenticated(self, peer: Peer) -> None:
        """Responder: IKE_AUTH was genuine."""
        self._peer = peer
        self._establish(self.current)

    def promote(self, sa: IkeSa) -> None:
        """Initiator: this candidate is the one; forget the others (RFC 7296 2.4)."""
        for other in [other for other in self.sas if other is not sa]:
            self.remove(other)
        self._init = None
        self._followed.clear()
        self._establish(sa)

    def candidate_failed(
        self, sa: IkeSa, reason: CloseReason, now: float, notify: int | None = None
    ) -> None:
        """Initiator: IKE_AUTH failed for this candidate. The last one takes the connection along.

        A mere timeout does not, as long as IKE_SA_INIT is still being sent.
        """
        self.remove(sa)
        asking = any(other.deadline() < NEVER for other in self.sas)
        if len(self.sas) > 1 or (reason is CloseReason.TIMEOUT and asking):
            return
        self.finish(reason, notify)

    def impostor(self, sa: IkeSa, now: float) -> None:
        """Initiator: the responder could not prove to be our peer; tell it (RFC 7296 2.21.2)."""
        if len(self.sas) > 2:
            self.candidate_failed(sa, CloseReason.AUTHENTICATION, now)
            return
        for other in [other for other in self.sas if other is not sa]:
            self.remove(other)
        self.current = sa
        self._closing = True
        sa.tasks.clear()
        sa.tasks.append(informational.DeleteIkeTask(CloseReason.AUTHENTICATION))

    def adopt(self, new: IkeSa, old: IkeSa, now: float, *, initiator: bool) -> None:
        """Go on under another IKE SA; the Child SAs come along (RFC 7296 2.8, 2.18).

        If the peer has replaced the new one itself already, under the one after it.
        """
        if new.state is State.ESTABLISHED:
            self.current = new
        gave_way = follow_up.drop(old)
        tasks = self.current.tasks
        tasks.extend(task for task in gave_way if task.kind is not ExchangeKind.REKEY_IKE)
        tasks.extend(old.tasks)
        old.tasks.clear()
        self.outlive(old, now)
        self.shared.emit(IkeSaRekeyed(self.id, initiator))

    def outlive(self, sa: IkeSa, now: float) -> None:
        """This IKE SA was replaced, and its creator or replacer is to delete it."""
        if sa.state is State.LINGERING:
            return
        sa.state = State.REKEYED
        sa.expires = now + self.shared.config.timing.replaced

    def delete_ike(self, sa: IkeSa) -> None:
        """Delete an IKE SA that another one has replaced."""
        sa.tasks.append(informational.DeleteIkeTask(None))

    # Ends.

    def _close(self, reason: CloseReason) -> None:
        if self.closed or self._closing:
            return
        if self.current.state is not State.ESTABLISHED:
            self.finish(reason)
            return
        self._closing = True
        follow_up.forget(self, self.current)
        for task in list(self.current.tasks):
            task.fail(self, FailureReason.CLOSED)
        self.current.tasks.clear()
        self.current.tasks.append(informational.DeleteIkeTask(reason))
        self.shared.touch(self)

    def _ended(self, sa: IkeSa, reason: CloseReason, now: float) -> None:
        """The peer ended this IKE SA, and has its answer."""
        out, sa.outstanding = sa.outstanding, None
        task = out.task if out is not None else None
        if isinstance(task, rekey_ike.RekeyIkeTask) and task.successor is not None:
            task.release(self)
            self.adopt(task.successor, sa, now, initiator=False)
        elif isinstance(task, informational.DeleteIkeTask):
            reason = task.reason or reason
        elif task is not None and sa is not self.current:
            task.release(self)
            self.requeue(task, sa)
        elif task is not None:
            task.fail(self, FailureReason.CLOSED)
        sa.state = State.LINGERING
        sa.expires = now + self.shared.config.timing.linger
        sa.wipe()
        if sa is self.current:
            self.finish(reason)

    def remove(self, sa: IkeSa) -> None:
        """Forget an IKE SA and its keys."""
        follow_up.drop(sa)
        for task in (*sa.tasks, *((sa.outstanding.task,) if sa.outstanding else ())):
            task.release(self)
        sa.outstanding = None
        sa.tasks.clear()
        sa.wipe()
        if sa in self.sas:
            self.sas.remove(sa)
        self.unroute(sa.local_spi)
        self._vanish()

    def finish(self, reason: CloseReason, notify: int | None = None) -> None:
        """The connection is over: say so, forget everything but what answers retransmissions."""
        if self.closed:
            return
        self.closed = True
        tasks = list(self._waiting)
        for sa in self.sas:
            tasks += [*sa.tasks, *((sa.outstanding.task,) if sa.outstanding else ())]
            tasks += follow_up.drop(sa)
        for task in tasks:
            task.fail(self, FailureReason.CLOSED)
        self._waiting.clear()
        for sa in [sa for sa in self.sas if sa.state is not State.LINGERING]:
            self.remove(sa)
        children = tuple(spi for spi, one in self.children.items() if one.announced)
        for spi in list(self.children):
            self.forget_child(spi)
        why = self.why if reason is CloseReason.AUTHENTICATION else ""
        # A stranger that never authenticated itself is worth an event only if it tried to.
        if self._peer is not None or reason is CloseReason.AUTHENTICATION:
            self.shared.emit(IkeSaClosed(self.id, reason, children, notify, why))
        self._vanish()
        self.shared.touch(self)

    def _vanish(self) -> None:
        """Closed, and nothing left to answer. A stranger counts as half-open until then."""
        if self.closed and not self.sas:
            self.shared.connections.pop(self.id, None)
            self.shared.half_open.pop(self.id, None)

    # Time.

    def _liveness_due(self) -> float:
        interval = self.shared.config.timing.liveness
        sa = self.current
        if interval is None or not self.established or sa.outstanding or sa.tasks:
            return NEVER
        return self._last_heard + interval

    def _keepalive_due(self) -> float:
        if not self._nat_local or not self.established:
            return NEVER
        return self._last_sent + self.shared.config.timing.keepalive

    def deadline(self) -> float:
        """When `handle_timer` is next wanted."""
        times = [sa.deadline() for sa in self.sas]
        return min([*times, self._liveness_due(), self._keepalive_due()], default=NEVER)

    def handle_timer(self, now: float) -> None:
        """Do what has fallen due."""
        for sa in list(self.sas):
            if sa not in self.sas:
                continue
            if sa.pending is not None and sa.pending.expires <= now:
                follow_up.forget(self, sa)
            out = sa.outstanding
            if sa.expires <= now:
                self._expired(sa)
            elif out is not None and out.deadline <= now:
                datagrams = sa.retransmit(now)
                if datagrams is not None:
                    self._send(datagrams, sa.address, now)
                else:
                    self._given_up(sa, out.task, now)
        if self._liveness_due() <= now:
            self.start(informational.LivenessTask(reports=False))
        if self._keepalive_due() <= now:
            self._last_sent = now
            self.shared.send_raw(NAT_KEEPALIVE, self.current.address)
        self.shared.touch(self)

    def _expired(self, sa: IkeSa) -> None:
        if sa.state is State.INIT_SENT and len(self.sas) > 1:
            # A refusal that nobody authenticated, and an answer that is being followed up.
            sa.expires = NEVER
        elif sa.state is State.INIT_SENT:
            refusal = self._init.refusal if self._init is not None else None
            self.finish(CloseReason.REFUSED, refusal)
        elif sa.state is State.HALF_OPEN:
            self.finish(CloseReason.TIMEOUT)
        else:
            self._retire(sa)

    def _retire(self, sa: IkeSa) -> None:
        """Forget an IKE SA that is not the current one; what it had in hand moves on."""
        out, sa.outstanding = sa.outstanding, None
        self.remove(sa)
        replaced = (informational.DeleteIkeTask, rekey_ike.RekeyIkeTask)
        if out is not None:
            out.task.release(self)
        if out is not None and not self.closed and not isinstance(out.task, replaced):
            self.requeue(out.task, sa)

    def _given_up(self, sa: IkeSa, task: Task, now: float) -> None:
        """A request was sent as often as it may be."""
        if sa.state is State.INIT_SENT and len(self.sas) > 1:
            # Nothing more to send, but an answer is still being followed up.
            if sa.outstanding is not None:
                sa.outstanding.deadline = NEVER
        elif sa.state is State.AUTH_SENT:
            self.candidate_failed(sa, CloseReason.TIMEOUT, now)
        elif isinstance(task, informational.DeleteIkeTask):
            self.remove(sa)
            if task.reason is not None:
                self.finish(task.reason, task.notify)
        elif sa is self.current:
            self.finish(CloseReason.TIMEOUT)
        else:
            self._retire(sa)


def _addressed_to(sa: IkeSa, header: Header) -> bool:
    """Whether a message's SPIs and I flag are those of this IKE SA, from its peer."""
    if header.is_initiator == sa.initiator or header.spi_i != sa.spi_i:
        return False
    if sa.state is State.INIT_SENT:
        return header.exchange == ExchangeType.IKE_SA_INIT
    return header.spi_r == sa.spi_r and sa.spi_r != NO_SPI
