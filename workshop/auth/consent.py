"""Consent, asked before anyone is sent upstream, and tied to the browser that gave it.

A proxy with one application at the upstream is a confused deputy without it: the upstream skips its own page
for an application it knows (MCP security best practices; CVE-2026-27124). The page carries the request in a
sealed ticket, so that nothing is stored for those who only look; the ticket is good once, for ten minutes,
and only together with the cookie set beside it.
"""

import logging
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from workshop.auth.browser import (
    check_browser,
    clear_flow_cookie,
    flow_cookie,
    form_page,
    refuse_other_sites,
    set_flow_cookie,
    way_back,
)
from workshop.auth.clients import document_host
from workshop.auth.config import Upstream
from workshop.auth.http import (
    PageError,
    Parameters,
    RedirectError,
    error_redirect,
    form_parameters,
    query_parameters,
    redirect,
)
from workshop.auth.limits import QUERY_BYTES, SIGN_IN_SECONDS, SIGN_INS
from workshop.auth.redirect_rules import Destination
from workshop.auth.server import AuthServer
from workshop.auth.store import (
    AuthorizationRequest,
    Client,
    Code,
    Grant,
    Identity,
    PendingSignIn,
    StoreFullError,
    UpstreamTokens,
)
from workshop.auth.upstream import UpstreamError, code_in
from workshop.auth.vault import digest, random_token, same_secret

_LOG = logging.getLogger(__name__)
_MEANINGS = {
    "openid": "know that it is the same person next time",
    "profile": "know your name",
    "email": "know your e-mail address",
    "offline_access": "stay signed in without asking you again",
}


@dataclass(frozen=True, kw_only=True)
class ConsentForm:
    """What the consent page shows: who asks for what, and where the browser goes; and what it sends back."""

    client_id: str
    client_name: str
    redirect_uri: str
    redirect_uris: Sequence[str]
    """All that the client registered."""
    scopes: Sequence[str]
    resource_host: str | None
    """The MCP server that the client will use; None when it only asks who the person is."""
    upstream: Upstream | None
    """Where the person signs in; None for a page of this server."""
    ticket: str
    csrf: str
    preconfigured: bool = False
    hop: int | None = None
    """The number of the page's hop (see `workshop.core.hops`)."""

    def response(self) -> Response:
        """The page."""
        upstream = self.upstream
        return form_page(
            "consent.html",
            form=self,
            name=self.client_name or "An application without a name",
            document_host=document_host(self.client_id),
            scopes=[(scope, _MEANINGS.get(scope, "")) for scope in self.scopes],
            upstream_host=urlsplit(upstream.authorization_endpoint).netloc if upstream else "",
            destination=Destination.of(self.redirect_uri),
            is_local=all(Destination.of(uri).is_local for uri in self.redirect_uris),
            hop=self.hop,
        )


def consent_page(server: AuthServer, client: Client, asked: AuthorizationRequest) -> Response:
    """Ask the person, naming application, scopes and where the browser goes."""
    flow, browser = secrets.token_hex(8), random_token()
    form = ConsentForm(
        client_id=client.client_id,
        client_name=client.name,
        redirect_uri=asked.redirect_uri,
        redirect_uris=client.redirect_uris,
        scopes=asked.scopes,
        resource_host=None if _only_signs_in(server, asked) else urlsplit(server.remote_url).netloc,
        upstream=None if server.signs_in_itself else server.config.upstream,
        ticket=_seal(server, flow, asked),
        # With the client: the approval of one is not valid for another (MCP security best practices).
        csrf=server.vault.mac("csrf", flow, browser, asked.client_id),
        preconfigured=client.preconfigured,
        hop=server.hop,
    )
    response = form.response()
    set_flow_cookie(server, response, flow, browser)
    return response


def _only_signs_in(server: AuthServer, asked: AuthorizationRequest) -> bool:
    """Whether the token will have none of the resource's own scopes, and so only identifies the person."""
    of_resource = set(server.config.scopes) - _MEANINGS.keys()
    return server.signs_in_itself and bool(of_resource) and not of_resource & set(asked.scopes)


async def consent(server: AuthServer, request: Request) -> Response:
    """Accept the decision, once: redirect to the upstream, or to the client with `access_denied`."""
    fields = await form_parameters(request, seconds=server.patience.body)
    refuse_other_sites(request, server.config.issuer)
    ticket = _open(server, fields.get("ticket") or "")
    flow, asked = ticket.flow, ticket.request
    browser = flow_cookie(server, request, flow)
    expected = server.vault.macs("csrf", flow, browser or "", asked.client_id)
    if browser is None or not any(same_secret(fields.get("csrf") or "", mac) for mac in expected):
        raise PageError(
            "This page was opened in another browser",
            "Approve in the browser in which the sign-in was started.",
            status=403,
        )
    if ticket.expires <= server.clock():
        raise PageError("This page has expired", "It is valid for ten minutes.")
    approved = _decision(fields)
    # Ticket and sign-in in one commit: a page that fails for a full store can be sent again.
    try:
        with server.store.together():
            if not server.store.spend_ticket(flow, expires=ticket.expires, limit=SIGN_INS):
                raise PageError("This page was already used", "An approval is valid once.")
            return _go_upstream(server, flow, asked) if approved else _denied(server, flow, asked)
    except StoreFullError as error:
        raise PageError(
            "Too many sign-ins at once", "Please try again in ten minutes.", status=503
        ) from error


def _go_upstream(server: AuthServer, flow: str, asked: AuthorizationRequest) -> Response:
    # The upstream's state is made after the approval, never before (MCP security best practices).
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
        raise PageError("The form has no decision", "It must say `approve` or `deny`.")
    return decision == "approve"


@dataclass(frozen=True)
class _Ticket:
    flow: str
    expires: float
    request: AuthorizationRequest


_TICKET = TypeAdapter(_Ticket)


def _seal(server: AuthServer, flow: str, asked: AuthorizationRequest) -> str:
    ticket = _Ticket(flow, server.clock() + SIGN_IN_SECONDS, asked)
    return server.vault.seal_text(_TICKET.dump_json(ticket).decode(), "consent ticket")


def _open(server: AuthServer, ticket: str) -> _Ticket:
    plain = server.vault.unseal_text(ticket, "consent ticket")
    if plain is None:
        raise PageError(
            "This form cannot be accepted",
            "It was changed, or it does not come from this server.",
            status=403,
        )
    return _TICKET.validate_json(plain)


async def callback(server: AuthServer, request: Request) -> Response:
    """Exchange the upstream's code, open a grant, and hand the client a code of our own."""
    parameters = _parameters(request)
    pending = _take(server, request, parameters.get("state") or "")
    asked = pending.request
    try:
        grant, code = await _sign_in(server, parameters, pending)
    except RedirectError as error:
        _LOG.info("sign-in failed: client %s, %s", asked.client_id, error.error)
        response = error_redirect(server.config.issuer, asked.redirect_uri, asked.state, error)
    else:
        _LOG.info("code issued: client %s, user %s", asked.client_id, grant.sub)
        answer = {"code": code, "state": asked.state, "iss": server.config.issuer}
        response = redirect(asked.redirect_uri, answer)
    clear_flow_cookie(server, response, pending.flow)
    return response


def _parameters(request: Request) -> Parameters:
    parameters = query_parameters(request)
    if parameters is None or parameters.repeated or not parameters.get("state"):
        raise PageError(
            "This address does not complete a sign-in",
            f"The state is missing, or the request is longer than {QUERY_BYTES} bytes.",
        )
    if not parameters.get("code") and not parameters.get("error"):
        raise PageError("This address does not complete a sign-in", "It carries neither a code nor an error.")
    return parameters


def _take(server: AuthServer, request: Request, state: str) -> PendingSignIn:
    # Removed before the cookie is checked: a state that another browser has is compromised.
    pending = server.store.take_pending(state, server.clock())
    if pending is None:
        raise PageError(
            "This sign-in is not known", "It is already complete, or it took longer than ten minutes."
        )
    check_browser(server, request, pending)
    return pending


async def _sign_in(server: AuthServer, parameters: Parameters, pending: PendingSignIn) -> tuple[Grant, str]:
    name = server.upstream.name
    if parameters.get("error") == "access_denied":  # the only code that means that a person decided
        raise RedirectError("access_denied", f"The person did not approve at {name}")
    try:
        tokens = await server.upstream.exchange(code_in(parameters), pending.verifier)
        identity = await server.upstream.identity(tokens)
    except UpstreamError as error:
        _LOG.warning("upstream %s: %s", name, error)
        code_for_client = "temporarily_unavailable" if error.is_passing else "server_error"
        raise RedirectError(code_for_client, f"Signing in at {name} failed. {error.sentence}") from error
    with server.store.together():
        return _open_grant(server, pending.request, identity, tokens)


def _open_grant(
    server: AuthServer, asked: AuthorizationRequest, identity: Identity, tokens: UpstreamTokens
) -> tuple[Grant, str]:
    now = server.clock()
    # A grant whose code nobody redeems expires with it.
    expires = now + server.config.code_seconds
    grant = Grant(
        tsid=str(uuid.uuid4()),
        client_id=asked.client_id,
        sub=server.store.subject(server.upstream.identity_source, identity.subject),
        scopes=asked.scopes,
        resource=asked.resource,
        expires=expires,
        name=identity.name,
        email=identity.email,
        upstream=tokens,
    )
    code = random_token()
    # The client repeats the redirect URI only if its request had one (RFC 6749 section 4.1.3).
    bound = Code(asked.redirect_uri if asked.redirect_uri_given else None, asked.code_challenge, expires)
    server.store.open_grant(grant, code, bound)
    return grant, code
