"""The rows about GitHub's credential and what is around a login, from evidence in both directions."""

from dataclasses import replace
from typing import Any

import pytest

from tests.audit.compare.conftest import ASKED, CLEANED, CREDENTIAL, OK, call, exchange, request, toured
from tests.audit.compare.test_rows_of_logins import told
from workshop.audit.compare import upstream
from workshop.audit.compare.evidence import Asked, Evidence, Moment, Names, Searched, Sent, Unseen, Witnessed
from workshop.audit.compare.rows import ROWS
from workshop.audit.probe.report import Finding
from workshop.audit.probe.verdicts import Severity
from workshop.servers.practice.client import fingerprint

ROW = {row.id: row for row in ROWS}
VISITED = replace(ASKED, moments=(*ASKED.moments, Moment(31, "VisitRequested")))
BY_HEADER = Sent({"x-github-pat": CREDENTIAL}, Asked("It wants a header"))
LATE = Witnessed((exchange(35), call(36)), (call(61),), (), 3, 1)
BEFORE = Witnessed((call(5, "b" * 64), call(31)), (), (), 2, 1)


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ({}, "OAuth, within the login"),
        ({"witnessed": LATE}, "OAuth, after the login"),
        ({"witnessed": LATE, "asked": VISITED}, "URL elicitation"),
        ({"witnessed": BEFORE, "sent": BY_HEADER}, "the user's, in x-github-pat"),
        ({"witnessed": BEFORE}, "the server's own"),
        ({"witnessed": Witnessed((call(5),), (), (), 1, 1)}, "none"),  # not while a tool ran
        ({"github": None}, "none"),
        ({"witnessed": Unseen("it did not answer")}, "not seen"),
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
        ({}, ("on disk, not in clear", "good")),
        ({"searched": IN_CLEAR}, ("in clear, in store.sqlite and log.txt", "bad")),
        ({"again": Asked("", "A login was wanted")}, ("in memory", "plain")),
        (
            {"witnessed": Witnessed((exchange(15), call(31)), (exchange(55), call(61, "d" * 64)), (), 4, 1)},
            ("got anew each time", "plain"),
        ),
        (
            {"witnessed": Witnessed((exchange(15), call(31)), (call(61, "d" * 64),), (), 3, 1)},
            ("not in clear", "plain"),
        ),
        ({"again": Unseen("it did not come back")}, ("not in clear", "plain")),
        ({"sent": BY_HEADER}, ("not kept", "good")),
        ({"sent": replace(BY_HEADER, bare=ASKED)}, ("kept, not in clear", "plain")),
        ({"sent": BY_HEADER, "searched": IN_CLEAR}, ("in clear, in store.sqlite and log.txt", "bad")),
        ({"github": None}, ("nowhere", "plain")),
        ({"searched": Unseen("the disk failed")}, ("not seen", "unseen")),
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
    leaking = Witnessed((call(31),), (), ("/mcp",), 3, 1)
    assert told(right, "passthrough", witnessed=leaking) == ("yes", "bad")
    assert told(right, "passthrough", witnessed=replace(leaking, carried=(), tokens=0))[0] == "not seen"


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
        ({"steps": ("one", "two")}, ("2 steps back", "plain")),
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
    assert "the access token still works; the agent keeps its login" in seen
    assert "gets 401 invalid_token." in ROW["cleanup"].cell(right).seen


def finding(severity: Severity) -> Finding:
    return Finding("R4", severity, "A title", "what was seen", "", "")


def test_findings_are_counted(right: Evidence) -> None:
    both = toured((finding(Severity.HIGH), finding(Severity.LOW)))
    assert told(right, "findings") == ("none", "good")
    assert told(right, "findings", tour=both) == ("1 high, 1 low", "bad")
    assert told(right, "findings", tour=toured((finding(Severity.LOW),))) == ("1 low", "plain")


@pytest.mark.parametrize(
    ("asked", "value"),
    [
        (ASKED, ("yes", "good")),
        (replace(ASKED, answer="I do not know"), ("no", "bad")),
        (replace(ASKED, failure="It was refused", answer=""), ("no", "bad")),
        (Unseen("no end within 25 s"), ("not seen", "unseen")),
    ],
)
def test_an_answer_has_the_facts(right: Evidence, asked: Any, value: tuple[str, str]) -> None:
    assert told(right, "answered", asked=asked) == value
