"""What was compared with what: by the rules an MCP client and server have to apply."""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from workshop.recorder.labels import Labels
from workshop.recorder.model import Comparison
from workshop.recorder.scene import Scene, origin, strings

_ABSENT = "(absent)"


def equal(left_name: str, left: str, right_name: str, right: str, reference: str) -> Comparison:
    """Two values that have to be the same, letter by letter."""
    return Comparison(
        left_name, left or _ABSENT, "equals", right_name, right or _ABSENT, left == right, reference
    )


def s256(verifier: str) -> str:
    """The PKCE challenge of a verifier (RFC 7636 section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def covers(resource: str, url: str) -> bool:
    """Whether `url` lies under `resource`: the same origin, and its path below."""
    if not resource or origin(resource) != origin(url):
        return False
    above, below = (urlsplit(one).path.rstrip("/") + "/" for one in (resource, url))
    return below.startswith(above)


def of_resource(scene: Scene) -> Iterator[Comparison]:
    """The resource that is described is the one that was asked for."""
    yield Comparison(
        "resource in the metadata",
        scene.resource or _ABSENT,
        "covers",
        "the address asked",
        scene.server_url,
        covers(scene.resource, scene.server_url),
        "RFC 9728 §3.3",
    )


def of_server(scene: Scene, methods: list[str]) -> Iterator[Comparison]:
    """The issuer is the one that the resource named, and offers PKCE."""
    if scene.issuers:
        named = next((one for one in scene.issuers if one == scene.issuer), scene.issuers[0])
        yield equal(
            "issuer in its metadata", scene.issuer, "issuer the resource named", named, "RFC 8414 §3.3"
        )
    yield Comparison(
        "code_challenge_methods_supported",
        " ".join(methods) or _ABSENT,
        "contains",
        "what the agent needs",
        "S256",
        "S256" in methods,
        "MCP authorization, Authorization Code Protection",
    )


def of_request(scene: Scene) -> Iterator[Comparison]:
    """The authorization request asks for this resource, and for an answer to where we registered."""
    if scene.resource:
        yield equal(
            "resource asked for",
            scene.asked.get("resource", ""),
            "resource in the metadata",
            scene.resource,
            "RFC 8707 §2",
        )
    wanted = scene.asked.get("redirect_uri", "")
    if scene.redirect_uris:
        known = wanted if wanted in scene.redirect_uris else scene.redirect_uris[0]
        yield equal("redirect_uri asked for", wanted, "redirect_uri registered", known, "RFC 6749 §3.1.2.3")


def of_callback(scene: Scene, labels: Labels) -> Iterator[Comparison]:
    """The answer belongs to our request, and comes from the server we asked."""
    sent, back = scene.asked.get("state", ""), scene.returned.get("state", "")
    if sent:
        yield Comparison(
            "state sent",
            labels.of("state", sent),
            "equals",
            "state that came back",
            labels.of("state", back) if back else _ABSENT,
            sent == back,
            "RFC 6749 §10.12",
        )
    iss = scene.returned.get("iss", "")
    if scene.issuer and (iss or scene.iss_promised):
        yield equal("iss that came back", iss, "issuer in its metadata", scene.issuer, "RFC 9207 §2.4")


def of_exchange(scene: Scene, form: Mapping[str, str], labels: Labels) -> Iterator[Comparison]:
    """The code is the one that came back, and the verifier is the one behind the challenge."""
    verifier, challenge = form.get("code_verifier", ""), scene.asked.get("code_challenge", "")
    if challenge:
        yield equal(
            f"S256({labels.of('verifier', verifier)})",
            s256(verifier) if verifier else "",
            "code_challenge sent before",
            challenge,
            "RFC 7636 §4.6",
        )
    if code := scene.returned.get("code", ""):
        yield Comparison(
            "code that came back",
            labels.of("code", code),
            "equals",
            "code traded now",
            labels.of("code", form.get("code", "")),
            code == form.get("code"),
            "RFC 6749 §4.1.3",
        )
    for name, reference in (("redirect_uri", "RFC 6749 §4.1.3"), ("resource", "RFC 8707 §2.2")):
        if scene.asked.get(name):
            yield equal(f"{name} asked for", scene.asked[name], f"{name} now", form.get(name, ""), reference)


def of_claims(scene: Scene, payload: Mapping[str, Any]) -> Iterator[Comparison]:
    """The token was issued by this server, and for this resource."""
    audience = strings(payload.get("aud"))
    if scene.issuer:
        issuer = next(iter(strings(payload.get("iss"))), "")
        yield equal("iss in the token", issuer, "issuer in its metadata", scene.issuer, "RFC 9068 §4")
    wanted = scene.asked.get("resource") or scene.resource
    holds = wanted in audience if wanted else any(covers(one, scene.server_url) for one in audience)
    yield Comparison(
        "aud in the token",
        " ".join(audience) or _ABSENT,
        "contains" if wanted else "covers",
        "resource asked for" if wanted else "the address asked",
        wanted or scene.server_url,
        holds,
        "RFC 8707 §2.2, RFC 9068 §4",
    )


def of_swap(ours: str, theirs: str) -> Iterator[Comparison]:
    """The agent's token is not passed on."""
    yield Comparison(
        "the agent's token",
        ours,
        "differs from",
        "the token the upstream received",
        theirs,
        ours != theirs,
        "MCP authorization, Access Token Privilege Restriction",
    )
