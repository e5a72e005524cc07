"""In which order hops are told: each once, the gateway's own inside the hop that made them necessary."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from workshop.recorder.hop import Hop
from workshop.recorder.model import Step
from workshop.recorder.scene import AGENT, BROWSER, GATEWAY, bare, origin

_ROUNDED = 0.0002
_CUT = 0.001  # seconds; the upstream's times are cut to milliseconds
_SLACK = 0.25  # seconds; two clocks, one of them cut to milliseconds


def distinct(hops: Sequence[Hop]) -> Iterable[Hop]:
    """Each hop once: what the browser's own client recorded is not told again by who received it."""
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
