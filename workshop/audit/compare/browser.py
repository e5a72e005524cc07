"""A browser that writes down where it is sent, from an authorization request to the client's callback."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

import httpx2

from workshop.agent.http import is_loopback, open_client
from workshop.audit.compare.wire import SECONDS, is_refusal
from workshop.core.browser import following, forms, press

_MOST_PAGES = 12
USER = "learner"
_PRESSED = (("decision", "approve"), ("user", USER))


@dataclass(frozen=True)
class Page:
    """A page that a person was shown: by whom, which buttons it has, and whether it names our client."""

    origin: str
    path: str
    buttons: tuple[str, ...]
    names_client: bool


@dataclass(frozen=True)
class Walk:
    """The way from the authorization endpoint: pages in order, then what came to the callback, or why not."""

    pages: tuple[Page, ...] = ()
    callback: Mapping[str, str] | None = None
    refusal: str = ""
    status: int = 0
    """Of the page that was no way on; 0 where the browser was sent back to the client."""

    @property
    def code(self) -> str:
        """The authorization code; empty without one."""
        return (self.callback or {}).get("code", "")

    @property
    def refused(self) -> str:
        """Why there is no code, in a few words; empty where there is one."""
        if self.code:
            return ""
        return (self.callback or {}).get("error", "") or self.refusal or "no code came back"

    @property
    def is_answer(self) -> bool:
        """Whether the server decided: a page of one that failed says nothing about what it allows."""
        return not self.status or is_refusal(self.status)


async def walk(url: str, redirect_uri: str, client_name: str) -> Walk:
    """Approve everything as a practice user, up to the redirect to the client, which is not followed.

    Raises httpx2.HTTPError when a page does not answer.
    """
    pages: list[Page] = []
    async with open_client(SECONDS, sender=None) as http:
        request = http.build_request("GET", url)
        for _ in range(_MOST_PAGES):
            if str(request.url).startswith(redirect_uri):
                return Walk(tuple(pages), dict(parse_qsl(urlsplit(str(request.url)).query)))
            if not is_loopback(str(request.url)):
                return Walk(tuple(pages), None, f"sent to {request.url.host}")
            response = await http.send(request, follow_redirects=False)
            if (onward := following(response)) is not None:
                request = onward
                continue
            sent = press(http, response, *_PRESSED)
            if sent is None:
                return Walk(tuple(pages), None, _refusal(response), response.status_code)
            pages.append(_page(response, client_name))
            request = sent
    return Walk(tuple(pages), None, f"no callback after {_MOST_PAGES} pages")


def _page(response: httpx2.Response, client_name: str) -> Page:
    url = urlsplit(str(response.url))
    buttons = tuple(dict.fromkeys(name for form in forms(response) for name, _ in form.buttons))
    return Page(f"{url.scheme}://{url.netloc}", url.path, buttons, client_name in response.text)


def _refusal(response: httpx2.Response) -> str:
    try:
        document = response.json()
    except ValueError:
        document = None
    error = document.get("error", "") if isinstance(document, dict) else ""
    return f"{response.status_code} {error}".strip()
