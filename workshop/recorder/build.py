"""Build a trace from a recording: its requests in order, explained, compared and masked."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import urlsplit

from workshop.recorder.context import (
    AGENT,
    BROWSER,
    GATEWAY,
    ISSUER,
    UPSTREAM,
    Context,
    bare,
    origin,
    sent_object,
)
from workshop.recorder.files import from_data
from workshop.recorder.masking import Labels
from workshop.recorder.model import PROXIES, Outcome, Party, Request, Step, Subject, Trace
from workshop.recorder.recorder import Recorder
from workshop.recorder.steps import step_of
from workshop.recorder.wording import WAITING

_ROUNDED = 0.0002  # seconds; the times of steps are rounded to 0.1 ms
_CUT = 0.001  # seconds; the upstream's times are cut to milliseconds
_SLACK = 0.25  # seconds; two clocks, one of which is cut to milliseconds


def distinct(requests: Sequence[Request]) -> Iterable[Request]:
    """Yield each request once: one of the browser's that the agent recorded is left out of other records."""
    browsed = {
        request.url for request in requests if request.sender == BROWSER and request.seen_by == "agent"
    }
    addresses = {(origin(url), urlsplit(bare(url)).path) for url in browsed}
    for request in requests:
        # Without the query: the upstream's record has fingerprints in place of its values.
        address = (origin(request.url), urlsplit(bare(request.url)).path)
        repeated = request.url in browsed or (request.seen_by == "upstream" and address in addresses)
        if request.seen_by == "agent" or request.sender == GATEWAY or not repeated:
            yield request


def settled(requests: Sequence[Request], server_url: str) -> Iterator[Request]:
    """The requests, with each of the gateway's own moved slightly, into the request that caused it.

    Tool calls are caused by the agent, token requests by the browser; without a record of the cause, the time
    stays as it was.
    """
    there = origin(server_url)
    recorded = [
        request
        for request in requests
        if request.seen_by == "agent" and request.ended and origin(request.url) == there
    ]
    for request in requests:
        span = _span(request, recorded) if request.sender == GATEWAY else None
        if span is None:
            yield request
            continue
        # The upstream has a clock of its own; a larger difference than `_SLACK` is not a matter of clocks.
        moved = min(max(request.at, span[0]), span[1])
        yield replace(request, at=moved if abs(moved - request.at) <= _SLACK else request.at)


def _span(request: Request, recorded: Sequence[Request]) -> tuple[float, float] | None:
    """Begin and end of the request that caused one of the gateway's own."""
    path = urlsplit(bare(request.url)).path
    asker = AGENT if path.startswith("/mcp") else BROWSER
    if asker == BROWSER and not path.endswith("/access_token"):  # a tool may call the upstream's API too
        calls = [(one.at, one.ended or one.at) for one in recorded if b'"tools/call"' in one.request_body]
        during = [span for span in calls if span[0] - _CUT <= request.at <= span[1]]
        if during:
            return during[-1]
    spans = [(one.at, one.ended or one.at) for one in recorded if one.sender == asker]
    return min(spans, key=lambda span: max(span[0] - request.at, request.at - span[1], 0.0), default=None)


def nested(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps, with each of the gateway's own inside the step that caused it, if one was open."""
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
        parent = parents[-1] if parents else None  # of several, the one that began last
        found.append(replace(step, inside=parent.number, phase=parent.phase) if parent else step)
    return tuple(found)


def annotated(
    steps: Sequence[Step], notes: Sequence[tuple[float, str]]
) -> tuple[tuple[Step, ...], tuple[str, ...]]:
    """Put each note before the first request that began after it; return the other notes as closing lines."""
    before: dict[int, list[str]] = {}
    closing: list[str] = []
    tops = [step for step in steps if step.inside is None]
    for at, text in notes:
        following = next((step.number for step in tops if step.at >= at), None)
        (closing if following is None else before.setdefault(following, [])).append(text)
    annotated = (replace(step, before=tuple(before.get(step.number, ()))) for step in steps)
    return tuple(annotated), tuple(closing)


def _server_url(requests: Sequence[Request]) -> str:
    """The address of the agent's first MCP request; without one, of its first request.

    A refresh of a stored login goes to the token endpoint before any MCP request.
    """
    sent = [request for request in requests if request.sender == AGENT]
    asked = (request.url for request in sent if "jsonrpc" in sent_object(request))
    return next(asked, sent[0].url if sent else "")


def build_trace(
    recorder: Recorder, subject: Subject, outcome: Outcome, upstreams: Sequence[Request] | None = None
) -> Trace:
    """Return the trace of a recording; `upstreams` are the upstream's own requests, None without a record."""
    labels = Labels()
    first = _server_url(recorder.requests)
    context = Context(bare(first), subject.upstream_url, subject.server_name.lower())
    recorded = list(distinct([*recorder.requests, *(upstreams or ())]))
    requests = sorted(settled(recorded, first), key=lambda request: request.at)
    steps = tuple(step_of(number, request, context, labels) for number, request in enumerate(requests, 1))
    # Last, because a secret in a request already has a label of its kind.
    for secret in (*subject.secrets, *recorder.secrets):
        labels.of("secret", secret)
    steps, closing = annotated(nested(steps), recorder.notes)
    if recorder.dropped:
        closing = (*closing, f"{recorder.dropped} more requests were not recorded")
    trace = Trace(
        title=subject.title,
        began=recorder.began.isoformat(timespec="milliseconds"),
        seconds=round(recorder.clock(), 3),
        outcome=outcome,
        parties=_parties(steps, context, subject),
        steps=steps,
        closing=closing,
        unseen=tuple(_unseen(steps, context, subject, has_record=upstreams is not None)),
    )
    # At the end and as a whole: an early text may contain a secret that only a later request labelled.
    return from_data(_swept(asdict(trace), labels))


def _parties(steps: Sequence[Step], context: Context, subject: Subject) -> tuple[Party, ...]:
    here = {name for step in steps for name in (step.sender, step.receiver)}
    kinds = {step.kind for step in steps}
    secured = bool(kinds - {"mcp", "upstream-mcp"}) or bool(context.token)
    server = (subject.server_name, _role(kinds, steps, context, subject)) if secured else ("MCP server", "")
    behind = "API" if "upstream-call" in kinds and "upstream-mcp" not in kinds else "MCP server"
    login = " + login" if kinds & {"upstream-authorize", "upstream-token"} else ""
    people = "signs people in" if kinds & {"sign-in", "issuer-callback"} else ""
    known = {
        AGENT: Party(AGENT, "Agent", "MCP client"),
        BROWSER: Party(BROWSER, "Browser", "the person"),
        GATEWAY: Party(GATEWAY, *server, origin(context.server_url)),
        ISSUER: Party(ISSUER, "Authorization server", people, origin(context.issuer or context.token_issuer)),
        UPSTREAM: Party(UPSTREAM, subject.upstream_name, f"{behind}{login}", origin(subject.upstream_url)),
    }
    others = [Party(name, urlsplit(name).netloc or name, "", name) for name in sorted(here - set(known))]
    return (*(party for name, party in known.items() if name in here), *others)


def _role(kinds: set[str], steps: Sequence[Step], context: Context, subject: Subject) -> str:
    """What the MCP server is: a proxy for another server, or a server with its own tools."""
    own_tools = "upstream-call" in kinds or any(step.phase == WAITING for step in steps)
    relays = "upstream-mcp" in kinds or (subject.server_name in PROXIES and not own_tools)
    if context.issued_elsewhere:
        return "MCP proxy" if relays else "MCP server"
    return "proxy + authorization server" if relays else "MCP + authorization server"


def _unseen(steps: Sequence[Step], context: Context, subject: Subject, *, has_record: bool) -> Iterator[str]:
    """Sentences about the requests that were not recorded, and about where others come from."""
    server, upstream = context.server_name, subject.upstream_name
    if any(step.seen_by == "upstream" for step in steps):
        yield (
            f"The agent cannot see what reaches {upstream}. Those requests are from {upstream}'s own record, "
            "ordered by time; its responses are not recorded."
        )
    elif has_record and subject.upstream_url:
        more = " more" if any(step.receiver == UPSTREAM for step in steps) else ""
        yield f"Nothing{more} reached {upstream} in this run, as its own record of its requests shows."
    elif subject.server_name in PROXIES and any(
        step.kind in ("token", "refresh", "authorize") or step.claims for step in steps
    ):
        yield (
            f"The requests from the {server} to {upstream} are missing: the agent cannot see them. "
            f"The {server}'s log lists them, without a token."
        )
    if context.issued_elsewhere or context.sent_along:
        yield (
            f"The {server}'s requests to others, such as for the authorization server's public keys, are "
            "missing: the agent cannot see them."
        )
    lacks_link = context.waiting_call and not any(step.kind == "visit" for step in steps)
    if lacks_link or any(step.seen_by == "built" for step in steps):
        yield "The requests of the person's browser are missing too."


def _swept(value: Any, labels: Labels) -> Any:  # noqa: ANN401 - JSON is what it is
    if isinstance(value, str):
        return labels.sweep(value).encode("utf-8", "replace").decode()  # half of a surrogate pair becomes "?"
    if isinstance(value, dict):
        return {name: _swept(inner, labels) for name, inner in value.items()}
    return [_swept(inner, labels) for inner in value] if isinstance(value, list | tuple) else value
