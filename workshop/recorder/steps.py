"""Turn a recorded request into a step of the trace: its kind, title, sentence, facts and comparisons.

An MCP request carries JSON-RPC messages, as a whole body or as server-sent events.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from workshop.recorder import details
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
from workshop.recorder.masking import (
    Labels,
    cut,
    decoded,
    masked_body,
    masked_headers,
    masked_json,
    masked_url,
    media_type,
)
from workshop.recorder.model import Message, Request, Step
from workshop.recorder.wording import AGAIN, ASKED, BUILT, CUT_OFF, METHODS, REMEMBERED, WAITING, WORDS

_LONGEST_RESULT = 240
_URL_ELICITATION_REQUIRED = -32042


@dataclass(frozen=True)
class Rpc:
    """One JSON-RPC message: a request or notification has a method, a response a result or an error."""

    message: Mapping[str, Any]

    @property
    def method(self) -> str:
        return str(self.message.get("method") or "")

    @property
    def id(self) -> str:
        return "" if self.message.get("id") is None else str(self.message["id"])[:60]

    @property
    def params(self) -> Mapping[str, Any]:
        params = self.message.get("params")
        return params if isinstance(params, Mapping) else {}

    @property
    def tool(self) -> str:
        """The name of the tool that is called; empty if none is."""
        return str(self.params.get("name") or "") if self.method == "tools/call" else ""

    @property
    def elicitations(self) -> list[Mapping[str, Any]]:
        """The pages that a person must open first (MCP, URL elicitation), each with `url` and `message`."""
        # 2025-11-25 has a request and an error for it, 2026-07-28 a result with `inputRequests`.
        found: list[object] = [self.params] if self.method == "elicitation/create" else []
        error, result = self.message.get("error"), self.message.get("result")
        if isinstance(error, Mapping) and error.get("code") == _URL_ELICITATION_REQUIRED:
            data = error.get("data")
            listed = data.get("elicitations") if isinstance(data, Mapping) else None
            found += listed if isinstance(listed, list) else []
        asked = result.get("inputRequests") if isinstance(result, Mapping) else None
        if isinstance(asked, Mapping):
            found += [one.get("params") for one in asked.values() if isinstance(one, Mapping)]
        return [one for one in found if isinstance(one, Mapping) and isinstance(one.get("url"), str)]

    def summary(self, labels: Labels) -> str:
        """Summarise the message in a line or two, with secrets masked."""
        if elicitations := self.elicitations:
            return "; ".join(_elicited(one, labels) for one in elicitations)
        if self.method:
            # In 2026-07-28, `_meta` repeats the protocol version and the client's name in each request.
            shown = {name: value for name, value in self.params.items() if name != "_meta"}
            shown = shown.get("arguments", {}) if self.tool else shown
            return cut(_line(masked_json(shown, labels)))
        if "error" in self.message:
            return f"error {cut(_line(masked_json(self.message['error'], labels)), _LONGEST_RESULT)}"
        return _result(self.message.get("result"), labels)


def _elicited(asked: Mapping[str, Any], labels: Labels) -> str:
    link = cut(masked_url(asked["url"], labels))
    said = labels.sweep(_line(masked_json(asked.get("message", ""), labels)))  # before it is cut
    return f"please open {link}: {cut(said, _LONGEST_RESULT)}"


def _result(result: object, labels: Labels) -> str:
    if not isinstance(result, Mapping):
        return "a result"
    if isinstance(tools := result.get("tools"), list):
        names = [str(tool.get("name")) for tool in tools if isinstance(tool, Mapping)]
        return cut(f"{len(names)} tools: {', '.join(names)}")
    if isinstance(content := result.get("content"), list):
        texts = [
            str(block.get("text", f"[{block.get('type')}]")) for block in content if isinstance(block, dict)
        ]
        said = "refused: " if result.get("isError") else ""
        return f"{said}{cut(' '.join(' '.join(texts).split()), _LONGEST_RESULT)}"
    info = result.get("serverInfo")
    name = f"{info.get('name', '')} " if isinstance(info, Mapping) else ""
    versions = result.get("protocolVersion") or result.get("supportedVersions") or ""
    return cut(f"{name}{_line(versions)}".strip() or _line(masked_json(result, labels)), _LONGEST_RESULT)


def _line(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def rpc_messages(body: bytes, media_type: str) -> list[Rpc]:
    """The JSON-RPC messages of a body; anything else is left out."""
    texts = _events(body) if media_type == "text/event-stream" else [body]
    return [message for text in texts for message in _parsed(text)]


def _parsed(text: bytes) -> Iterator[Rpc]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return
    # Batches exist in 2025-03-26 only, and a server may still send one.
    for message in found if isinstance(found, list) else [found]:
        if isinstance(message, dict) and message.get("jsonrpc") == "2.0":
            yield Rpc(message)


def _events(body: bytes) -> Iterator[bytes]:
    """The data of each server-sent event, with any kind of line ends."""
    for event in body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n"):
        data = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
        if data:
            yield b"\n".join(data)


_CHALLENGES = (401, 403)


def kind_of(request: Request, context: Context) -> str:
    """The kind of a request, given the requests before it."""
    path = urlsplit(bare(request.url)).path
    if "/.well-known/oauth-protected-resource" in path:
        return "resource-metadata"
    # `oauth-authorization-server` or `openid-configuration`; the other one was recognised above.
    if "/.well-known/o" in path:
        return "server-metadata"
    if request.sender == GATEWAY:
        return _upstream_kind(path, context)
    return _browser_kind(request, context) if request.sender == BROWSER else _agent_kind(request)


def _agent_kind(request: Request) -> str:
    # By what is sent, because the metadata may name any path for these endpoints.
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
    # GitHub does not require `response_type`, so a request to it may lack that.
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
    # First, because what it adds to the context decides who receives the request.
    detail = details.read(kind, request, context, labels)
    words = WORDS[kind]
    receiver, url = context.receiver(request), masked_url(request.url, labels)
    sent = media_type(request.request_headers)
    given = media_type(request.response_headers) or (
        "application/json" if request.seen_by == "memory" else ""
    )
    asking, answering = rpc_messages(request.request_body, sent), rpc_messages(decoded(request), given)
    title, sentence = (detail.title or words.title, detail.sentence or words.sentence)
    # Before `_mcp_words`, which ends the waiting when the call is answered.
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
    asked: Rpc, answering: Sequence[Rpc], context: Context, request: Request
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
    messages: Sequence[Rpc],
    labels: Labels,
    kind: str = "",
) -> Message:
    kind = kind or media_type(headers)
    text = "\n".join(_rpc_line(message, labels) for message in messages)
    return Message(masked_headers(headers, labels), text or masked_body(body, kind, labels), kind, len(body))


def _rpc_line(message: Rpc, labels: Labels) -> str:
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
    asking: Sequence[Rpc], answering: Sequence[Rpc], labels: Labels
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
