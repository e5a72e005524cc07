"""What kind of hop one is, by what it carries: paths are a server's own affair."""

from urllib.parse import urlsplit

from workshop.recorder.hop import Hop
from workshop.recorder.scene import (
    AGENT,
    BROWSER,
    GATEWAY,
    ISSUER,
    Scene,
    bare,
    form_of,
    origin,
    query_of,
    sent_object,
)

_CHALLENGES = (401, 403)


def kind_of(hop: Hop, scene: Scene) -> str:
    """The kind of a hop at this point of the story."""
    path = urlsplit(bare(hop.url)).path
    if "/.well-known/oauth-protected-resource" in path:
        return "resource-metadata"
    if "/.well-known/o" in path:
        return "server-metadata"
    if hop.sender == GATEWAY:
        return _upstream_kind(path, scene)
    return _browser_kind(hop, scene) if hop.sender == BROWSER else _agent_kind(hop)


def _agent_kind(hop: Hop) -> str:
    if grant := form_of(hop).get("grant_type"):
        return "refresh" if grant == "refresh_token" else "token"
    if "redirect_uris" in sent_object(hop):
        return "register"
    if "response_type" in query_of(hop):
        return "ask-first"
    return "challenge" if hop.status in _CHALLENGES else "mcp"


def _upstream_kind(path: str, scene: Scene) -> str:
    if path.startswith("/mcp"):
        return "upstream-mcp"
    if path.endswith("/access_token"):
        return "upstream-token"
    # In the middle of a tool call the same address is no more than what the tool asks for.
    return "upstream-user" if path == "/user" and scene.asker == BROWSER else "upstream-call"


def _browser_kind(hop: Hop, scene: Scene) -> str:
    query, receiver = query_of(hop), scene.receiver(hop)
    if receiver == AGENT:
        return "callback"
    upstream = receiver not in (GATEWAY, ISSUER)
    if "response_type" in query or (upstream and "client_id" in query):
        if upstream:
            return "upstream-authorize"
        return "own-authorize" if receiver == ISSUER and _gateways_own(query, scene) else "authorize"
    if "state" in query and ("code" in query or "error" in query):
        return _callback_kind(hop, scene, receiver)
    if hop.method == "POST":
        return "upstream-consent" if upstream else _form_kind(hop, scene, receiver)
    return "visit" if receiver == GATEWAY and scene.waits(hop) else "page"


def _gateways_own(query: dict[str, str], scene: Scene) -> bool:
    return origin(query.get("redirect_uri", "")) == origin(scene.server_url)


def _callback_kind(hop: Hop, scene: Scene, receiver: str) -> str:
    if receiver == ISSUER:
        return "issuer-callback"
    return "own-callback" if bare(hop.url) == scene.own_redirect else "upstream-callback"


def _form_kind(hop: Hop, scene: Scene, receiver: str) -> str:
    form = form_of(hop)
    if "user" in form or "state" in form:  # a consent page keeps the state to itself
        return "sign-in"
    if receiver == GATEWAY:
        return "connect" if scene.waits(hop) else "consent"
    return "own-consent" if scene.client == GATEWAY else "consent"
