"""Whatever the upstream answers during a sign-in: the client hears of it, and the gateway goes on."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzz.bench import Bench, bench, own_url, redirected_to
from tests.fuzz.effort import looks
from tests.fuzz.strategies import documents, encoded_json
from tests.servers.gateway.harness import CALLBACK, settings
from tests.servers.gateway.reading import query_of

TOKENS = {
    "access_token": "practice",
    "token_type": "bearer",
    "scope": "repo,user",
    "expires_in": 28800,
    "refresh_token": "again",
}
PERSON = {"id": 7, "login": "learner", "name": "Lea <b>", "email": "lea@practice.test"}


class Provider:
    """An upstream that says what a property wants it to say."""

    def __init__(self) -> None:
        self.token = self.person = (200, b"{}")

    async def answer(self, request: web.Request) -> web.Response:
        await request.read()
        status, body = self.token if request.path.endswith("access_token") else self.person
        return web.Response(status=status, body=body, headers={"Content-Type": "application/json"})


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider()


@pytest.fixture(scope="module")
def signing_in(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("gateway")

    def values(upstream: str) -> dict[str, Any]:
        return settings(folder, upstream=upstream)

    with bench(folder, values, web.route("*", "/{path:.*}", provider.answer)) as running:
        yield running


statuses = st.sampled_from([200, 200, 200, 200, 201, 204, 302, 400, 401, 404, 429, 500, 503])


@looks(150)
@given(
    token=st.tuples(statuses, documents(TOKENS)),
    person=st.tuples(statuses, documents(PERSON)),
)
@example(token=(200, encoded_json({**TOKENS, "expires_in": 10**400})), person=(200, encoded_json(PERSON)))
def test_any_answer_of_the_upstream_ends_in_a_code_or_an_error_for_the_client(
    signing_in: Bench, provider: Provider, token: tuple[int, bytes], person: tuple[int, bytes]
) -> None:
    site = signing_in.site
    site.browser.cookies.clear()
    provider.token, provider.person = token, person
    client_id = signing_in.run(site.register())
    to_upstream = signing_in.run(site.decide(signing_in.run(site.authorize(client_id))))
    state = query_of(to_upstream)["state"]
    query = urlencode({"code": "a-code-of-the-upstream", "state": state})
    answer = signing_in.browse("GET", own_url(f"/oauth/callback?{query}"))
    assert redirected_to(answer) == CALLBACK
    told = query_of(answer)
    assert told["state"] == "the-client-state"
    assert ("code" in told) != ("error" in told)
    signing_in.unlogged("a-code-of-the-upstream", state, told.get("code", ""))
    if "code" in told:
        assert token[0] == person[0] == 200
        redeemed = signing_in.run(site.redeem(client_id, told["code"]))
        signing_in.must_be_harmless(redeemed)
        assert redeemed.status_code == 200
        assert "error" not in redeemed.json()
