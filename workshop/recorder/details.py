"""What each kind of hop says and proves; reading one also moves the scene on."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from workshop.core.encoding import jwt_claims, jwt_header
from workshop.recorder import comparing
from workshop.recorder.hop import Hop
from workshop.recorder.labels import Labels, fingerprint
from workshop.recorder.masking import cut, is_credential, masked_claims, masked_headers, masked_parameters
from workshop.recorder.model import Claims, Comparison, Pairs
from workshop.recorder.scene import (
    AGENT,
    GATEWAY,
    Scene,
    form_of,
    query_of,
    returned_object,
    sent_object,
    strings,
)
from workshop.recorder.wording import (
    CONFIDENTIAL,
    KEPT,
    LEAKED,
    NAMELESS,
    OPAQUE,
    SENT_ALONG,
    SERVERS_OWN,
    SOUGHT,
    UNGUIDED,
)

_UNAUTHORIZED = 401
_JWT_PARTS = 3
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
    """What one hop adds to its kind's words."""

    facts: Pairs = ()
    comparisons: tuple[Comparison, ...] = ()
    claims: Claims | None = None
    title: str = ""
    sentence: str = ""


def read(kind: str, hop: Hop, scene: Scene, labels: Labels) -> Detail:
    """The detail of a hop; kinds that have none of their own get an empty one."""
    reader = _READERS.get(kind)
    return reader(hop, scene, labels) if reader else Detail()


def _facts(values: Iterable[tuple[str, object]]) -> Pairs:
    """Pairs of what is there, as text."""
    shown = ((name, " ".join(strings(value)) or _plain(value)) for name, value in values)
    return tuple((name, cut(text)) for name, text in shown if text)


def _plain(value: object) -> str:
    return "" if value in (None, "", [], {}) else str(value)


def _challenge(hop: Hop, _scene: Scene, _labels: Labels) -> Detail:
    value = hop.header("www-authenticate")
    scheme = value.partition(" ")[0]
    found = [(name, quoted or word) for name, quoted, word in _CHALLENGE.findall(value)]
    silent = hop.status == _UNAUTHORIZED and "resource_metadata" not in dict(found)
    return Detail(_facts([("WWW-Authenticate", scheme), *found]), sentence=UNGUIDED if silent else "")


def _resource(hop: Hop, scene: Scene, _labels: Labels) -> Detail:
    data = returned_object(hop)
    if "resource" not in data:
        return Detail(sentence=SOUGHT)
    scene.resource, scene.issuers = str(data["resource"]), strings(data.get("authorization_servers", []))
    names = ("resource", "authorization_servers", "scopes_supported")
    return Detail(_facts((name, data.get(name)) for name in names), tuple(comparing.of_resource(scene)))


def _server(hop: Hop, scene: Scene, _labels: Labels) -> Detail:
    data = returned_object(hop)
    if "issuer" not in data:
        return Detail(sentence=SOUGHT)
    scene.issuer = str(data["issuer"])
    scene.iss_promised = data.get("authorization_response_iss_parameter_supported") is True
    names = [name for name in data if name == "issuer" or name.endswith("_endpoint")]
    facts = _facts((name, data[name]) for name in names)
    methods = strings(data.get("code_challenge_methods_supported", []))
    return Detail(facts, tuple(comparing.of_server(scene, methods)))


def _register(hop: Hop, scene: Scene, labels: Labels) -> Detail:
    asked, given = sent_object(hop), returned_object(hop)
    if "client_id" not in given:
        return Detail(_facts([("client_name", asked.get("client_name"))]))
    scene.redirect_uris = strings(given.get("redirect_uris", asked.get("redirect_uris", [])))
    secret = given.get("client_secret")
    facts = [
        ("client_name", asked.get("client_name")),
        ("redirect_uris", scene.redirect_uris),
        ("client_id", given["client_id"]),
        ("client_secret", labels.of("client-secret", str(secret)) if secret else "none: a public client"),
    ]
    return Detail(_facts(facts), sentence=CONFIDENTIAL if secret else "")


def _authorize(hop: Hop, scene: Scene, labels: Labels) -> Detail:
    scene.asked, scene.client = query_of(hop), AGENT
    shown = dict(masked_parameters(scene.asked.items(), labels))
    return Detail(_facts((name, shown.get(name)) for name in _ASKED), tuple(comparing.of_request(scene)))


def _own_authorize(hop: Hop, scene: Scene, labels: Labels) -> Detail:
    scene.client, scene.own_redirect = GATEWAY, query_of(hop).get("redirect_uri", "")
    return _upstream_authorize(hop, scene, labels)


def _upstream_authorize(hop: Hop, _scene: Scene, labels: Labels) -> Detail:
    shown = dict(masked_parameters(query_of(hop).items(), labels))
    return Detail(_facts((name, shown.get(name)) for name in _ASKED))


def _returned(hop: Hop, labels: Labels) -> Pairs:
    shown = dict(masked_parameters(query_of(hop).items(), labels))
    return _facts((name, shown.get(name)) for name in ("code", "state", "iss", "error", "error_description"))


def _other_callback(hop: Hop, scene: Scene, labels: Labels) -> Detail:
    kept = KEPT if scene.waits(hop) and scene.receiver(hop) == GATEWAY else ""
    return Detail(_returned(hop, labels), sentence=kept)


def _own_callback(hop: Hop, _scene: Scene, labels: Labels) -> Detail:
    return Detail(_returned(hop, labels))


def _callback(hop: Hop, scene: Scene, labels: Labels) -> Detail:
    scene.returned = query_of(hop)
    sentence = "" if "iss" in scene.returned else NAMELESS
    if error := scene.returned.get("error"):
        sentence = f"No code this time: the authorization server reports `{cut(error, 80)}`."
    return Detail(_returned(hop, labels), tuple(comparing.of_callback(scene, labels)), sentence=sentence)


def _token(hop: Hop, scene: Scene, labels: Labels) -> Detail:
    form, given = form_of(hop), returned_object(hop)
    masked_parameters(form.items(), labels)  # what was sent is counted before what was answered
    compared = list(comparing.of_exchange(scene, form, labels)) if "code" in form else []
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
    scene.token = token
    facts.append(("access_token", labels.of("token", token)))
    claims, about = _read_token(token, scene, labels)
    if claims is None:
        facts.append(("which is", OPAQUE))
    return Detail(_facts(facts), (*compared, *about), claims)


def _read_token(token: str, scene: Scene, labels: Labels) -> tuple[Claims | None, tuple[Comparison, ...]]:
    scene.tokens_read.add(token)
    header, payload = jwt_header(token), jwt_claims(token)
    if header is None or payload is None:
        return None, ()
    scene.token_issuer = next(iter(strings(payload.get("iss"))), "")
    claims = Claims(labels.of("token", token), masked_claims(header, labels), masked_claims(payload, labels))
    return claims, tuple(comparing.of_claims(scene, payload))


def _mcp(hop: Hop, scene: Scene, labels: Labels) -> Detail:
    token = hop.sent("authorization").removeprefix("Bearer ")
    along = {name: value for name, value in hop.request_headers if is_credential(name.lower())}
    scene.sent_along |= {fingerprint(value): name for name, value in along.items()}
    besides = masked_headers(along.items(), labels)
    if not token:
        return Detail(_facts(besides))
    shown = _facts([("Authorization", f"Bearer {labels.of('token', token)}"), *besides])
    scene.token = token
    if token in scene.tokens_read:
        return Detail(shown)
    claims, about = _read_token(token, scene, labels)
    return Detail(shown, about, claims)


def _upstream(hop: Hop, scene: Scene, labels: Labels) -> Detail:
    if hop.credential is None:
        return Detail()
    kind, digest = hop.credential
    theirs = labels.of_digest("github-token", digest)
    ours = labels.of("token", scene.token) if scene.token else ""
    compared = tuple(comparing.of_swap(ours, theirs)) if ours else ()
    facts = _facts([("Authorization", theirs), ("which is a", kind)])
    if ours == theirs:
        return Detail(facts, compared, sentence=LEAKED)
    if not scene.sent_along:
        return Detail(facts, compared)
    header = scene.sent_along.get(digest)
    title, sentence = SENT_ALONG if header else SERVERS_OWN
    asked = cut(hop.sent("mcp-name") or hop.sent("mcp-method"), 60)
    sentence = f"{sentence} It asks for `{asked}`." if asked else sentence
    return Detail(facts, compared, title=title, sentence=sentence.replace("{header}", header or ""))


_READERS: dict[str, Callable[[Hop, Scene, Labels], Detail]] = {
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
