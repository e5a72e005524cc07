"""Logins with a client of our own: regular, without proof, for another resource, and with foreign tokens."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from workshop.audit.compare.client import (
    CREATED,
    FOREIGN,
    HOSTILE,
    USER,
    Authorization,
    Client,
    Pkce,
    Provider,
    Reply,
    Wire,
    register,
)
from workshop.audit.compare.evidence import (
    ForAnother,
    NotObservedError,
    Presented,
    Refreshed,
    Registered,
    Session,
    Unobserved,
    WithoutProof,
    seen,
)
from workshop.audit.compare.systems import Room
from workshop.core.encoding import jwt_claims
from workshop.core.ports import free_port
from workshop.servers.practice.client import access_token

_ALGORITHM = "ES256"
_PEM = b"-----BEGIN"


def claims_of(token: str) -> Mapping[str, Any]:
    """The claims in a JWT, not verified; empty for an opaque token."""
    return jwt_claims(token) or {}


def signing_key(token: str, secrets: Path) -> ECKey | None:
    """The key below `secrets` that signed a token; None when there is none."""
    for path in sorted(secrets.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        if not data.startswith(_PEM):
            continue
        try:
            key = ECKey.import_key(data)
            jwt.decode(token, key, algorithms=[_ALGORITHM])
        except (JoseError, ValueError):
            continue
        return key
    return None


def signed_again(token: str, key: ECKey, **changed: object) -> str:
    """The same token, but for these claims, signed by its own issuer's key."""
    header = dict(jws.extract_compact(token.encode()).headers())
    return jwt.encode(header, {**claims_of(token), **changed}, key, algorithms=[_ALGORITHM])


_UPSTREAM_SCOPES = ("repo", "read:org", "read:user", "user:email")
UPSTREAM_TOKEN = "GitHub's own token"  # noqa: S105 - what it is called


class LoginProbes:
    """The probes that need a client; they register one, and share it."""

    def __init__(self, wire: Wire, room: Room, provider: Provider | Unobserved) -> None:
        self._wire = wire
        self._room = room
        self._provider = provider
        # Random, so that a page that shows it has been told it by the registration.
        self._name = f"Comparison {secrets.token_hex(4)}"
        self._client: Client | None = None

    async def registrations(self) -> Registered:
        """Register one client that is in order, and try some that are not."""
        provider = seen(self._provider)
        good = await register(self._wire, provider, f"http://localhost:{free_port()}/callback", self._name)
        if good.status in CREATED and good.document:
            self._client = Client(self._wire, provider, good.document, self._name)
        hostile = {uri: await register(self._wire, provider, uri, self._name) for uri in HOSTILE}
        return Registered(good, hostile)

    async def session(self) -> Session:
        """Log in as a client should, and use the token."""
        client, pkce = self._registered(), Pkce()
        authorization = await client.authorize(pkce)
        if not authorization.code:
            raise NotObservedError(
                f"the login of a client that did nothing wrong ended with {authorization.refused}"
            )
        answered = await client.redeem(authorization.code, pkce.verifier)
        if not answered.access_token:
            raise NotObservedError(f"the code got no token: {answered.reply.said}")
        return Session(client.provider, authorization, answered, await self._use(answered.access_token))

    async def without_proof(self) -> WithoutProof:
        """Ask for a code without a challenge; then redeem a proper one with a verifier that is wrong."""
        client = self._registered()
        bare = _decided(await client.authorize(None))
        proper = await client.authorize(Pkce())
        if not proper.code:
            raise NotObservedError(f"there was no code to redeem: {proper.refused}")
        return WithoutProof(bare, await client.redeem(proper.code, Pkce().verifier))

    async def for_another(self) -> ForAnother:
        """Ask for a token for somebody else's server; if it comes, use it here."""
        client, pkce = self._registered(), Pkce()
        authorization = _decided(await client.authorize(pkce, resource=FOREIGN))
        if not authorization.code:
            return ForAnother(authorization)
        answered = await client.redeem(authorization.code, pkce.verifier, resource=FOREIGN)
        if not answered.access_token:
            return ForAnother(authorization, answered)
        return ForAnother(authorization, answered, await self._use(answered.access_token))

    async def present(self, session: Session | Unobserved) -> Presented:
        """Show the server tokens that are not for it; the last differs from a good one in `aud` alone."""
        token = seen(session).answered.access_token
        foreign: dict[str, Reply] = {}
        if upstream := token_for_upstream(self._room):
            foreign[UPSTREAM_TOKEN] = await self._use(upstream)
        key = signing_key(token, self._room.secrets)
        if key is None:
            return Presented(foreign, claims_of(token))
        return Presented(
            foreign,
            claims_of(token),
            control=await self._use(signed_again(token, key)),
            readdressed=await self._use(signed_again(token, key, aud=[FOREIGN])),
        )

    async def refresh(self, session: Session | Unobserved) -> Refreshed:
        """Use the refresh token, if there is one, and then the access token that it brought."""
        old = seen(session).answered.refresh_token
        if not old:
            return Refreshed(given=False)
        answered = await self._registered().refresh(old)
        if not answered.access_token:
            return Refreshed(True, answered)
        rotated = bool(answered.refresh_token) and answered.refresh_token != old
        return Refreshed(True, answered, rotated, await self._use(answered.access_token))

    def _registered(self) -> Client:
        if self._client is None:
            seen(self._provider)
            raise NotObservedError("no client could be registered")
        return self._client

    async def _use(self, token: str) -> Reply:
        headers: Mapping[str, str] = self._room.headers
        return await self._wire.initialize(self._room.url, token, headers)


def _decided(authorization: Authorization) -> Authorization:
    if not authorization.is_answer:
        raise NotObservedError(f"the authorization server failed: {authorization.refused}")
    return authorization


def token_for_upstream(room: Room) -> str:
    """A token that the practice GitHub takes, made with the secret of its OAuth app; empty without one."""
    path = room.client_secret
    return access_token(path.read_text("utf-8").strip(), USER, _UPSTREAM_SCOPES) if path else ""
