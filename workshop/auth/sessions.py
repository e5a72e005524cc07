"""MCP sessions belong to the sign-in that opened them (`<user>:<session>`, MCP security best practices).

Protocol 2025-11-25 and before; 2026-07-28 has no sessions, and its requests pass without touching this.
"""

from workshop.auth.limits import SESSION_SECONDS, SESSIONS_PER_GRANT, Clock
from workshop.auth.resource_server import session_not_found
from workshop.auth.store import Store

_TOUCH_SECONDS = 300.0
_REMEMBERED = 10_000


class Sessions:
    """Who opened which session; ids are learned from the server's answers, never from a client."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._touched: dict[tuple[str, str], float] = {}

    def check(self, session: str, tsid: str) -> None:
        """Raises RefusedError (404) for a session this grant did not open, whoever else may have."""
        if self._store.session_owner(session, self._clock()) != tsid:
            raise session_not_found()

    def seen(self, session: str, tsid: str) -> None:
        """The server named this session in an answer to this grant; written at most every few minutes."""
        now = self._clock()
        if now - self._touched.get((session, tsid), -_TOUCH_SECONDS) < _TOUCH_SECONDS:
            return
        if len(self._touched) >= _REMEMBERED:
            self._touched.clear()
        self._touched[session, tsid] = now
        self._store.bind_session(session, tsid, expires=now + SESSION_SECONDS, limit=SESSIONS_PER_GRANT)

    def ended(self, session: str) -> None:
        self._store.end_session(session)
