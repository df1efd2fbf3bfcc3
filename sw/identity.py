"""IKE identities as people write them."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

from cryptography import x509

from sw.ike.config import Identity

OCTETS_MAX = 255


def parse_identity(text: str) -> Identity:
    """An IP address, `name@domain`, a distinguished name (RFC 4514), or a host name, as the
    identity of its kind.

    Raises ValueError for what is not ASCII, empty, or longer than any domain name.

    Source: RFC 7296 3.5.
    """
    allowed = "[ -~]" if "=" in text else "[!-~]"
    if not re.fullmatch(rf"{allowed}{{1,{OCTETS_MAX}}}", text):
        raise ValueError(
            f"{text[:80]!r} is no identity: give a host name, name@domain, IP address or "
            "distinguished name"
        )
    try:
        address = ip_address(text)
    except ValueError:
        pass
    else:
        return _of_address(address)
    if "=" in text:
        try:
            return Identity.dn(x509.Name.from_rfc4514_string(text))
        except (ValueError, TypeError):
            raise ValueError(
                f"{text[:80]!r} is no distinguished name: give one as CN=host,O=Example"
            ) from None
    return Identity.rfc822(text) if "@" in text else Identity.fqdn(text)


def _of_address(address: IPv4Address | IPv6Address) -> Identity:
    if isinstance(address, IPv4Address):
        return Identity.ipv4(str(address))
    return Identity.ipv6(str(address))
