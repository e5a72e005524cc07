"""A sign-in stays in the browser it was approved in, and its forms come from our own pages."""

import logging

from starlette.requests import Request

from workshop.auth.flow_cookie import flow_cookie
from workshop.auth.oauth_errors import PageError
from workshop.auth.records import PendingSignIn
from workshop.auth.server import AuthServer
from workshop.auth.vault import digest, same

_LOG = logging.getLogger(__name__)


def check_browser(server: AuthServer, request: Request, pending: PendingSignIn) -> None:
    """Raises PageError when the sign-in was not approved in the browser that sent the request."""
    browser = flow_cookie(server, request, pending.flow)
    if browser is None or not same(digest(browser), pending.browser):
        _LOG.warning("sign-in refused: client %s, another browser", pending.request.client_id)
        raise PageError(
            "This sign-in was started in another browser",
            "If someone sent you here, they may be trying to use your account. Nothing was handed out.",
            status=403,
        )


def refuse_other_sites(request: Request, own_origin: str) -> None:
    """Raises PageError for a form without exactly one Origin, ours: browsers send it with every form."""
    if request.headers.getlist("origin") != [own_origin]:
        raise PageError("This form was sent by another site", "Nothing was approved.", status=403)
