"""The resource server's decision on each request: whose it is, and with which upstream token it goes on."""

import logging

from starlette.datastructures import Headers

from workshop.auth.access_tokens import AccessTokens
from workshop.auth.challenge import Challenge, RefusedError
from workshop.auth.config_auth import Auth
from workshop.auth.json_rpc import rpc_error
from workshop.auth.limits import Clock
from workshop.auth.metadata import PROTECTED_RESOURCE_PATH
from workshop.auth.parameters import Parameters
from workshop.auth.records import Grant, UpstreamTokens
from workshop.auth.store import Store
from workshop.auth.upstream_tokens import UpstreamTokenSource

_LOG = logging.getLogger(__name__)


class ResourceServer:
    """Accepts only our own access tokens, and swaps them for the user's upstream token or refuses."""

    def __init__(
        self, config: Auth, store: Store, tokens: AccessTokens, source: UpstreamTokenSource, clock: Clock
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

    async def swap(self, grant: Grant) -> UpstreamTokens:
        """The upstream token that replaces the client's; without one the request does not go on.

        The grant is read again: it may have been revoked while a slow body was on its way.

        Raises RefusedError.
        """
        current = self.store.grant(grant.tsid)
        tokens = await self._source.current(current) if current else None
        if tokens is None:
            self.store.revoke(grant.tsid)
            _LOG.warning("grant revoked: client %s, no upstream token", grant.client_id)
            raise self._challenge.bad_token("The upstream token is no longer valid; sign in again")
        return tokens

    def upstream_refused(self, grant: Grant, used: UpstreamTokens | None) -> RefusedError:
        """What to answer when the upstream did not take its own token: sign in again."""
        current = self.store.grant(grant.tsid)
        if current is not None and current.upstream == used:
            self.store.revoke(grant.tsid)
            _LOG.warning("grant revoked: client %s, the upstream refused its token", grant.client_id)
        return self._challenge.bad_token("The upstream token is no longer valid; sign in again")


def _bearer_sent(headers: Headers) -> bool:
    return headers.get("authorization", "").lower().startswith("bearer ")


def session_not_found() -> RefusedError:
    """404 in JSON-RPC's words, as ToolHive answers: the client starts a new session."""
    return rpc_error(-32001, "Session not found", status=404)
