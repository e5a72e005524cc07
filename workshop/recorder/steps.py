"""Turn a recorded hop into a step of the trace: its kind, title, sentence, facts and comparisons."""

import math
from collections.abc import Iterable, Sequence
from urllib.parse import urljoin, urlsplit

from workshop.recorder import details, rpc
from workshop.recorder.context import (
    AGENT,
    BROWSER,
    GATEWAY,
    ISSUER,
    Context,
    bare,
    form_of,
    origin,
    query_of,
    sent_object,
)
from workshop.recorder.hop import Hop
from workshop.recorder.masking import Labels, decoded, masked_body, masked_headers, masked_url, media_type
from workshop.recorder.model import Message, Step
from workshop.recorder.wording import AGAIN, ASKED, BUILT, CUT_OFF, METHODS, REMEMBERED, WAITING, WORDS

_CHALLENGES = (401, 403)


def kind_of(hop: Hop, context: Context) -> str:
    """The kind of a hop, given the hops before it."""
    path = urlsplit(bare(hop.url)).path
    if "/.well-known/oauth-protected-resource" in path:
        return "resource-metadata"
    if "/.well-known/o" in path:
        return "server-metadata"
    if hop.sender == GATEWAY:
        return _upstream_kind(path, context)
    return _browser_kind(hop, context) if hop.sender == BROWSER else _agent_kind(hop)


def _agent_kind(hop: Hop) -> str:
    if grant := form_of(hop).get("grant_type"):
        return "refresh" if grant == "refresh_token" else "token"
    if "redirect_uris" in sent_object(hop):
        return "register"
    if "response_type" in query_of(hop):
        return "ask-first"
    return "challenge" if hop.status in _CHALLENGES else "mcp"


def _upstream_kind(path: str, context: Context) -> str:
    if path.startswith("/mcp"):
        return "upstream-mcp"
    if path.endswith("/access_token"):
        return "upstream-token"
    # During a tool call, the same address is only what the tool asks for.
    return "upstream-user" if path == "/user" and context.asker == BROWSER else "upstream-call"


def _browser_kind(hop: Hop, context: Context) -> str:
    query, receiver = query_of(hop), context.receiver(hop)
    if receiver == AGENT:
        return "callback"
    upstream = receiver not in (GATEWAY, ISSUER)
    if "response_type" in query or (upstream and "client_id" in query):
        if upstream:
            return "upstream-authorize"
        return "own-authorize" if receiver == ISSUER and _gateways_own(query, context) else "authorize"
    if "state" in query and ("code" in query or "error" in query):
        return _callback_kind(hop, context, receiver)
    if hop.method == "POST":
        return "upstream-consent" if upstream else _form_kind(hop, context, receiver)
    return "visit" if receiver == GATEWAY and context.waits(hop) else "page"


def _gateways_own(query: dict[str, str], context: Context) -> bool:
    return origin(query.get("redirect_uri", "")) == origin(context.server_url)


def _callback_kind(hop: Hop, context: Context, receiver: str) -> str:
    if receiver == ISSUER:
        return "issuer-callback"
    return "own-callback" if bare(hop.url) == context.own_redirect else "upstream-callback"


def _form_kind(hop: Hop, context: Context, receiver: str) -> str:
    form = form_of(hop)
    if "user" in form or "state" in form:  # a consent page does not send the state
        return "sign-in"
    if receiver == GATEWAY:
        return "connect" if context.waits(hop) else "consent"
    return "own-consent" if context.client == GATEWAY else "consent"


_REFUSED = 400


def step_of(number: int, hop: Hop, context: Context, labels: Labels) -> Step:
    """The step of a hop, which is also added to the context."""
    kind = kind_of(hop, context)
    detail = details.read(kind, hop, context, labels)
    words = WORDS[kind]
    receiver, url = context.receiver(hop), masked_url(hop.url, labels)
    sent = media_type(hop.request_headers)
    given = media_type(hop.response_headers) or ("application/json" if hop.seen_by == "memory" else "")
    asking, answering = rpc.read(hop.request_body, sent), rpc.read(decoded(hop), given)
    title, sentence = (detail.title or words.title, detail.sentence or words.sentence)
    waits = context.waits(hop)
    if kind == "mcp" and asking:
        title, sentence = _mcp_words(asking[0], answering, context, hop) or (title, sentence)
    if hop.sender != GATEWAY:
        context.asker = hop.sender
    return Step(
        number=number,
        at=round(hop.at, 4),
        seconds=_since(hop, hop.ended),
        wait=_since(hop, hop.answered),
        phase=_phase(kind, words.phase, waits=waits and (kind != "mcp" or context.waited_until == math.inf)),
        kind=kind,
        sender=hop.sender,
        receiver=receiver,
        method=hop.method,
        url=url,
        path=_path(url),
        status=hop.status,
        reason=hop.reason,
        http_version=hop.http_version,
        title=_named(title, context, receiver),
        sentence=_named(_sentence(kind, hop, sentence), context, receiver),
        references=words.references,
        seen_by=hop.seen_by,
        request=_message(hop.request_headers, hop.request_body, asking, labels),
        response=_message(hop.response_headers, decoded(hop), answering, labels, given),
        facts=(*detail.facts, *_headlines(hop, labels), *_rpc_facts(asking, answering, labels)),
        comparisons=detail.comparisons,
        claims=detail.claims,
    )


def _since(hop: Hop, moment: float | None) -> float | None:
    """Seconds since the hop's beginning, if the agent measured them."""
    return None if moment is None or hop.seen_by != "agent" else round(moment - hop.at, 4)


def _path(url: str) -> str:
    try:
        return urlsplit(url).path or "/"
    except ValueError:
        return "/"


def _phase(kind: str, phase: str, *, waits: bool) -> str:
    return WAITING if waits and (phase == "approval" or kind == "mcp") else phase


def _named(text: str, context: Context, receiver: str) -> str:
    """The text with the names of the MCP server and of this hop's receiver filled in."""
    known = {GATEWAY: context.server_name, ISSUER: "authorization server"}
    return text.replace("{server}", context.server_name).replace("{receiver}", known.get(receiver, "server"))


def _mcp_words(
    asked: rpc.Rpc, answering: Sequence[rpc.Rpc], context: Context, hop: Hop
) -> tuple[str, str] | None:
    """Title and sentence of an MCP request; if its answer is a link, a call waits from here on."""
    again = bool(asked.tool) and asked.tool == context.waiting_call and context.waits(hop)
    link = any(message.elicitations for message in answering)
    if link:
        context.waiting_call, context.waited_until = asked.tool, math.inf
    elif again:
        context.waited_until = hop.at if hop.ended is None else hop.ended
    title, sentence = METHODS.get(asked.method, (f"MCP: {asked.method[:60]}", WORDS["mcp"].sentence))
    if again:
        return AGAIN[0].replace("{tool}", asked.tool[:60]), AGAIN[2 if link else 1]
    title = f"The tool {asked.tool[:60]} is called" if asked.tool else title
    return title, f"{sentence} {ASKED}" if link else sentence


def _sentence(kind: str, hop: Hop, sentence: str) -> str:
    if hop.seen_by == "built":
        return BUILT
    if hop.seen_by == "memory":
        return f"{sentence} {REMEMBERED}"
    if hop.status is None and hop.seen_by == "agent":
        return f"{sentence} {CUT_OFF}"
    if hop.status is not None and hop.status >= _REFUSED and kind != "challenge":
        return f"{sentence} The request was refused: {hop.status} {hop.reason}".rstrip() + "."
    return sentence


def _message(
    headers: Iterable[tuple[str, str]],
    body: bytes,
    messages: Sequence[rpc.Rpc],
    labels: Labels,
    kind: str = "",
) -> Message:
    kind = kind or media_type(headers)
    text = "\n".join(_rpc_line(message, labels) for message in messages)
    return Message(masked_headers(headers, labels), text or masked_body(body, kind, labels), kind, len(body))


def _rpc_line(message: rpc.Rpc, labels: Labels) -> str:
    number = f" #{message.id}" if message.id else ""
    return f"{message.method or 'answer'}{number}: {message.summary(labels)}"


def _headlines(hop: Hop, labels: Labels) -> tuple[tuple[str, str], ...]:
    """The headers that name a target: a redirect's address, or the tool of an upstream call."""
    location = [("Location", masked_url(_absolute(hop), labels))]
    named = [("Mcp-Method", f"{hop.sent('mcp-method')} {hop.sent('mcp-name')}".strip()[:120])]
    return (
        *(location if hop.header("location") else ()),
        *(named if hop.sender == GATEWAY and named[0][1] else ()),
    )


def _absolute(hop: Hop) -> str:
    try:
        return urljoin(hop.url, hop.header("location"))
    except ValueError:
        return ""


def _rpc_facts(
    asking: Sequence[rpc.Rpc], answering: Sequence[rpc.Rpc], labels: Labels
) -> tuple[tuple[str, str], ...]:
    asked = [
        ("JSON-RPC", f"{message.method}{f' (id {message.id})' if message.id else ''}")
        for message in asking
        if message.method
    ]
    tools = [
        (f"arguments of {message.tool[:60]}", message.summary(labels)) for message in asking if message.tool
    ]
    answers = [("answer", message.summary(labels)) for message in answering if not message.method]
    return (*asked, *tools, *answers)
