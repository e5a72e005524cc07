"""How a login is approved: in the person's browser, at a printed URL, or by a practice user."""

import os
import sys
import threading
import webbrowser
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from workshop.agent.events import ApprovalNeeded, Event, LoginReused, Observer, PageOpened, Way
from workshop.core.errors import CredentialsError

_NOBODY = "A login is required, and nobody is at the browser"

Consent = Callable[[str], Awaitable[bool | None]]
"""Asks the person a yes-or-no question; the answer is None if nobody can be asked."""


async def nobody(_question: str) -> None:
    """The answer where nobody can be asked."""


class Approval(Protocol):
    """A way to the consent page."""

    @property
    def way(self) -> Way:
        """How the person reaches the page."""
        ...

    @property
    def user(self) -> str:
        """The practice user who approves, if one does."""
        ...

    async def start(self, url: str) -> None:
        """Start the approval; the code arrives at the listener."""
        ...


@dataclass(frozen=True)
class PrintUrl:
    """The URL is printed, and the person opens it here or on another screen."""

    way: Literal["printed"] = "printed"
    user: str = ""

    async def start(self, url: str) -> None:
        """Do nothing: the event that announced `url` has shown the URL."""


@dataclass(frozen=True)
class NobodyApproves:
    """Nobody is at the browser: a login that needs a person ends with this error."""

    error: Exception = field(default_factory=lambda: CredentialsError(_NOBODY))
    way: Literal["printed"] = "printed"
    user: str = ""

    async def start(self, _url: str) -> None:
        """Raise the error."""
        raise self.error


@dataclass(frozen=True)
class OpenBrowser:
    """Opens the person's browser; without one, the printed URL remains."""

    user: str = ""

    @property
    def way(self) -> Literal["browser", "printed"]:
        return "browser" if can_open_browser() else "printed"

    async def start(self, url: str) -> None:
        """Ask the system to open `url`, without a shell; the caller has checked that it is http or https."""
        if can_open_browser():
            # Some launchers return only when the browser ends, so this thread is not awaited.
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


@dataclass(frozen=True)
class ApproveAs:
    """Submits the consent page and the practice GitHub's page as one of its users."""

    user: str
    way: Literal["practice user"] = "practice user"
    seconds: float = 10.0
    """How long a server may take to notice that this user has finished: nobody else will come."""

    async def start(self, url: str) -> None:
        """Approve the login; raises CredentialsError if the pages are not the practice GitHub's."""
        from workshop.agent.practice_browser import approve_login

        await approve_login(url, self.user)


def can_open_browser() -> bool:
    """Whether a browser with a window can be expected here; a text browser would take over the terminal."""
    # `webbrowser` uses BROWSER before it looks for any other.
    if sys.platform in ("darwin", "win32") or os.environ.get("BROWSER"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def approval_for(*, no_browser: bool = False, approve_as: str | None = None) -> Approval:
    """The approval that the options ask for."""
    if approve_as:
        return ApproveAs(approve_as)
    return PrintUrl() if no_browser else OpenBrowser()


class Approvals:
    """An observer of a run that passes its events on, and knows what became of `--approve-as`."""

    def __init__(self, observe: Observer) -> None:
        self._observe = observe
        self._used = self._reused = False

    def __call__(self, event: Event) -> None:
        """Note an event, and pass it on."""
        if isinstance(event, ApprovalNeeded | PageOpened) and event.way == "practice user":
            self._used = True
        self._reused = self._reused or isinstance(event, LoginReused)
        self._observe(event)

    def unused(self, user: str | None) -> str:
        """Why this practice user had nothing to approve; empty where they had, and without a user."""
        if self._used or not user:
            return ""
        stored = "the agent used its stored login, which `workshop login revoke` ends"
        return (
            f"`--approve-as {user}` was not used: {stored if self._reused else 'nothing asked for a login'}"
        )
