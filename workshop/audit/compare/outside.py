"""A person's own MCP server as a column: what the probe shows, and what the agent's own login shows."""

import time
from collections.abc import Callable
from dataclasses import replace

from workshop.audit.compare.client import Authorization, HttpSession, Provider, TokenAnswer
from workshop.audit.compare.comparison import Column, column_of
from workshop.audit.compare.evidence import Evidence, ProbeResult, Refreshed, Session, Unobserved
from workshop.audit.probe.exchange import Exchange
from workshop.audit.probe.model import Answer, Target
from workshop.audit.probe.report import judge
from workshop.audit.probe.requests import collect, collect_signed
from workshop.audit.sign_in import SignedIn, Signing
from workshop.core.text import one_line

Note = Callable[[str], None]
_UNKNOWN = "unknown"
_OK = 200


async def outside(target: Target, signing: Signing | None, note: Note) -> Column:
    """Probe a server that is not the workshop's; with `signing`, log in there as the agent does.

    Nothing is tried there that only a system of the workshop may be asked for. Raises WorkshopError if no
    MCP server answers or the login fails.
    """
    began = time.monotonic()
    if signing is not None:
        signing.check(target.url)
    note("the probe")
    async with Exchange(target, note) as exchange:
        probed = await collect(target, exchange, follow=False)
    why = "no login was made; `--login` makes one" if probed.guarded else "the server requires no token"
    found = _blank(target, why)
    found = replace(found, probe_result=ProbeResult(probed, judge(probed, exchange.requests)))
    if signing is not None and probed.guarded:
        note("a login")
        signed_in = await signing.at(target.url, probed.target.url)
        async with Exchange(probed.target, note) as with_token:
            probed = replace(probed, signed=await collect_signed(probed.target, signed_in, with_token))
        report = judge(probed, [*exchange.requests, *with_token.requests])
        found = await _with_login(replace(found, probe_result=ProbeResult(probed, report)), signed_in)
    return column_of(found, "Your own server", time.monotonic() - began)


def _blank(target: Target, no_login: str) -> Evidence:
    not_asked = Unobserved("it is not a system of the workshop, so the part's question is not asked")
    not_tried = Unobserved("logins that should fail are tried at the workshop's own systems only")
    not_sent = Unobserved("tokens of others are sent to the workshop's own systems only")
    no_record = Unobserved("what is behind it keeps no record that could be read")
    return Evidence(
        name=one_line(target.parts.netloc, 60),
        url=target.url,
        workloads={_UNKNOWN: target.url},
        facts=(),
        server=_UNKNOWN,
        github="",
        asked=not_asked,
        again=not_asked,
        github_record=no_record,
        searched=no_record,
        registered=Unobserved("clients are registered at the workshop's own systems only"),
        session=Unobserved(no_login),
        without_proof=not_tried,
        for_another=not_tried,
        presented=not_sent,
        refreshed=Unobserved(no_login),
        names=Unobserved(no_login),
        cleaned=Unobserved("it was not started here"),
    )


async def _with_login(found: Evidence, signed_in: SignedIn) -> Evidence:
    """What the agent's login shows; the token is sent to the server itself, and no redirect is followed."""
    login, tools = signed_in.login, tuple(signed_in.tools)
    async with HttpSession() as http:
        first_use = await http.initialize(login.resource, signed_in.token, {})
    metadata = login.authorization_server.model_dump(mode="json", exclude_none=True)
    provider = Provider.described(metadata, login.resource)
    response = signed_in.response
    callback = {"iss": response.iss} if response and response.iss else {}
    authorization = Authorization(pages=None, callback=callback if response else None)
    answered = TokenAnswer(Answer("POST", provider.endpoint("token"), _OK, (), ""))
    keeps = "there is a refresh token; it stays with the agent's login and is not used here"
    has_refresh = login.tokens is not None and bool(login.tokens.refresh_token)
    listed = one_line(", ".join(tools), 120) or "none"
    return replace(
        found,
        session=Session(provider, authorization, answered, first_use),
        refreshed=Unobserved(keeps) if has_refresh else Refreshed(given=False),
        names=Unobserved(f"what is behind it is not known; its {len(tools)} tools are {listed}"),
    )
