"""The cookie that ties one sign-in to one browser, from the consent page to the callback."""

from starlette.requests import Request
from starlette.responses import Response

from workshop.gateway.limits import SIGN_IN_SECONDS
from workshop.gateway.server import AuthServer


def flow_cookie(server: AuthServer, request: Request, flow: str) -> str | None:
    return request.cookies.get(_name(server, flow)) or None


def set_flow_cookie(server: AuthServer, response: Response, flow: str, value: str) -> None:
    _set(server, response, flow, value, int(SIGN_IN_SECONDS))


def clear_flow_cookie(server: AuthServer, response: Response, flow: str) -> None:
    _set(server, response, flow, "", 0)


def _set(server: AuthServer, response: Response, flow: str, value: str, seconds: int) -> None:
    secure = server.secure_cookies
    name = _name(server, flow)
    response.set_cookie(name, value, max_age=seconds, path="/", secure=secure, httponly=True, samesite="lax")


def _name(server: AuthServer, flow: str) -> str:
    # One cookie a sign-in: two tabs do not disturb each other. Cookies know no ports, so the name is ours.
    return f"{'__Host-' if server.secure_cookies else ''}workshop-gateway-{flow}"
