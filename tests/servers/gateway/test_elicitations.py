"""Links that ask for a connection, the grants that come of them, and the state a client carries meanwhile."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from tests.servers.gateway.harness import Clock
from workshop.auth.linking.records import CONNECTED, REFUSED, Asked, Elicitations, Grants, RequestState
from workshop.auth.store import UpstreamTokens
from workshop.auth.upstream import Trouble, UpstreamError
from workshop.auth.vault import SealedRecords, Vault

VAULT = Vault(b"a key of the tests, long enough for all")
LEARNER = Asked("learner", "agent", "GitHubTarget")
MENTOR = Asked("mentor", "agent", "GitHubTarget")
CALL = {"who": "learner", "tool": "getUserRepos", "with": {"sort": "updated"}}
HOME = "https://api.github.com"
TOKENS = UpstreamTokens("one", None, None)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def records(tmp_path: Path, clock: Clock) -> Iterator[SealedRecords]:
    with closing(SealedRecords(str(tmp_path / "store.sqlite"), VAULT, clock)) as found:
        yield found


@pytest.fixture
def links(records: SealedRecords) -> Elicitations:
    return Elicitations(records)


def test_a_link_is_the_same_while_it_may_be_used_and_another_for_another(links: Elicitations) -> None:
    link = links.open(LEARNER)
    assert links.open(LEARNER) == link
    assert links.find(link) == LEARNER
    others = {links.open(MENTOR), links.open(Asked("learner", "another agent", "GitHubTarget"))}
    assert link not in others
    assert len(others) == 2


def test_a_link_is_claimed_once(links: Elicitations) -> None:
    link = links.open(LEARNER)
    assert links.claim(link) == LEARNER
    assert links.claim(link) is None
    assert links.find(link) is None


def test_a_link_is_good_for_ten_minutes(links: Elicitations, clock: Clock) -> None:
    link = links.open(LEARNER)
    clock.now += 599
    assert links.find(link) == LEARNER
    clock.now += 1
    assert links.find(link) is None
    assert links.claim(link) is None


def test_nobody_is_given_a_link_that_is_about_to_end(links: Elicitations, clock: Clock) -> None:
    link = links.open(LEARNER)
    clock.now += 301
    assert links.open(LEARNER) != link


def test_who_never_comes_back_from_the_upstream_gets_a_new_link(links: Elicitations, clock: Clock) -> None:
    link = links.open(LEARNER)
    links.claim(link)
    assert links.open(LEARNER) == link
    clock.now += 121
    assert links.open(LEARNER) != link


async def test_a_link_that_was_never_finished_gives_way_to_one_that_settles_it(links: Elicitations) -> None:
    link = links.open(LEARNER)
    assert links.open_again(link) is None, "nobody has used it"
    links.claim(link)
    following = links.open_again(link)
    assert following not in {None, link}
    assert links.open_again(link) == following, "one at a time"
    assert links.open(LEARNER) == link, "the client is not asked for another address"
    assert following is not None
    assert (links.find(following), links.first(following)) == (LEARNER, link)
    assert links.claim(following) == LEARNER
    another = links.open_again(following)
    assert another is not None
    assert links.first(another) == link
    await links.settle(link, LEARNER, CONNECTED)
    assert links.open_again(link) is None
    assert links.open_again(following) is None


def test_an_unknown_link_gives_way_to_none(links: Elicitations) -> None:
    assert links.open_again("unknown") is None


async def test_the_outcome_is_known_to_who_waits_and_to_who_comes_later(links: Elicitations) -> None:
    link = links.open(LEARNER)
    assert await links.outcome(link, 0.01) is None
    seen: list[str | None] = []

    async def wait() -> None:
        with anyio.fail_after(50):  # it is told, and does not look again at the end of its time
            seen.append(await links.outcome(link, 60))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        await links.settle(link, LEARNER, CONNECTED)
    assert seen == [CONNECTED, CONNECTED]
    assert await links.outcome(link, 5) == CONNECTED
    assert links.open(LEARNER) != link


async def test_who_cannot_be_told_any_more_is_in_nobodys_way(links: Elicitations) -> None:
    link, told = links.open(LEARNER), []

    async def gone() -> None:
        told.append(link)
        raise ConnectionError

    links.when_settled(link, gone)
    await links.settle(link, LEARNER, REFUSED)
    await links.settle(link, LEARNER, REFUSED)
    assert told == [link]


def test_a_grant_is_one_persons_at_one_place(records: SealedRecords) -> None:
    grants = Grants(records)
    grants.put(LEARNER, HOME, TOKENS)
    assert grants.get(LEARNER, HOME) == TOKENS
    assert grants.get(MENTOR, HOME) is None
    assert grants.get(LEARNER, "https://elsewhere.example") is None
    assert grants.get(Asked("learner", "agent", "AnotherTarget"), HOME) is None


def test_only_the_tokens_that_were_refused_are_forgotten(records: SealedRecords) -> None:
    grants, newer = Grants(records), UpstreamTokens("two", None, None)
    grants.put(LEARNER, HOME, newer)
    grants.evict(LEARNER, HOME, TOKENS)
    assert grants.get(LEARNER, HOME) == newer
    grants.evict(LEARNER, HOME, newer)
    assert grants.get(LEARNER, HOME) is None


def test_tokens_past_their_time_are_no_grant(records: SealedRecords) -> None:
    grants = Grants(records)
    grants.put(LEARNER, HOME, UpstreamTokens("one", None, 1.0))
    assert grants.get(LEARNER, HOME) is None


class Upstream:
    """Answers refreshes: with the next tokens, or with an error; counts them."""

    def __init__(self, trouble: Trouble | None = None) -> None:
        self.trouble, self.asked = trouble, list[UpstreamTokens]()

    async def refresh(self, tokens: UpstreamTokens) -> UpstreamTokens:
        self.asked.append(tokens)
        await asyncio.sleep(0)
        if self.trouble:
            raise UpstreamError(self.trouble)
        return UpstreamTokens("fresh", "next", 9_000_000_000.0)


OLD, EARLY = -3600.0, 50.0
"""Seconds to the end of tokens that have expired, and of those that expire soon."""


def ending_in(seconds: float) -> UpstreamTokens:
    """Tokens that are stored when the test runs, which may be minutes after its collection."""
    return UpstreamTokens("stored", "refresh", time.time() + seconds)


@pytest.mark.parametrize("seconds", [OLD, EARLY], ids=["expired", "soon to expire"])
async def test_tokens_are_renewed_once_for_all_that_wait(records: SealedRecords, seconds: float) -> None:
    grants, upstream, stored = Grants(records), Upstream(), ending_in(seconds)
    grants.put(LEARNER, HOME, stored)
    calls = (grants.current(LEARNER, HOME, upstream.refresh) for _ in range(5))
    assert {tokens.access_token for tokens in await asyncio.gather(*calls) if tokens} == {"fresh"}
    assert upstream.asked == [stored]
    assert (await grants.current(LEARNER, HOME, upstream.refresh)) == grants.get(LEARNER, HOME)
    assert upstream.asked == [stored]


@pytest.mark.parametrize(
    ("seconds", "trouble", "stays"),
    [(OLD, Trouble.REFUSED, False), (EARLY, Trouble.REFUSED, False), (EARLY, Trouble.UNREACHABLE, True)],
)
async def test_tokens_that_cannot_be_renewed_are_used_as_long_as_they_may_be(
    records: SealedRecords, seconds: float, trouble: Trouble, *, stays: bool
) -> None:
    grants, upstream, stored = Grants(records), Upstream(trouble), ending_in(seconds)
    grants.put(LEARNER, HOME, stored)
    left = stored if stays else None
    assert await grants.current(LEARNER, HOME, upstream.refresh) == left
    assert grants.get(LEARNER, HOME) == left


async def test_while_the_upstream_is_away_nobody_has_to_connect_again(records: SealedRecords) -> None:
    grants, upstream = Grants(records), Upstream(Trouble.UNREACHABLE)
    old = ending_in(OLD)
    grants.put(LEARNER, HOME, old)
    with pytest.raises(UpstreamError):
        await grants.current(LEARNER, HOME, upstream.refresh)
    assert grants.get(LEARNER, HOME) == old


@pytest.mark.parametrize(
    "call",
    [CALL | {"who": "mentor"}, CALL | {"tool": "getUserProfile"}, CALL | {"with": {"sort": "created"}}, {}],
)
def test_a_state_is_good_for_the_call_it_was_made_for(call: dict[str, object], clock: Clock) -> None:
    states = RequestState(VAULT, clock)
    sealed = states.seal(CALL, "a-link", 3)
    assert states.open(CALL, sealed) == ("a-link", 3)
    assert states.open(call, sealed) is None


@pytest.mark.parametrize(
    "change", [lambda text: text[:-2], lambda text: text[2:], lambda text: "no hex", lambda _: ""]
)
def test_a_state_that_was_changed_is_none(change: object, clock: Clock) -> None:
    states = RequestState(VAULT, clock)
    sealed = states.seal(CALL, "a-link", 3)
    assert callable(change)
    assert states.open(CALL, change(sealed)) is None


def test_a_state_is_good_for_a_quarter_of_an_hour_and_tells_nothing(clock: Clock) -> None:
    states = RequestState(VAULT, clock)
    sealed = states.seal(CALL, "a-link", 3)
    assert b"a-link" not in bytes.fromhex(sealed)
    clock.now += 900
    assert states.open(CALL, sealed) is None
