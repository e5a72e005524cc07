"""Logins on disk: one file with mode 0600 for each issuer and resource, replaced atomically.

`sign_out` ends a login: it revokes the tokens where they were issued (RFC 7009), then removes the file.
"""

import base64
import contextlib
import hashlib
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx2
from filelock import AsyncFileLock, Timeout
from mcp.shared.auth import OAuthClientInformationFull, OAuthMetadata, OAuthToken, ProtectedResourceMetadata
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workshop.agent.events import Observer, Warned, ignore
from workshop.agent.http import open_client
from workshop.agent.oauth_checks import OAUTH_SECONDS, check_address, oauth_error, send_bounded
from workshop.core.errors import DeadlineError, WorkshopError, reason
from workshop.core.paths import make_private_dir, write_private
from workshop.core.text import one_line

_WELL_KNOWN = "/.well-known/"
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=(\d{1,9})(?:$|[,\s])")
_LONGEST_SECONDS = 600.0


class Document(BaseModel):
    """One answer, which may be used again until `until`, in seconds since the epoch."""

    model_config = ConfigDict(frozen=True)

    text: str
    until: float


class Documents:
    """A cache of discovery documents by URL: a login that is repeated soon does not fetch them again."""

    def __init__(self) -> None:
        self.cached: dict[str, Document] = {}

    def adopt(self, cached: Mapping[str, Document]) -> None:
        """Use the cache of an earlier run."""
        self.cached = dict(cached)

    def clear(self) -> None:
        """Forget all documents, because one of them was wrong."""
        self.cached.clear()

    def answer(self, request: httpx2.Request) -> httpx2.Response | None:
        """Return the cached answer to a request if it is still fresh, else None."""
        document = self.cached.get(str(request.url)) if request.method == "GET" else None
        if document is None or document.until <= time.time():
            return None
        return httpx2.Response(200, text=document.text, request=request)

    def keep(self, response: httpx2.Response) -> None:
        """Store the answer to a discovery request for at most ten minutes, if its server allows it."""
        request = response.request
        if request.method != "GET" or not request.url.path.startswith(_WELL_KNOWN):
            return
        control = response.headers.get("cache-control", "").lower()
        age = _MAX_AGE.search(control)
        # `no-store` and `no-cache` forbid what a `max-age` beside them allows (RFC 9111 section 5.2.2).
        if response.status_code != httpx2.codes.OK or age is None or "no-" in control:
            return
        until = time.time() + min(float(age.group(1)), _LONGEST_SECONDS)
        self.cached[str(request.url)] = Document(text=response.text, until=until)


_LOCK_SECONDS = 30


class Login(BaseModel):
    """Everything a later run needs to use or refresh a login without a person."""

    model_config = ConfigDict(frozen=True)

    version: int = 1
    resource: str
    """URL of the MCP server, as the agent addresses it."""
    issuer: str
    saved_at: float = Field(default_factory=time.time)
    client: OAuthClientInformationFull
    authorization_server: OAuthMetadata
    protected_resource: ProtectedResourceMetadata | None = None
    documents: dict[str, Document] = Field(default_factory=dict)
    tokens: OAuthToken | None = Field(default=None, repr=False)
    expires_at: float | None = None
    """When the access token ends, in seconds since the epoch; None if the server did not state it."""


class TokenStore:
    """Stores logins in a directory; a damaged file is ignored, with a warning."""

    def __init__(self, directory: Path, observe: Observer = ignore) -> None:
        self._directory = directory
        self._observe = observe

    def path(self, issuer: str, resource: str) -> Path:
        """The file of one login; its name reveals neither issuer nor resource."""
        name = hashlib.sha256(f"{issuer}\n{resource}".encode()).hexdigest()[:32]
        return self._directory / f"{name}.json"

    def all(self) -> list[Login]:
        """All stored logins."""
        return [login for path in sorted(self._directory.glob("*.json")) if (login := self._read(path))]

    def get(self, issuer: str, resource: str) -> Login | None:
        """The login at this issuer for this MCP server, as it is on disk at the moment."""
        return self._read(self.path(issuer, resource))

    def find(self, resource: str) -> Login | None:
        """The latest login for this MCP server, from any issuer."""
        # A server may have changed its issuer: the latest login counts.
        mine = [login for login in self.all() if login.resource == resource]
        return max(mine, key=lambda login: login.saved_at, default=None)

    def save(self, login: Login) -> None:
        """Write a login; raises WorkshopError if the file cannot be written."""
        path = self.path(login.issuer, login.resource)
        try:
            write_private(path, login.model_dump_json(exclude_none=True).encode())
        except OSError as error:
            raise WorkshopError(f"Cannot store the login in `{path}`", why=reason(error)) from error

    def forget(self, resource: str) -> None:
        """Remove every login for this MCP server."""
        for path in sorted(self._directory.glob("*.json")):
            login = self._read(path)
            if login and login.resource == resource:
                path.unlink(missing_ok=True)

    def remove(self, login: Login) -> None:
        """Remove this login."""
        self.path(login.issuer, login.resource).unlink(missing_ok=True)

    @contextlib.asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        """Lock the store against other processes: of two that refresh one token, the second would lose it.

        Raises DeadlineError if another process holds the lock for half a minute.
        """
        make_private_dir(self._directory)
        guard = AsyncFileLock(self._directory / ".lock", timeout=_LOCK_SECONDS)
        try:
            async with guard:
                yield
        except Timeout as error:
            raise DeadlineError(
                "Another run is still refreshing the same login",
                why=f"It has held `{guard.lock_file}` for {_LOCK_SECONDS} seconds",
                hint="End it, and run this again",
            ) from error

    def _read(self, path: Path) -> Login | None:
        try:
            return Login.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            why = reason(error) if isinstance(error, OSError) else "it is damaged or from another version"
            self._observe(Warned(f"The stored login `{path}` is not used: {why}"))
            return None


@dataclass(frozen=True)
class SignedOut:
    """The outcome for one login; `ended` if no token of it works any more, `told` is a sentence about it."""

    issuer: str
    resource: str
    ended: bool
    forgotten: bool
    told: str


@dataclass(frozen=True)
class _Answer:
    """Whether a token no longer works at the server, and a sentence about how that is known, or why not."""

    dead: bool
    detail: str


async def sign_out(store: TokenStore, logins: Sequence[Login], *, forget: bool) -> list[SignedOut]:
    """End these logins, one after the other; `forget` also drops a login that could not be revoked.

    The store is locked meanwhile, so that no other run refreshes a token that is being revoked. Raises
    DeadlineError if the store remains locked by another run.
    """
    async with store.lock(), open_client(OAUTH_SECONDS) as http:
        return [await _sign_out(store, login, http, forget=forget) for login in logins]


async def _sign_out(store: TokenStore, listed: Login, http: httpx2.AsyncClient, *, forget: bool) -> SignedOut:
    login = store.get(listed.issuer, listed.resource)  # another run may have refreshed it since
    if login is None:
        return SignedOut(
            listed.issuer, listed.resource, ended=False, forgotten=True, told="It no longer existed"
        )
    answer = await _revoke(login, http)
    gone = answer.dead or forget
    if gone:
        store.remove(login)
    detail = answer.detail if answer.dead or not gone else f"{answer.detail}. Forgotten here anyway"
    return SignedOut(login.issuer, login.resource, ended=answer.dead, forgotten=gone, told=detail)


async def _revoke(login: Login, http: httpx2.AsyncClient) -> _Answer:
    """Revoke the refresh token first: while it works, it can be exchanged for new access tokens."""
    if login.tokens is None:
        return _Answer(dead=True, detail="No token was stored")
    refresh, access = login.tokens.refresh_token, login.tokens.access_token
    if refresh is None:
        return await _revoke_token(login, access, "access_token", http)
    answer = await _revoke_token(login, refresh, "refresh_token", http)
    if not answer.dead:
        return answer
    rest = await _revoke_token(login, access, "access_token", http)
    if rest.dead:
        return answer
    # A server need not be able to revoke access tokens (RFC 7009 section 2).
    return _Answer(dead=True, detail="The refresh token is revoked; the access token works until it expires")


async def _revoke_token(login: Login, token: str, kind: str, http: httpx2.AsyncClient) -> _Answer:
    endpoint = login.authorization_server.revocation_endpoint
    if endpoint is None:
        return _Answer(dead=False, detail="The authorization server has no revocation endpoint")
    fields, headers = _credentials(login.client)
    fields |= {"token": token, "token_type_hint": kind}
    try:
        # The endpoint comes from a document of the server: a token must not follow it into a private network.
        check_address(str(endpoint), login.resource)
        request = http.build_request("POST", str(endpoint), data=fields, headers=headers)
        response = await send_bounded(http, request)
    except WorkshopError as error:
        return _Answer(dead=False, detail=error.sentence)
    except (TimeoutError, httpx2.TimeoutException):
        return _Answer(dead=False, detail="The authorization server does not answer")
    except httpx2.HTTPError as error:
        return _Answer(
            dead=False, detail=f"The authorization server cannot be reached: {one_line(str(error), 200)}"
        )
    return _judge(response, public=not login.client.client_secret)


def _judge(response: httpx2.Response, *, public: bool) -> _Answer:
    """200 also means a token that was not valid any more (RFC 7009 section 2.2)."""
    if response.status_code == httpx2.codes.OK:
        return _Answer(dead=True, detail="Revoked")
    error = oauth_error(response)
    if error == "invalid_client" and public:
        # Not a wrong secret, there is none: the server has lost the client, and its tokens with it.
        return _Answer(dead=True, detail="The authorization server has forgotten this client and its tokens")
    said = f"{response.status_code} {error}".strip()
    return _Answer(dead=False, detail=f"The authorization server did not revoke it: {said}")


def _credentials(client: OAuthClientInformationFull) -> tuple[dict[str, str], dict[str, str]]:
    """Form fields and headers by which a client shows who it is (RFC 6749 section 2.3)."""
    identified = {"client_id": str(client.client_id)}
    method, secret = client.token_endpoint_auth_method, client.client_secret
    if not secret or method == "none":
        return identified, {}
    if method == "client_secret_basic":
        # Each half is form-encoded first, because an identifier may have a colon (RFC 6749 section 2.3.1).
        pair = f"{quote(identified['client_id'], safe='')}:{quote(secret, safe='')}"
        return {}, {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {**identified, "client_secret": secret}, {}
