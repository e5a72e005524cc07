"""*When it fails* in the worker's README: each entry is provoked in a test."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from tests.tiers import exists
from tests.variations.test_worker import FOLDER, at, attacker_module, mended, module
from workshop.course.variation_run import Running
from workshop.servers.variation.service import load

__all__ = ["mended"]  # a fixture

HERE = "tests/variations/test_worker"
PROVOKED = {
    "has no allowed_usernames": "_server.py::test_a_wrong_configuration_is_reported",
    "The weak edition works on loopback only": "_server.py::test_a_wrong_configuration_is_reported",
    "misdirected_request": "_server.py::test_the_form_counts_as_a_browser_sends_it_from_our_own_page",
    "redirect_uri_mismatch": "_trouble.py::test_what_github_refuses_reaches_the_client_with_its_reason",
    "access_denied": "_server.py::test_only_those_who_are_allowed_get_a_code",
    "server_error": "_trouble.py::test_what_github_refuses_reaches_the_client_with_its_reason",
    "invalid_redirect_uri": ".py::test_step_3_dynamic_client_registration",
    "The application named a redirect URI that it has not registered": (
        "_trouble.py::test_another_address_than_the_registered_one_ends_on_a_page"
    ),
    "invalid_client": "_clients.py::test_the_wrong_secret_gets_nothing_and_costs_nothing",
    "invalid_token": "_trouble.py::test_a_token_that_is_not_in_the_store_is_refused_and_the_way_named",
}
"""The test of each entry, behind `HERE`."""


def test_every_entry_is_provoked() -> None:
    section = (FOLDER / "README.md").read_text("utf-8").partition("## When it fails")[2]
    entries = re.findall(r"^- `(.+?)`", section.partition("\n## ")[0], re.MULTILINE)
    assert entries == list(PROVOKED)
    assert [test for test in PROVOKED.values() if not exists(HERE + test)] == []


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
