"""The one connection pool to the outside: no cookies, no decompression, no redirects followed by accident."""

from types import TracebackType
from typing import Self

import aiohttp

from workshop.auth.limits import Patience

# Shorter than common servers' idle time (uvicorn: 5 s), so that a POST rarely meets a closed connection.
_IDLE_SECONDS = 4.0
_FIELD_BYTES = 16 * 1024


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
            max_field_size=_FIELD_BYTES,
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept", "Content-Type"),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
