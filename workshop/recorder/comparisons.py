"""The comparisons that an MCP client and server must make, applied to what was recorded."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from workshop.core.encoding import s256
from workshop.recorder.context import Context, origin, strings
from workshop.recorder.masking import Labels
from workshop.recorder.model import Comparison

_ABSENT = "(absent)"


def equal(left_name: str, left: str, right_name: str, right: str, reference: str) -> Comparison:
    """Two values that must be identical, character for character."""
    return Comparison(
        left_name, left or _ABSENT, "equals", right_name, right or _ABSENT, left == right, reference
    )


def covers(resource: str, url: str) -> bool:
    """Whether `url` is at or below `resource`: the same origin, and the same or a longer path."""
    if not resource or origin(resource) != origin(url):
        return False
    above, below = (urlsplit(one).path.rstrip("/") + "/" for one in (resource, url))
    return below.startswith(above)


def of_resource(context: Context) -> Iterator[Comparison]:
    """The metadata describes the resource that was requested."""
    yield Comparison(
        "resource in the metadata",
        context.resource or _ABSENT,
        "covers",
        "the requested URL",
        context.server_url,
        covers(context.resource, context.server_url),
        "RFC 9728 §3.3",
    )


def of_server(context: Context, methods: list[str]) -> Iterator[Comparison]:
    """The issuer is the one that the resource named, and it supports PKCE."""
    if context.issuers:
        named = next((one for one in context.issuers if one == context.issuer), context.issuers[0])
        yield equal(
            "issuer in its metadata", context.issuer, "issuer that the resource named", named, "RFC 8414 §3.3"
        )
    yield Comparison(
        "code_challenge_methods_supported",
        " ".join(methods) or _ABSENT,
        "contains",
        "what the agent requires",
        "S256",
        "S256" in methods,
        "MCP authorization, Authorization Code Protection",
    )


def of_request(context: Context) -> Iterator[Comparison]:
    """The authorization request names this resource and a registered redirect URI."""
    if context.resource:
        yield equal(
            "resource requested",
            context.asked.get("resource", ""),
            "resource in the metadata",
            context.resource,
            "RFC 8707 §2",
        )
    wanted = context.asked.get("redirect_uri", "")
    if context.redirect_uris:
        known = wanted if wanted in context.redirect_uris else context.redirect_uris[0]
        yield equal("redirect_uri requested", wanted, "redirect_uri registered", known, "RFC 6749 §3.1.2.3")


def of_callback(context: Context, labels: Labels) -> Iterator[Comparison]:
    """The response belongs to this request, and comes from the expected issuer."""
    sent, back = context.asked.get("state", ""), context.returned.get("state", "")
    if sent:
        yield Comparison(
            "state sent",
            labels.of("state", sent),
            "equals",
            "state returned",
            labels.of("state", back) if back else _ABSENT,
            sent == back,
            "RFC 6749 §10.12",
        )
    iss = context.returned.get("iss", "")
    if context.issuer and (iss or context.iss_promised):
        yield equal("iss returned", iss, "issuer in its metadata", context.issuer, "RFC 9207 §2.4")


def of_exchange(context: Context, form: Mapping[str, str], labels: Labels) -> Iterator[Comparison]:
    """The code is the one that was returned, and the verifier matches the challenge."""
    verifier, challenge = form.get("code_verifier", ""), context.asked.get("code_challenge", "")
    if challenge:
        yield equal(
            f"S256({labels.of('verifier', verifier)})",
            s256(verifier) if verifier else "",
            "code_challenge sent earlier",
            challenge,
            "RFC 7636 §4.6",
        )
    if code := context.returned.get("code", ""):
        yield Comparison(
            "code returned",
            labels.of("code", code),
            "equals",
            "code exchanged now",
            labels.of("code", form.get("code", "")),
            code == form.get("code"),
            "RFC 6749 §4.1.3",
        )
    for name, reference in (("redirect_uri", "RFC 6749 §4.1.3"), ("resource", "RFC 8707 §2.2")):
        if context.asked.get(name):
            yield equal(
                f"{name} requested", context.asked[name], f"{name} now", form.get(name, ""), reference
            )


def of_claims(context: Context, payload: Mapping[str, Any]) -> Iterator[Comparison]:
    """The token was issued by this authorization server and for this resource."""
    audience = strings(payload.get("aud"))
    if context.issuer:
        issuer = next(iter(strings(payload.get("iss"))), "")
        yield equal("iss in the token", issuer, "issuer in its metadata", context.issuer, "RFC 9068 §4")
    wanted = context.asked.get("resource") or context.resource
    holds = wanted in audience if wanted else any(covers(one, context.server_url) for one in audience)
    yield Comparison(
        "aud in the token",
        " ".join(audience) or _ABSENT,
        "contains" if wanted else "covers",
        "resource requested" if wanted else "the requested URL",
        wanted or context.server_url,
        holds,
        "RFC 8707 §2.2, RFC 9068 §4",
    )


def of_swap(agents: str, upstreams: str) -> Iterator[Comparison]:
    """The agent's token is not passed on to the upstream."""
    yield Comparison(
        "token 1, the agent's",
        agents,
        "differs from",
        "the token that the upstream received",
        upstreams,
        agents != upstreams,
        "MCP authorization, Access Token Privilege Restriction",
    )
