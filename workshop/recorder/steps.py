"""Turn a recorded request into a step of the trace: its kind, title, sentence, facts and comparisons."""

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
from workshop.recorder.masking import Labels, decoded, masked_body, masked_headers, masked_url, media_type
from workshop.recorder.model import Message, Step
from workshop.recorder.request import Request
from workshop.recorder.wording import AGAIN, ASKED, BUILT, CUT_OFF, METHODS, REMEMBERED, WAITING, WORDS

_CHALLENGES = (401, 403)


def kind_of(request: Request, context: Context) -> str:
    """The kind of a request, given the requests before it."""
    path = urlsplit(bare(request.url)).path
    if "/.well-known/oauth-protected-resource" in path:
        return "resource-metadata"
    if "/.well-known/o" in path:
        return "server-metadata"
    if request.sender == GATEWAY:
        return _upstream_kind(path, context)
    return _browser_kind(request, context) if request.sender == BROWSER else _agent_kind(request)


def _agent_kind(request: Request) -> str:
    if grant := form_of(request).get("grant_type"):
        return "refresh" if grant == "refresh_token" else "token"
    if "redirect_uris" in sent_object(request):
        return "register"
    if "response_type" in query_of(request):
        return "ask-first"
    return "challenge" if request.status in _CHALLENGES else "mcp"


def _upstream_kind(path: str, context: Context) -> str:
    if path.startswith("/mcp"):
        return "upstream-mcp"
    if path.endswith("/access_token"):
        return "upstream-token"
    # During a tool call, the same address is only what the tool asks for.
    return "upstream-user" if path == "/user" and context.asker == BROWSER else "upstream-call"


def _browser_kind(request: Request, context: Context) -> str:
    query, receiver = query_of(request), context.receiver(request)
    if receiver == AGENT:
        return "callback"
    upstream = receiver not in (GATEWAY, ISSUER)
    if "response_type" in query or (upstream and "client_id" in query):
        if upstream:
            return "upstream-authorize"
        return "own-authorize" if receiver == ISSUER and _gateways_own(query, context) else "authorize"
    if "state" in query and ("code" in query or "error" in query):
        return _callback_kind(request, context, receiver)
    if request.method == "POST":
        return "upstream-consent" if upstream else _form_kind(request, context, receiver)
    return "visit" if receiver == GATEWAY and context.waits(request) else "page"


def _gateways_own(query: dict[str, str], context: Context) -> bool:
    return origin(query.get("redirect_uri", "")) == origin(context.server_url)


def _callback_kind(request: Request, context: Context, receiver: str) -> str:
    if receiver == ISSUER:
        return "issuer-callback"
    return "own-callback" if bare(request.url) == context.own_redirect else "upstream-callback"


def _form_kind(request: Request, context: Context, receiver: str) -> str:
    form = form_of(request)
    if "user" in form or "state" in form:  # a consent page does not send the state
        return "sign-in"
    if receiver == GATEWAY:
        return "connect" if context.waits(request) else "consent"
    return "own-consent" if context.client == GATEWAY else "consent"


_REFUSED = 400


def step_of(number: int, request: Request, context: Context, labels: Labels) -> Step:
    """The step of a request, which is also added to the context."""
    kind = kind_of(request, context)
    detail = details.read(kind, request, context, labels)
    words = WORDS[kind]
    receiver, url = context.receiver(request), masked_url(request.url, labels)
    sent = media_type(request.request_headers)
    given = media_type(request.response_headers) or (
        "application/json" if request.seen_by == "memory" else ""
    )
    asking, answering = rpc.read(request.request_body, sent), rpc.read(decoded(request), given)
    title, sentence = (detail.title or words.title, detail.sentence or words.sentence)
    waits = context.waits(request)
    if kind == "mcp" and asking:
        title, sentence = _mcp_words(asking[0], answering, context, request) or (title, sentence)
    if request.sender != GATEWAY:
        context.asker = request.sender
    return Step(
        number=number,
        at=round(request.at, 4),
        seconds=_since(request, request.ended),
        wait=_since(request, request.answered),
        phase=_phase(kind, words.phase, waits=waits and (kind != "mcp" or context.waited_until == math.inf)),
        kind=kind,
        sender=request.sender,
        receiver=receiver,
        method=request.method,
        url=url,
        path=_path(url),
        status=request.status,
        reason=request.reason,
        http_version=request.http_version,
        title=_named(title, context, receiver),
        sentence=_named(_sentence(kind, request, sentence), context, receiver),
        references=words.references,
        seen_by=request.seen_by,
        request=_message(request.request_headers, request.request_body, asking, labels),
        response=_message(request.response_headers, decoded(request), answering, labels, given),
        facts=(*detail.facts, *_headlines(request, labels), *_rpc_facts(asking, answering, labels)),
        comparisons=detail.comparisons,
        claims=detail.claims,
    )


def _since(request: Request, moment: float | None) -> float | None:
    """Seconds since the request's beginning, if the agent measured them."""
    return None if moment is None or request.seen_by != "agent" else round(moment - request.at, 4)


def _path(url: str) -> str:
    try:
        return urlsplit(url).path or "/"
    except ValueError:
        return "/"


def _phase(kind: str, phase: str, *, waits: bool) -> str:
    return WAITING if waits and (phase == "approval" or kind == "mcp") else phase


def _named(text: str, context: Context, receiver: str) -> str:
    """The text with the names of the MCP server and of this request's receiver filled in."""
    known = {GATEWAY: context.server_name, ISSUER: "authorization server"}
    return text.replace("{server}", context.server_name).replace("{receiver}", known.get(receiver, "server"))


def _mcp_words(
    asked: rpc.Rpc, answering: Sequence[rpc.Rpc], context: Context, request: Request
) -> tuple[str, str] | None:
    """Title and sentence of an MCP request; if its answer is a link, a call waits from here on."""
    again = bool(asked.tool) and asked.tool == context.waiting_call and context.waits(request)
    link = any(message.elicitations for message in answering)
    if link:
        context.waiting_call, context.waited_until = asked.tool, math.inf
    elif again:
        context.waited_until = request.at if request.ended is None else request.ended
    title, sentence = METHODS.get(asked.method, (f"MCP: {asked.method[:60]}", WORDS["mcp"].sentence))
    if again:
        return AGAIN[0].replace("{tool}", asked.tool[:60]), AGAIN[2 if link else 1]
    title = f"The tool {asked.tool[:60]} is called" if asked.tool else title
    return title, f"{sentence} {ASKED}" if link else sentence


def _sentence(kind: str, request: Request, sentence: str) -> str:
    if request.seen_by == "built":
        return BUILT
    if request.seen_by == "memory":
        return f"{sentence} {REMEMBERED}"
    if request.status is None and request.seen_by == "agent":
        return f"{sentence} {CUT_OFF}"
    if request.status is not None and request.status >= _REFUSED and kind != "challenge":
        return f"{sentence} The request was refused: {request.status} {request.reason}".rstrip() + "."
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


def _headlines(request: Request, labels: Labels) -> tuple[tuple[str, str], ...]:
    """The headers that name a target: a redirect's address, or the tool of an upstream call."""
    location = [("Location", masked_url(_absolute(request), labels))]
    named = [("Mcp-Method", f"{request.sent('mcp-method')} {request.sent('mcp-name')}".strip()[:120])]
    return (
        *(location if request.header("location") else ()),
        *(named if request.sender == GATEWAY and named[0][1] else ()),
    )


def _absolute(request: Request) -> str:
    try:
        return urljoin(request.url, request.header("location"))
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
