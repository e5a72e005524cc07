"""Logins by the comparison's own client: regular, without PKCE, for another resource, with foreign tokens."""

import secrets
from collections.abc import Mapping
from pathlib import Path

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from mcp.client.auth.oauth2 import PKCEParameters

from workshop.audit.compare.client import (
    CREATED,
    FOREIGN,
    HOSTILE,
    USER,
    Authorization,
    Client,
    HttpSession,
    Provider,
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
    observed,
)
from workshop.audit.compare.systems import RunningSystem
from workshop.audit.probe.model import Answer
from workshop.core.encoding import jwt_claims
from workshop.core.ports import free_port
from workshop.servers.practice.client import access_token

_ALGORITHM = "ES256"
_PEM = b"-----BEGIN"


def signing_key(token: str, secrets: Path) -> ECKey | None:
    """The key below `secrets` that signed a token; None if there is none."""
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
    """The token with these claims changed, signed with its issuer's own key."""
    header = dict(jws.extract_compact(token.encode()).headers())
    return jwt.encode(header, {**(jwt_claims(token) or {}), **changed}, key, algorithms=[_ALGORITHM])


_UPSTREAM_SCOPES = ("repo", "read:org", "read:user", "user:email")
UPSTREAM_TOKEN = "GitHub's own token"  # noqa: S105 - its name


class LoginProbes:
    """The probes that need a client. `registrations` has to be the first: the others share its client."""

    def __init__(self, http: HttpSession, running: RunningSystem, provider: Provider | Unobserved) -> None:
        self._http = http
        self._running = running
        self._provider = provider
        # Random, so that a page can know this name only from the registration.
        self._name = f"Comparison {secrets.token_hex(4)}"
        self._client: Client | None = None

    async def registrations(self) -> Registered:
        """Register a correct client, and try to register some that must be refused."""
        provider = observed(self._provider)
        good = await register(self._http, provider, f"http://localhost:{free_port()}/callback", self._name)
        if good.status in CREATED and good.document:
            self._client = Client(self._http, provider, good.document, self._name)
        hostile = {uri: await register(self._http, provider, uri, self._name) for uri in HOSTILE}
        return Registered(good, hostile)

    async def session(self) -> Session:
        """Log in as a client should, and use the token."""
        client, pkce = self._registered(), PKCEParameters.generate()
        authorization = await client.authorize(pkce)
        if not authorization.code:
            raise NotObservedError(f"the login of a correct client ended with {authorization.refused}")
        answered = await client.redeem(authorization.code, pkce.code_verifier)
        if not answered.access_token:
            raise NotObservedError(f"the code was not exchanged for a token: {answered.answer.summary}")
        return Session(client.provider, authorization, answered, await self._use(answered.access_token))

    async def without_proof(self) -> WithoutProof:
        """Request a code without a PKCE challenge; then redeem a regular one with a wrong verifier."""
        client = self._registered()
        bare = _decided(await client.authorize(None))
        regular = await client.authorize(PKCEParameters.generate())
        if not regular.code:
            raise NotObservedError(f"there was no code to redeem: {regular.refused}")
        other = PKCEParameters.generate()
        return WithoutProof(bare, await client.redeem(regular.code, other.code_verifier))

    async def for_another(self) -> ForAnother:
        """Request a token for another server; if it is issued, use it here."""
        client, pkce = self._registered(), PKCEParameters.generate()
        authorization = _decided(await client.authorize(pkce, resource=FOREIGN))
        if not authorization.code:
            return ForAnother(authorization)
        answered = await client.redeem(authorization.code, pkce.code_verifier, resource=FOREIGN)
        if not answered.access_token:
            return ForAnother(authorization, answered)
        return ForAnother(authorization, answered, await self._use(answered.access_token))

    async def present(self, session: Session | Unobserved) -> Presented:
        """Send the server tokens that are not for it; the last differs from a valid one only in `aud`."""
        token = observed(session).answered.access_token
        foreign: dict[str, Answer] = {}
        if upstream := token_for_upstream(self._running):
            foreign[UPSTREAM_TOKEN] = await self._use(upstream)
        claims, key = jwt_claims(token) or {}, signing_key(token, self._running.secrets)
        if key is None:
            return Presented(foreign, claims)
        return Presented(
            foreign,
            claims,
            control=await self._use(signed_again(token, key)),
            readdressed=await self._use(signed_again(token, key, aud=[FOREIGN])),
        )

    async def refresh(self, session: Session | Unobserved) -> Refreshed:
        """Exchange the refresh token, if there is one, and use the new access token."""
        old = observed(session).answered.refresh_token
        if not old:
            return Refreshed(given=False)
        answered = await self._registered().refresh(old)
        if not answered.access_token:
            return Refreshed(True, answered)
        rotated = bool(answered.refresh_token) and answered.refresh_token != old
        return Refreshed(True, answered, rotated, await self._use(answered.access_token))

    def _registered(self) -> Client:
        if self._client is None:
            observed(self._provider)
            raise NotObservedError("no client could be registered")
        return self._client

    async def _use(self, token: str) -> Answer:
        headers: Mapping[str, str] = self._running.headers
        return await self._http.initialize(self._running.url, token, headers)


def _decided(authorization: Authorization) -> Authorization:
    if not authorization.is_answer:
        raise NotObservedError(f"the authorization server failed: {authorization.refused}")
    return authorization


def token_for_upstream(running: RunningSystem) -> str:
    """A token that the practice GitHub accepts, made with its OAuth app's secret; empty without a secret."""
    path = running.client_secret
    return access_token(path.read_text("utf-8").strip(), USER, _UPSTREAM_SCOPES) if path else ""
