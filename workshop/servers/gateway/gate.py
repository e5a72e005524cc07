"""Admission to the relay: users with a valid token, or everyone without an authorization server."""

from typing import NamedTuple, Protocol

from starlette.datastructures import Headers

from workshop.auth import Parameters, RefusedError, UpstreamError
from workshop.auth.http import refused
from workshop.auth.resource_server import ResourceServer, Sessions
from workshop.auth.store import Grant, StoreUnavailableError, UpstreamTokens
from workshop.auth.upstream import Trouble

_SESSION = "mcp-session-id"
_UNAUTHORIZED, _NOT_FOUND, _FAILURE = 401, 404, 400


class Answer(NamedTuple):
    """The properties of an upstream's answer that the gate uses."""

    method: str
    status: int
    session: str | None


class Admission(Protocol):
    """One admitted request."""

    async def credentials(self, *, waited: bool) -> dict[str, str]:
        """Headers that make the upstream accept the request; read last, when the body has arrived.

        `waited` is whether anything else can have happened since the admission. Raises RefusedError.
        """

    def answered(self, answer: Answer) -> None:
        """Raises RefusedError if the client must not get this answer."""

    def admitted(self) -> bool:
        """Whether the request is still admitted; called again and again during a long answer."""


class Gate(Protocol):
    """Decides about each request separately."""

    async def admit(self, headers: Headers, query: Parameters | None) -> Admission:
        """Raises RefusedError."""


class _Passing:
    async def credentials(self, *, waited: bool) -> dict[str, str]:
        del waited
        return {}

    def answered(self, answer: Answer) -> None:
        """Do nothing: without an authorization server, there are no sessions to remember."""

    def admitted(self) -> bool:
        return True


class OpenGate:
    """No authorization: Host and Origin were checked before, and no Authorization goes upstream."""

    async def admit(self, headers: Headers, query: Parameters | None) -> Admission:
        del headers, query
        return _Passing()


class _SignedIn:
    def __init__(self, grant: Grant, session: str | None, server: ResourceServer, sessions: Sessions) -> None:
        self._grant = grant
        self._session = session
        self._server = server
        self._sessions = sessions
        self._used: UpstreamTokens | None = None

    async def credentials(self, *, waited: bool) -> dict[str, str]:
        try:
            self._used = await self._server.swap(self._grant, again=waited)
        except UpstreamError as error:
            raise upstream_failure(slow=error.trouble is Trouble.SLOW) from error
        return {"Authorization": f"Bearer {self._used.access_token}"}

    def answered(self, answer: Answer) -> None:
        if answer.status == _UNAUTHORIZED:
            raise self._server.upstream_refused(self._grant, self._used)
        succeeded = answer.status < _FAILURE
        if self._session and (answer.status == _NOT_FOUND or (succeeded and answer.method == "DELETE")):
            self._sessions.ended(self._session, self._grant.tsid)
        elif answer.session and succeeded:
            self._sessions.record(answer.session, self._grant.tsid)

    def admitted(self) -> bool:
        try:
            return self._server.store.grant(self._grant.tsid) is not None
        except StoreUnavailableError:
            return False


class TokenGate:
    """Replaces the gateway's access token by the user's upstream token; a session stays with its user."""

    def __init__(self, server: ResourceServer, sessions: Sessions) -> None:
        self._server = server
        self._sessions = sessions

    async def admit(self, headers: Headers, query: Parameters | None) -> Admission:
        grant = self._server.authenticate(headers, query)
        session = headers.get(_SESSION)
        if session is not None:
            self._sessions.check(session, grant.tsid)
        return _SignedIn(grant, session, self._server, self._sessions)


def upstream_failure(*, slow: bool, description: str | None = None) -> RefusedError:
    """502, or 504 for an upstream that did not answer in time."""
    error = "gateway_timeout" if slow else "bad_gateway"
    reason = description or (
        "The remote server did not answer in time" if slow else "The remote server cannot be reached"
    )
    return refused(504 if slow else 502, error, reason)
