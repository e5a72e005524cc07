"""An OAuth client that also does what a client must not: no PKCE, a wrong verifier, another resource."""

import asyncio
import base64
import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2

from workshop.agent.http import open_client
from workshop.core.browser import following, forms, press
from workshop.core.errors import WorkshopError
from workshop.core.http_client import is_loopback

SECONDS = 5.0
_FAILED = 500
_MOST_BYTES = 256 * 1024
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

    async def initialize(self, url: str, token: str | None, headers: Mapping[str, str]) -> Reply:
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
        if len(body) > _MOST_BYTES or (stream and b"\n\n" in body.replace(b"\r\n", b"\n")):
            break
    return bytes(body[:_MOST_BYTES])


_MOST_PAGES = 12
USER = "learner"
_PRESSED = (("decision", "approve"), ("user", USER))


@dataclass(frozen=True)
class Page:
    """A page that a person was shown: by whom, which buttons it has, and whether it names our client."""

    origin: str
    path: str
    buttons: tuple[str, ...]
    names_client: bool


@dataclass(frozen=True)
class Authorization:
    """The way from the authorization endpoint: pages in order, then what came to the callback, or why not."""

    pages: tuple[Page, ...] = ()
    callback: Mapping[str, str] | None = None
    refusal: str = ""
    status: int = 0
    """Of the page that was no way on; 0 where the browser was sent back to the client."""

    @property
    def code(self) -> str:
        """The authorization code; empty without one."""
        return (self.callback or {}).get("code", "")

    @property
    def refused(self) -> str:
        """Why there is no code, in a few words; empty where there is one."""
        if self.code:
            return ""
        return (self.callback or {}).get("error", "") or self.refusal or "no code came back"

    @property
    def is_answer(self) -> bool:
        """Whether the server decided: a page of one that failed says nothing about what it allows."""
        return not self.status or is_refusal(self.status)


async def follow_login(url: str, redirect_uri: str, client_name: str) -> Authorization:
    """Approve everything as a practice user, up to the redirect to the client, which is not followed.

    Raises httpx2.HTTPError when a page does not answer.
    """
    pages: list[Page] = []
    async with open_client(SECONDS, sender=None) as http:
        request = http.build_request("GET", url)
        for _ in range(_MOST_PAGES):
            if str(request.url).startswith(redirect_uri):
                return Authorization(tuple(pages), dict(parse_qsl(urlsplit(str(request.url)).query)))
            if not is_loopback(str(request.url)):
                return Authorization(tuple(pages), None, f"sent to {request.url.host}")
            response = await http.send(request, follow_redirects=False)
            if (onward := following(response)) is not None:
                request = onward
                continue
            sent = press(http, response, *_PRESSED)
            if sent is None:
                return Authorization(tuple(pages), None, _refusal(response), response.status_code)
            pages.append(_page(response, client_name))
            request = sent
    return Authorization(tuple(pages), None, f"no callback after {_MOST_PAGES} pages")


def _page(response: httpx2.Response, client_name: str) -> Page:
    url = urlsplit(str(response.url))
    buttons = tuple(dict.fromkeys(name for form in forms(response) for name, _ in form.buttons))
    return Page(f"{url.scheme}://{url.netloc}", url.path, buttons, client_name in response.text)


def _refusal(response: httpx2.Response) -> str:
    try:
        document = response.json()
    except ValueError:
        document = None
    error = document.get("error", "") if isinstance(document, dict) else ""
    return f"{response.status_code} {error}".strip()


CREATED = (200, 201)
TOO_MANY = 429
_MOST_WAITS = 4
_LONGEST_WAIT = 1.0
FOREIGN = "https://another-server.example/mcp"
"""A resource that no system here is."""
HOSTILE = ("http://evil.example/cb", "javascript:alert(1)", "https://evil.example/*")
"""Redirect URIs that nobody may register: plain http off this machine, a script, a wildcard (RFC 9700)."""


@dataclass(frozen=True)
class Provider:
    """An authorization server, as its metadata and the resource's describe it."""

    metadata: Mapping[str, Any]
    resource: str
    scopes: tuple[str, ...] = ()

    @property
    def issuer(self) -> str:
        return str(self.metadata.get("issuer", ""))

    def endpoint(self, name: str) -> str:
        """An endpoint's address; raises WorkshopError where the metadata names none."""
        url = self.metadata.get(f"{name}_endpoint")
        if not isinstance(url, str):
            raise WorkshopError(f"the metadata names no {name} endpoint")
        return url

    @classmethod
    def described(cls, metadata: Mapping[str, Any], resource: str, scopes: Sequence[str] = ()) -> "Provider":
        """With the scopes the resource asks for, and `offline_access` where there is that."""
        offered = metadata.get("scopes_supported", ())
        wanted = [*scopes, *(["offline_access"] if "offline_access" in offered else [])]
        return cls(metadata, resource, tuple(dict.fromkeys(wanted)))


@dataclass(frozen=True)
class Answered:
    """What the token endpoint said, and the tokens it gave."""

    reply: Reply

    @property
    def access_token(self) -> str:
        """The token; empty where none was given. RFC 6749 section 5.1: only with 200."""
        return self._token("access_token")

    @property
    def refresh_token(self) -> str:
        return self._token("refresh_token")

    def _token(self, name: str) -> str:
        value = self.reply.document.get(name) if self.reply.status in CREATED else None
        return value if isinstance(value, str) else ""


@dataclass(frozen=True)
class Pkce:
    """A verifier and its challenge (RFC 7636 section 4)."""

    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48), repr=False)

    @property
    def challenge(self) -> str:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class Client:
    """A client that has registered itself at an authorization server."""

    def __init__(self, wire: Wire, provider: Provider, registered: Mapping[str, Any], name: str) -> None:
        self._wire = wire
        self.provider = provider
        self.registered = registered
        self.name = name

    @property
    def redirect_uri(self) -> str:
        """Where the code goes; raises WorkshopError where the server registered none."""
        uris = self.registered.get("redirect_uris")
        if not isinstance(uris, list) or not uris:
            raise WorkshopError("the registration came back without a redirect URI")
        return str(uris[0])

    async def authorize(self, pkce: Pkce | None, resource: str | None = None) -> Authorization:
        """Ask for a code, as learner, with this challenge or none, for this resource or the right one."""
        query = {
            "response_type": "code",
            "client_id": str(self.registered.get("client_id", "")),
            "redirect_uri": self.redirect_uri,
            "state": secrets.token_urlsafe(16),
            "resource": resource or self.provider.resource,
        }
        if self.provider.scopes:
            query["scope"] = " ".join(self.provider.scopes)
        if pkce is not None:
            query |= {"code_challenge": pkce.challenge, "code_challenge_method": "S256"}
        endpoint = self.provider.endpoint("authorization")
        joint = "&" if urlsplit(endpoint).query else "?"
        return await follow_login(f"{endpoint}{joint}{urlencode(query)}", self.redirect_uri, self.name)

    async def redeem(self, code: str, verifier: str, resource: str | None = None) -> Answered:
        """Exchange a code with this verifier."""
        fields = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
        fields |= {"redirect_uri": self.redirect_uri, "resource": resource or self.provider.resource}
        return await self._ask(fields)

    async def refresh(self, token: str) -> Answered:
        """Exchange a refresh token."""
        fields = {"grant_type": "refresh_token", "refresh_token": token}
        return await self._ask({**fields, "resource": self.provider.resource})

    async def _ask(self, fields: Mapping[str, str]) -> Answered:
        identified = {"client_id": str(self.registered.get("client_id", ""))}
        if secret := self.registered.get("client_secret"):
            identified["client_secret"] = str(secret)
        url = self.provider.endpoint("token")
        return Answered(await self._wire.send("POST", url, data={**identified, **fields}))


async def register(wire: Wire, provider: Provider, redirect_uri: str, name: str) -> Reply:
    """Introduce a public client with this redirect URI (RFC 7591), no faster than the server allows."""
    wanted = {
        "client_name": name,
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "none",
        "application_type": "native",
    }
    url = provider.endpoint("registration")
    for _ in range(_MOST_WAITS):
        reply = await wire.send("POST", url, json=wanted)
        if reply.status != TOO_MANY:
            break
        await asyncio.sleep(_wait(reply))
    return reply


def _wait(reply: Reply) -> float:
    """How long a server that counts registrations wants to be left alone (RFC 9110 section 10.2.3)."""
    told = reply.headers.get("retry-after", "")
    return min(float(told), _LONGEST_WAIT) if told.isascii() and told.isdigit() else _LONGEST_WAIT
