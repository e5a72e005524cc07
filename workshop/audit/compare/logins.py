"""Logins with a client of our own: in order, without proof, for another resource, and with foreign tokens."""

import secrets
from collections.abc import Mapping

from workshop.audit.compare.browser import USER, Walk
from workshop.audit.compare.client import CREATED, FOREIGN, HOSTILE, Client, Pkce, Provider, register
from workshop.audit.compare.evidence import (
    ForAnother,
    NotSeenError,
    Presented,
    Refreshed,
    Registered,
    Session,
    Unseen,
    WithoutProof,
    seen,
)
from workshop.audit.compare.rooms import Room
from workshop.audit.compare.tokens import claims_of, signed_again, signing_key
from workshop.audit.compare.wire import Reply, Wire
from workshop.core.ports import free_port
from workshop.servers.practice.client import access_token

_UPSTREAM_SCOPES = ("repo", "read:org", "read:user", "user:email")
UPSTREAM_TOKEN = "GitHub's own token"  # noqa: S105 - what it is called


class LoginProbes:
    """The probes that need a client; they register one, and share it."""

    def __init__(self, wire: Wire, room: Room, provider: Provider | Unseen) -> None:
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
        walk = await client.authorize(pkce)
        if not walk.code:
            raise NotSeenError(f"the login of a client that did nothing wrong ended with {walk.refused}")
        answered = await client.redeem(walk.code, pkce.verifier)
        if not answered.access_token:
            raise NotSeenError(f"the code got no token: {answered.reply.said}")
        return Session(client.provider, walk, answered, await self._knock(answered.access_token))

    async def without_proof(self) -> WithoutProof:
        """Ask for a code without a challenge; then redeem a proper one with a verifier that is wrong."""
        client = self._registered()
        bare = _decided(await client.authorize(None))
        proper = await client.authorize(Pkce())
        if not proper.code:
            raise NotSeenError(f"there was no code to redeem: {proper.refused}")
        return WithoutProof(bare, await client.redeem(proper.code, Pkce().verifier))

    async def for_another(self) -> ForAnother:
        """Ask for a token for somebody else's server; if it comes, use it here."""
        client, pkce = self._registered(), Pkce()
        walk = _decided(await client.authorize(pkce, resource=FOREIGN))
        if not walk.code:
            return ForAnother(walk)
        answered = await client.redeem(walk.code, pkce.verifier, resource=FOREIGN)
        if not answered.access_token:
            return ForAnother(walk, answered)
        return ForAnother(walk, answered, await self._knock(answered.access_token))

    async def present(self, session: Session | Unseen) -> Presented:
        """Show the server tokens that are not for it; the last differs from a good one in `aud` alone."""
        token = seen(session).answered.access_token
        foreign: dict[str, Reply] = {}
        if upstream := token_for_upstream(self._room):
            foreign[UPSTREAM_TOKEN] = await self._knock(upstream)
        key = signing_key(token, self._room.secrets)
        if key is None:
            return Presented(foreign, claims_of(token))
        return Presented(
            foreign,
            claims_of(token),
            control=await self._knock(signed_again(token, key)),
            readdressed=await self._knock(signed_again(token, key, aud=[FOREIGN])),
        )

    async def refresh(self, session: Session | Unseen) -> Refreshed:
        """Use the refresh token, if there is one, and then the access token that it brought."""
        old = seen(session).answered.refresh_token
        if not old:
            return Refreshed(given=False)
        answered = await self._registered().refresh(old)
        if not answered.access_token:
            return Refreshed(True, answered)
        rotated = bool(answered.refresh_token) and answered.refresh_token != old
        return Refreshed(True, answered, rotated, await self._knock(answered.access_token))

    def _registered(self) -> Client:
        if self._client is None:
            seen(self._provider)
            raise NotSeenError("no client could be registered")
        return self._client

    async def _knock(self, token: str) -> Reply:
        headers: Mapping[str, str] = self._room.headers
        return await self._wire.knock(self._room.url, token, headers)


def _decided(walk: Walk) -> Walk:
    if not walk.is_answer:
        raise NotSeenError(f"the authorization server failed: {walk.refused}")
    return walk


def token_for_upstream(room: Room) -> str:
    """A token that the practice GitHub takes, made with the secret of its OAuth app; empty without one."""
    path = room.client_secret
    return access_token(path.read_text("utf-8").strip(), USER, _UPSTREAM_SCOPES) if path else ""
