"""The rows about GitHub's credential and what is around a login, from evidence in both directions."""

from dataclasses import replace
from typing import Any

import pytest

from tests.audit.compare.conftest import ASKED, CLEANED, CREDENTIAL, OK, call, exchange, request, toured
from tests.audit.compare.test_rows_of_logins import told
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
VISITED = replace(ASKED, moments=(*ASKED.moments, Moment(31, "VisitRequested")))
BY_HEADER = Sent({"x-github-pat": CREDENTIAL}, Asked("It wants a header"))
LATE = GitHubRecord((exchange(35), call(36)), (call(61),), (), 3, 1)
BEFORE = GitHubRecord((call(5, "b" * 64), call(31)), (), (), 2, 1)


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ({}, "OAuth, within the login"),
        ({"github_record": LATE}, "OAuth, after the login"),
        ({"github_record": LATE, "asked": VISITED}, "URL elicitation"),
        ({"github_record": BEFORE, "sent": BY_HEADER}, "the user's, in x-github-pat"),
        ({"github_record": BEFORE}, "the server's own"),
        ({"github_record": GitHubRecord((call(5),), (), (), 1, 1)}, "none"),  # not while a tool ran
        ({"github": None}, "none"),
        ({"github_record": Unobserved("it did not answer")}, "not seen"),
        ({"asked": replace(ASKED, failure="No login")}, "not seen"),
    ],
)
def test_how_the_credential_is_got_is_told_by_what_github_saw_and_when(
    right: Evidence, changed: dict[str, Any], value: str
) -> None:
    assert told(right, "credential", **changed)[0] == value


IN_CLEAR = Searched(7, ("one/log.txt", "one/store.sqlite-wal"), ("one/store.sqlite",))


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ({}, ("on disk, no plaintext", "good")),
        ({"searched": IN_CLEAR}, ("plaintext in store.sqlite and log.txt", "bad")),
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
        ({"sent": BY_HEADER, "searched": IN_CLEAR}, ("plaintext in store.sqlite and log.txt", "bad")),
        ({"github": None}, ("nowhere", "plain")),
        ({"searched": Unobserved("the disk failed")}, ("not seen", "unseen")),
    ],
)
def test_where_it_is_kept_is_told_by_the_files_and_by_a_restart(
    right: Evidence, changed: dict[str, Any], value: tuple[str, str]
) -> None:
    assert told(right, "kept", **changed) == value


def test_a_token_of_the_clients_at_github_is_found_wherever_it_stands(right: Evidence) -> None:
    ours = "a-token-of-the-clients"
    hashed = request(31, "/mcp", sha256=fingerprint(ours))
    in_form = request(32, "/login/oauth/access_token", subject=ours)
    assert upstream.carrying([call(30), hashed, in_form], {ours}) == ["/mcp", "/login/oauth/access_token"]
    assert upstream.carrying([call(30)], {ours}) == []
    assert told(right, "passthrough") == ("no", "good")
    leaking = GitHubRecord((call(31),), (), ("/mcp",), 3, 1)
    assert told(right, "passthrough", github_record=leaking) == ("yes", "bad")
    assert told(right, "passthrough", github_record=replace(leaking, carried=(), tokens=0))[0] == "not seen"


@pytest.mark.parametrize(
    ("offered", "behind", "value"),
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
    right: Evidence, offered: tuple[str, ...], behind: dict[str, tuple[str, ...]], value: str
) -> None:
    assert told(right, "prefix", names=Names(offered, behind))[0] == value


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ({}, ("gone", "plain")),
        ({"steps": ("one", "two")}, ("2 steps undone", "plain")),
        ({"approvals": 1}, ("gone; GitHub's approval stays", "plain")),
        ({"approvals": 1, "revoked": ("/applications/x/grant",)}, ("gone", "plain")),
        ({"credential_after": 200}, ("gone; GitHub's token is still good", "plain")),
        ({"credential_after": 401}, ("gone", "plain")),
        ({"processes": (17,)}, ("leaves something here", "bad")),
        ({"ports": (9001,)}, ("leaves something here", "bad")),
        ({"directory": True}, ("leaves something here", "bad")),
    ],
)
def test_cleanup_is_what_is_left(right: Evidence, changed: dict[str, Any], value: tuple[str, str]) -> None:
    assert told(right, "cleanup", cleaned=replace(CLEANED, **changed)) == value


def test_a_login_that_outlives_its_sign_out_is_told(right: Evidence) -> None:
    kept = replace(CLEANED, token_after=OK, login_left=True)
    seen = ROW["cleanup"].cell(replace(right, cleaned=kept)).seen
    assert "the access token still works; the agent still has its login" in seen
    assert "gets 401 invalid_token." in ROW["cleanup"].cell(right).seen


def finding(severity: Severity) -> Finding:
    return Finding("R4", severity, "A title", "what was seen", "", "")


def test_findings_are_counted(right: Evidence) -> None:
    both = toured((finding(Severity.HIGH), finding(Severity.LOW)))
    assert told(right, "findings") == ("none", "good")
    assert told(right, "findings", probe_result=both) == ("1 high, 1 low", "bad")
    assert told(right, "findings", probe_result=toured((finding(Severity.LOW),))) == ("1 low", "plain")


@pytest.mark.parametrize(
    ("asked", "value"),
    [
        (ASKED, ("yes", "good")),
        (replace(ASKED, answer="I do not know"), ("no", "bad")),
        (replace(ASKED, failure="It was refused", answer=""), ("no", "bad")),
        (Unobserved("no end within 25 s"), ("not seen", "unseen")),
    ],
)
def test_an_answer_has_the_facts(right: Evidence, asked: Any, value: tuple[str, str]) -> None:
    assert told(right, "answered", asked=asked) == value
