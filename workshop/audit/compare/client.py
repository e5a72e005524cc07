"""The comparison's OAuth client and its logins, also those that must fail.

It can leave PKCE out, send a wrong verifier, and request another resource; the agent's own client, the MCP
SDK's, refuses each of these. It records an unknown page and goes on, where the agent stops when it approves
without a browser.
"""

import asyncio
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import httpx2
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from mcp.client.auth.oauth2 import PKCEParameters

from workshop.agent.http import open_client, wait_before
from workshop.audit.compare.evidence import (
    CREATED,
    Authorization,
    ForAnother,
    NotObservedError,
    Page,
    Presented,
    Provider,
    Refreshed,
    Registered,
    Session,
    TokenAnswer,
    Unobserved,
    WithoutProof,
    observed,
)
from workshop.audit.compare.systems import RunningSystem
from workshop.audit.probe.exchange import receive
from workshop.audit.probe.model import Answer
from workshop.audit.probe.requests import initialize
from workshop.core.browser import following, forms, press
from workshop.core.encoding import jwt_claims
from workshop.core.errors import WorkshopError
from workshop.core.outgoing import is_loopback
from workshop.core.ports import free_port
from workshop.servers.practice.client import access_token

SECONDS = 5.0
USER = "learner"
FOREIGN = "https://another-server.example/mcp"
"""A resource that none of the systems is."""
HOSTILE = ("http://evil.example/cb", "javascript:alert(1)", "https://evil.example/*")
"""Redirect URIs that must not be registered: plain http off this machine, a script, a wildcard (RFC 9700)."""
_MOST_PAGES = 12  # redirects included; more than any system has
_BUTTONS = (("decision", "approve"), ("user", USER))
_MOST_TRIES = 4
_LONGEST_WAIT = 1.0
_CLIENT = {"name": "workshop-compare", "version": "1"}


class HttpSession:
    """Sends one request at a time and returns its answer; use it as an async context manager."""

    def __init__(self) -> None:
        self._http = open_client(SECONDS, sender=None)
        self._http.headers["accept-encoding"] = "identity"  # `receive` does not unpack

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
            # No browser of the comparison leaves this machine, wherever a system redirects it.
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
        url = httpx2.URL(self.provider.endpoint("authorization")).copy_merge_params(query)
        return await follow_login(str(url), self.redirect_uri, self.name)

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
        # OpenID Connect registration allows http redirect URIs on localhost to native clients only.
        "application_type": "native",
    }
    url = provider.endpoint("registration")
    for number in range(1, _MOST_TRIES + 1):
        answer = await http.send("POST", url, json=wanted)
        if answer.status != httpx2.codes.TOO_MANY_REQUESTS:
            break
        await asyncio.sleep(min(wait_before(number, dict(answer.headers)) or _LONGEST_WAIT, _LONGEST_WAIT))
    return answer


_ALGORITHM = "ES256"
_PEM = b"-----BEGIN"


def signing_key(token: str, secrets: Path) -> ECKey | None:
    """The key below `secrets` that signed a token; None if there is none."""
    # Searched for, because each system stores its key under another name.
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
        # Nothing listens at this port: the redirect to it is read, and not followed.
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
            # If the server refuses even this one, its refusal of the next one does not show anything.
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
