"""Turn a recording into a trace that can be shown: in order, compared, and masked."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import urlsplit

from workshop.recorder.files import from_data
from workshop.recorder.hop import Hop
from workshop.recorder.labels import Labels
from workshop.recorder.model import Outcome, Party, Step, Subject, Trace
from workshop.recorder.recorder import Recorder
from workshop.recorder.scene import AGENT, BROWSER, GATEWAY, ISSUER, UPSTREAM, Scene, bare, origin
from workshop.recorder.steps import step_of

_ROUNDED = 0.0002
_CUT = 0.001  # seconds; the upstream's times are cut to milliseconds
_SLACK = 0.25  # seconds; two clocks, one of them cut to milliseconds


def distinct(hops: Sequence[Hop]) -> Iterable[Hop]:
    """Yield each hop once; what the browser's client recorded is not repeated from its receiver's record."""
    browsed = {hop.url for hop in hops if hop.sender == BROWSER and hop.seen_by == "agent"}
    addresses = {(origin(url), urlsplit(bare(url)).path) for url in browsed}
    for hop in hops:
        address = (origin(hop.url), urlsplit(bare(hop.url)).path)
        repeated = hop.url in browsed or (hop.seen_by == "upstream" and address in addresses)
        if hop.seen_by == "agent" or hop.sender == GATEWAY or not repeated:
            yield hop


def settled(hops: Sequence[Hop], server_url: str) -> Iterator[Hop]:
    """The hops, the gateway's own moved by a moment into the hop that made them necessary.

    Tools are called for the agent, and tokens fetched for the browser; if nobody saw that hop, nothing moves.
    """
    there = origin(server_url)
    seen = [hop for hop in hops if hop.seen_by == "agent" and hop.ended and origin(hop.url) == there]
    for hop in hops:
        span = _span(hop, seen) if hop.sender == GATEWAY else None
        if span is None:
            yield hop
            continue
        moved = min(max(hop.at, span[0]), span[1])
        yield replace(hop, at=moved if abs(moved - hop.at) <= _SLACK else hop.at)


def _span(hop: Hop, seen: Sequence[Hop]) -> tuple[float, float] | None:
    """When the hop began and ended that made one of the gateway's own necessary."""
    path = urlsplit(bare(hop.url)).path
    asker = AGENT if path.startswith("/mcp") else BROWSER
    if asker == BROWSER and not path.endswith("/access_token"):  # a tool may call the upstream's API too
        calls = [(one.at, one.ended or one.at) for one in seen if b'"tools/call"' in one.request_body]
        during = [span for span in calls if span[0] - _CUT <= hop.at <= span[1]]
        if during:
            return during[-1]
    spans = [(one.at, one.ended or one.at) for one in seen if one.sender == asker]
    return min(spans, key=lambda span: max(span[0] - hop.at, hop.at - span[1], 0.0), default=None)


def nested(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The gateway's own requests belong into the hop that made them necessary, if one was open then."""
    found = []
    for step in steps:
        parents = [
            other
            for other in steps
            if step.sender == GATEWAY
            and other.seconds is not None
            and other.receiver == GATEWAY
            and other.at <= step.at <= other.at + other.seconds + _ROUNDED
        ]
        parent = parents[-1] if parents else None
        found.append(replace(step, inside=parent.number, phase=parent.phase) if parent else step)
    return tuple(found)


def annotated(
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


def build_trace(
    recorder: Recorder, subject: Subject, outcome: Outcome, seen: Sequence[Hop] | None = None
) -> Trace:
    """Return the trace of a recording; `seen` are the upstream's hops, None if it records none."""
    labels = Labels()
    first = next((hop.url for hop in recorder.hops if hop.sender == AGENT), "")
    scene = Scene(bare(first), subject.upstream_url, subject.server_name.lower())
    hops = sorted(settled(list(distinct([*recorder.hops, *(seen or ())])), first), key=lambda hop: hop.at)
    steps = tuple(step_of(number, hop, scene, labels) for number, hop in enumerate(hops, 1))
    for secret in (*subject.secrets, *recorder.secrets):  # those that no hop has named by its kind
        labels.of("secret", secret)
    steps, closing = annotated(nested(steps), recorder.notes)
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
        unseen=tuple(_unseen(steps, scene, subject, told=seen is not None)),
    )
    return from_data(_swept(asdict(trace), labels))


def _parties(steps: Sequence[Step], scene: Scene, subject: Subject) -> tuple[Party, ...]:
    here = {name for step in steps for name in (step.sender, step.receiver)}
    kinds = {step.kind for step in steps}
    secured = bool(kinds - {"mcp", "upstream-mcp"}) or bool(scene.token)
    server = (subject.server_name, _role(kinds, steps, scene, subject)) if secured else ("MCP server", "")
    behind = "API" if "upstream-call" in kinds and "upstream-mcp" not in kinds else "MCP server"
    login = " + login" if kinds & {"upstream-authorize", "upstream-token"} else ""
    people = "signs people in" if kinds & {"sign-in", "issuer-callback"} else ""
    known = {
        AGENT: Party(AGENT, "Agent", "MCP client"),
        BROWSER: Party(BROWSER, "Browser", "the person"),
        GATEWAY: Party(GATEWAY, *server, origin(scene.server_url)),
        ISSUER: Party(ISSUER, "Authorization server", people, origin(scene.issuer or scene.token_issuer)),
        UPSTREAM: Party(UPSTREAM, subject.upstream_name, f"{behind}{login}", origin(subject.upstream_url)),
    }
    others = [Party(name, urlsplit(name).netloc or name, "", name) for name in sorted(here - set(known))]
    return (*(party for name, party in known.items() if name in here), *others)


def _role(kinds: set[str], steps: Sequence[Step], scene: Scene, subject: Subject) -> str:
    """What the server does that was asked: pass on to another server, or answer with tools of its own."""
    own_tools = "upstream-call" in kinds or any(step.phase == "visit" for step in steps)
    relays = "upstream-mcp" in kinds or (subject.server_name == "Gateway" and not own_tools)
    if scene.issued_elsewhere:
        return "MCP proxy" if relays else "MCP server"
    return "proxy + authorization server" if relays else "MCP + authorization server"


def _unseen(steps: Sequence[Step], scene: Scene, subject: Subject, *, told: bool) -> Iterator[str]:
    server, upstream = scene.server_name, subject.upstream_name
    if any(step.seen_by == "upstream" for step in steps):
        yield (
            f"The agent cannot see what reaches {upstream}. Those hops are in its own record of "
            "what it received, and stand here by their time; what it answered is not in it."
        )
    elif told and subject.upstream_url:
        more = " more" if any(step.receiver == UPSTREAM for step in steps) else ""
        yield f"Nothing{more} reached {upstream} in this run: its own record of what it received says so."
    elif subject.server_name == "Gateway" and any(
        step.kind in ("token", "refresh", "authorize") or step.claims for step in steps
    ):
        yield (
            f"The hops from the {server} to {upstream} are not here: the agent cannot see them. "
            f"The {server}'s log names them, without a token."
        )
    if scene.issued_elsewhere or scene.sent_along:
        yield (
            f"What the {server} asks of others, such as the public keys of the authorization server, is not "
            "here: the agent cannot see it."
        )
    visited_unseen = scene.waiting_call and not any(step.kind == "visit" for step in steps)
    if visited_unseen or any(step.seen_by == "built" for step in steps):
        yield "What the person's browser exchanged with the servers is not here either."


def _swept(value: Any, labels: Labels) -> Any:  # noqa: ANN401 - JSON is what it is
    if isinstance(value, str):
        return labels.sweep(value).encode("utf-8", "replace").decode()  # JSON may carry half a character
    if isinstance(value, dict):
        return {name: _swept(inner, labels) for name, inner in value.items()}
    return [_swept(inner, labels) for inner in value] if isinstance(value, list | tuple) else value
