"""IKE identities as people write them."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address

from sw.ike.config import Identity

OCTETS_MAX = 255


def parse_identity(text: str) -> Identity:
    """An IPv4 address, `name@domain`, or a host name, as the identity of its kind.

    Raises ValueError for what is not ASCII, empty, or longer than any domain name.

    Source: RFC 7296 3.5.
    """
    if not re.fullmatch(rf"[!-~]{{1,{OCTETS_MAX}}}", text):
        raise ValueError(
            f"{text[:80]!r} is no identity: give a host name, name@domain or IPv4 address"
        )
    try:
        return Identity.ipv4(str(IPv4Address(text)))
    except AddressValueError:
        return Identity.rfc822(text) if "@" in text else Identity.fqdn(text)
