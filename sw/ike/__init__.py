"""IKEv2 (RFC 7296) without I/O: initiator and responder, one `IkeEndpoint` for both.

Datagrams and the time go in; datagrams, events and a deadline come out. There is no clock, no
randomness and no socket in here: `rng` is passed in, and `now` is any clock that does not go
back, in seconds. What is supported: IKE_SA_INIT (INVALID_KE_PAYLOAD, COOKIE, NAT detection and the
move to port 4500), IKE_INTERMEDIATE and IKE_FOLLOWUP_KE with ML-KEM, IKE_AUTH with a pre-shared key
or certificates (RFC 7427, RFC 8420), CREATE_CHILD_SA for new and rekeyed Child SAs (PFS) and for
the IKE SA, INFORMATIONAL (delete, liveness, "SA is ready for use"), fragments; suites of
`sw.ike.suites` for IKE and the groups of `sw.ike.groups` everywhere; the suites of ESP in
`spec.suites` for Child SAs, ESN, transport mode.

The station, as initiator (one endpoint serves any number of hosts)::

    endpoint = IkeEndpoint(rng=secrets.token_bytes)
    peer = Peer(
        identity=Identity.fqdn("host.example.com"),
        local_identity=Identity.fqdn("station.example.com"),
        psk=Secret(psk_octets),
        child=station_child_policy(),
    )
    connection = endpoint.connect(peer, Address("192.0.2.7", 500, "192.0.2.1", 500))

The host's agent, as responder::

    endpoint = IkeEndpoint(rng=secrets.token_bytes, child_spi=free_spi_of_the_nic)
    endpoint.add_peer(Peer(..., child=host_child_policy()))

Both are driven in the same way, from two UDP sockets, ports 500 and 4500::

    endpoint.receive_datagram(data, Address(host, port, local_host, local_port), now)
    endpoint.handle_timer(now)                      # when get_timer() has come
    for data, addr in endpoint.datagrams_to_send(now):
        sockets[addr.local_port].sendto(data, (addr.host, addr.port))
    while (event := endpoint.next_event()) is not None:
        ...                                         # ChildSaEstablished: load the keys
    rearm(endpoint.get_timer())                     # None: nothing falls due

Rules of the road:

- After any call, ask for `datagrams_to_send` before `get_timer`: queued exchanges start there.
- On port 4500 the endpoint adds and strips the non-ESP marker; what comes without it (ESP) is
  dropped and counted, so give ESP to the data plane first. `Address.local_host` must be the real
  local address: with "" the peers take it that there is a NAT, and ESP goes in UDP.
- A Child SA is named by our inbound SPI (`spi_in`) in every call and event. Keys are in
  `ChildSaEstablished` and nowhere else; `wipe()` them once they are loaded.
- A rekey leaves the old Child SA in place, whether it succeeds or fails. `delete_child` it once
  the new one is proven. CHILD_SA_NOT_FOUND and simultaneous rekeys change nothing about that.
- A peer's `IkeSaClosed` or `ChildSaDeleted` says what IKE knows, not what a NIC should forget.
- `notify_ready(spi_in)` sends the private-use status notification `NotifyType.SA_READY` (41624)
  with protocol ESP and the sender's inbound SPI; the other side gets `ChildSaReady` with its own
  `spi_in` and with `spi_out`, the SPI that its Commit names.
- Hostile datagrams are counted in `endpoint.counters`, one `DropReason` each, and change nothing.
"""

from sw.ike.address import Address, Datagram
from sw.ike.certificates import Certificates
from sw.ike.child_sa import ChildSa
from sw.ike.config import (
    ChildPolicy,
    EndpointConfig,
    Identity,
    IkePolicy,
    Limits,
    Peer,
    Timing,
    host_child_policy,
    station_child_policy,
)
from sw.ike.connection import Connection
from sw.ike.constants import Group, NotifyType
from sw.ike.endpoint import IkeEndpoint
from sw.ike.errors import DropReason, IkeError
from sw.ike.events import (
    AddressChanged,
    ChildSaDeleted,
    ChildSaEstablished,
    ChildSaReady,
    ChildSaReadyDelivered,
    CloseReason,
    Event,
    ExchangeFailed,
    ExchangeKind,
    FailureReason,
    IkeSaClosed,
    IkeSaEstablished,
    IkeSaRekeyed,
    PeerAlive,
)
from sw.ike.secret import Secret
from sw.ike.selectors import TrafficSelector
from sw.ike.suites import IkeSuite

__all__ = [
    "Address",
    "AddressChanged",
    "Certificates",
    "ChildPolicy",
    "ChildSa",
    "ChildSaDeleted",
    "ChildSaEstablished",
    "ChildSaReady",
    "ChildSaReadyDelivered",
    "CloseReason",
    "Connection",
    "Datagram",
    "DropReason",
    "EndpointConfig",
    "Event",
    "ExchangeFailed",
    "ExchangeKind",
    "FailureReason",
    "Group",
    "Identity",
    "IkeEndpoint",
    "IkeError",
    "IkePolicy",
    "IkeSaClosed",
    "IkeSaEstablished",
    "IkeSaRekeyed",
    "IkeSuite",
    "Limits",
    "NotifyType",
    "Peer",
    "PeerAlive",
    "Secret",
    "Timing",
    "TrafficSelector",
    "host_child_policy",
    "station_child_policy",
]
