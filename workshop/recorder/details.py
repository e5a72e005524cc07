"""Read facts, comparisons and claims out of each kind of request, and add what it shows to the context."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from workshop.core.encoding import jwt_claims, jwt_header
from workshop.recorder import comparisons
from workshop.recorder.context import (
    AGENT,
    GATEWAY,
    Context,
    form_of,
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
from workshop.recorder.model import Claims, Comparison, Pairs
from workshop.recorder.request import Request
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

_UNAUTHORIZED = 401
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
    return Detail(_facts((name, data.get(name)) for name in names), tuple(comparisons.of_resource(context)))


def _server(request: Request, context: Context, _labels: Labels) -> Detail:
    data = returned_object(request)
    if "issuer" not in data:
        return Detail(sentence=SOUGHT)
    context.issuer = str(data["issuer"])
    context.iss_promised = data.get("authorization_response_iss_parameter_supported") is True
    names = [name for name in data if name == "issuer" or name.endswith("_endpoint")]
    facts = _facts((name, data[name]) for name in names)
    methods = strings(data.get("code_challenge_methods_supported", []))
    return Detail(facts, tuple(comparisons.of_server(context, methods)))


def _register(request: Request, context: Context, labels: Labels) -> Detail:
    asked, given = sent_object(request), returned_object(request)
    if "client_id" not in given:
        return Detail(_facts([("client_name", asked.get("client_name"))]))
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
    return Detail(_facts((name, shown.get(name)) for name in _ASKED), tuple(comparisons.of_request(context)))


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
    return Detail(
        _returned(request, labels), tuple(comparisons.of_callback(context, labels)), sentence=sentence
    )


def _token(request: Request, context: Context, labels: Labels) -> Detail:
    form, given = form_of(request), returned_object(request)
    masked_parameters(form.items(), labels)  # numbers the labels of the request before the response's
    compared = list(comparisons.of_exchange(context, form, labels)) if "code" in form else []
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
    return claims, tuple(comparisons.of_claims(context, payload))


def _mcp(request: Request, context: Context, labels: Labels) -> Detail:
    token = request.sent("authorization").removeprefix("Bearer ")
    along = {name: value for name, value in request.request_headers if is_credential(name.lower())}
    context.sent_along |= {fingerprint(value): name for name, value in along.items()}
    besides = masked_headers(along.items(), labels)
    if not token:
        return Detail(_facts(besides))
    shown = _facts([("Authorization", f"Bearer {labels.of('token', token)}"), *besides])
    context.token = token
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
    compared = tuple(comparisons.of_swap(agents, upstreams)) if agents else ()
    facts = _facts([("Authorization", upstreams), ("which is a", kind)])
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
