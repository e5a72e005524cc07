"""Which addresses a document of a stranger may be fetched from: those of the public internet, and no others.

Stricter than `ipaddress.is_global`, which calls multicast and addresses that embed another one global.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# Global on paper, but special (IANA special-purpose registries, RFC 6890), and the metadata service of Azure.
_SPECIAL_V4 = tuple(
    ip_network(block)
    for block in (
        *("192.0.0.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.175.48.0/24"),
        "168.63.129.16/32",
    )
)
_UNICAST_V6 = ip_network("2000::/3")
# IETF protocols with Teredo and ORCHID, documentation, 6to4, AS112.
_SPECIAL_V6 = tuple(
    ip_network(block)
    for block in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "2620:4f:8000::/48")
)


def is_public(address: str) -> bool:
    """Whether an IP address, as a resolver gives it, is one of the public internet.

    IPv6 addresses that stand for an IPv4 one (mapped, compatible, NAT64, 6to4, Teredo) never are: what they
    lead to is decided elsewhere.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return _public_v4(found) if isinstance(found, IPv4Address) else _public_v6(found)


def is_loopback(address: str) -> bool:
    """Whether an IP address is this computer's own."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def _public_v4(found: IPv4Address) -> bool:
    return found.is_global and not found.is_multicast and not any(found in block for block in _SPECIAL_V4)


def _public_v6(found: IPv6Address) -> bool:
    if found.scope_id is not None or found not in _UNICAST_V6:
        return False
    return found.is_global and not any(found in block for block in _SPECIAL_V6)
