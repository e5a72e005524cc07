"""The upstream token of a grant, refreshed before it expires; one refresh at a time."""

import asyncio
import logging

from workshop.auth.limits import Clock
from workshop.auth.records import Grant, UpstreamTokens
from workshop.auth.store import Store
from workshop.auth.upstream import Trouble, UpstreamError, UpstreamProvider

_LOG = logging.getLogger(__name__)
_EARLY_SECONDS = 60.0


class UpstreamTokenSource:
    """Gives the token to send upstream; tokens of OAuth apps do not expire and pass straight through."""

    def __init__(self, store: Store, provider: UpstreamProvider, clock: Clock) -> None:
        self._store = store
        self._provider = provider
        self._clock = clock
        self._running: dict[str, asyncio.Task[UpstreamTokens | None]] = {}

    async def current(self, grant: Grant) -> UpstreamTokens | None:
        """A token that is valid now, or None when the user has to sign in again.

        Raises UpstreamError while the upstream cannot be asked and the old token is past its time.
        """
        tokens = grant.upstream
        if tokens is None or self._left(tokens) > _EARLY_SECONDS:
            return tokens
        if tokens.refresh_token is None:
            return tokens if self._left(tokens) > 0 else None
        running = self._running.get(grant.tsid)
        if running is None:
            running = asyncio.create_task(self._refresh(grant.tsid))
            self._running[grant.tsid] = running
            running.add_done_callback(lambda done: self._finished(grant.tsid, done))
        # Shielded: one client that goes away must not end the refresh for the others.
        return await asyncio.shield(running)

    def _finished(self, tsid: str, done: "asyncio.Task[UpstreamTokens | None]") -> None:
        self._running.pop(tsid, None)
        if not done.cancelled():
            done.exception()  # looked at, even if every client that waited has gone

    async def _refresh(self, tsid: str) -> UpstreamTokens | None:
        grant = self._store.grant(tsid)
        if grant is None or grant.upstream is None or self._left(grant.upstream) > _EARLY_SECONDS:
            return grant.upstream if grant else None
        try:
            fresh = await self._provider.refresh(grant.upstream)
        except UpstreamError as error:
            return self._after_failure(tsid, grant.upstream, error)
        self._store.replace_upstream(tsid, grant.upstream, fresh)
        _LOG.info("upstream token refreshed: client %s", grant.client_id)
        return fresh

    def _after_failure(self, tsid: str, tried: UpstreamTokens, error: UpstreamError) -> UpstreamTokens | None:
        _LOG.warning("upstream token not refreshed: %s", error.trouble.value)
        stored = self._store.grant(tsid)
        if stored is not None and stored.upstream != tried:
            return stored.upstream  # another process was faster, and the upstream takes a refresh token once
        if self._left(tried) > 0:
            return tried
        if error.trouble is Trouble.REFUSED:
            return None
        raise error

    def _left(self, tokens: UpstreamTokens) -> float:
        return float("inf") if tokens.expires_at is None else tokens.expires_at - self._clock()
