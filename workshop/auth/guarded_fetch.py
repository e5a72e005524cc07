"""Fetch a document from a URL of unknown origin, protected against server-side request forgery (SSRF).

The name is resolved once, every address it has is checked, and the connection goes to these very addresses:
an answer of the DNS that changes afterwards changes nothing. No redirects, proxies, cookies, compression.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from workshop.auth.client_documents import Document, DocumentError
from workshop.auth.config_reader import LOOPBACK_HOSTS
from workshop.auth.limits import DOCUMENT_BYTES
from workshop.auth.outbound import read_at_most

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


_LOG = logging.getLogger(__name__)
_HEADER_BYTES = 4 * 1024
_HTTP_OK = 200
_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": "mcp-workshop-gateway",
}
AddressRule = Callable[[str], bool]


class _ForbiddenAddressError(OSError):
    """A name has an address that is not to be contacted."""


class GuardedFetch:
    """Fetches from public addresses; from loopback only for a loopback URL, which the caller has allowed.

    `names`, `reachable` and `tls` are there for tests, which have no public addresses.
    """

    def __init__(
        self,
        seconds: float,
        *,
        names: AbstractResolver | None = None,
        reachable: AddressRule = is_public,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._seconds = seconds
        self._names = names
        self._reachable = reachable
        self._tls = tls

    async def __call__(self, url: str) -> Document:
        """Raises DocumentError, with the same text for whatever went wrong on the way."""
        rule = is_loopback if urlsplit(url).hostname in LOOPBACK_HOSTS else self._reachable
        try:
            async with asyncio.timeout(self._seconds), self._session(rule) as session:
                return await _get(session, url, self._tls)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            _LOG.warning("client metadata not fetched: %s", type(error).__name__)
            raise DocumentError("The document cannot be fetched") from error

    def _session(self, rule: AddressRule) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=_CheckedNames(self._names or aiohttp.ThreadedResolver(), rule),
            # Neither names nor connections are reused: each fetch checks its addresses anew.
            use_dns_cache=False,
            force_close=True,
            socket_factory=lambda info: _checked_socket(info, rule),
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            # A few compressed bytes could become gigabytes.
            auto_decompress=False,
            # A proxy would resolve the name itself, and nobody would check the address.
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),
            max_line_size=_HEADER_BYTES,
            max_field_size=_HEADER_BYTES,
        )


class _CheckedNames(AbstractResolver):
    """Resolves a name only if all its addresses are allowed."""

    def __init__(self, names: AbstractResolver, rule: AddressRule) -> None:
        self._names = names
        self._rule = rule

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._names.resolve(host, port, family)
        if not all(self._rule(entry["host"]) for entry in found):
            raise _ForbiddenAddressError
        return found

    async def close(self) -> None:
        await self._names.close()


def _checked_socket(info: tuple[Any, ...], rule: AddressRule) -> socket.socket:
    # The last moment: this is the address the socket will connect to, whatever was resolved or spelt before.
    family, kind, protocol, _, address = info
    if not rule(str(address[0])):
        raise _ForbiddenAddressError
    return socket.socket(family, kind, protocol)


async def _get(session: aiohttp.ClientSession, url: str, tls: ssl.SSLContext | None) -> Document:
    # As written: yarl would normalise it, and the document must name this very text.
    address = URL(url, encoded=True)
    async with session.get(address, headers=_HEADERS, allow_redirects=False, ssl=tls or True) as response:
        if response.status != _HTTP_OK:
            raise DocumentError("The document is not there: the answer is not a plain 200")
        media_type = response.content_type
        if media_type != "application/json" and not (
            media_type.startswith("application/") and media_type.endswith("+json")
        ):
            raise DocumentError("The document is not JSON")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise DocumentError("The document is compressed")
        body = await read_at_most(response.content, DOCUMENT_BYTES)
        if body is None:
            raise DocumentError(f"The document has more than {DOCUMENT_BYTES} bytes")
        return Document(body, dict(response.headers))
