"""The vault: each person's tokens at the upstream of a target, renewed when their time is over."""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from workshop.auth.limits import Clock
from workshop.auth.linking.elicitations import Asked
from workshop.auth.outbound import SingleFlight
from workshop.auth.store import UpstreamTokens
from workshop.auth.upstream import Trouble, UpstreamError
from workshop.auth.vault import SealedRecords

_LOG = logging.getLogger(__name__)
_EARLY_SECONDS = 60.0  # a token with less time left might expire on its way to the upstream
Refresh = Callable[[UpstreamTokens], Awaitable[UpstreamTokens]]


class Grants:
    """The upstream's tokens by person and target. No token leaves it but towards the upstream.

    `home` is where a token comes from and goes to; when that changes, the token is not used any more.
    """

    def __init__(self, records: SealedRecords, clock: Clock = time.time) -> None:
        self._records, self._clock = records, clock
        self._flights = SingleFlight[tuple[str, str], UpstreamTokens | None]()

    def put(self, asked: Asked, home: str, tokens: UpstreamTokens) -> None:
        self._records.put(grants_of(asked.target), asked.subject, {"home": home, "tokens": asdict(tokens)})

    def get(self, asked: Asked, home: str) -> UpstreamTokens | None:
        """Tokens that are valid, or that can be renewed."""
        found = self._records.get(grants_of(asked.target), asked.subject)
        if found is None or found["home"] != home:
            return None
        tokens = UpstreamTokens(**found["tokens"])
        return tokens if tokens.refresh_token or self._left(tokens) > 0 else None

    async def current(self, asked: Asked, home: str, refresh: Refresh) -> UpstreamTokens | None:
        """Tokens that are valid now; None if the person has to connect the account again.

        Raises UpstreamError while the upstream cannot be asked for new ones.
        """
        tokens = self.get(asked, home)
        if tokens is None or self._left(tokens) > _EARLY_SECONDS:
            return tokens
        return await self.renewed(asked, home, tokens, refresh)

    async def renewed(
        self, asked: Asked, home: str, old: UpstreamTokens, refresh: Refresh
    ) -> UpstreamTokens | None:
        """Tokens that replace `old`, which the upstream refuses or soon will; otherwise as `current`.

        However many calls wait for it, the refresh token is used once: many upstreams take it for stolen
        otherwise.
        """
        key = (asked.target, asked.subject)
        return await self._flights.join(key, lambda: self._renew(asked, home, old, refresh))

    async def _renew(
        self, asked: Asked, home: str, old: UpstreamTokens, refresh: Refresh
    ) -> UpstreamTokens | None:
        stored = self.get(asked, home)
        if stored is None or stored.access_token != old.access_token:
            return stored  # newer ones have come meanwhile, or there are none any more
        if stored.refresh_token is None:
            return stored if self._left(stored) > 0 else None
        try:
            fresh = await refresh(stored)
        except UpstreamError as error:
            _LOG.warning("upstream token of target %s not refreshed: %s", asked.target, error)
            if error.trouble is Trouble.REFUSED:
                self.evict(asked, home, stored)
                return None
            if self._left(stored) > 0:
                return stored
            raise
        if self.get(asked, home) == stored:  # its target may have been removed meanwhile
            self.put(asked, home, fresh)
        _LOG.info("upstream token refreshed: user %s, target %s", asked.subject, asked.target)
        return fresh

    def evict(self, asked: Asked, home: str, refused: UpstreamTokens) -> None:
        """Forget tokens that the upstream refused, unless newer ones have come meanwhile."""
        if self.get(asked, home) == refused:
            self._records.take(grants_of(asked.target), asked.subject)

    def _left(self, tokens: UpstreamTokens) -> float:
        return float("inf") if tokens.expires_at is None else tokens.expires_at - self._clock()


def grants_of(target: str) -> str:
    """The kind of record that a target's grants are."""
    return f"grant {target}"
