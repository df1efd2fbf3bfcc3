"""What hypothesis draws for the codecs of IKEv2."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import strategies as st

from sw.ike.payloads import (
    AuthPayload,
    CertPayload,
    CertRequestPayload,
    DeletePayload,
    IdPayload,
    KePayload,
    NoncePayload,
    NotifyPayload,
    OpaquePayload,
    SaPayload,
    TsPayload,
    VendorIdPayload,
)
from sw.ike.proposals import Attribute, Proposal, Transform
from sw.ike.selectors import TrafficSelector

OCTET = st.integers(0, 255)
WORD = st.integers(0, 0xFFFF)
OCTETS = st.binary(max_size=80)

attributes = st.one_of(
    st.builds(Attribute, st.integers(0, 0x7FFF), WORD),
    st.builds(Attribute, st.integers(0, 0x7FFF), st.binary(max_size=20)),
)
transforms = st.builds(Transform, OCTET, WORD, st.lists(attributes, max_size=3).map(tuple))
proposals = st.builds(
    Proposal,
    OCTET,
    OCTET,
    st.sampled_from([0, 4, 8]).flatmap(lambda n: st.binary(min_size=n, max_size=n)),
    st.lists(transforms, max_size=5).map(tuple),
)


@st.composite
def selectors(draw: st.DrawFn) -> TrafficSelector:
    """A selector of either IP version, ranges in order."""
    ports = sorted((draw(WORD), draw(WORD)))
    bits = draw(st.sampled_from([32, 128]))
    ends = st.integers(0, 2**bits - 1)
    start, end = (
        ip_address(end.to_bytes(bits // 8, "big")) for end in sorted((draw(ends), draw(ends)))
    )
    return TrafficSelector(draw(OCTET), ports[0], ports[1], start, end)


selector_tuples = st.lists(selectors(), min_size=1, max_size=4).map(tuple)


@st.composite
def deletes(draw: st.DrawFn) -> DeletePayload:
    """Delete with any number of SPIs of one length."""
    octets = draw(st.sampled_from([4, 8]))
    spis = draw(st.lists(st.binary(min_size=octets, max_size=octets), max_size=5))
    return DeletePayload(draw(OCTET), tuple(spis))


payloads = st.one_of(
    st.builds(SaPayload, st.lists(proposals, min_size=1, max_size=3).map(tuple)),
    st.builds(KePayload, WORD, OCTETS),
    st.builds(IdPayload, st.booleans(), OCTET, OCTETS),
    st.builds(AuthPayload, OCTET, OCTETS),
    st.builds(NoncePayload, st.binary(min_size=16, max_size=256)),
    st.builds(NotifyPayload, WORD, OCTETS, OCTET, st.binary(max_size=16)),
    deletes(),
    st.builds(VendorIdPayload, OCTETS),
    st.builds(TsPayload, st.booleans(), selector_tuples),
    st.builds(CertPayload, OCTET, OCTETS),
    st.builds(CertRequestPayload, OCTET, OCTETS),
    st.builds(OpaquePayload, st.sampled_from([47, 48]), OCTETS, st.booleans()),
    st.builds(
        OpaquePayload,
        st.one_of(st.integers(49, 52), st.integers(54, 255)),
        OCTETS,
        st.just(False),
    ),
)
chains = st.lists(payloads, max_size=6).map(tuple)
