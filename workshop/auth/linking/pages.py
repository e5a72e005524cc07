"""The pages behind a link: who are you, is it you who asked, do you want this; then GitHub, then the vault.

Whoever opens the link signs in here first. Their subject must be the one that asked, and every step after it
happens in the browser that took the first one: a link sent to somebody else connects nothing.
"""

import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from workshop.auth.browser import (
    clear_flow_cookie,
    flow_cookie,
    form_page,
    page,
    refuse_other_sites,
    set_flow_cookie,
)
from workshop.auth.config import Upstream
from workshop.auth.http import PageError, Parameters, form_parameters, query_parameters, redirect
from workshop.auth.limits import SIGN_IN_SECONDS
from workshop.auth.linking.records import CONNECTED, REFUSED, Asked, Elicitations, Grants
from workshop.auth.linking.targets import Resources, Target
from workshop.auth.outbound import Outbound
from workshop.auth.outside_tokens import Caller, KeysUnavailableError, OutsideTokens
from workshop.auth.routes import Endpoint
from workshop.auth.store import StoreFullError
from workshop.auth.upstream import Trouble, UpstreamError, UpstreamProvider, code_in
from workshop.auth.vault import SealedRecords, Vault, digest, random_token, same_secret


def own_registration(config: Mapping[str, Any]) -> Upstream:
    """The gateway's own registration at the identity provider: a public client, so PKCE and no secret."""
    return Upstream(
        name="the identity provider",
        authorization_endpoint=config["authorization_endpoint"],
        token_endpoint=config["token_endpoint"],
        client_id=config["client_id"],
        client_secret="",
        redirect_uri=f"{config['url']}/signed-in",
        scopes=("openid", "profile"),
        userinfo=None,
    )


@dataclass(frozen=True)
class IdentityProvider:
    """Signs a person in, with PKCE, and learns who it is from a token made for this gateway."""

    config: Upstream
    tokens: OutsideTokens
    outbound: Outbound

    def peer(self, config: Upstream) -> UpstreamProvider:
        """Any OAuth server that the gateway is a client of: this one, or GitHub."""
        return UpstreamProvider(config, self.outbound, time.time)

    async def caller(self, parameters: Parameters, verifier: str) -> Caller:
        """The person who signed in.

        Raises PageError if nobody did, or if another issuer answered (RFC 9207).
        """
        code = parameters.get("code")
        if parameters.get("iss") != self.tokens.issuer.issuer or code is None or "error" in parameters:
            raise PageError("You did not sign in", "Nothing was connected.")
        try:
            answer = await self.peer(self.config).exchange(code, verifier)
            caller = await self.tokens.verify(answer.access_token)
        except (UpstreamError, KeysUnavailableError) as error:
            raise PageError(
                "Signing in failed", "The identity provider did not answer.", status=502
            ) from error
        # A token that another client obtained could be injected here (RFC 9700 section 4.6).
        if caller is None or caller.client_id != self.config.client_id:
            raise PageError("Signing in failed", "The token was not made for this gateway.", status=502)
        return caller


_LOG = logging.getLogger(__name__)
_GONE = (
    "This link is no longer valid",
    "It was already used, or it is older than ten minutes. Call the tool again to get a new one.",
)
_FORM_SECONDS = 30.0


@dataclass(frozen=True)
class Redirection:
    """One trip of the browser to another server and back; `browser` is the digest of the flow's cookie."""

    link: str
    flow: str
    browser: str
    verifier: str = field(repr=False)
    subject: str = ""
    client_id: str = ""
    target: str = ""

    @property
    def asked(self) -> Asked:
        """Who asked, once that is known."""
        return Asked(self.subject, self.client_id, self.target)


class Connect:
    """`/connect`, `/signed-in` after the identity provider, `/oauth/callback` after GitHub."""

    def __init__(
        self,
        elicitations: Elicitations,
        grants: Grants,
        resources: Resources,
        *,
        records: SealedRecords,
        vault: Vault,
        identity: IdentityProvider,
        url: str,
        hop: int | None = None,
        count: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`hop` is the handshake's hop that the page is.

        `count` is called with what came of an attempt to connect: `allowed`, `denied` or `failed`.
        """
        self._elicitations, self._grants, self._resources = elicitations, grants, resources
        self._records, self._vault, self._identity = records, vault, identity
        self._url, self._hop, self._count = url, hop, count
        self.secure_cookies = url.startswith("https:")

    def routes(self) -> list[Route]:
        return [
            Route("/", Endpoint(self.home, ("GET",))),
            Route("/connect", Endpoint(self.connect, ("GET", "POST"), self._hop)),
            Route("/signed-in", Endpoint(self.signed_in, ("GET",), self._hop)),
            Route("/oauth/callback", Endpoint(self.callback, ("GET",), self._hop)),
        ]

    async def home(self, _: Request) -> Response:
        """What this is, for a person who opens its address: the targets, and the accounts they need."""
        shown = [
            {
                "name": target.name,
                "host": urlsplit(target.api.server).netloc,
                "provider": target.provider.name if target.provider else "",
                "provider_host": _host(target.provider) if target.provider else "",
            }
            for target in self._resources.targets().values()
        ]
        return page("home.html", url=f"{self._url}/mcp", targets=shown)

    async def connect(self, request: Request) -> Response:
        """The link itself: nothing about it is shown before the person has signed in."""
        if request.method == "POST":
            return await self._decided(request)
        parameters = query_parameters(request)
        link = (parameters.get("elicitation_id") if parameters else None) or ""
        if self._elicitations.find(link) is None:
            return self._used(link)
        flow, browser = secrets.token_hex(8), random_token()
        redirection = Redirection(link, flow, digest(browser), random_token())
        response = self._leave("sign-in", redirection, self._identity.config)
        set_flow_cookie(self, response, flow, browser)
        return response

    def _used(self, link: str) -> Response:
        following = self._elicitations.open_again(link)
        if following is None:
            raise PageError(*_GONE, status=404)
        return page("unfinished.html", status=404, link=following, hop=self._hop)

    async def signed_in(self, request: Request) -> Response:
        """The session binding: who signed in must be who asked, or the link leads no further."""
        redirection, parameters = self._back("sign-in", request)
        caller = await self._identity.caller(parameters, redirection.verifier)
        asked = self._elicitations.find(redirection.link)
        if asked is None:
            raise PageError(*_GONE, status=404)
        if not same_secret(caller.subject, asked.subject):
            _LOG.warning("identity mismatch: a link of %s was opened by %s", asked.subject, caller.subject)
            raise PageError(
                "Identity mismatch",
                "This link belongs to another person. If somebody sent it to you, they may want your account "
                "connected to theirs. Nothing was stored.",
                status=403,
            )
        return self._approval(redirection, caller, asked)

    async def callback(self, request: Request) -> Response:
        """GitHub's answer: only now, and only in this browser, something is stored."""
        redirection, parameters = self._back("upstream", request)
        outcome = REFUSED
        try:
            target = self._target(redirection.target)
            code = _code_of(target, parameters)
            tokens = await self._identity.peer(_provider(target)).exchange(code, redirection.verifier)
            self._grants.put(redirection.asked, target.home, tokens)
            outcome = CONNECTED
        except UpstreamError as error:
            denied = parameters.get("error") == "access_denied"
            self._count("denied" if denied else "failed")
            if denied:
                raise PageError("The account was not connected", "You did not approve it.") from error
            _LOG.warning("upstream of target %s: %s", redirection.target, error)
            raise PageError("The account was not connected", error.sentence, status=502) from error
        finally:
            # After a failure too, so that the call that waits for the outcome ends.
            await self._elicitations.settle(redirection.link, redirection.asked, outcome)
        self._count("allowed")
        _LOG.info("connected: user %s, target %s", redirection.subject, redirection.target)
        return self._finished(redirection, "Your account is connected", "The gateway keeps its token sealed.")

    def _approval(self, redirection: Redirection, caller: Caller, asked: Asked) -> Response:
        provider = _provider(self._target(asked.target))
        ticket = {
            "redirection": asdict(redirection),
            "subject": asked.subject,
            "expires": time.time() + SIGN_IN_SECONDS,
        }
        return form_page(
            "connect_account.html",
            person=caller.name or caller.subject,
            client_id=asked.client_id,
            target=asked.target,
            upstream_name=provider.name,
            upstream_host=_host(provider),
            scopes=provider.scopes,
            ticket=self._vault.seal_text(json.dumps(ticket), "connect ticket"),
            csrf=self._vault.mac("connect csrf", redirection.flow, redirection.browser),
            hop=self._hop,
        )

    async def _decided(self, request: Request) -> Response:
        fields = await form_parameters(request, seconds=_FORM_SECONDS)
        redirection, subject = self._ticket(request, fields)
        if fields.get("decision") not in {"approve", "deny"}:
            raise PageError("The form has no decision", "It must say `approve` or `deny`.")
        # `first` before the claim, which removes the record that names it.
        first, asked = self._elicitations.first(redirection.link), self._elicitations.claim(redirection.link)
        if asked is None or asked.subject != subject:
            raise PageError(*_GONE)
        if fields.get("decision") == "deny":
            await self._elicitations.settle(first, asked, REFUSED)
            self._count("denied")
            return self._finished(redirection, "Nothing was connected", "You denied it.")
        onward = Redirection(first, redirection.flow, redirection.browser, random_token(), **asdict(asked))
        return self._leave("upstream", onward, _provider(self._target(asked.target)))

    def _ticket(self, request: Request, fields: Parameters) -> tuple[Redirection, str]:
        plain = self._vault.unseal_text(fields.get("ticket") or "", "connect ticket")
        refuse_other_sites(request, self._url)
        if plain is None:
            raise PageError("This form cannot be accepted", "Nothing was connected.", status=403)
        ticket = json.loads(plain)
        redirection = Redirection(**ticket["redirection"])
        self._same_browser(redirection, request)
        wanted = self._vault.macs("connect csrf", redirection.flow, redirection.browser)
        if not any(same_secret(fields.get("csrf") or "", mac) for mac in wanted):
            raise PageError("This form cannot be accepted", "Nothing was connected.", status=403)
        if ticket["expires"] <= time.time():
            raise PageError(*_GONE)
        return redirection, ticket["subject"]

    def _leave(self, kind: str, redirection: Redirection, config: Upstream) -> Response:
        state = random_token()
        try:
            self._records.put(kind, state, asdict(redirection), seconds=SIGN_IN_SECONDS)
        except StoreFullError as error:
            raise PageError("Too many at once", "Please try again in ten minutes.", status=503) from error
        parameters = self._identity.peer(config).request(state, redirection.verifier)
        return redirect(config.authorization_endpoint, parameters)

    def _back(self, kind: str, request: Request) -> tuple[Redirection, Parameters]:
        parameters = query_parameters(request)
        if parameters is None or parameters.repeated:
            raise PageError("This address does not complete a sign-in", "The address cannot be read.")
        # Removed before the cookie is checked: a state that another browser has is compromised.
        found = self._records.take(kind, parameters.get("state") or "")
        if found is None:
            raise PageError(
                "This sign-in is not known", "It is already complete, or it took longer than ten minutes."
            )
        redirection = Redirection(**found)
        self._same_browser(redirection, request)
        return redirection, parameters

    def _same_browser(self, redirection: Redirection, request: Request) -> None:
        browser = flow_cookie(self, request, redirection.flow)
        if browser is None or not same_secret(digest(browser), redirection.browser):
            raise PageError(
                "This was started in another browser",
                "If someone sent you here, they may be trying to use your account. Nothing was stored.",
                status=403,
            )

    def _target(self, name: str) -> Target:
        target = self._resources.targets().get(name)
        if target is None:
            raise PageError("This connection no longer exists", "Its target was removed.", status=404)
        return target

    def _finished(self, redirection: Redirection, title: str, text: str) -> Response:
        response = page("finished.html", title=title, text=text, hop=self._hop)
        clear_flow_cookie(self, response, redirection.flow)
        return response


def _host(provider: Upstream) -> str:
    return urlsplit(provider.authorization_endpoint).netloc


def _code_of(target: Target, parameters: Parameters) -> str:
    """The code of the target's provider; raises UpstreamError for an error, or another provider's answer."""
    code = code_in(parameters)
    if not target.was_answered_by(parameters.get("iss")):
        raise UpstreamError(Trouble.UNREADABLE)
    return code


def _provider(target: Target) -> Upstream:
    """The target's OAuth app; a target that has lost it since the link was made cannot be connected."""
    if target.provider is None:
        raise PageError("This connection no longer exists", "Its target needs no account.", status=404)
    return target.provider
