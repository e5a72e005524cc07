"""Turns what was recorded into a trace that can be shown: told in order, compared, and masked."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from workshop.recorder.files import from_data
from workshop.recorder.hop import Hop
from workshop.recorder.labels import Labels
from workshop.recorder.model import Outcome, Party, Step, Subject, Trace
from workshop.recorder.order import annotated, distinct, nested, settled
from workshop.recorder.recorder import Recorder
from workshop.recorder.scene import AGENT, BROWSER, GATEWAY, ISSUER, UPSTREAM, Scene, bare, origin
from workshop.recorder.step import told


def tell(recorder: Recorder, subject: Subject, outcome: Outcome, seen: Sequence[Hop] | None = None) -> Trace:
    """The trace of a recording; `seen` are hops that the upstream saw, None where it told nothing."""
    labels = Labels()
    first = next((hop.url for hop in recorder.hops if hop.sender == AGENT), "")
    scene = Scene(bare(first), subject.upstream_url, subject.server_name.lower())
    hops = sorted(settled(list(distinct([*recorder.hops, *(seen or ())])), first), key=lambda hop: hop.at)
    steps = tuple(told(number, hop, scene, labels) for number, hop in enumerate(hops, 1))
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
