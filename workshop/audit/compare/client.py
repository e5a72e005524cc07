"""An OAuth client that also does what it must not: no PKCE, a wrong verifier, another resource."""

import asyncio
import base64
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from workshop.audit.compare.browser import Walk, walk
from workshop.audit.compare.wire import Reply, Wire
from workshop.core.errors import WorkshopError

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

    async def authorize(self, pkce: Pkce | None, resource: str | None = None) -> Walk:
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
        return await walk(f"{endpoint}{joint}{urlencode(query)}", self.redirect_uri, self.name)

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
