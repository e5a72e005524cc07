"""Turns what was recorded into a trace that can be shown: told in order, compared, and masked."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import urljoin, urlsplit

from workshop.trace import details, rpc
from workshop.trace.files import from_data
from workshop.trace.hop import Hop
from workshop.trace.labels import Labels
from workshop.trace.masking import decoded, masked_body, masked_headers, masked_url, media_type
from workshop.trace.model import Message, Outcome, Party, Step, Subject, Trace
from workshop.trace.recorder import Recorder
from workshop.trace.scene import AGENT, BROWSER, GATEWAY, ISSUER, UPSTREAM, Scene, bare, origin
from workshop.trace.wording import BUILT, CUT_OFF, METHODS, REMEMBERED, WORDS

_REFUSED = 400
_ROUNDED = 0.0002
_SLACK = 0.25  # seconds; two clocks, one of them cut to milliseconds


def tell(recorder: Recorder, subject: Subject, outcome: Outcome, seen: Sequence[Hop] = ()) -> Trace:
    """The trace of a recording; `seen` are hops that the upstream saw and the agent could not."""
    labels = Labels()
    for secret in subject.secrets:
        labels.of("secret", secret)
    first = next((hop.url for hop in recorder.hops if hop.sender == AGENT), "")
    scene = Scene(bare(first), subject.upstream_url)
    hops = sorted(_settled(list(_distinct([*recorder.hops, *seen])), first), key=lambda hop: hop.at)
    steps = tuple(_step(number, hop, scene, labels) for number, hop in enumerate(hops, 1))
    steps, closing = _annotated(_nested(steps), recorder.notes)
    if recorder.dropped:
        closing = (*closing, f"{recorder.dropped} more requests were not recorded")
    trace = Trace(
        title=subject.title,
        began=recorder.began.isoformat(timespec="milliseconds"),
        seconds=round(recorder.clock(), 3),
        outcome=outcome,
        parties=_parties(steps, scene, subject),
        steps=steps,
        closing=closing,
        unseen=_unseen(steps, subject),
    )
    return from_data(_swept(asdict(trace), labels))


def _distinct(hops: Sequence[Hop]) -> Iterable[Hop]:
    """Each hop once: what the browser's own client recorded is not told again by who received it."""
    browsed = {hop.url for hop in hops if hop.sender == BROWSER and hop.seen_by == "agent"}
    addresses = {(origin(url), urlsplit(bare(url)).path) for url in browsed}
    for hop in hops:
        address = (origin(hop.url), urlsplit(bare(hop.url)).path)
        repeated = hop.url in browsed or (hop.seen_by == "upstream" and address in addresses)
        if hop.seen_by == "agent" or hop.sender == GATEWAY or not repeated:
            yield hop


def _settled(hops: Sequence[Hop], server_url: str) -> Iterator[Hop]:
    """The hops, the gateway's own moved by a moment into the hop that made them necessary."""
    spans = [
        (hop.at, hop.ended)
        for hop in hops
        if hop.seen_by == "agent" and hop.ended is not None and origin(hop.url) == origin(server_url)
    ]
    for hop in hops:
        if hop.sender != GATEWAY or not spans:
            yield hop
            continue
        began, ended = min(spans, key=lambda span: max(span[0] - hop.at, hop.at - span[1], 0.0))
        moved = min(max(hop.at, began), ended)
        yield replace(hop, at=moved if abs(moved - hop.at) <= _SLACK else hop.at)


def _step(number: int, hop: Hop, scene: Scene, labels: Labels) -> Step:
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
        seconds=None if hop.ended is None or hop.seen_by != "agent" else round(hop.ended - hop.at, 4),
        wait=None if hop.answered is None or hop.seen_by != "agent" else round(hop.answered - hop.at, 4),
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


def _nested(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The gateway's own requests belong into the hop that made them necessary, if one was open then."""
    found = []
    for step in steps:
        parents = [
            other.number
            for other in steps
            if step.sender == GATEWAY
            and other.seconds is not None
            and other.receiver == GATEWAY
            and other.at <= step.at <= other.at + other.seconds + _ROUNDED
        ]
        found.append(replace(step, inside=parents[-1]) if parents else step)
    return tuple(found)


def _annotated(
    steps: Sequence[Step], notes: Sequence[tuple[float, str]]
) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    """Each note before the first hop that began after it; the rest closes the trace."""
    before: dict[int, list[str]] = {}
    closing: list[str] = []
    tops = [step for step in steps if step.inside is None]
    for at, text in notes:
        following = next((step.number for step in tops if step.at >= at), None)
        (closing if following is None else before.setdefault(following, [])).append(text)
    annotated = (replace(step, before=tuple(before.get(step.number, ()))) for step in steps)
    return tuple(annotated), tuple(closing)


def _parties(steps: Sequence[Step], scene: Scene, subject: Subject) -> tuple[Party, ...]:
    here = {name for step in steps for name in (step.sender, step.receiver)}
    secured = any(step.kind not in ("mcp", "upstream-mcp") for step in steps) or bool(scene.token)
    gateway = ("Gateway", "MCP proxy" if ISSUER in here else "proxy + authorization server")
    known = {
        AGENT: Party(AGENT, "Agent", "MCP client"),
        BROWSER: Party(BROWSER, "Browser", "the person"),
        GATEWAY: Party(GATEWAY, *(gateway if secured else ("MCP server", "")), origin(scene.server_url)),
        ISSUER: Party(ISSUER, "Authorization server", "", origin(scene.issuer)),
        UPSTREAM: Party(UPSTREAM, subject.upstream_name, "MCP server + login", origin(subject.upstream_url)),
    }
    others = [Party(name, urlsplit(name).netloc or name, "", name) for name in sorted(here - set(known))]
    return (*(party for name, party in known.items() if name in here), *others)


def _unseen(steps: Sequence[Step], subject: Subject) -> tuple[str, ...]:
    told = []
    if any(step.seen_by == "upstream" for step in steps):
        told.append(
            f"The agent cannot see what reaches {subject.upstream_name}. Those hops are in its own record of "
            "what it received, and stand here by their time; what it answered is not in it."
        )
    elif any(step.kind in ("token", "refresh", "authorize") or step.claims for step in steps):
        told.append(
            f"The hops from the gateway to {subject.upstream_name} are not here: the agent cannot see them. "
            "The gateway's log names them, without a token."
        )
    if any(step.seen_by == "built" for step in steps):
        told.append("What the person's browser exchanged with the servers is not here either.")
    return tuple(told)


def _swept(value: Any, labels: Labels) -> Any:  # noqa: ANN401 - JSON is what it is
    if isinstance(value, str):
        return labels.sweep(value).encode("utf-8", "replace").decode()  # JSON may carry half a character
    if isinstance(value, dict):
        return {name: _swept(inner, labels) for name, inner in value.items()}
    return [_swept(inner, labels) for inner in value] if isinstance(value, list | tuple) else value
