"""Consent, asked before anyone is sent upstream, and tied to the browser that gave it.

A proxy with one application at the upstream is a confused deputy without it: the upstream skips its own page
for an application it knows (MCP security best practices; CVE-2026-27124). The page carries the request in a
sealed ticket, so that nothing is stored for those who only look; the ticket is good once, for ten minutes,
and only together with the cookie set beside it.
"""

import json
import logging
import secrets
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from workshop.auth.client_id_urls import document_host
from workshop.auth.flow_cookie import clear_flow_cookie, flow_cookie, set_flow_cookie, way_back
from workshop.auth.limits import SIGN_IN_SECONDS, SIGN_INS
from workshop.auth.oauth_errors import PageError, RedirectError
from workshop.auth.pages import form_page
from workshop.auth.parameters import Parameters, form
from workshop.auth.records import AuthorizationRequest, Client, PendingSignIn
from workshop.auth.redirects import shown_host
from workshop.auth.responses import error_redirect, redirect
from workshop.auth.same_browser import refuse_other_sites
from workshop.auth.server import AuthServer
from workshop.auth.store import StoreFullError
from workshop.auth.vault import digest, random_token, same

_LOG = logging.getLogger(__name__)
_MEANINGS = {
    "openid": "know that it is the same person next time",
    "profile": "know your name",
    "email": "know your e-mail address",
    "offline_access": "stay signed in without asking you again",
}


def consent_page(server: AuthServer, client: Client, asked: AuthorizationRequest) -> Response:
    """Ask the person, naming application, scopes and where the browser goes."""
    flow, browser = secrets.token_hex(8), random_token()
    redirect_host, is_loopback = shown_host(asked.redirect_uri)
    response = form_page(
        "consent.html",
        client_name=client.name or "An application without a name",
        client_id=client.client_id,
        client_host=document_host(client.client_id),
        only_loopback=all(shown_host(uri)[1] for uri in client.redirect_uris),
        remote_host=urlsplit(server.remote_url).netloc,
        scopes=[(scope, _MEANINGS.get(scope, "")) for scope in asked.scopes],
        own_sign_in=server.signs_in_itself,
        upstream_name=server.upstream.name,
        upstream_host=urlsplit(server.config.upstream.authorization_endpoint).netloc,
        upstream_scopes=server.config.upstream.scopes,
        redirect_host=redirect_host,
        redirect_is_loopback=is_loopback,
        ticket=_seal(server, flow, asked),
        csrf=server.vault.mac("csrf", flow, browser, asked.client_id),
    )
    set_flow_cookie(server, response, flow, browser)
    return response


async def consent(server: AuthServer, request: Request) -> Response:
    """Take the decision, once: on to the upstream, or back to the client with `access_denied`."""
    fields = await form(request, seconds=server.patience.body)
    refuse_other_sites(request, server.config.issuer)
    flow, expires, asked = _open(server, fields.get("ticket") or "")
    browser = flow_cookie(server, request, flow)
    expected = server.vault.macs("csrf", flow, browser or "", asked.client_id)
    if browser is None or not any(same(fields.get("csrf") or "", mac) for mac in expected):
        raise PageError(
            "This page belongs to another browser", "The approval was not sent from it.", status=403
        )
    if expires <= server.clock():
        raise PageError("This page is too old", "It is good for ten minutes.")
    approved = _decision(fields)
    try:
        if not server.store.spend_ticket(flow, expires=expires, limit=SIGN_INS):
            raise PageError("This page was used already", "An approval is good once.")
        return _go_upstream(server, flow, asked) if approved else _denied(server, flow, asked)
    except StoreFullError as error:
        raise PageError(
            "Too many sign-ins at once", "Please try again in ten minutes.", status=503
        ) from error


def _go_upstream(server: AuthServer, flow: str, asked: AuthorizationRequest) -> Response:
    state, verifier, browser = random_token(), random_token(), random_token()
    back = way_back(flow)
    pending = PendingSignIn(asked, back, digest(browser), verifier)
    server.store.add_pending(state, pending, expires=server.clock() + SIGN_IN_SECONDS, limit=SIGN_INS)
    _LOG.info("consent approved: client %s", asked.client_id)
    response = redirect(
        server.config.upstream.authorization_endpoint, server.upstream.request(state, verifier)
    )
    set_flow_cookie(server, response, back, browser)
    return response


def _denied(server: AuthServer, flow: str, asked: AuthorizationRequest) -> Response:
    _LOG.info("consent denied: client %s", asked.client_id)
    error = RedirectError("access_denied", "The person did not approve")
    response = error_redirect(server.config.issuer, asked.redirect_uri, asked.state, error)
    clear_flow_cookie(server, response, flow)
    return response


def _decision(fields: Parameters) -> bool:
    decision = fields.get("decision")
    if decision not in {"approve", "deny"}:
        raise PageError("Approve or deny?", "The form said neither.")
    return decision == "approve"


def _seal(server: AuthServer, flow: str, asked: AuthorizationRequest) -> str:
    ticket = {"flow": flow, "expires": server.clock() + SIGN_IN_SECONDS, "request": asked.to_json()}
    return server.vault.seal(json.dumps(ticket).encode(), "consent ticket").hex()


def _open(server: AuthServer, ticket: str) -> tuple[str, float, AuthorizationRequest]:
    try:
        plain = server.vault.unseal(bytes.fromhex(ticket), "consent ticket")
    except ValueError:
        plain = None
    if plain is None:
        raise PageError("This form is not ours", "It was changed on its way, or made elsewhere.", status=403)
    values = json.loads(plain)
    return values["flow"], values["expires"], AuthorizationRequest.from_json(values["request"])
