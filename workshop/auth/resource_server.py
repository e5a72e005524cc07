"""The resource server's decision on each request: whose it is, and with which upstream token it goes on."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response

from workshop.auth.access_tokens import AccessTokens
from workshop.auth.config import Auth
from workshop.auth.http import Parameters, RefusedError, refused
from workshop.auth.json_rpc import rpc_error
from workshop.auth.limits import SESSION_SECONDS, SESSIONS_PER_GRANT, Clock
from workshop.auth.store import Grant, UpstreamTokens
from workshop.auth.store_sqlite import SqliteStore
from workshop.auth.upstream import UpstreamTokenSource

PROTECTED_RESOURCE_PATH = "/.well-known/oauth-protected-resource"
_PUBLIC = {"cache-control": "public, max-age=3600", "x-content-type-options": "nosniff"}


@dataclass(frozen=True)
class Challenge:
    """The `WWW-Authenticate` challenge of a resource: where its metadata is, and which scopes to ask for."""

    realm: str
    metadata_url: str
    scopes: tuple[str, ...]

    def no_token(self) -> RefusedError:
        """401 without an error code: the client has done nothing wrong yet (RFC 6750 section 3.1)."""
        return self._refusal(401, None, "unauthorized", "This MCP server needs an access token")

    def bad_token(self, description: str = "The access token is not valid") -> RefusedError:
        return self._refusal(401, "invalid_token", "invalid_token", description)

    def bad_request(self, description: str) -> RefusedError:
        return self._refusal(400, "invalid_request", "invalid_request", description)

    def insufficient_scope(self) -> RefusedError:
        return self._refusal(
            403, "insufficient_scope", "insufficient_scope", "The access token lacks a scope"
        )

    def token_in(self, headers: Headers) -> str:
        """The one bearer token of a request (RFC 6750 section 2.1).

        Raises RefusedError.
        """
        values = headers.getlist("authorization")
        if not values:
            raise self.no_token()
        if len(values) > 1:
            raise self.bad_request("More than one Authorization header")
        scheme, _, token = values[0].partition(" ")
        if scheme.lower() != "bearer":
            raise self.no_token()
        if not token.strip():
            raise self.bad_request("The Authorization header has no token")
        return token.strip(" ")

    def _refusal(self, status: int, code: str | None, error: str, description: str) -> RefusedError:
        parameters = {"realm": self.realm, "resource_metadata": self.metadata_url}
        if self.scopes:
            parameters["scope"] = " ".join(self.scopes)
        if code:
            parameters |= {"error": code, "error_description": description}
        challenge = "Bearer " + ", ".join(f'{name}="{value}"' for name, value in parameters.items())
        return refused(status, error, description, {"www-authenticate": challenge})


def resource_document(resource: str, issuers: Sequence[str], scopes: Sequence[str]) -> Response:
    """Protected-resource metadata (RFC 9728 section 2); without scopes of its own a resource names none."""
    document = {
        "resource": resource,
        "authorization_servers": list(issuers),
        "bearer_methods_supported": ["header"],
    }
    return public_json({**document, **({"scopes_supported": list(scopes)} if scopes else {})})


def public_json(document: Mapping[str, object]) -> Response:
    return JSONResponse(dict(document), 200, _PUBLIC)


_LOG = logging.getLogger(__name__)


class ResourceServer:
    """Accepts only our own access tokens, and swaps them for the user's upstream token or refuses."""

    def __init__(
        self,
        config: Auth,
        store: SqliteStore,
        tokens: AccessTokens,
        source: UpstreamTokenSource,
        clock: Clock,
    ) -> None:
        self._required = frozenset(config.required_scopes)
        self._challenge = Challenge(
            config.issuer, config.issuer + PROTECTED_RESOURCE_PATH, config.challenge_scopes
        )
        self.store = store
        self._tokens = tokens
        self._source = source
        self.clock = clock

    def authenticate(self, headers: Headers, query: Parameters | None) -> Grant:
        """The grant behind a request's token, asked anew each time, so that revocation works at once.

        Raises RefusedError.
        """
        if query is None or "access_token" in query:
            # A token in a URL ends up in logs and histories (RFC 6750 section 2.3, MCP: header only).
            raise (
                self._challenge.bad_request("Send the token in the Authorization header")
                if _bearer_sent(headers)
                else self._challenge.no_token()
            )
        claims = self._tokens.verify(self._challenge.token_in(headers))
        grant = self.store.grant(claims.tsid) if claims else None
        if claims is None or grant is None or (grant.sub, grant.client_id) != (claims.sub, claims.client_id):
            raise self._challenge.bad_token()
        if not self._required <= set(claims.scopes):
            raise self._challenge.insufficient_scope()
        return grant

    async def swap(self, grant: Grant, *, again: bool) -> UpstreamTokens:
        """The upstream token that replaces the client's; without one the request does not go on.

        The grant is read `again` if it may have been revoked since, while a slow body was on its way.

        Raises RefusedError.
        """
        current = self.store.grant(grant.tsid) if again else grant
        tokens = await self._source.current(current) if current else None
        if tokens is None:
            self.store.revoke(grant.tsid)
            _LOG.warning("grant revoked: client %s, no upstream token", grant.client_id)
            raise self._challenge.bad_token("The upstream token is no longer valid; sign in again")
        return tokens

    def upstream_refused(self, grant: Grant, used: UpstreamTokens | None) -> RefusedError:
        """The answer when the upstream refuses its own token: the user must sign in again."""
        current = self.store.grant(grant.tsid)
        # The token may have been renewed while this request was on its way.
        if current is not None and current.upstream == used:
            self.store.revoke(grant.tsid)
            _LOG.warning("grant revoked: client %s, the upstream refused its token", grant.client_id)
        return self._challenge.bad_token("The upstream token is no longer valid; sign in again")


def _bearer_sent(headers: Headers) -> bool:
    return headers.get("authorization", "").lower().startswith("bearer ")


def session_not_found() -> RefusedError:
    """404 with a JSON-RPC error, as ToolHive answers; the client then starts a new session."""
    return rpc_error(-32001, "Session not found", status=404)


_TOUCH_SECONDS = 300.0  # one query and one write in this time for a session, not for each of its calls
_REMEMBERED = 10_000


class Sessions:
    """Who opened which session; ids are learned from the server's answers, never from a client."""

    def __init__(self, store: SqliteStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._touched: dict[tuple[str, str], float] = {}
        self._owned: dict[tuple[str, str], float] = {}

    def check(self, session: str, tsid: str) -> None:
        """Raises RefusedError (404) for a session this grant did not open, whoever else may have."""
        now = self._clock()
        # One query in five minutes: a session never gets another owner, and one that another process has
        # ended gets its 404 from the server.
        if now - self._owned.get((session, tsid), -_TOUCH_SECONDS) < _TOUCH_SECONDS:
            return
        if self._store.session_owner(session, now) != tsid:
            raise session_not_found()
        _remember(self._owned, (session, tsid), now)

    def record(self, session: str, tsid: str) -> None:
        """The server named this session in an answer to this grant; written at most every few minutes."""
        now = self._clock()
        if now - self._touched.get((session, tsid), -_TOUCH_SECONDS) < _TOUCH_SECONDS:
            return
        _remember(self._touched, (session, tsid), now)
        self._store.bind_session(session, tsid, expires=now + SESSION_SECONDS, limit=SESSIONS_PER_GRANT)

    def ended(self, session: str, tsid: str) -> None:
        """The server knows this session of the grant no more."""
        self._owned.pop((session, tsid), None)
        self._store.end_session(session)


def _remember(times: dict[tuple[str, str], float], session: tuple[str, str], now: float) -> None:
    if len(times) >= _REMEMBERED:
        times.clear()  # it only costs one more query for each session
    times[session] = now
