"""Outgoing HTTP: one connection pool without cookies and decompression, and the choice of the proxy."""

from types import TracebackType
from typing import Self
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import aiohttp
from yarl import URL

from workshop.auth.config_reader import LOOPBACK_HOSTS
from workshop.auth.limits import Patience
from workshop.core.errors import UsageError
from workshop.core.outgoing import TLS, check_variables

# Shorter than common servers' idle time (uvicorn: 5 s), so that a POST rarely meets a closed connection.
_IDLE_SECONDS = 4.0
FIELD_BYTES = 16 * 1024


class Outbound:
    """An aiohttp session for as long as the gateway runs."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the gateway has not been started")
        return self._session

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.patience.connect),
            max_field_size=FIELD_BYTES,
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept", "Content-Type"),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


async def read_at_most(response: aiohttp.ClientResponse, most: int) -> bytes | None:
    """The body of an answer; None as soon as it has more than `most` bytes."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > most:
            return None
    return bytes(body)


def proxy_for(url: str) -> URL | None:
    """The proxy for an upstream, with its credentials if the environment has some, or None.

    Raises UsageError for an unusable proxy address, PreflightError for an unusable variable of TLS.
    """
    parts = urlsplit(url)
    # Plain http leads to loopback only (see the configuration), and nobody else's loopback is meant.
    if parts.scheme != "https" or parts.hostname in LOOPBACK_HOSTS:
        return None
    check_variables(TLS)
    proxies = getproxies_environment()
    name = "https" if proxies.get("https") else "all"
    address = proxies.get(name)
    if not address or proxy_bypass(parts.netloc):
        return None
    return _proxy(address, f"{name.upper()}_PROXY")


def _proxy(address: str, variable: str) -> URL:
    try:
        proxy = URL(address if "://" in address else f"http://{address}")
        usable = proxy.host is not None and proxy.port is not None and proxy.scheme in {"http", "https"}
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(
            f"{variable} is not the address of a proxy",
            why="It has no host, or is neither http nor https",
            hint="Write http://HOST:PORT",
        )
    return proxy
