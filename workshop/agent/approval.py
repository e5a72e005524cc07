"""How a person gets to the consent page: their browser, a printed address, or a practice user's clicks."""

import os
import sys
import threading
import webbrowser
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from workshop.core.errors import CredentialsError

_NOBODY = "A login was wanted, and nobody is at the browser"

Consent = Callable[[str], Awaitable[bool | None]]
"""Asks the person a question that is answered with yes or no; None where nobody is there to be asked."""


async def nobody(_question: str) -> None:
    """Nobody is there to be asked."""


class Approval(Protocol):
    """A way to the consent page."""

    @property
    def way(self) -> Literal["browser", "printed", "practice user"]:
        """How the person learns of it."""
        ...

    @property
    def user(self) -> str:
        """The practice user who approves, if one does."""
        ...

    async def start(self, url: str) -> None:
        """Set the approval going; the code comes to the listener."""
        ...


@dataclass(frozen=True)
class PrintUrl:
    """The address is printed and the person opens it, here or on another screen."""

    way: Literal["printed"] = "printed"
    user: str = ""

    async def start(self, url: str) -> None:
        """Do nothing: the event that announced `url` has shown it."""


@dataclass(frozen=True)
class NobodyApproves:
    """Nobody is at the browser: where a login needs a person, it ends with this error."""

    error: Exception = field(default_factory=lambda: CredentialsError(_NOBODY))
    way: Literal["printed"] = "printed"
    user: str = ""

    async def start(self, _url: str) -> None:
        """Raise the error."""
        raise self.error


@dataclass(frozen=True)
class OpenBrowser:
    """Opens the person's browser; where there is none, the printed address remains."""

    user: str = ""

    @property
    def way(self) -> Literal["browser", "printed"]:
        return "browser" if can_open_browser() else "printed"

    async def start(self, url: str) -> None:
        """Ask the system to open `url`, checked by the caller to be http or https; never by a shell."""
        if can_open_browser():
            # Some launchers return only when the browser ends, so nobody waits for this thread.
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


@dataclass(frozen=True)
class ApproveAs:
    """Clicks through the consent page and the practice GitHub as one of its users."""

    user: str
    way: Literal["practice user"] = "practice user"

    async def start(self, url: str) -> None:
        """Approve; raises CredentialsError where the pages are not the practice GitHub's."""
        from workshop.agent.form_walker import walk

        await walk(url, self.user)


def can_open_browser() -> bool:
    """Whether a browser with a window can be expected here; a text browser would take over the terminal."""
    if sys.platform in ("darwin", "win32") or os.environ.get("BROWSER"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def approval_for(*, no_browser: bool = False, approve_as: str | None = None) -> Approval:
    """The approval that the options ask for."""
    if approve_as:
        return ApproveAs(approve_as)
    return PrintUrl() if no_browser else OpenBrowser()
