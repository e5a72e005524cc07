"""Codes and refresh tokens, however their uses are interleaved, against a model that fits on a page."""

from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    multiple,
    rule,
    run_state_machine_as_test,
)

from tests.fuzz.bench import Bench
from tests.fuzz.effort import looks
from tests.servers.gateway.harness import CALLBACK, DISCOVER, MCP_HEADERS, VERIFIER
from workshop.auth.limits import REPEAT_SECONDS

WAITS = st.sampled_from(
    [1.0, 2.0, 5.0, REPEAT_SECONDS - 1, REPEAT_SECONDS + 1, 599.0, 3601.0, 3 * 24 * 3600.0]
)
DAY = 24 * 3600.0
MOSTLY = st.sampled_from([True] * 5 + [False])  # a family that dies at once tells little
FAILURES = {400, 401}


@dataclass
class Family:
    """One sign-in, and all that came of its code; `access` holds when each access token ends.

    `registered` holds when each client is forgotten: a day after it registered, 30 after its last token.
    """

    client: str
    stranger: str
    code: str
    code_expires: float
    taken: bool = False
    alive: bool = True
    access: dict[str, float] = field(default_factory=dict)
    registered: dict[str, float] = field(default_factory=dict)

    def sender(self, *, own: bool) -> str:
        return self.client if own else self.stranger


@dataclass
class Refresh:
    """A refresh token: when it ends, and when and into what it was first used."""

    family: Family
    text: str
    expires: float
    used: float | None = None
    successor: "Refresh | None" = None


class Families(RuleBasedStateMachine):
    """Each rule does what a client or a thief may do, and knows beforehand what must come of it."""

    bench: Bench
    families: Bundle[Family] = Bundle("families")
    tokens: Bundle[Refresh] = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.known: list[Family] = []

    @property
    def now(self) -> float:
        return self.bench.site.clock.now

    @rule(target=families, user=st.sampled_from(["learner", "mentor"]))
    def sign_in(self, user: str) -> Family:
        site = self.bench.site
        site.browser.cookies.clear()
        client, stranger = (self.bench.run(site.register()) for _ in range(2))
        code = self.bench.run(site.code(client, user))["code"]
        family = Family(client, stranger, code, self.now + self.bench.auth.code_seconds)
        family.registered |= {stranger: self.now + DAY, client: self.now + DAY - 1}  # a second apart
        self.known.append(family)
        return family

    @rule(target=tokens)
    def log_in(self) -> "Refresh | MultipleResults[Refresh]":
        return self.redeem(self.sign_in("learner"), VERIFIER, own=True)

    @rule(seconds=WAITS)
    def time_passes(self, seconds: float) -> None:
        self.bench.site.clock.now += seconds

    @rule(target=tokens, family=families, own=MOSTLY, verifier=st.sampled_from([VERIFIER] * 5 + ["v" * 43]))
    def redeem(self, family: Family, verifier: str, *, own: bool) -> "Refresh | MultipleResults[Refresh]":
        proven = own and verifier == VERIFIER
        in_time = self.now < family.code_expires
        good = proven and family.alive and not family.taken and in_time
        if self._is_registered(family, own=own):
            if family.taken or (not proven and in_time):
                family.alive = False  # a replay, or a code in the wrong hands
            family.taken = family.taken or in_time
        answer = self._token(
            family if own else None,
            family,
            grant_type="authorization_code",
            code=family.code,
            redirect_uri=CALLBACK,
            code_verifier=verifier,
            good=good,
        )
        return self._refresh_token(family, answer) if answer else multiple()

    @rule(target=tokens, token=tokens, own=MOSTLY)
    def refresh(self, token: Refresh, *, own: bool) -> "Refresh | MultipleResults[Refresh]":
        family = token.family
        known = own and family.alive and self.now < token.expires and self._is_registered(family, own=own)
        repeated = token.used is not None and self._may_repeat(token)
        answer = self._token(
            family if own else None,
            family,
            grant_type="refresh_token",
            refresh_token=token.text,
            good=known and (token.used is None or repeated),
        )
        if answer is None:
            family.alive = family.alive and not known  # known, and still refused: it was used before
            return multiple()
        if token.successor is not None:
            assert answer["refresh_token"] == token.successor.text, "a repetition gets the same successor"
            return multiple()
        token.used = self.now
        token.successor = self._refresh_token(family, answer)
        return token.successor

    @rule(token=tokens, own=MOSTLY)
    def revoke(self, token: Refresh, *, own: bool) -> None:
        family = token.family
        fields = {"client_id": family.sender(own=own), "token": token.text}
        known = self._is_registered(family, own=own)
        answer = self.bench.send("POST", "/oauth/revoke", data=fields)
        assert answer.status_code == (200 if known else 401)
        if own and known and self.now < token.expires:
            family.alive = False

    @rule(family=families)
    def call(self, family: Family) -> None:
        for token, expires in family.access.items():
            headers = {**MCP_HEADERS, "Authorization": f"Bearer {token}"}
            answer = self.bench.send("POST", "/mcp", json=DISCOVER, headers=headers)
            assert answer.status_code == (200 if family.alive and self.now < expires else 401)

    def teardown(self) -> None:
        for family in self.known:
            self.call(family)

    def _is_registered(self, family: Family, *, own: bool) -> bool:
        return self.now < family.registered[family.sender(own=own)]

    def _may_repeat(self, token: Refresh) -> bool:
        assert token.used is not None
        assert token.successor is not None
        return self.now - token.used <= REPEAT_SECONDS and token.successor.used is None

    def _token(
        self, sender: Family | None, family: Family, *, good: bool, **fields: str
    ) -> dict[str, str] | None:
        client_id = family.sender(own=sender is not None)
        answer = self.bench.send("POST", "/oauth/token", data={"client_id": client_id, **fields})
        assert (answer.status_code == 200) == good, answer.text
        if not good:
            assert answer.status_code in FAILURES
            return None
        document: dict[str, str] = answer.json()
        family.access[document["access_token"]] = self.now + self.bench.auth.access_seconds
        family.registered[client_id] = self.now + 30 * DAY
        return document

    def _refresh_token(self, family: Family, answer: dict[str, str]) -> Refresh:
        return Refresh(family, answer["refresh_token"], self.now + self.bench.auth.refresh_seconds)


@pytest.mark.timeout(900)  # it takes a minute alone, and other programs may have both cores
def test_a_code_gives_one_set_of_tokens_and_a_dead_family_stays_dead(target: Bench) -> None:
    bound = type("BoundFamilies", (Families,), {"bench": target})
    run_state_machine_as_test(bound, settings=looks(50, steps=40))
