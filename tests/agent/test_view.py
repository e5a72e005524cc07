"""What a person sees of a run: plain lines when nothing is a terminal, and nothing that could harm one."""

import contextlib
import io
from typing import Literal

import pytest

from workshop.agent import events as on
from workshop.agent.view import View
from workshop.core.console import Console
from workshop.core.errors import WorkshopError


class Screen:
    def __init__(self) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.console = Console(self.out, self.err)

    def show(self, *events: on.Event) -> str:
        with View(self.console) as view:
            for event in events:
                view.observe(event)
        return self.err.getvalue()


def test_a_login_is_reported_step_by_step_with_the_whole_address_on_a_line_of_its_own() -> None:
    url = f"http://localhost:8080/oauth/authorize?state={'x' * 300}"
    shown = Screen().show(
        on.LoginRequired("http://localhost:8080/mcp", 401),
        on.ResourceDiscovered("http://localhost:8080/", "http://localhost:8080"),
        on.ServerDiscovered("http://localhost:8080"),
        on.ClientRegistered("c" * 300),
        on.ApprovalNeeded(url, "printed"),
        on.Approved(),
        on.TokenReceived("repo", 3600),
    )
    assert "  hop 1  http://localhost:8080/mcp answered 401: it requires a login" in shown
    assert "  hop 2  the resource is http://localhost:8080/; http://localhost:8080 issues its tokens" in shown
    assert "c" * 25 not in shown
    assert f"\n  {url}\n" in shown
    assert "✓ hop 6  wait for the sign-in · the browser came back" in shown
    assert "  hop 8  exchanged the code for token 1, valid for 1 h, scope: repo" in shown


@pytest.mark.parametrize(
    ("practice", "way", "named"),
    [(True, "printed", True), (True, "browser", False), (False, "printed", False)],
)
def test_without_a_browser_the_practice_user_is_named(
    *, practice: bool, way: Literal["printed", "browser"], named: bool
) -> None:
    screen = Screen()
    with View(screen.console, practice="seat-07" if practice else "") as view:
        view.observe(on.ApprovalNeeded("http://localhost:1/a?state=s", way))
    assert ("`--approve-as seat-07`" in screen.err.getvalue()) is named


def test_a_stored_login_is_reported_as_what_is_tried_first() -> None:
    shown = Screen().show(on.LoginReused("http://localhost:8080"), on.TokenRefreshed(3600))
    assert (
        "  a login at http://localhost:8080 is stored; the agent tries it first\n  hop 8  refreshed" in shown
    )
    assert "hop 9" not in shown


def test_nobody_has_to_open_an_address_when_a_practice_user_approves() -> None:
    shown = Screen().show(on.ApprovalNeeded("http://localhost:1/a?state=s", "practice user", "learner"))
    assert "hop 5  approving as practice user learner" in shown
    assert "http://" not in shown


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(None, "token 1;"), (59, "valid for 59 s"), (900, "valid for 15 min"), (7200, "valid for 2 h")],
)
def test_a_lifetime_is_reported_in_its_largest_unit(seconds: int | None, told: str) -> None:
    assert told in Screen().show(on.TokenRefreshed(seconds))


def test_a_call_is_shown_with_its_arguments_and_result() -> None:
    shown = Screen().show(
        on.ToolCalled("list_issues", {"repository": "trail-mapper", "state": "open"}),
        on.ToolReturned("list_issues", '{"issues": []}', is_error=False),
    )
    assert '… Call list_issues(repository="trail-mapper", state="open")' in shown
    assert '· {"issues": []}' in shown


def test_a_failed_call_is_marked_as_failed() -> None:
    shown = Screen().show(on.ToolCalled("add", {}), on.ToolReturned("add", "it broke", is_error=True))
    assert "✗ Call add() · it broke" in shown


def test_what_a_server_says_cannot_steer_the_terminal() -> None:
    evil = "\x1b]0;owned\x07\u202e[red]"
    shown = Screen().show(
        on.ToolsFound((evil,)),
        on.ToolCalled(evil, {evil: evil}),
        on.ToolReturned(evil, evil, is_error=False),
        on.Connecting(evil),
        on.Connected(evil, evil, evil),
        on.TokenReceived(evil, 1),
    )
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert "[red]" in shown


def test_a_step_that_an_error_ends_is_shown_as_failed() -> None:
    screen = Screen()
    with contextlib.suppress(WorkshopError), View(screen.console) as view:
        view.observe(on.Connecting("http://localhost:1/mcp"))
        raise WorkshopError("Nothing answers")
    assert "✗ Connect to http://localhost:1/mcp" in screen.err.getvalue()


def test_progress_leaves_stdout_alone() -> None:
    screen = Screen()
    screen.show(on.ModelAnnounced("rehearsal model (no LLM)"), on.ModelAsked(1), on.ModelReplied(1, 0))
    assert not screen.out.getvalue()
    assert "Model: rehearsal model (no LLM)" in screen.err.getvalue()


EVIL = "search\r\nWarning: forged\t\u200b\u2066" + "x" * 5000


def test_a_foreign_name_stays_on_its_line_and_is_cut() -> None:
    shown = Screen().show(
        on.Connecting(EVIL),
        on.Connected(EVIL, EVIL, EVIL),
        on.LoginRequired(EVIL, 401),
        on.ResourceDiscovered(EVIL, EVIL),
        on.ServerDiscovered(EVIL),
        on.ClientRegistered(EVIL),
        on.ClientForgotten(EVIL),
        on.ApprovalNeeded("http://localhost:1/a", "practice user", EVIL),
        on.TokenReceived(EVIL, 1),
        on.LoginReused(EVIL),
        on.ToolsFound((EVIL,) * 100),
        on.ToolCalled(EVIL, {EVIL: EVIL}),
        on.ToolReturned(EVIL, EVIL, is_error=True),
        on.PageRequested(EVIL, "http://localhost:1/a", EVIL),
        on.PageOpened("browser", EVIL, EVIL),
        on.ModelAnnounced(EVIL),
        on.Warned(EVIL),
    )
    lines = shown.splitlines()
    assert not [line for line in lines if line.lstrip().startswith("Warning: forged")]
    assert not set(shown) & set("\r\t\u200b\u2066")
    assert max(len(line) for line in lines) < 6000  # sixty tools on a line
    assert "and 40 more" in shown
    assert [line for line in lines if line.startswith("Warning: ")] == [
        f"Warning: {'search Warning: forged ' + chr(92) + 'x200b' + chr(92) + 'x2066'}{'x' * 265}…"
    ]


def test_after_a_forgotten_client_each_step_ends_with_its_own_result() -> None:
    """The first approval never comes back: it is stopped, and does not end another step in its place."""
    shown = Screen().show(
        on.Connecting("http://localhost:8080/mcp"),
        on.ApprovalNeeded("http://localhost:1/a?state=s", "printed"),
        on.ClientForgotten("http://localhost:8080"),
        on.ClientRegistered("client-2"),
        on.ApprovalNeeded("http://localhost:1/a?state=t", "printed"),
        on.Approved(),
        on.Connected("http://localhost:8080/mcp", "github", "2026-07-28"),
    )
    ends = [line.partition(" (")[0] for line in shown.splitlines() if line[:1] in "✓✗■"]
    assert ends == [
        "■ hop 6  wait for the sign-in · the client is not known there",
        "✓ hop 6  wait for the sign-in · the browser came back",
        "✓ Connect to http://localhost:8080/mcp · github, MCP 2026-07-28",
    ]


def test_an_approval_that_another_one_replaces_is_stopped() -> None:
    needed = on.ApprovalNeeded("http://localhost:1/a?state=s", "printed")
    shown = Screen().show(on.Connecting("x"), needed, needed, on.Approved(), on.Connected("x", "s", "1"))
    assert shown.count("■ hop 6  wait for the sign-in") == 1
    assert shown.count("✓ hop 6  wait for the sign-in · the browser came back") == 1
    assert "✓ Connect to x · s, MCP 1" in shown


def test_a_connection_does_not_count_the_time_of_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    now, screen = [0.0], Screen()
    monkeypatch.setattr("workshop.core.console.time.monotonic", lambda: now[0])
    with View(screen.console) as view:
        for event, seconds in (
            (on.Connecting("x"), 3),
            (on.ApprovalNeeded("http://localhost:1/a?state=s", "printed"), 100),
            (on.Approved(), 4),
            (on.Connected("x", "s", "1"), 0),
        ):
            view.observe(event)
            now[0] += seconds
    shown = screen.err.getvalue()
    assert "✓ hop 6  wait for the sign-in · the browser came back (100.0 s)" in shown
    assert "✓ Connect to x · s, MCP 1 (7.0 s)" in shown


def test_who_declines_is_not_called_a_practice_user() -> None:
    shown = Screen().show(on.ApprovalNeeded("http://localhost:1/a?state=s", "practice user", "deny"))
    assert "declining on the practice GitHub's page" in shown
    assert "practice user" not in shown
