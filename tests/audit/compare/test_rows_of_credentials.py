"""The rows about GitHub's credential, and the other rows, from evidence in both directions."""

from dataclasses import replace
from typing import Any

import pytest

from tests.audit.compare.conftest import ASKED, CLEANED, CREDENTIAL, OK, call, exchange, probe_result, request
from tests.audit.compare.test_rows_of_logins import value_and_tone
from workshop.audit.compare import upstream
from workshop.audit.compare.evidence import (
    Asked,
    Evidence,
    GitHubRecord,
    Moment,
    Names,
    Searched,
    Sent,
    Unobserved,
)
from workshop.audit.compare.rows import ROWS
from workshop.audit.probe.model import Severity
from workshop.audit.probe.report import Finding
from workshop.servers.practice.client import fingerprint

ROW = {row.id: row for row in ROWS}
ELICITED = replace(ASKED, moments=(*ASKED.moments, Moment(31, "PageRequested")))
BY_HEADER = Sent({"x-github-pat": CREDENTIAL}, Asked("It wants a header"))
LATE = GitHubRecord((exchange(35), call(36)), (call(61),), (), 3, 1)
BEFORE = GitHubRecord((call(5, "b" * 64), call(31)), (), (), 2, 1)


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ({}, "OAuth, within the login"),
        ({"github_record": LATE}, "OAuth, after the login"),
        ({"github_record": LATE, "asked": ELICITED}, "URL elicitation"),
        ({"github_record": BEFORE, "sent": BY_HEADER}, "the user's, in x-github-pat"),
        ({"github_record": BEFORE}, "the server's own"),
        ({"github_record": GitHubRecord((call(5),), (), (), 1, 1)}, "none"),  # not while a tool ran
        ({"github": None}, "none"),
        ({"github_record": Unobserved("it did not answer")}, "not observed"),
        ({"asked": replace(ASKED, failure="No login")}, "not observed"),
    ],
)
def test_how_the_credential_is_obtained_follows_from_githubs_record(
    right: Evidence, changed: dict[str, Any], value: str
) -> None:
    assert value_and_tone(right, "credential", **changed)[0] == value


PLAINTEXT = Searched(7, ("one/log.txt", "one/store.sqlite-wal"), ("one/store.sqlite",))


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ({}, ("on disk, no plaintext", "good")),
        ({"searched": PLAINTEXT}, ("plaintext in store.sqlite and log.txt", "bad")),
        ({"again": Asked("", "A login was wanted")}, ("in memory", "plain")),
        (
            {
                "github_record": GitHubRecord(
                    (exchange(15), call(31)), (exchange(55), call(61, "d" * 64)), (), 4, 1
                )
            },
            ("obtained anew each time", "plain"),
        ),
        (
            {"github_record": GitHubRecord((exchange(15), call(31)), (call(61, "d" * 64),), (), 3, 1)},
            ("no plaintext", "plain"),
        ),
        ({"again": Unobserved("it did not come back")}, ("no plaintext", "plain")),
        ({"sent": BY_HEADER}, ("not stored", "good")),
        ({"sent": replace(BY_HEADER, bare=ASKED)}, ("stored, no plaintext", "plain")),
        ({"sent": BY_HEADER, "searched": PLAINTEXT}, ("plaintext in store.sqlite and log.txt", "bad")),
        ({"github": None}, ("nowhere", "plain")),
        ({"searched": Unobserved("the disk failed")}, ("not observed", "unseen")),
    ],
)
def test_where_it_is_stored_follows_from_the_files_and_a_restart(
    right: Evidence, changed: dict[str, Any], value: tuple[str, str]
) -> None:
    assert value_and_tone(right, "kept", **changed) == value


def test_a_token_of_the_clients_at_github_is_found_in_any_field(right: Evidence) -> None:
    token = "a-token-of-the-clients"
    hashed = request(31, "/mcp", sha256=fingerprint(token))
    in_form = request(32, "/login/oauth/access_token", subject=token)
    assert upstream.carrying([call(30), hashed, in_form], {token}) == ["/mcp", "/login/oauth/access_token"]
    assert upstream.carrying([call(30)], {token}) == []
    assert value_and_tone(right, "passthrough") == ("no", "good")
    leaking = GitHubRecord((call(31),), (), ("/mcp",), 3, 1)
    assert value_and_tone(right, "passthrough", github_record=leaking) == ("yes", "bad")
    assert (
        value_and_tone(right, "passthrough", github_record=replace(leaking, carried=(), tokens=0))[0]
        == "not observed"
    )


@pytest.mark.parametrize(
    ("listed", "behind", "value"),
    [
        (("get_me", "fork"), {"github": ("get_me", "fork")}, "none"),
        (("github_get_me", "notes_add"), {"github": ("get_me",), "notes": ("add",)}, "github_, notes_"),
        (("github_get_me", "n_add", "n_list"), {"github": ("get_me",)}, "github_, n_"),
        (("github_get_me", "add", "list"), {"github": ("get_me",)}, "github_"),
        (("Target___getUser", "Target___getRepos"), {"github": ("get_me",)}, "Target___"),
        (("get_user", "get_repos"), {"github": ("get_me",)}, "none"),
        (("calculate",), {}, "none"),
    ],
)
def test_a_prefix_is_what_a_name_has_before_a_name_of_a_server_behind(
    right: Evidence, listed: tuple[str, ...], behind: dict[str, tuple[str, ...]], value: str
) -> None:
    assert value_and_tone(right, "prefix", names=Names(listed, behind))[0] == value


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ({}, ("complete", "plain")),
        ({"steps": ("one", "two")}, ("2 steps undone", "plain")),
        ({"approvals": 1}, ("complete; GitHub's approval remains", "plain")),
        ({"approvals": 1, "revoked": ("/applications/x/grant",)}, ("complete", "plain")),
        ({"credential_after": 200}, ("complete; GitHub's token is still valid", "plain")),
        ({"credential_after": 401}, ("complete", "plain")),
        ({"processes": (17,)}, ("incomplete", "bad")),
        ({"ports": (9001,)}, ("incomplete", "bad")),
        ({"directory": True}, ("incomplete", "bad")),
    ],
)
def test_cleanup_is_what_remains(right: Evidence, changed: dict[str, Any], value: tuple[str, str]) -> None:
    assert value_and_tone(right, "cleanup", cleaned=replace(CLEANED, **changed)) == value


def test_a_login_that_outlives_its_sign_out_is_reported(right: Evidence) -> None:
    cleaned = replace(CLEANED, token_after=OK, login_left=True)
    sentence = ROW["cleanup"].cell(replace(right, cleaned=cleaned)).seen
    assert "the access token still works; the agent still has its login" in sentence
    assert "is refused: 401 invalid_token." in ROW["cleanup"].cell(right).seen


def finding(severity: Severity) -> Finding:
    return Finding("R4", severity, "A title", "what was seen", "", "")


def test_findings_are_counted(right: Evidence) -> None:
    both = probe_result((finding(Severity.HIGH), finding(Severity.LOW)))
    low = probe_result((finding(Severity.LOW),))
    assert value_and_tone(right, "findings") == ("none", "good")
    assert value_and_tone(right, "findings", probe_result=both) == ("1 high, 1 low", "bad")
    assert value_and_tone(right, "findings", probe_result=low) == ("1 low", "plain")


@pytest.mark.parametrize(
    ("asked", "value"),
    [
        (ASKED, ("yes", "good")),
        (replace(ASKED, answer="I do not know"), ("no", "bad")),
        (replace(ASKED, failure="It was refused", answer=""), ("no", "bad")),
        (Unobserved("not finished within 25 s"), ("not observed", "unseen")),
    ],
)
def test_an_answer_has_the_facts(right: Evidence, asked: Any, value: tuple[str, str]) -> None:
    assert value_and_tone(right, "answered", asked=asked) == value
