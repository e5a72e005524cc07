"""What account linking stores, sealed: links that ask one person for one connection, and what came of them.

A link is random, and good once, for ten minutes. What comes of it are the person's tokens at a target's
upstream, which are renewed when their time is over.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from weakref import WeakValueDictionary

from workshop.auth.limits import SIGN_IN_SECONDS, Clock
from workshop.auth.outbound import SingleFlight
from workshop.auth.store import EARLY_SECONDS, UpstreamTokens
from workshop.auth.upstream import Trouble, UpstreamError
from workshop.auth.vault import SealedRecords, Vault, random_token

CONNECTED, REFUSED = "connected", "refused"
_AWAY_SECONDS = 120.0


@dataclass(frozen=True)
class Asked:
    """Whose call needs a connection, with which client, and for which target: the link is for nobody else."""

    subject: str
    client_id: str
    target: str


class Elicitations:
    """Opened by a call, claimed by the person's approval, settled by the callback."""

    def __init__(self, records: SealedRecords) -> None:
        self._records = records
        self._settled: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()  # while somebody waits
        self._on_settled: dict[str, tuple[float, Callable[[], Awaitable[None]]]] = {}

    def open(self, asked: Asked) -> str:
        """The id of a link: the same while the person may still be at it, so that a client can call again.

        Raises StoreFullError.
        """
        current = self._records.get("current", _key(asked))
        if current is not None:
            return str(current["link"])
        link = random_token()
        self._put(link, asdict(asked), link)
        # For half its time, so that nobody gets a link that is about to expire.
        self._records.put("current", _key(asked), {"link": link}, seconds=SIGN_IN_SECONDS / 2)
        return link

    def open_again(self, link: str) -> str | None:
        """A link in place of one that was approved and never finished; None for any other.

        Whoever closed the browser halfway would otherwise wait until the client gets another link. The client
        still knows the first one, and its outcome is what the client waits for.
        """
        claimed = self._records.get("claimed", link)
        if claimed is None or self._outcome(claimed["first"]):
            return None
        if claimed.get("next") and self.find(claimed["next"]):
            return str(claimed["next"])
        following = random_token()
        self._put(following, claimed["asked"], claimed["first"])
        self._records.put("claimed", link, {**claimed, "next": following}, seconds=SIGN_IN_SECONDS)
        return following

    def _put(self, link: str, asked: dict[str, Any], first: str) -> None:
        self._records.put("elicitation", link, {"asked": asked, "first": first}, seconds=SIGN_IN_SECONDS)

    def find(self, link: str) -> Asked | None:
        found = self._records.get("elicitation", link)
        return Asked(**found["asked"]) if found else None

    def first(self, link: str) -> str:
        """The link that the client knows: this one, or the one that it stands in for."""
        found = self._records.get("elicitation", link)
        return str(found["first"]) if found else link

    def claim(self, link: str) -> Asked | None:
        """Who asked, the first time only: the link is used from now on."""
        found = self._records.take("elicitation", link)
        if found is None:
            return None
        asked = Asked(**found["asked"])
        self._records.put("claimed", link, found, seconds=SIGN_IN_SECONDS)
        # The person is on the way to the upstream. Should they never come back, the next link is a new one.
        self._records.put("current", _key(asked), {"link": found["first"]}, seconds=_AWAY_SECONDS)
        return asked

    def when_settled(self, link: str, notify: Callable[[], Awaitable[None]]) -> None:
        """Call `notify` when the link is settled, if this process still runs then."""
        now = time.monotonic()
        self._on_settled = {known: each for known, each in self._on_settled.items() if each[0] > now}
        # Ten minutes for the link, and ten for the one that may replace it.
        self._on_settled[link] = now + 2 * SIGN_IN_SECONDS, notify

    async def settle(self, link: str, asked: Asked, outcome: str) -> None:
        self._records.take("current", _key(asked))
        self._records.put("outcome", link, {"outcome": outcome}, seconds=SIGN_IN_SECONDS)
        if event := self._settled.get(link):
            event.set()
        _, notify = self._on_settled.pop(link, (0.0, None))
        if notify:
            with contextlib.suppress(Exception):  # nobody may be listening any more
                await notify()

    async def outcome(self, link: str, seconds: float) -> str | None:
        """What came of it, waiting so long; None while the person is still at it."""
        if (known := self._outcome(link)) is None:
            # Nothing was awaited since the look-up, so no outcome can have come in between.
            event = self._settled.setdefault(link, asyncio.Event())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await event.wait()
            known = self._outcome(link)
        return known

    def _outcome(self, link: str) -> str | None:
        found = self._records.get("outcome", link)
        return str(found["outcome"]) if found else None


def _key(asked: Asked) -> str:
    return json.dumps(asdict(asked))


_SECONDS = 900.0
_PURPOSE = "request state"


class RequestState:
    """Which link a call waits for, and the attempt number; bound to the call and to who makes it."""

    def __init__(self, vault: Vault, clock: Clock = time.time) -> None:
        self._vault = vault
        self._clock = clock

    def seal(self, call: Mapping[str, Any], link: str, turn: int) -> str:
        """`call` names the caller, the tool and the arguments."""
        state = {"call": _digest(call), "link": link, "turn": turn, "expires": self._clock() + _SECONDS}
        return self._vault.seal_text(json.dumps(state), _PURPOSE)

    def open(self, call: Mapping[str, Any], sealed: str) -> tuple[str, int] | None:
        """Link and turn, or None for a state that is old, forged, or of another call."""
        plain = self._vault.unseal_text(sealed, _PURPOSE)
        state = json.loads(plain) if plain is not None else None
        if state is None or state["call"] != _digest(call) or state["expires"] <= self._clock():
            return None
        return state["link"], state["turn"]


def _digest(call: Mapping[str, Any]) -> str:
    # Sorted, because a client may send the same arguments in another order.
    return hashlib.sha256(json.dumps(call, sort_keys=True).encode()).hexdigest()


_LOG = logging.getLogger(__name__)
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
        return tokens if tokens.refresh_token or tokens.left(self._clock()) > 0 else None

    async def current(self, asked: Asked, home: str, refresh: Refresh) -> UpstreamTokens | None:
        """Tokens that are valid now; None if the person has to connect the account again.

        Raises UpstreamError while the upstream cannot be asked for new ones.
        """
        tokens = self.get(asked, home)
        if tokens is None or tokens.left(self._clock()) > EARLY_SECONDS:
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
            return stored if stored.left(self._clock()) > 0 else None
        try:
            fresh = await refresh(stored)
        except UpstreamError as error:
            _LOG.warning("upstream token of target %s not refreshed: %s", asked.target, error)
            if error.trouble is Trouble.REFUSED:
                self.evict(asked, home, stored)
                return None
            if stored.left(self._clock()) > 0:
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


def grants_of(target: str) -> str:
    """The kind of record that a target's grants are."""
    return f"grant {target}"
