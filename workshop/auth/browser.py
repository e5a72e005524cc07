"""What the browser gets: HTML pages, and the cookie that ties one sign-in to one browser.

Pages are escaped; their headers keep them out of frames, caches and referrers.
"""

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from workshop.auth.http import NO_STORE, PageError
from workshop.auth.limits import SIGN_IN_SECONDS
from workshop.auth.server import AuthServer
from workshop.auth.store import PendingSignIn
from workshop.auth.vault import digest, same_secret
from workshop.core.pages import PAGE_POLICY, page_environment

if TYPE_CHECKING:
    from jinja2 import Environment, Template

_HEADERS = {
    **NO_STORE,
    "content-security-policy": PAGE_POLICY,
    "x-frame-options": "DENY",
    # The address of a page may have a code or a state in it (RFC 9700 section 4.2.4).
    "referrer-policy": "no-referrer",
}


@functools.cache
def _environment() -> "Environment":
    return page_environment(Path(__file__).with_name("templates"))


def prepare_pages() -> None:
    """Compile the pages of a login beforehand, so that nobody's first login waits for it."""
    for name in ("base.html", "consent.html", "error.html"):
        _environment().get_template(name)


def template_in(path: Path) -> "Template":
    """A template of another server; it may extend `base.html`."""
    return _environment().from_string(path.read_text(encoding="utf-8"))


def page(template: "str | Template", *, status: int = 200, **values: object) -> Response:
    """Render a template of this package, by its name, or another's."""
    return HTMLResponse(_environment().get_template(template).render(values), status, _HEADERS)


def form_page(template: "str | Template", **values: object) -> Response:
    """A page with a form to ourselves, which a browser would send with `Origin: null` for `no-referrer`."""
    response = page(template, status=200, **values)
    response.headers["referrer-policy"] = "same-origin"
    return response


def error_page(error: PageError, hop: int | None = None) -> Response:
    """The page of an error; `hop` is the number of the hop that failed."""
    values = {"title": error.title, "text": error.text, "remedy": error.remedy, "hop": hop}
    return page("error.html", status=error.status, **values)


_BACK = "-back"


class Site(Protocol):
    """The server that sets the cookies."""

    @property
    def secure_cookies(self) -> bool: ...


def flow_cookie(site: Site, request: Request, flow: str) -> str | None:
    return request.cookies.get(_name(site, flow)) or None


def set_flow_cookie(site: Site, response: Response, flow: str, value: str) -> None:
    _set(site, response, flow, value, int(SIGN_IN_SECONDS))


def way_back(flow: str) -> str:
    """The flow of the callback: the page's cookie is worth nothing once the page is answered."""
    return flow + _BACK


def clear_flow_cookie(site: Site, response: Response, flow: str) -> None:
    """Delete the cookie of a flow, and that of the page it began with."""
    for name in dict.fromkeys((flow.removesuffix(_BACK), flow)):
        _set(site, response, name, '""', 0)


def _set(site: Site, response: Response, flow: str, value: str, seconds: int) -> None:
    # Lax, because the callback comes from the upstream's site: browsers would not send a Strict cookie.
    # The prefix `__Host-` requires the path `/`.
    secure = "; Secure" if site.secure_cookies else ""
    # `set_cookie` takes ten times as long, to quote what needs no quotes here.
    cookie = f"{_name(site, flow)}={value}; HttpOnly; Max-Age={seconds}; Path=/; SameSite=lax{secure}"
    response.headers.append("set-cookie", cookie)


def _name(site: Site, flow: str) -> str:
    # One cookie for each sign-in, so that two tabs do not disturb each other. A cookie is not tied to a port,
    # so its name has to differ from those of other servers on this host.
    return f"{'__Host-' if site.secure_cookies else ''}workshop-gateway-{flow}"


_LOG = logging.getLogger(__name__)


def check_browser(server: AuthServer, request: Request, pending: PendingSignIn) -> None:
    """Raises PageError when the sign-in was not approved in the browser that sent the request."""
    browser = flow_cookie(server, request, pending.flow)
    if browser is None or not same_secret(digest(browser), pending.browser):
        _LOG.warning("sign-in refused: client %s, another browser", pending.request.client_id)
        raise PageError(
            "This sign-in was started in another browser",
            "If someone sent you here, they may be trying to use your account. No code was issued.",
            status=403,
        )


def refuse_other_sites(request: Request, own_origin: str) -> None:
    """Raises PageError unless a form has exactly one Origin, this server's; browsers send it with each."""
    if request.headers.getlist("origin") != [own_origin]:
        raise PageError("This form was sent by another site", "Nothing was approved.", status=403)
