"""An OAuth client that can also do what a client must not: no PKCE, a wrong verifier, another resource.

The agent's own client is the MCP SDK's, which refuses each of these; and when the agent approves without a
browser, it stops at an unknown page, where this client records it and goes on.
"""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
from mcp.client.auth.oauth2 import PKCEParameters

from workshop.agent.http import open_client, wait_before
from workshop.audit.probe.exchange import receive
from workshop.audit.probe.model import Answer
from workshop.audit.probe.requests import initialize
from workshop.core.browser import following, forms, press
from workshop.core.errors import WorkshopError
from workshop.core.outgoing import is_loopback

SECONDS = 5.0
USER = "learner"
CREATED = (200, 201)
FOREIGN = "https://another-server.example/mcp"
"""A resource that none of the systems is."""
HOSTILE = ("http://evil.example/cb", "javascript:alert(1)", "https://evil.example/*")
"""Redirect URIs that must not be registered: plain http off this machine, a script, a wildcard (RFC 9700)."""
_FAILED = 500
_MOST_PAGES = 12
_BUTTONS = (("decision", "approve"), ("user", USER))
_MOST_TRIES = 4
_LONGEST_WAIT = 1.0
_CLIENT = {"name": "workshop-compare", "version": "1"}


class HttpSession:
    """Sends one request at a time and returns its answer; use it as an async context manager."""

    def __init__(self) -> None:
        self._http = open_client(SECONDS, sender=None)
        self._http.headers["accept-encoding"] = "identity"

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def send(self, method: str, url: str, **content: Any) -> Answer:  # noqa: ANN401 - as httpx2
        """The answer to a request; raises httpx2.HTTPError without one."""
        return await receive(self._http, self._http.build_request(method, url, **content))

    async def initialize(self, url: str, token: str | None, headers: Mapping[str, str]) -> Answer:
        """Begin an MCP session with this token or without one: the simplest request that needs a token."""
        request = initialize(_CLIENT)
        credential = {} if token is None else {"authorization": f"Bearer {token}"}
        return await self.send(
            "POST", url, json=request["json"], headers={**request["headers"], **headers, **credential}
        )


def is_let_in(answer: Answer) -> bool:
    """Whether the server carried the request out, instead of refusing the caller."""
    return answer.status < httpx2.codes.BAD_REQUEST


def is_refusal(status: int) -> bool:
    """Whether a status is a decision against the request; a failure or an overload (429) is not."""
    return httpx2.codes.BAD_REQUEST <= status < _FAILED and status != httpx2.codes.TOO_MANY_REQUESTS


@dataclass(frozen=True)
class Page:
    """A page on the way: its origin and path, its buttons' names, and whether it names the client."""

    origin: str
    path: str
    buttons: tuple[str, ...]
    names_client: bool


@dataclass(frozen=True)
class Authorization:
    """A browser's way through a login: the pages in order, then the callback's query, or a reason."""

    pages: tuple[Page, ...] | None = ()
    """None if they were shown to a person."""
    callback: Mapping[str, str] | None = None
    refusal: str = ""
    status: int = 0
    """Of the page where the login ended; 0 if the browser was redirected to the client."""

    @property
    def code(self) -> str:
        """The authorization code; empty without one."""
        return (self.callback or {}).get("code", "")

    @property
    def refused(self) -> str:
        """Why there is no code, in a few words; empty if there is one."""
        if self.code:
            return ""
        return (self.callback or {}).get("error", "") or self.refusal or "no code was returned"

    @property
    def is_answer(self) -> bool:
        """Whether the server decided; a failure does not show what it allows."""
        return not self.status or is_refusal(self.status)


async def follow_login(url: str, redirect_uri: str, client_name: str) -> Authorization:
    """Approve every page as a practice user, up to the redirect to the client, which is not followed.

    Raises httpx2.HTTPError if a page does not answer.
    """
    pages: list[Page] = []
    async with open_client(SECONDS, sender=None) as http:
        request = http.build_request("GET", url)
        for _ in range(_MOST_PAGES):
            if str(request.url).startswith(redirect_uri):
                return Authorization(tuple(pages), dict(parse_qsl(urlsplit(str(request.url)).query)))
            if not is_loopback(str(request.url)):
                return Authorization(tuple(pages), None, f"redirected to {request.url.host}")
            response = await http.send(request, follow_redirects=False)
            if (onward := following(response)) is not None:
                request = onward
                continue
            sent = press(http, response, *_BUTTONS)
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


@dataclass(frozen=True)
class Provider:
    """An authorization server, as described by its own metadata and the resource's."""

    metadata: Mapping[str, Any]
    resource: str
    scopes: tuple[str, ...] = ()

    @property
    def issuer(self) -> str:
        return str(self.metadata.get("issuer", ""))

    def endpoint(self, name: str) -> str:
        """An endpoint's URL; raises WorkshopError if the metadata does not have it."""
        url = self.metadata.get(f"{name}_endpoint")
        if not isinstance(url, str):
            raise WorkshopError(f"the metadata does not name a {name} endpoint")
        return url

    @classmethod
    def described(cls, metadata: Mapping[str, Any], resource: str, scopes: Sequence[str] = ()) -> "Provider":
        """With the scopes that the resource requests, and `offline_access` if the server supports it."""
        supported = metadata.get("scopes_supported", ())
        wanted = [*scopes, *(["offline_access"] if "offline_access" in supported else [])]
        return cls(metadata, resource, tuple(dict.fromkeys(wanted)))


@dataclass(frozen=True)
class TokenAnswer:
    """The token endpoint's answer, and the tokens in it."""

    answer: Answer

    @property
    def access_token(self) -> str:
        """The token; empty if there is none. RFC 6749 section 5.1: only with 200."""
        return self._token("access_token")

    @property
    def refresh_token(self) -> str:
        return self._token("refresh_token")

    def _token(self, name: str) -> str:
        value = self.answer.document.get(name) if self.answer.status in CREATED else None
        return value if isinstance(value, str) else ""


class Client:
    """A client that is registered at an authorization server."""

    def __init__(
        self, http: HttpSession, provider: Provider, registered: Mapping[str, Any], name: str
    ) -> None:
        self._http = http
        self.provider = provider
        self.registered = registered
        self.name = name

    @property
    def redirect_uri(self) -> str:
        """The registered redirect URI; raises WorkshopError if the server did not return one."""
        uris = self.registered.get("redirect_uris")
        if not isinstance(uris, list) or not uris:
            raise WorkshopError("the registration was answered without a redirect URI")
        return str(uris[0])

    async def authorize(self, pkce: PKCEParameters | None, resource: str | None = None) -> Authorization:
        """Request a code as practice user, with or without a challenge; `resource` replaces the right one."""
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
            query |= {"code_challenge": pkce.code_challenge, "code_challenge_method": "S256"}
        endpoint = self.provider.endpoint("authorization")
        joint = "&" if urlsplit(endpoint).query else "?"
        return await follow_login(f"{endpoint}{joint}{urlencode(query)}", self.redirect_uri, self.name)

    async def redeem(self, code: str, verifier: str, resource: str | None = None) -> TokenAnswer:
        """Exchange a code with this verifier."""
        fields = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
        fields |= {"redirect_uri": self.redirect_uri, "resource": resource or self.provider.resource}
        return await self._request(fields)

    async def refresh(self, token: str) -> TokenAnswer:
        """Exchange a refresh token."""
        fields = {"grant_type": "refresh_token", "refresh_token": token}
        return await self._request({**fields, "resource": self.provider.resource})

    async def _request(self, fields: Mapping[str, str]) -> TokenAnswer:
        identified = {"client_id": str(self.registered.get("client_id", ""))}
        if secret := self.registered.get("client_secret"):
            identified["client_secret"] = str(secret)
        url = self.provider.endpoint("token")
        return TokenAnswer(await self._http.send("POST", url, data={**identified, **fields}))


async def register(http: HttpSession, provider: Provider, redirect_uri: str, name: str) -> Answer:
    """Register a public client with this redirect URI (RFC 7591), and wait for up to 1 s after a 429."""
    wanted = {
        "client_name": name,
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "none",
        "application_type": "native",
    }
    url = provider.endpoint("registration")
    for number in range(1, _MOST_TRIES + 1):
        answer = await http.send("POST", url, json=wanted)
        if answer.status != httpx2.codes.TOO_MANY_REQUESTS:
            break
        await asyncio.sleep(min(wait_before(number, dict(answer.headers)) or _LONGEST_WAIT, _LONGEST_WAIT))
    return answer
