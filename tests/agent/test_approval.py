"""Getting a person to the consent page: a real launcher program, real pages."""

import os
import stat
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from workshop.agent.approval import Approvals, ApproveAs, OpenBrowser, PrintUrl, approval_for
from workshop.agent.events import ApprovalNeeded, Event, LoginReused, PageOpened
from workshop.core.browser import following, press
from workshop.core.errors import CredentialsError, WorkshopError
from workshop.core.ports import free_port

CONSENT = """
<form method="post" action="/consent">
  <input type="hidden" name="csrf" value="&lt;a&gt;">
  <button name="decision" value="deny">Deny</button>
  <button name="decision" value="approve">Approve</button>
</form>
"""
USERS = """
<form method=post action="login?step=2">
  <input type=text name=ignored value=x>
  <button name="user" value="learner">learner</button>
  <button name="user" value="mentor">mentor</button>
</form>
"""


class Pages:
    """A gateway and a practice GitHub reduced to their pages; every submitted form is kept."""

    def __init__(self, upstream: str = USERS, policy: str = "same-origin") -> None:
        self.upstream = upstream
        self.policy = policy
        self.origins: list[tuple[str, list[str]]] = []
        self.submitted: list[dict[str, str]] = []
        self.redirect_uri = ""

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/authorize", self._authorize),
                Route("/consent", self._consent, methods=["POST"]),
                Route("/upstream", self._upstream),
                Route("/login", self._login, methods=["POST"]),
                Route("/callback", self._callback),
                Route("/circle", lambda _: RedirectResponse("/circle")),
            ]
        )

    def _note(self, request: Request) -> None:
        self.origins.append((request.url.path, request.headers.getlist("origin")))

    async def _authorize(self, request: Request) -> Response:
        self._note(request)
        self.redirect_uri = request.query_params["redirect_uri"]
        response = HTMLResponse(CONSENT, headers={"referrer-policy": self.policy})
        response.set_cookie("flow", "bound")
        return response

    async def _upstream(self, request: Request) -> Response:
        self._note(request)
        return HTMLResponse(self.upstream)

    async def _callback(self, request: Request) -> Response:
        self._note(request)
        return HTMLResponse("You can close this window")

    async def _consent(self, request: Request) -> Response:
        self._note(request)
        self.submitted.append(dict(await request.form()) | {"cookie": request.cookies["flow"]})  # type: ignore[arg-type]
        return RedirectResponse("/upstream", 303)

    async def _login(self, request: Request) -> Response:
        self._note(request)
        self.submitted.append(dict(await request.form()) | dict(request.query_params))  # type: ignore[arg-type]
        return RedirectResponse(f"{self.redirect_uri}?code=x", 303)


async def _approve(serve: Any, pages: Pages, user: str = "learner", path: str = "authorize") -> None:
    async with serve(pages.app(), free_port()) as url:
        await ApproveAs(user).start(f"{url}/{path}?redirect_uri={url}/callback")


async def test_approving_as_a_practice_user_submits_both_forms_as_a_browser_would(serve: Any) -> None:
    pages = Pages()
    await _approve(serve, pages)
    assert pages.submitted == [
        {"csrf": "<a>", "decision": "approve", "cookie": "bound"},
        {"user": "learner", "step": "2"},
    ]


@pytest.mark.parametrize(("policy", "shown"), [("same-origin", ""), ("", ""), ("no-referrer", "null")])
async def test_a_form_carries_one_origin_and_the_page_after_it_none(
    serve: Any, policy: str, shown: str
) -> None:
    """What ToolHive's consent page insists on, and what a server that lets no other site in wants."""
    pages = Pages(policy=policy)
    await _approve(serve, pages)
    own = pages.redirect_uri.removesuffix("/callback")
    assert pages.origins == [
        ("/authorize", []),
        ("/consent", [shown or own]),
        ("/upstream", []),
        ("/login", [own]),
        ("/callback", []),
    ]


async def test_a_redirect_that_repeats_a_form_elsewhere_hides_where_it_came_from() -> None:
    """RFC 9110 section 15.4.8: a 307 keeps method and body; the new origin learns no other's name."""
    page = httpx2.Response(200, text=CONSENT, request=httpx2.Request("GET", "http://localhost:1/page"))
    for target, origin in (("http://localhost:1/again", "http://localhost:1"), ("http://elsewhere/", "null")):
        answer = httpx2.Response(307, headers={"location": target})
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(lambda _, to=answer: to)) as http:
            sent = press(http, page, ("decision", "approve"))
            assert sent
            onward = following(await http.send(sent))
        assert onward
        assert (onward.method, onward.headers.get_list("origin")) == ("POST", [origin])


async def test_an_unknown_practice_user_is_reported_with_those_there_are(serve: Any) -> None:
    with pytest.raises(CredentialsError, match="no practice user 'nobody'") as caught:
        await _approve(serve, Pages(), "nobody")
    assert caught.value.hint == "There are: learner, mentor"


async def test_a_page_that_is_not_the_practice_github_is_not_approved(serve: Any) -> None:
    pages = Pages("<form method=post><button name=authorize value=1>Authorize</button></form>")
    with pytest.raises(CredentialsError, match="not the practice GitHub"):
        await _approve(serve, pages)
    assert len(pages.submitted) == 1


async def test_a_login_that_leaves_this_machine_is_not_followed(serve: Any) -> None:
    pages = Pages(
        '<form method=get action="https://github.com/login"><button name=user value=learner></form>'
    )
    with pytest.raises(CredentialsError, match="not the practice GitHub") as caught:
        await _approve(serve, pages)
    assert caught.value.why == "The login leads to github.com"


async def test_pages_that_go_round_in_circles_end(serve: Any) -> None:
    with pytest.raises(WorkshopError, match="does not end"):
        await _approve(serve, Pages(), path="circle")


async def test_a_page_that_cannot_be_reached_is_reported() -> None:
    with pytest.raises(WorkshopError, match="cannot be reached"):
        await ApproveAs("learner").start(f"http://localhost:{free_port()}/authorize")


async def test_the_browser_gets_the_address_as_one_argument_and_no_shell_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`BROWSER` names a real program here; it writes down its arguments into a named pipe."""
    pipe, launcher = tmp_path / "opened", tmp_path / "launcher"
    os.mkfifo(pipe)
    launcher.write_text(f'#!/bin/sh\nprintf "%s|" "$#" "$@" > {pipe}\n')
    launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("BROWSER", str(launcher))
    monkeypatch.setattr("webbrowser._tryorder", None)  # it reads BROWSER once for each process
    url = f"http://localhost:8080/authorize?a=$(touch {tmp_path}/hacked)&b=`id`;c"
    await OpenBrowser().start(url)
    with anyio.fail_after(60):
        opened = await anyio.to_thread.run_sync(pipe.read_text, abandon_on_cancel=True)
    assert opened == f"1|{url}|"
    assert not (tmp_path / "hacked").exists()


def test_without_a_screen_the_address_is_only_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert OpenBrowser().way == "printed"
    monkeypatch.setenv("DISPLAY", ":0")
    assert OpenBrowser().way == "browser"


def test_the_options_choose_the_approval() -> None:
    assert approval_for() == OpenBrowser()
    assert approval_for(no_browser=True) == PrintUrl()
    assert approval_for(approve_as="mentor", no_browser=True) == ApproveAs("mentor")


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([], "nothing asked for a login"),
        ([LoginReused("http://localhost")], "the agent used its stored login"),
        ([LoginReused("http://localhost"), ApprovalNeeded("u", "practice user", "mentor", 1)], ""),
        ([PageOpened("practice user", "localhost", "mentor", 1)], ""),
    ],
)
def test_a_practice_user_who_had_nothing_to_approve_is_reported(events: list[Event], why: str) -> None:
    seen: list[Event] = []
    approvals = Approvals(seen.append)
    for event in events:
        approvals(event)
    assert seen == events
    assert approvals.unused(None) == ""
    assert approvals.unused("mentor").startswith(f"`--approve-as mentor` was not used: {why}" if why else "")
    assert bool(approvals.unused("mentor")) == bool(why)
