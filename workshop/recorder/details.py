"""Read facts, comparisons and claims out of each kind of request, and add what it shows to the context."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from workshop.core.encoding import jwt_claims, jwt_header, s256
from workshop.recorder.context import (
    AGENT,
    GATEWAY,
    Context,
    form_of,
    origin,
    query_of,
    returned_object,
    sent_object,
    strings,
)
from workshop.recorder.masking import (
    Labels,
    cut,
    fingerprint,
    is_credential,
    masked_claims,
    masked_headers,
    masked_parameters,
)
from workshop.recorder.model import Claims, Comparison, Pairs, Request
from workshop.recorder.wording import (
    CONFIDENTIAL,
    FOR_SERVER,
    LEAKED,
    OPAQUE,
    SENT_ALONG,
    SERVERS_OWN,
    SOUGHT,
    WITHOUT_ISSUER,
    WITHOUT_METADATA,
)

_ABSENT = "(absent)"


def _equal(
    left_name: str, left: str, right_name: str, right: str, reference: str, *, holds: bool | None = None
) -> Comparison:
    """Two values that must be identical; `holds` is the result for secrets, of which only labels are here."""
    same = left == right if holds is None else holds
    return Comparison(left_name, left or _ABSENT, "equals", right_name, right or _ABSENT, same, reference)


def _covers(resource: str, url: str) -> bool:
    """Whether `url` is at or below `resource`: the same origin, and the same or a longer path."""
    if not resource or origin(resource) != origin(url):
        return False
    # `/mcp` covers `/mcp/x`, and not `/mcpx`.
    above, below = (urlsplit(one).path.rstrip("/") + "/" for one in (resource, url))
    return below.startswith(above)


def _compare_resource(context: Context) -> Iterator[Comparison]:
    """The metadata describes the resource that was requested."""
    yield Comparison(
        "resource in the metadata",
        context.resource or _ABSENT,
        "covers",
        "the requested URL",
        context.server_url,
        _covers(context.resource, context.server_url),
        "RFC 9728 §3.3",
    )


def _compare_server(context: Context, methods: list[str]) -> Iterator[Comparison]:
    """The issuer is the one that the resource named, and it supports PKCE."""
    if context.issuers:
        named = next((one for one in context.issuers if one == context.issuer), context.issuers[0])
        yield _equal(
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


def _compare_request(context: Context) -> Iterator[Comparison]:
    """The authorization request names this resource and a registered redirect URI."""
    if context.resource:
        yield _equal(
            "resource requested",
            context.asked.get("resource", ""),
            "resource in the metadata",
            context.resource,
            "RFC 8707 §2",
        )
    wanted = context.asked.get("redirect_uri", "")
    if context.redirect_uris:
        known = wanted if wanted in context.redirect_uris else context.redirect_uris[0]
        yield _equal("redirect_uri requested", wanted, "redirect_uri registered", known, "RFC 6749 §3.1.2.3")


def _compare_callback(context: Context, labels: Labels) -> Iterator[Comparison]:
    """The response belongs to this request, and comes from the expected issuer."""
    sent, back = context.asked.get("state", ""), context.returned.get("state", "")
    if sent:
        labelled = labels.of("state", sent)  # first, because labels are numbered in the order of the messages
        returned = labels.of("state", back) if back else ""
        yield _equal(
            "state sent", labelled, "state returned", returned, "RFC 6749 §10.12", holds=sent == back
        )
    iss = context.returned.get("iss", "")
    if context.issuer and (iss or context.iss_promised):
        yield _equal("iss returned", iss, "issuer in its metadata", context.issuer, "RFC 9207 §2.4")


def _compare_exchange(context: Context, form: Mapping[str, str], labels: Labels) -> Iterator[Comparison]:
    """The code is the one that was returned, and the verifier matches the challenge."""
    verifier, challenge = form.get("code_verifier", ""), context.asked.get("code_challenge", "")
    if challenge:
        yield _equal(
            f"S256({labels.of('verifier', verifier)})",
            s256(verifier) if verifier else "",
            "code_challenge sent earlier",
            challenge,
            "RFC 7636 §4.6",
        )
    if code := context.returned.get("code", ""):
        before, now = labels.of("code", code), labels.of("code", form.get("code", ""))
        same = code == form.get("code")
        yield _equal("code returned", before, "code exchanged now", now, "RFC 6749 §4.1.3", holds=same)
    for name, reference in (("redirect_uri", "RFC 6749 §4.1.3"), ("resource", "RFC 8707 §2.2")):
        if context.asked.get(name):
            yield _equal(
                f"{name} requested", context.asked[name], f"{name} now", form.get(name, ""), reference
            )


def _compare_claims(context: Context, payload: Mapping[str, Any]) -> Iterator[Comparison]:
    """The token was issued by this authorization server and for this resource."""
    audience = strings(payload.get("aud"))
    if context.issuer:
        issuer = next(iter(strings(payload.get("iss"))), "")
        yield _equal("iss in the token", issuer, "issuer in its metadata", context.issuer, "RFC 9068 §4")
    wanted = context.asked.get("resource") or context.resource
    holds = wanted in audience if wanted else any(_covers(one, context.server_url) for one in audience)
    yield Comparison(
        "aud in the token",
        " ".join(audience) or _ABSENT,
        "contains" if wanted else "covers",
        "resource requested" if wanted else "the requested URL",
        wanted or context.server_url,
        holds,
        "RFC 8707 §2.2, RFC 9068 §4",
    )


def _compare_swap(agents: str, upstreams: str) -> Iterator[Comparison]:
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


_UNAUTHORIZED = 401
# A parameter's value is a token or a quoted string (RFC 9110 section 11.2).
_CHALLENGE = re.compile(r'([\w-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_ASKED = (
    "client_id",
    "resource",
    "scope",
    "redirect_uri",
    "state",
    "code_challenge",
    "code_challenge_method",
)


@dataclass(frozen=True)
class Detail:
    """What one request adds to the wording of its kind."""

    facts: Pairs = ()
    comparisons: tuple[Comparison, ...] = ()
    claims: Claims | None = None
    title: str = ""
    sentence: str = ""


def read(kind: str, request: Request, context: Context, labels: Labels) -> Detail:
    """The detail of a request; empty for a kind without a reader."""
    reader = _READERS.get(kind)
    return reader(request, context, labels) if reader else Detail()


def _facts(values: Iterable[tuple[str, object]]) -> Pairs:
    """The pairs that have a value, as text."""
    shown = ((name, " ".join(strings(value)) or _plain(value)) for name, value in values)
    return tuple((name, cut(text)) for name, text in shown if text)


def _plain(value: object) -> str:
    return "" if value in (None, "", [], {}) else str(value)


def _challenge(request: Request, _context: Context, _labels: Labels) -> Detail:
    value = request.header("www-authenticate")
    scheme = value.partition(" ")[0]
    found = [(name, quoted or word) for name, quoted, word in _CHALLENGE.findall(value)]
    silent = request.status == _UNAUTHORIZED and "resource_metadata" not in dict(found)
    return Detail(_facts([("WWW-Authenticate", scheme), *found]), sentence=WITHOUT_METADATA if silent else "")


def _resource(request: Request, context: Context, _labels: Labels) -> Detail:
    data = returned_object(request)
    if "resource" not in data:
        return Detail(sentence=SOUGHT)
    context.resource, context.issuers = str(data["resource"]), strings(data.get("authorization_servers", []))
    names = ("resource", "authorization_servers", "scopes_supported")
    return Detail(_facts((name, data.get(name)) for name in names), tuple(_compare_resource(context)))


def _server(request: Request, context: Context, _labels: Labels) -> Detail:
    data = returned_object(request)
    if "issuer" not in data:
        return Detail(sentence=SOUGHT)
    context.issuer = str(data["issuer"])
    context.iss_promised = data.get("authorization_response_iss_parameter_supported") is True
    names = [name for name in data if name == "issuer" or name.endswith("_endpoint")]
    facts = _facts((name, data[name]) for name in names)
    methods = strings(data.get("code_challenge_methods_supported", []))
    return Detail(facts, tuple(_compare_server(context, methods)))


def _register(request: Request, context: Context, labels: Labels) -> Detail:
    asked, given = sent_object(request), returned_object(request)
    if "client_id" not in given:
        return Detail(_facts([("client_name", asked.get("client_name"))]))
    # The server may change what was requested, and then returns it (RFC 7591 section 3.2.1).
    context.redirect_uris = strings(given.get("redirect_uris", asked.get("redirect_uris", [])))
    secret = given.get("client_secret")
    facts = [
        ("client_name", asked.get("client_name")),
        ("redirect_uris", context.redirect_uris),
        ("client_id", given["client_id"]),
        ("client_secret", labels.of("client-secret", str(secret)) if secret else "none: a public client"),
    ]
    return Detail(_facts(facts), sentence=CONFIDENTIAL if secret else "")


def _authorize(request: Request, context: Context, labels: Labels) -> Detail:
    context.asked, context.client = query_of(request), AGENT
    shown = dict(masked_parameters(context.asked.items(), labels))
    return Detail(_facts((name, shown.get(name)) for name in _ASKED), tuple(_compare_request(context)))


def _own_authorize(request: Request, context: Context, labels: Labels) -> Detail:
    context.client, context.own_redirect = GATEWAY, query_of(request).get("redirect_uri", "")
    return _upstream_authorize(request, context, labels)


def _upstream_authorize(request: Request, _context: Context, labels: Labels) -> Detail:
    shown = dict(masked_parameters(query_of(request).items(), labels))
    return Detail(_facts((name, shown.get(name)) for name in _ASKED))


def _returned(request: Request, labels: Labels) -> Pairs:
    shown = dict(masked_parameters(query_of(request).items(), labels))
    return _facts((name, shown.get(name)) for name in ("code", "state", "iss", "error", "error_description"))


def _other_callback(request: Request, context: Context, labels: Labels) -> Detail:
    sentence = FOR_SERVER if context.waits(request) and context.receiver(request) == GATEWAY else ""
    return Detail(_returned(request, labels), sentence=sentence)


def _own_callback(request: Request, _context: Context, labels: Labels) -> Detail:
    return Detail(_returned(request, labels))


def _callback(request: Request, context: Context, labels: Labels) -> Detail:
    context.returned = query_of(request)
    sentence = "" if "iss" in context.returned else WITHOUT_ISSUER
    if error := context.returned.get("error"):
        sentence = f"There is no code: the authorization server reports `{cut(error, 80)}`."
    return Detail(_returned(request, labels), tuple(_compare_callback(context, labels)), sentence=sentence)


def _token(request: Request, context: Context, labels: Labels) -> Detail:
    form, given = form_of(request), returned_object(request)
    masked_parameters(form.items(), labels)  # numbers the labels of the request before the response's
    compared = list(_compare_exchange(context, form, labels)) if "code" in form else []
    refresh = given.get("refresh_token")
    facts = [
        ("grant_type", form.get("grant_type")),
        ("client_id", form.get("client_id")),
        ("error", given.get("error")),
        ("scope", given.get("scope")),
        ("expires_in", f"{given['expires_in']} s" if "expires_in" in given else None),
        ("refresh_token", labels.of("refresh-token", str(refresh)) if refresh else None),
    ]
    token = given.get("access_token")
    if not isinstance(token, str):
        return Detail(_facts(facts), tuple(compared))
    context.token = token
    facts.append(("access_token", labels.of("token", token)))
    claims, about = _read_token(token, context, labels)
    if claims is None:
        facts.append(("which is", OPAQUE))
    return Detail(_facts(facts), (*compared, *about), claims)


def _read_token(token: str, context: Context, labels: Labels) -> tuple[Claims | None, tuple[Comparison, ...]]:
    context.tokens_read.add(token)
    header, payload = jwt_header(token), jwt_claims(token)
    if header is None or payload is None:
        return None, ()
    context.token_issuer = next(iter(strings(payload.get("iss"))), "")
    claims = Claims(labels.of("token", token), masked_claims(header, labels), masked_claims(payload, labels))
    return claims, tuple(_compare_claims(context, payload))


def _mcp(request: Request, context: Context, labels: Labels) -> Detail:
    token = request.sent("authorization").removeprefix("Bearer ")
    along = {name: value for name, value in request.request_headers if is_credential(name.lower())}
    context.sent_along |= {fingerprint(value): name for name, value in along.items()}
    besides = masked_headers(along.items(), labels)
    if not token:
        return Detail(_facts(besides))
    shown = _facts([("Authorization", f"Bearer {labels.of('token', token)}"), *besides])
    context.token = token
    # The claims are shown once, with the first request that carries the token.
    if token in context.tokens_read:
        return Detail(shown)
    claims, about = _read_token(token, context, labels)
    return Detail(shown, about, claims)


def _upstream(request: Request, context: Context, labels: Labels) -> Detail:
    if request.credential is None:
        return Detail()
    kind, digest = request.credential
    upstreams = labels.of_digest("github-token", digest)
    agents = labels.of("token", context.token) if context.token else ""
    compared = tuple(_compare_swap(agents, upstreams)) if agents else ()
    facts = _facts([("Authorization", upstreams), ("which is a", kind)])
    # Labels are made from fingerprints: they are equal exactly if the tokens are.
    if agents == upstreams:
        return Detail(facts, compared, sentence=LEAKED)
    if not context.sent_along:
        return Detail(facts, compared)
    header = context.sent_along.get(digest)
    title, sentence = SENT_ALONG if header else SERVERS_OWN
    requested = cut(request.sent("mcp-name") or request.sent("mcp-method"), 60)
    sentence = f"{sentence} It requests `{requested}`." if requested else sentence
    return Detail(facts, compared, title=title, sentence=sentence.replace("{header}", header or ""))


_READERS: dict[str, Callable[[Request, Context, Labels], Detail]] = {
    "challenge": _challenge,
    "resource-metadata": _resource,
    "server-metadata": _server,
    "register": _register,
    "authorize": _authorize,
    "callback": _callback,
    "own-authorize": _own_authorize,
    "own-callback": _own_callback,
    "issuer-callback": _own_callback,
    "upstream-authorize": _upstream_authorize,
    "upstream-callback": _other_callback,
    "token": _token,
    "refresh": _token,
    "mcp": _mcp,
    "upstream-mcp": _upstream,
    "upstream-user": _upstream,
    "upstream-call": _upstream,
}
