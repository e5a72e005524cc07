"""Submit forms and follow redirects as a browser does, for a program that acts for a person.

Servers check the `Origin` header. ToolHive's consent page requires exactly one, its own, with the form
(`pkg/authserver/server/handlers/consent.go`); a server that refuses other sites refuses the GET after the
form if it still carries this `Origin`. The rules are in the Fetch standard, "append a request `Origin`
header".
"""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx2

# A consent page has a few KB; whatever a server sends, parsing it must end.
_MAX_PAGE = 512 * 1024
# What a browser sends when it hides the origin (Fetch standard, "append a request `Origin` header").
_NO_ORIGIN = "null"

_Client = httpx2.Client | httpx2.AsyncClient
Button = tuple[str, str]
"""The name and the value that a pressed button adds to its form."""


@dataclass
class Form:
    """A form of a page: its action and method, its hidden fields by name, and its named buttons."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[Button] = field(default_factory=list)


class PageParser(HTMLParser):
    """Collects forms with their hidden fields and named buttons."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(values.get("action", ""), values.get("method", "get").lower()))
        elif self.forms and values.get("name"):
            if tag == "input" and values.get("type", "").lower() == "hidden":
                self.forms[-1].fields[values["name"]] = values.get("value", "")
            elif tag == "button":
                self.forms[-1].buttons.append((values["name"], values.get("value", "")))


def forms(page: httpx2.Response) -> list[Form]:
    """The forms of a page."""
    parser = PageParser()
    parser.feed(page.text[:_MAX_PAGE])
    return parser.forms


def press(http: _Client, page: httpx2.Response, *buttons: Button) -> httpx2.Request | None:
    """The request that submits the first form with one of these buttons; None without such a form."""
    for form in forms(page):
        for button in form.buttons:
            if button in buttons:
                return _sent(http, page, form, button)
    return None


def following(response: httpx2.Response) -> httpx2.Request | None:
    """The request that follows a redirect; None if the response is not a redirect."""
    request, before = response.next_request, response.request
    if request is None:
        return None
    # A browser omits `Origin` on a navigation by GET, also where a POST was redirected to it.
    if request.method in {"GET", "HEAD"}:
        request.headers.pop("origin", None)
    elif _origin(request.url) != _origin(before.url) and "origin" in request.headers:
        request.headers["origin"] = _NO_ORIGIN
    return request


def _sent(http: _Client, page: httpx2.Response, form: Form, button: Button) -> httpx2.Request:
    url, fields = urljoin(str(page.url), form.action), {**form.fields, button[0]: button[1]}
    if form.method != "post":
        return http.build_request("GET", url, params=fields)
    request = http.build_request("POST", url, data=fields)
    request.headers["origin"] = _shown_origin(page, request.url)
    return request


def _shown_origin(page: httpx2.Response, target: httpx2.URL) -> str:
    """The `Origin` that the page's `Referrer-Policy` allows for the target."""
    own, policy = _origin(page.url), page.headers.get("referrer-policy", "").strip().lower()
    if policy == "no-referrer" or (policy == "same-origin" and own != _origin(target)):
        return _NO_ORIGIN
    return own


def _origin(url: httpx2.URL) -> str:
    """Scheme, host and port, without the scheme's default port (RFC 6454 section 6.2)."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}"
