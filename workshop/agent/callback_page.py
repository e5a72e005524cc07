"""Just enough HTTP for the loopback listener: one bounded GET in, one plain page out."""

import asyncio
import html
from dataclasses import dataclass
from http import HTTPStatus

from workshop.core.encoding import csp_hash

_MAX_REQUEST = 16 * 1024
_REQUEST_SECONDS = 5.0
_REQUEST_LINE_PARTS = 3
_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:1.1rem/1.5 system-ui,sans-serif;margin:12vh auto;padding:0 1rem;max-width:34rem}"
)
_POLICY = f"default-src 'none'; style-src '{csp_hash(_STYLE)}'; frame-ancestors 'none'"


@dataclass(frozen=True)
class Page:
    """A page for the person; it never repeats anything of the request."""

    status: int
    title: str
    text: str

    def response(self) -> bytes:
        """The page as an HTTP response that nothing caches, frames or scripts."""
        body = (
            "<!doctype html><html lang=en><meta charset=utf-8>"
            "<meta name=viewport content='width=device-width'>"
            f"<title>{html.escape(self.title)}</title><style>{_STYLE}</style>"
            f"<h1>{html.escape(self.title)}</h1><p>{html.escape(self.text)}</p></html>"
        ).encode()
        head = (
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            "Content-Type: text/html; charset=utf-8",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            f"Content-Security-Policy: {_POLICY}",
            "Referrer-Policy: no-referrer",
            "X-Content-Type-Options: nosniff",
            "Connection: close",
        )
        return "\r\n".join((*head, "", "")).encode() + body


_TOO_LARGE = Page(431, "Too large", "The request is too large.")
_MALFORMED = Page(400, "Not understood", "The request is not HTTP.")
_MISDIRECTED = Page(421, "Misdirected", "This address answers to localhost only.")
_NOT_GET = Page(405, "Not allowed", "Only GET is answered here.")


async def read_request(reader: asyncio.StreamReader, port: int) -> str | Page | None:
    """The target of a GET meant for us, the page to refuse anything else with, or None if nothing came."""
    try:
        async with asyncio.timeout(_REQUEST_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, TimeoutError):
        return None
    except asyncio.LimitOverrunError:
        return _TOO_LARGE
    if len(head) > _MAX_REQUEST:
        return _TOO_LARGE
    line, *fields = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    parts = line.split(" ")
    if (
        len(parts) != _REQUEST_LINE_PARTS
        or not parts[2].startswith("HTTP/1.")
        or not parts[1].startswith("/")
    ):
        return _MALFORMED
    # A web page that rebinds its own name to this address would send that name (DNS rebinding).
    hosts = [
        value.strip().lower()
        for name, _, value in (field.partition(":") for field in fields)
        if name.lower() == "host"
    ]
    if len(hosts) != 1 or hosts[0] not in {f"{host}:{port}" for host in ("localhost", "127.0.0.1", "[::1]")}:
        return _MISDIRECTED
    return parts[1] if parts[0] == "GET" else _NOT_GET
