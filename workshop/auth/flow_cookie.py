"""The cookies that tie one sign-in to one browser: one for its consent page, one for the way back."""

from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from workshop.auth.limits import SIGN_IN_SECONDS

_BACK = "-back"


class Site(Protocol):
    """Whose cookies these are."""

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
    """Take the cookie of a flow away, and that of the page it began with."""
    for name in dict.fromkeys((flow.removesuffix(_BACK), flow)):
        _set(site, response, name, "", 0)


def _set(site: Site, response: Response, flow: str, value: str, seconds: int) -> None:
    secure = site.secure_cookies
    name = _name(site, flow)
    response.set_cookie(name, value, max_age=seconds, path="/", secure=secure, httponly=True, samesite="lax")


def _name(site: Site, flow: str) -> str:
    # One cookie a sign-in: two tabs do not disturb each other. Cookies know no ports, so the name is ours.
    return f"{'__Host-' if site.secure_cookies else ''}workshop-gateway-{flow}"
