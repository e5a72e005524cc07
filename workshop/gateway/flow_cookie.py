"""The cookie that ties one sign-in to one browser, from the consent page to the callback."""

from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from workshop.gateway.limits import SIGN_IN_SECONDS


class Site(Protocol):
    """Whose cookies these are."""

    @property
    def secure_cookies(self) -> bool: ...


def flow_cookie(site: Site, request: Request, flow: str) -> str | None:
    return request.cookies.get(_name(site, flow)) or None


def set_flow_cookie(site: Site, response: Response, flow: str, value: str) -> None:
    _set(site, response, flow, value, int(SIGN_IN_SECONDS))


def clear_flow_cookie(site: Site, response: Response, flow: str) -> None:
    _set(site, response, flow, "", 0)


def _set(site: Site, response: Response, flow: str, value: str, seconds: int) -> None:
    secure = site.secure_cookies
    name = _name(site, flow)
    response.set_cookie(name, value, max_age=seconds, path="/", secure=secure, httponly=True, samesite="lax")


def _name(site: Site, flow: str) -> str:
    # One cookie a sign-in: two tabs do not disturb each other. Cookies know no ports, so the name is ours.
    return f"{'__Host-' if site.secure_cookies else ''}workshop-gateway-{flow}"
