"""What a caller decides: identities, keys, policies, times and limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from cryptography import x509

from spec.suites import SUITES, Suite
from spec.suites import Protocol as SaProtocol
from sw.ike.certificates import Certificates
from sw.ike.constants import (
    ESN_NO,
    ESN_YES,
    ESP_SPI_OCTETS,
    IKE_PORT,
    IKE_SPI_OCTETS,
    INTEG_NONE,
    NATT_PORT,
    Group,
    IdType,
    Protocol,
    TransformType,
)
from sw.ike.groups import DH_GROUPS, KEM_GROUPS
from sw.ike.payloads import IdPayload
from sw.ike.proposals import Proposal, ProposalPolicy, SuitePolicies, Transform
from sw.ike.secret import Secret
from sw.ike.selectors import UDP, TrafficSelector
from sw.ike.suites import IKE_SUITES, IkeSuite
from sw.pki.names import X509_ERRORS, canonical, quiet

DATAGRAM_OVERHEAD = 40 + 8 + 4
"""Octets of an IP packet before the IKE message: IPv6, UDP, non-ESP marker."""
DATAGRAM_MIN = 256
"""A fragment is to hold more than its own protection."""
SECURE_PORT = 664
"""RMCP under IPsec: the host's side of the seed's policy (DSP0136 3.2.3.3)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a peer is (RFC 7296 3.5).

    Two identities are one if type and octets are; distinguished names if they say the same
    (RFC 5280 7.1).
    """

    id_type: int
    data: bytes = field(compare=False)
    _same: object = field(init=False, repr=False)

    def __post_init__(self) -> None:
        same: object = self.data
        if self.id_type == IdType.DER_ASN1_DN:
            try:
                with quiet():
                    same = canonical(x509.Name.from_bytes(self.data))
            except X509_ERRORS:
                same = self.data
        object.__setattr__(self, "_same", same)

    @classmethod
    def fqdn(cls, name: str) -> Identity:
        """ID_FQDN, as `host.example.com`."""
        return cls(IdType.FQDN, name.encode("ascii"))

    @classmethod
    def rfc822(cls, address: str) -> Identity:
        """ID_RFC822_ADDR, as `name@example.com`."""
        return cls(IdType.RFC822_ADDR, address.encode("ascii"))

    @classmethod
    def ipv4(cls, address: str) -> Identity:
        """ID_IPV4_ADDR."""
        return cls(IdType.IPV4_ADDR, IPv4Address(address).packed)

    @classmethod
    def ipv6(cls, address: str) -> Identity:
        """ID_IPV6_ADDR."""
        return cls(IdType.IPV6_ADDR, IPv6Address(address).packed)

    @classmethod
    def dn(cls, name: x509.Name) -> Identity:
        """ID_DER_ASN1_DN: a distinguished name."""
        return cls(IdType.DER_ASN1_DN, name.public_bytes())

    @classmethod
    def key_id(cls, octets: bytes) -> Identity:
        """ID_KEY_ID: octets of the owner's choice."""
        return cls(IdType.KEY_ID, octets)

    @classmethod
    def from_payload(cls, payload: IdPayload) -> Identity:
        """The identity in a received payload."""
        return cls(payload.id_type, payload.data)

    def payload(self, *, initiator: bool) -> IdPayload:
        """The payload that claims this identity."""
        return IdPayload(initiator, self.id_type, self.data)

    def __str__(self) -> str:
        if self.id_type == IdType.IPV4_ADDR and len(self.data) == 4:
            return str(IPv4Address(self.data))
        if self.id_type == IdType.IPV6_ADDR and len(self.data) == 16:
            return str(IPv6Address(self.data))
        if self.id_type == IdType.DER_ASN1_DN and not isinstance(self._same, bytes):
            with quiet():
                return x509.Name.from_bytes(self.data).rfc4514_string()
        if self.id_type in (IdType.FQDN, IdType.RFC822_ADDR):
            return self.data.decode("ascii", "backslashreplace")
        return f"type {self.id_type}: {self.data.hex()}"


def _groups(groups: tuple[Group, ...]) -> tuple[Transform, ...]:
    return tuple(Transform(TransformType.DH, group) for group in groups)


def _suite_transforms(suite: IkeSuite) -> dict[int, tuple[Transform, ...]]:
    facts = IKE_SUITES[suite]
    if facts.fixed_key:
        encr = Transform(TransformType.ENCR, facts.encr)
    else:
        encr = Transform.with_key_length(TransformType.ENCR, facts.encr, 8 * facts.key_octets)
    return {
        TransformType.ENCR: (encr,),
        TransformType.PRF: (Transform(TransformType.PRF, facts.prf),),
        TransformType.INTEG: (Transform(TransformType.INTEG, facts.integ),),
    }


def _additional_choices(wanted: tuple[Group, ...]) -> list[tuple[Group, ...]]:
    """A proposal for all KEMs, and another one without, preferred first.

    Who does not know that transform type passes over the whole proposal (RFC 9370 2.2.1).
    """
    kems = tuple(group for group in wanted if group is not Group.NONE)
    choices: list[tuple[Group, ...]] = [kems] if kems else []
    if Group.NONE in wanted:
        choices.insert(0 if wanted[0] is Group.NONE else 1, (Group.NONE,))
    return choices


def _check_additional(additional: tuple[Group, ...]) -> None:
    if not additional or not (KEM_GROUPS | {Group.NONE}).issuperset(additional):
        raise ValueError(f"additional key exchanges are KEMs or NONE, not {additional}")


@dataclass(frozen=True, slots=True)
class IkePolicy:
    """What an IKE SA may be protected with, preferred first.

    `additional` is the key exchange by KEM that follows the one of `groups`, in IKE_SA_INIT and in
    each rekey; NONE stands for going without (RFC 9370).
    Raises `ValueError` for an empty choice, what is no Diffie-Hellman group, or no KEM.
    """

    suites: tuple[IkeSuite, ...] = (
        IkeSuite.AES_GCM_16_256_PRF_SHA_256,
        IkeSuite.AES_GCM_16_128_PRF_SHA_256,
    )
    groups: tuple[Group, ...] = (Group.X25519, Group.P256)
    additional: tuple[Group, ...] = (Group.NONE,)

    def __post_init__(self) -> None:
        _check_additional(self.additional)
        if not self.suites:
            raise ValueError("an IKE SA needs a suite")
        if not self.groups or not DH_GROUPS.issuperset(self.groups):
            raise ValueError(f"an IKE SA needs a Diffie-Hellman group, not {self.groups}")

    @property
    def offers_additional(self) -> bool:
        """Whether an additional key exchange is among what may be chosen."""
        return set(self.additional) != {Group.NONE}

    def proposals(self, *, rekey: bool = False, additional: bool = True) -> SuitePolicies:
        """Policy for proposals; those of a rekey carry the new SPI (RFC 7296 3.3.1).

        With `additional` False there is none but without an additional key exchange. Each suite
        has one with it and, where allowed, another without.
        """
        wanted = self.additional if additional else (Group.NONE,) * (Group.NONE in self.additional)
        choices = _additional_choices(wanted)
        pairs = [(suite, groups) for groups in choices for suite in self.suites]
        return SuitePolicies(
            tuple(
                self._proposal(suite, groups, IKE_SPI_OCTETS if rekey else 0, number)
                for number, (suite, groups) in enumerate(pairs, 1)
            )
        )

    def _proposal(
        self, suite: IkeSuite, additional: tuple[Group, ...], spi_octets: int, number: int
    ) -> ProposalPolicy:
        optional = set()
        if IKE_SUITES[suite].integ == INTEG_NONE:
            optional.add(TransformType.INTEG)
        if additional == (Group.NONE,):
            optional.add(TransformType.ADDKE1)
        return ProposalPolicy(
            protocol=Protocol.IKE,
            spi_octets=spi_octets,
            choices={
                **_suite_transforms(suite),
                TransformType.DH: _groups(self.groups),
                TransformType.ADDKE1: tuple(
                    Transform(TransformType.ADDKE1, group) for group in additional
                ),
            },
            optional=frozenset(optional),
            number=number,
        )


def ike_suite_of(proposal: Proposal) -> IkeSuite:
    """The suite that a chosen proposal names; `ValueError` if there is none."""
    for suite in IkeSuite:
        if _names(proposal, _suite_transforms(suite)):
            return suite
    raise ValueError("no suite of ours")


@dataclass(frozen=True, slots=True)
class ChildPolicy:
    """What a Child SA may be, preferred first.

    Parameters
    ----------
    local_ts, remote_ts : tuple of TrafficSelector
        What our side and the peer's side may be narrowed to.
    suites : tuple of Suite
        Of ESP alone; each one is offered, and chosen, as a whole.
    groups : tuple of Group
        For perfect forward secrecy, in CREATE_CHILD_SA (RFC 7296 1.3.1).
    additional : tuple of Group
        KEMs that follow the group in CREATE_CHILD_SA; NONE stands for going without (RFC 9370).
    require_pfs : bool
        Refuse a CREATE_CHILD_SA exchange without a group.
    esn : tuple of bool
        Extended sequence numbers: acceptable values.
    transport : bool
        Transport mode, else tunnel mode. The other one is refused.
    """

    local_ts: tuple[TrafficSelector, ...]
    remote_ts: tuple[TrafficSelector, ...]
    suites: tuple[Suite, ...] = (Suite.ESP_AES_GCM_16_256, Suite.ESP_AES_GCM_16_128)
    groups: tuple[Group, ...] = (Group.X25519, Group.P256)
    additional: tuple[Group, ...] = (Group.NONE,)
    require_pfs: bool = True
    esn: tuple[bool, ...] = (True, False)
    transport: bool = True

    def __post_init__(self) -> None:
        if not (self.local_ts and self.remote_ts and self.suites and self.esn):
            raise ValueError("a child policy needs selectors on both sides, a suite and esn")
        for suite in self.suites:
            facts = SUITES.get(suite)
            if facts is None or facts.protocol is not SaProtocol.ESP:
                raise ValueError(f"suite {suite.name} cannot be negotiated: it is not ESP alone")
        _check_additional(self.additional)
        if (self.require_pfs or self.additional != (Group.NONE,)) and not self.groups:
            raise ValueError("perfect forward secrecy needs a group")

    def proposals(self, *, in_auth: bool) -> SuitePolicies:
        """Policy for proposals; in IKE_AUTH there is no group to choose (RFC 7296 1.2)."""
        choices = _additional_choices((Group.NONE,) if in_auth else self.additional)
        pairs = [(suite, additional) for additional in choices for suite in self.suites]
        return SuitePolicies(
            tuple(
                self._proposal(suite, additional, number, in_auth=in_auth)
                for number, (suite, additional) in enumerate(pairs, 1)
            )
        )

    def _proposal(
        self, suite: Suite, additional: tuple[Group, ...], number: int, *, in_auth: bool
    ) -> ProposalPolicy:
        choices: dict[int, tuple[Transform, ...]] = {
            **_child_transforms(suite),
            TransformType.ESN: tuple(
                Transform(TransformType.ESN, ESN_YES if esn else ESN_NO) for esn in self.esn
            ),
            TransformType.ADDKE1: tuple(
                Transform(TransformType.ADDKE1, group) for group in additional
            ),
        }
        optional: set[int] = set()
        if SUITES[suite].auth_id == INTEG_NONE:
            optional.add(TransformType.INTEG)
        without = additional == (Group.NONE,)
        if without:
            optional.add(TransformType.ADDKE1)
        no_group = Transform(TransformType.DH, Group.NONE)
        if in_auth:
            choices[TransformType.DH] = (no_group,)
            optional.add(TransformType.DH)
        elif self.require_pfs or not without:
            choices[TransformType.DH] = _groups(self.groups)
        else:
            choices[TransformType.DH] = (*_groups(self.groups), no_group)
            optional.add(TransformType.DH)
        return ProposalPolicy(Protocol.ESP, ESP_SPI_OCTETS, choices, frozenset(optional), number)


def _child_transforms(suite: Suite) -> dict[int, tuple[Transform, ...]]:
    """NULL has no key, so its transform names no length (RFC 7296 3.3.5)."""
    facts = SUITES[suite]
    if facts.key_octets:
        bits = 8 * facts.key_octets
        encr = Transform.with_key_length(TransformType.ENCR, facts.encr_id, bits)
    else:
        encr = Transform(TransformType.ENCR, facts.encr_id)
    return {
        TransformType.ENCR: (encr,),
        TransformType.INTEG: (Transform(TransformType.INTEG, facts.auth_id),),
    }


def _names(proposal: Proposal, wanted: dict[int, tuple[Transform, ...]]) -> bool:
    """Whether a proposal has just these transforms of their types; none is as good as NONE."""
    return all(
        (proposal.get(kind) or Transform(kind, INTEG_NONE),) == only
        for kind, only in wanted.items()
    )


def suite_of(proposal: Proposal, suites: tuple[Suite, ...]) -> Suite:
    """The suite that a chosen proposal names; `ValueError` if it is none of `suites`."""
    for suite in suites:
        if _names(proposal, _child_transforms(suite)):
            return suite
    raise ValueError("no suite of ours")


def station_child_policy(host_ts: tuple[TrafficSelector, ...] = ()) -> ChildPolicy:
    """The seed's policy, from the station: UDP, port 664 on the host's side, else wildcards."""
    remote = host_ts or (TrafficSelector.wildcard(UDP, SECURE_PORT),)
    return ChildPolicy(local_ts=(TrafficSelector.wildcard(UDP),), remote_ts=remote)


def host_child_policy() -> ChildPolicy:
    """The seed's policy, from the host."""
    return ChildPolicy(
        local_ts=(TrafficSelector.wildcard(UDP, SECURE_PORT),),
        remote_ts=(TrafficSelector.wildcard(UDP),),
    )


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer: who it is, who we are to it, how both prove it, what Child SAs it may have.

    Proof is either the key that both share, or certificates on both sides.
    """

    identity: Identity
    local_identity: Identity
    psk: Secret | None
    child: ChildPolicy
    certificates: Certificates | None = None

    def __post_init__(self) -> None:
        if (self.psk is None) is (self.certificates is None):
            raise ValueError("a peer proves itself by pre-shared key or by certificates")
        if self.psk is not None and not len(self.psk):
            raise ValueError("the pre-shared key is empty")


@dataclass(frozen=True, slots=True)
class Timing:
    """Times, in seconds.

    The defaults send a request a dozen times over more than three minutes (RFC 7296 2.4).
    """

    retransmit_first: float = 1.0
    retransmit_factor: float = 1.8
    retransmit_longest: float = 30.0
    sends: int = 12
    """How often a request is sent in all before the peer is taken for dead."""
    follow_up: float = 30.0
    """How long a responder waits for IKE_FOLLOWUP_KE (RFC 9370 2.2.4)."""
    half_open: float = 30.0
    """How long a responder waits for IKE_AUTH."""
    linger: float = 30.0
    """How long a closed IKE SA still answers retransmissions of the last request."""
    replaced: float = 60.0
    """How long a rekeyed IKE SA waits for the peer to delete it."""
    liveness: float | None = None
    """Silence after which the peer is asked whether it lives; None: only when told to."""
    keepalive: float = 20.0
    """RFC 3948 4: a NAT keepalive after this silence of ours, if we are behind a NAT."""
    busy_retry: float = 1.0
    """Least first wait after TEMPORARY_FAILURE; drawn up to twice that, and doubled each time
    (RFC 7296 2.25)."""
    busy_tries: int = 6
    refusal_patience: float = 10.0
    """Going on after an error that nobody authenticated (RFC 7296 2.21.1)."""
    cookie_rotation: float = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what strangers and peers can make us hold."""

    half_open: int = 128
    half_open_per_host: int = 8
    cookie_threshold: int = 16
    """Half-open IKE SAs from which on a cookie is demanded (RFC 7296 2.6)."""
    connections: int = 4096
    children: int = 16
    """Child SAs of one peer."""
    candidates: int = 4
    """IKE_SA_INIT responses that an initiator follows up at once (RFC 7296 2.4)."""
    init_restarts: int = 8
    datagram_octets: int = 1280
    """Longest IP packet with an IKE message, where the peer takes fragments (RFC 7383 2.5.1)."""
    clear_notifies_per_second: int = 20
    """Answers to messages that belong to no IKE SA (RFC 7296 2.21.4)."""

    def __post_init__(self) -> None:
        if self.datagram_octets < DATAGRAM_MIN:
            raise ValueError(
                f"datagram_octets must be {DATAGRAM_MIN} at least, not {self.datagram_octets}"
            )


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """What holds for all peers of an endpoint.

    `force_encap` makes both sides take it that there is a NAT, so that ESP goes in UDP.
    The ports are the standard ones unless a test has to do without privileges.
    """

    ike: IkePolicy = field(default_factory=IkePolicy)
    timing: Timing = field(default_factory=Timing)
    limits: Limits = field(default_factory=Limits)
    ike_port: int = IKE_PORT
    natt_port: int = NATT_PORT
    force_encap: bool = False
