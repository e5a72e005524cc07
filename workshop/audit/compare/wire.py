"""An HTTP client of our own for the probes: no redirect is followed, only what was said is remembered."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import httpx2

from workshop.agent.http import open_client

SECONDS = 5.0
_FAILED = 500
_MOST = 256 * 1024
_INITIALIZE: Mapping[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "workshop-compare", "version": "1"},
    },
}


@dataclass(frozen=True)
class Reply:
    """One HTTP answer, as far as a probe looks at it."""

    status: int
    headers: Mapping[str, str]
    text: str

    @cached_property
    def document(self) -> Mapping[str, Any]:
        """The JSON object of the body; empty when there is none."""
        try:
            found = json.loads(self.text)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def location(self) -> Mapping[str, str]:
        """The query of the address that a redirect leads to."""
        return dict(parse_qsl(urlsplit(self.headers.get("location", "")).query))

    @property
    def error(self) -> str:
        """The OAuth error in the body, or in the address of a redirect (RFC 6749 sections 4.1.2.1, 5.2)."""
        return str(self.document.get("error") or self.location.get("error") or "")

    @property
    def said(self) -> str:
        """Status and error in a few words."""
        return f"{self.status} {self.error}".strip()


class Wire:
    """Sends one request at a time and gives back what came; use it as an async context manager."""

    def __init__(self) -> None:
        self._http = open_client(SECONDS, sender=None)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def send(self, method: str, url: str, **content: Any) -> Reply:  # noqa: ANN401 - as httpx2
        """The answer; raises httpx2.HTTPError without one."""
        request = self._http.build_request(method, url, **content)
        response = await self._http.send(request, stream=True, follow_redirects=False)
        try:
            body = await _read(response)
        finally:
            await response.aclose()
        return Reply(response.status_code, dict(response.headers), body.decode("utf-8", "replace"))

    async def knock(self, url: str, token: str | None, headers: Mapping[str, str]) -> Reply:
        """Begin an MCP session with this token, or without one: the simplest thing that needs one."""
        given = {"accept": "application/json, text/event-stream", **headers}
        if token is not None:
            given["authorization"] = f"Bearer {token}"
        return await self.send("POST", url, json=_INITIALIZE, headers=given)


def is_let_in(reply: Reply) -> bool:
    """Whether the server did what it was asked, rather than refuse the caller."""
    return reply.status < httpx2.codes.BAD_REQUEST


def is_refusal(status: int) -> bool:
    """Whether a status means no; one of a server that failed, or that has too much to do, means nothing."""
    return httpx2.codes.BAD_REQUEST <= status < _FAILED and status != httpx2.codes.TOO_MANY_REQUESTS


async def _read(response: httpx2.Response) -> bytes:
    """The body, or of an event stream what comes with its first event."""
    stream = response.headers.get("content-type", "").startswith("text/event-stream")
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _MOST or (stream and b"\n\n" in body.replace(b"\r\n", b"\n")):
            break
    return bytes(body[:_MOST])
