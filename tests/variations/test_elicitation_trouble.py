"""*When it fails* in the elicitation variation's README: each entry is provoked in a test."""

import re

import pytest

from tests.tiers import exists
from tests.variations.elicitation import PROFILE, Gateway, gateway, running, told
from tests.variations.real_elicitation import README

__all__ = ["gateway", "running"]  # fixtures

HERE = "tests/variations/test_elicitation"
PROVOKED = {
    "ResourceAlreadyExists": "_construct.py::test_what_exists_already_is_no_error_and_stays",
    "AccessDenied": "_construct.py::test_another_control_secret_is_refused",
    "Redirect URI mismatch": "_trouble.py::test_a_callback_that_github_does_not_know_is_explained",
    "The callback never completes": (
        "_attacks.py::test_who_closed_the_browser_halfway_can_start_again_at_once"
    ),
    "No bearer token provided": "_trouble.py::test_without_a_token_the_answer_names_the_document_to_read",
    "Tools return an error instead of data": ".py::test_what_may_not_be_seen_is_an_error",
    "The gateway does not answer": "_construct.py::test_what_goes_wrong_is_reported_and_can_be_cleaned",
    "… is not an issuer": "_targets.py::test_an_oidc_provider_is_known_by_its_discovery_document",
    "The OpenAPI description cannot be used at …": "_targets.py::test_a_target_that_cannot_work_is_named",
    "Identity mismatch": "_attacks.py::test_a_link_of_learners_connects_nothing_for_mentor",
}
"""The test of each entry, behind `HERE`."""


def test_every_entry_is_provoked() -> None:
    section = README.partition("## When it fails")[2].partition("\n## ")[0]
    entries = re.findall(r"^- [*`](.+?)[*`]", section, re.MULTILINE)
    assert entries == list(PROVOKED)
    assert [test for test in PROVOKED.values() if not exists(HERE + test)] == []


async def test_a_callback_that_github_does_not_know_is_explained(gateway: Gateway) -> None:
    async with gateway.browser() as browser, gateway.asking() as asking:
        url, _ = await asking.ask()
        await gateway.switch("faults", {"target": "authorize", "fault": "redirect_uri_mismatch"})
        page = await browser.open(url)
    assert page.status_code == 502
    assert "The account was not connected" in page.text
    assert "callback" in page.text


async def test_without_a_token_the_answer_names_the_document_to_read(gateway: Gateway) -> None:
    async with gateway.browser() as browser:
        answer = await browser.http.post(gateway.running.url, json={})
        named = re.search(r'resource_metadata="([^"]+)"', answer.headers["www-authenticate"])
        assert named is not None
        document = (await browser.http.get(named[1])).json()
    assert answer.status_code == 401
    assert document["authorization_servers"] == [gateway.issuer]


@pytest.mark.parametrize("name", ["get_user_profile", PROFILE])
async def test_the_originals_names_call_the_same_tools(gateway: Gateway, name: str) -> None:
    async with gateway.browser() as browser, gateway.asking() as asking:
        asking.then = browser.open
        assert told(await asking.client.call_tool(name))["username"] == "learner"
