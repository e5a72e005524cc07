"""Turns what was recorded into a trace that can be shown: told in order, compared, and masked."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from workshop.trace.files import from_data
from workshop.trace.hop import Hop
from workshop.trace.labels import Labels
from workshop.trace.model import Outcome, Party, Step, Subject, Trace
from workshop.trace.order import annotated, distinct, nested, settled
from workshop.trace.recorder import Recorder
from workshop.trace.scene import AGENT, BROWSER, GATEWAY, ISSUER, UPSTREAM, Scene, bare, origin
from workshop.trace.step import told


def tell(recorder: Recorder, subject: Subject, outcome: Outcome, seen: Sequence[Hop] = ()) -> Trace:
    """The trace of a recording; `seen` are hops that the upstream saw and the agent could not."""
    labels = Labels()
    for secret in (*subject.secrets, *recorder.secrets):
        labels.of("secret", secret)
    first = next((hop.url for hop in recorder.hops if hop.sender == AGENT), "")
    scene = Scene(bare(first), subject.upstream_url)
    hops = sorted(settled(list(distinct([*recorder.hops, *seen])), first), key=lambda hop: hop.at)
    steps = tuple(told(number, hop, scene, labels) for number, hop in enumerate(hops, 1))
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
        unseen=_unseen(steps, subject),
    )
    return from_data(_swept(asdict(trace), labels))


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
    lines = []
    if any(step.seen_by == "upstream" for step in steps):
        lines.append(
            f"The agent cannot see what reaches {subject.upstream_name}. Those hops are in its own record of "
            "what it received, and stand here by their time; what it answered is not in it."
        )
    elif any(step.kind in ("token", "refresh", "authorize") or step.claims for step in steps):
        lines.append(
            f"The hops from the gateway to {subject.upstream_name} are not here: the agent cannot see them. "
            "The gateway's log names them, without a token."
        )
    if any(step.seen_by == "built" for step in steps):
        lines.append("What the person's browser exchanged with the servers is not here either.")
    return tuple(lines)


def _swept(value: Any, labels: Labels) -> Any:  # noqa: ANN401 - JSON is what it is
    if isinstance(value, str):
        return labels.sweep(value).encode("utf-8", "replace").decode()  # JSON may carry half a character
    if isinstance(value, dict):
        return {name: _swept(inner, labels) for name, inner in value.items()}
    return [_swept(inner, labels) for inner in value] if isinstance(value, list | tuple) else value
