"""One hop as it is told: what it is for, what it said, and what was compared in it."""

from collections.abc import Iterable, Sequence
from urllib.parse import urljoin, urlsplit

from workshop.trace import details, rpc
from workshop.trace.hop import Hop
from workshop.trace.labels import Labels
from workshop.trace.masking import decoded, masked_body, masked_headers, masked_url, media_type
from workshop.trace.model import Message, Step
from workshop.trace.scene import GATEWAY, Scene, bare
from workshop.trace.wording import BUILT, CUT_OFF, METHODS, REMEMBERED, WORDS

_REFUSED = 400


def told(number: int, hop: Hop, scene: Scene, labels: Labels) -> Step:
    """The step of a hop; the scene moves on with it."""
    kind = scene.kind(hop)
    detail = details.read(kind, hop, scene, labels)
    words = WORDS[kind]
    sent = media_type(hop.request_headers)
    given = media_type(hop.response_headers) or ("application/json" if hop.seen_by == "memory" else "")
    asking, answering = rpc.read(hop.request_body, sent), rpc.read(decoded(hop), given)
    title, sentence = _mcp_words(kind, asking, (words.title, words.sentence))
    return Step(
        number=number,
        at=round(hop.at, 4),
        seconds=_since(hop, hop.ended),
        wait=_since(hop, hop.answered),
        phase=words.phase,
        kind=kind,
        sender=hop.sender,
        receiver=scene.receiver(hop),
        method=hop.method,
        url=masked_url(hop.url, labels),
        path=urlsplit(bare(hop.url)).path or "/",
        status=hop.status,
        reason=hop.reason,
        http_version=hop.http_version,
        title=title,
        sentence=_sentence(kind, hop, detail.sentence or sentence),
        references=words.references,
        seen_by=hop.seen_by,
        request=_message(hop.request_headers, hop.request_body, asking, labels),
        response=_message(hop.response_headers, decoded(hop), answering, labels, given),
        facts=(*detail.facts, *_headlines(hop, labels), *_rpc_facts(asking, answering, labels)),
        comparisons=detail.comparisons,
        claims=detail.claims,
    )


def _since(hop: Hop, moment: float | None) -> float | None:
    """Seconds from the hop's beginning, where it was really measured."""
    return None if moment is None or hop.seen_by != "agent" else round(moment - hop.at, 4)


def _mcp_words(kind: str, asking: Sequence[rpc.Rpc], words: tuple[str, str]) -> tuple[str, str]:
    if kind != "mcp" or not asking:
        return words
    title, sentence = METHODS.get(asking[0].method, (f"MCP: {asking[0].method[:60]}", words[1]))
    return (f"The tool {asking[0].tool[:60]} is called" if asking[0].tool else title), sentence


def _sentence(kind: str, hop: Hop, sentence: str) -> str:
    if hop.seen_by == "built":
        return BUILT
    if hop.seen_by == "memory":
        return f"{sentence} {REMEMBERED}"
    if hop.status is None and hop.seen_by == "agent":
        return f"{sentence} {CUT_OFF}"
    if hop.status is not None and hop.status >= _REFUSED and kind != "challenge":
        return f"{sentence} This time it was refused: {hop.status} {hop.reason}".rstrip() + "."
    return sentence


def _message(
    headers: Iterable[tuple[str, str]],
    body: bytes,
    messages: Sequence[rpc.Rpc],
    labels: Labels,
    kind: str = "",
) -> Message:
    kind = kind or media_type(headers)
    told = "\n".join(_rpc_line(message, labels) for message in messages)
    return Message(masked_headers(headers, labels), told or masked_body(body, kind, labels), kind, len(body))


def _rpc_line(message: rpc.Rpc, labels: Labels) -> str:
    number = f" #{message.id}" if message.id else ""
    return f"{message.method or 'answer'}{number}: {message.told(labels)}"


def _headlines(hop: Hop, labels: Labels) -> tuple[tuple[str, str], ...]:
    """What of the header says where things go: on to another address, or to which tool."""
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
        (f"arguments of {message.tool[:60]}", message.told(labels)) for message in asking if message.tool
    ]
    answers = [("answer", message.told(labels)) for message in answering if not message.method]
    return (*asked, *tools, *answers)
