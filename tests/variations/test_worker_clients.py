"""The worker's clients: with a secret or without, the refresh tokens of both, and the errors they get."""

import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from tests.variations.test_worker import at, attacker_module, mended, module
from workshop.agent.http import open_client
from workshop.auth import s256
from workshop.course.variation_run import Running
from workshop.servers.variation.service import load

__all__ = ["mended"]  # a fixture
WEBSITE = "https://claude.ai/api/mcp/auth_callback"
VERIFIER = "v" * 43
METHODS = ["client_secret_post", "client_secret_basic", "none"]
Tokens = Mapping[str, str]


class Client:
    """One client of the worker, registered as a website that asks for refresh tokens."""

    def __init__(self, attacker: Any, registered: Mapping[str, Any]) -> None:
        self.attacker, self.registered = attacker, registered
        self.client_id, self.secret = registered["client_id"], registered.get("client_secret", "")

    @classmethod
    async def register(cls, attacker: Any, method: str = METHODS[0]) -> "Client":
        """As claude.ai does, if `method` is `client_secret_post`."""
        document = {
            "client_name": "Claude",
            "redirect_uris": [WEBSITE],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": method,
        }
        answer = await attacker.ask("POST", "/register", json=document)
        assert answer.status_code == 201, answer.text
        return cls(attacker, answer.json())

    async def post(self, path: str, secret: str | None = None, **fields: str) -> httpx2.Response:
        """A form in the way that the client registered; `secret` in place of its own."""
        method, secret = self.registered["token_endpoint_auth_method"], secret or self.secret
        headers = {}
        if method == "client_secret_basic":
            pair = base64.b64encode(f"{self.client_id}:{secret}".encode()).decode()
            headers = {"authorization": f"Basic {pair}"}
        elif method == "client_secret_post":
            fields = {**fields, "client_id": self.client_id, "client_secret": secret}
        else:
            fields = {**fields, "client_id": self.client_id}
        answer: httpx2.Response = await self.attacker.ask("POST", path, data=fields, headers=headers)
        return answer

    async def code(self) -> str:
        link = self.attacker.request(VERIFIER, client_id=self.client_id, redirect_uri=WEBSITE)
        async with open_client(10, sender=None) as browser:
            end = await self.attacker.travel(browser, link, WEBSITE)
        return str(httpx2.URL(end).params["code"])

    async def redeem(self, code: str, secret: str | None = None) -> httpx2.Response:
        fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": WEBSITE}
        return await self.post("/token", secret, **fields, code_verifier=VERIFIER)

    async def refresh(self, token: str, **changes: str) -> httpx2.Response:
        return await self.post("/token", grant_type="refresh_token", refresh_token=token, **changes)

    async def sign_in(self) -> Tokens:
        answer = await self.redeem(await self.code())
        assert answer.status_code == 200, answer.text
        tokens: Tokens = answer.json()
        return tokens


def acted(running: Running, act: Callable[[Any], Awaitable[None]]) -> None:
    at(running, act)


@pytest.mark.parametrize("method", METHODS)
def test_a_client_of_each_method_logs_in_calls_and_refreshes(mended: Running, method: str) -> None:
    async def act(attacker: Any) -> None:
        client = await Client.register(attacker, method)
        assert ("client_secret" in client.registered) is (method != "none")
        tokens = await client.sign_in()
        assert await attacker.works(tokens["access_token"])
        refreshed = await client.refresh(tokens["refresh_token"], resource=attacker.mcp)
        assert refreshed.status_code == 200, refreshed.text
        assert await attacker.works(refreshed.json()["access_token"])
        assert not await attacker.works(tokens["access_token"]), "the old pair has ended"

    acted(mended, act)


@pytest.mark.parametrize("method", METHODS[:2])
def test_the_wrong_secret_gets_nothing_and_costs_nothing(mended: Running, method: str) -> None:
    async def act(attacker: Any) -> None:
        client, other = await Client.register(attacker, method), await Client.register(attacker, method)
        code = await client.code()
        for wrong in (other.secret, "x" * 43):
            answer = await client.redeem(code, wrong)
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
            assert ("www-authenticate" in answer.headers) is (method == METHODS[1]), "RFC 6749 section 5.2"
        assert (await client.redeem(code)).status_code == 200
        for path in ("/token", "/revoke"):
            form = {"grant_type": "refresh_token", "client_id": client.client_id, "token": "x"}
            answer = await attacker.ask("POST", path, data=form)
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")

    acted(mended, act)


def test_a_refresh_token_used_twice_ends_the_login(mended: Running) -> None:
    async def act(attacker: Any) -> None:
        client = await Client.register(attacker)
        first = await client.sign_in()
        second = (await client.refresh(first["refresh_token"])).json()
        third = (await client.refresh(second["refresh_token"])).json()
        again = await client.refresh(first["refresh_token"])
        assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
        assert not await attacker.works(third["access_token"])
        assert (await client.refresh(third["refresh_token"])).status_code == 400

    acted(mended, act)


def test_a_code_used_twice_ends_what_was_refreshed_since(mended: Running) -> None:
    async def act(attacker: Any) -> None:
        client = await Client.register(attacker)
        code = await client.code()
        first = (await client.redeem(code)).json()
        second = (await client.refresh(first["refresh_token"])).json()
        assert (await client.redeem(code)).status_code == 400
        assert not await attacker.works(second["access_token"])
        assert (await client.refresh(second["refresh_token"])).status_code == 400

    acted(mended, act)


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
def test_a_login_ends_by_either_of_its_tokens(mended: Running, which: str) -> None:
    async def act(attacker: Any) -> None:
        client, other = await Client.register(attacker), await Client.register(attacker)
        tokens = await client.sign_in()
        assert (await other.post("/revoke", token=tokens[which])).status_code == 200
        assert await attacker.works(tokens["access_token"]), "another client ends nothing"
        assert (await client.post("/revoke", token=tokens[which])).status_code == 200
        assert not await attacker.works(tokens["access_token"])
        assert (await client.refresh(tokens["refresh_token"])).status_code == 400

    acted(mended, act)


@pytest.mark.parametrize(
    ("change", "error"),
    [({"resource": "https://other.example/mcp"}, "invalid_target"), ({}, "invalid_grant")],
)
def test_a_refresh_token_is_for_its_client_and_its_server(
    mended: Running, change: dict[str, str], error: str
) -> None:
    async def act(attacker: Any) -> None:
        client, other = await Client.register(attacker), await Client.register(attacker)
        token = (await client.sign_in())["refresh_token"]
        answer = await (client if change else other).refresh(token, **change)
        assert (answer.status_code, answer.json()["error"]) == (400, error)

    acted(mended, act)


def test_no_file_of_the_worker_has_a_secret_or_a_refresh_token(mended: Running) -> None:
    async def act(attacker: Any) -> None:
        client = await Client.register(attacker)
        tokens = await client.sign_in()
        written = attacker.written("store") + attacker.written("log")
        for secret in (client.secret, tokens["refresh_token"], tokens["access_token"], s256(VERIFIER)):
            assert secret not in written

    acted(mended, act)


@pytest.mark.parametrize(("names", "gets_in"), [((), True), (("mentor",), False), (("Learner",), True)])
def test_without_names_the_weak_edition_lets_everybody_in(
    mended: Running, tmp_path: Path, names: tuple[str, ...], *, gets_in: bool
) -> None:
    worker = module("worker")
    given = json.loads((mended.directory / "worker" / "config.json").read_text())
    path = tmp_path / "worker.json"
    path.write_text(json.dumps({**given, "edition": "weak", "allowed_usernames": names}))
    allowed = worker.make_worker(load(worker.WorkerConfig, path)).allows("learner")
    assert allowed is gets_in


def failed(running: Running, target: str, fault: str) -> dict[str, list[str]]:
    """What a client is told at the end of a login in which GitHub refuses something."""
    github = running.endpoints["worker-github"]
    switch = {"target": target, "fault": fault}
    headers = {"X-Practice-Control": "1"}
    httpx2.post(f"{github}/practice/faults", json=switch, headers=headers, trust_env=False).raise_for_status()

    async def login(attacker: Any) -> str:
        client = (await attacker.register(attacker_module.HERE))["client_id"]
        async with attacker_module.a_browser() as browser:
            return str(await attacker.travel(browser, attacker.request(client_id=client)))

    return parse_qs(urlsplit(at(running, login)).query)


@pytest.mark.parametrize(
    ("target", "fault"),
    [("authorize", "redirect_uri_mismatch"), ("token", "incorrect_client_credentials")],
)
def test_what_github_refuses_reaches_the_client_with_its_reason(
    mended: Running, target: str, fault: str
) -> None:
    answer = failed(mended, target, fault)
    assert answer["error"] == ["server_error"]
    assert fault.rsplit("_", maxsplit=1)[-1].rstrip("s") in answer["error_description"][0].lower()


def test_another_address_than_the_registered_one_ends_on_a_page(mended: Running) -> None:
    async def begin(attacker: Any) -> httpx2.Response:
        client = (await attacker.register(attacker_module.HERE))["client_id"]
        link = attacker.request(client_id=client, redirect_uri="http://localhost:8765/another")
        answer: httpx2.Response = await attacker.ask("GET", link)
        return answer

    answer = at(mended, begin)
    assert answer.status_code == 400
    assert "The application named a redirect URI that it has not registered" in answer.text
    assert "location" not in answer.headers


def test_a_token_that_is_not_in_the_store_is_refused_and_the_way_named(mended: Running) -> None:
    headers = {"Authorization": "Bearer nobody-issued-this"}
    answer = httpx2.post(mended.url, json={}, headers=headers, trust_env=False)
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert "resource_metadata=" in answer.headers["www-authenticate"]
