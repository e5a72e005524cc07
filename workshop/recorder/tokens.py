"""The picture above the diagram: which token goes as far as where."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workshop.recorder.labels import LABEL
from workshop.recorder.masking import is_credential
from workshop.recorder.model import Step, Trace
from workshop.recorder.scene import AGENT, GATEWAY, ISSUER, UPSTREAM

_LISTING = frozenset({"initialize", "notifications/initialized", "server/discover", "tools/list"})


@dataclass(frozen=True)
class Picture:
    """Parties in a row, the tokens on the wire between each two, and whose they are where that is no rule."""

    name: str
    title: str
    boxes: tuple[str, ...]
    wires: tuple[tuple[str, ...], ...]
    good: bool = True
    notes: tuple[tuple[str, str], ...] = ()


def picture(trace: Trace) -> Picture | None:
    """The picture of a trace, if two tokens were compared in it or one came from another server."""
    compared = [one for _, one in trace.comparisons if one.relation == "differs from"]
    server = trace.party(GATEWAY).name.lower()
    boxes = (AGENT, GATEWAY, UPSTREAM)
    if not compared:
        return _issued_elsewhere(trace)
    if leaked := next((one for one in compared if not one.holds), None):
        title = f"The agent's token passed the {server}: it must not"
        return Picture("The token swap", title, boxes, ((leaked.left,), (leaked.right,)), good=False)
    ours, theirs = (_each(side) for side in zip(*((one.left, one.right) for one in compared), strict=True))
    along = _sent_along(trace)
    if not any(label in along for label in theirs):
        number = {2: "Two"}.get(len(ours) + len(theirs), str(len(ours) + len(theirs)))
        neither = "neither" if number == "Two" else "none"
        title = f"{number} tokens, and {neither} passes the {server}"
        return Picture("The token swap", title, boxes, (ours, theirs))
    title = f"The agent's token ends at the {server}, the person's own goes on"
    notes = (
        *((label, f"the agent's, for the {server} alone") for label in ours),
        *((label, _whose(label, trace, along, server)) for label in _each((*along, *theirs))),
    )
    return Picture("The tokens", title, boxes, ((*ours, *along), theirs), notes=notes)


def _issued_elsewhere(trace: Trace) -> Picture | None:
    """One token: who issued it, who carries it, and for whom alone it is."""
    here = {party.id for party in trace.parties}
    fits = [step for step, one in trace.comparisons if one.left_name == "aud in the token" and one.holds]
    if not fits or fits[0].claims is None or ISSUER not in here or UPSTREAM in here:
        return None
    token = (fits[0].claims.label,)
    title = f"The token comes from another server, and is for this {trace.party(GATEWAY).name.lower()} alone"
    return Picture("The token", title, (ISSUER, AGENT, GATEWAY), (token, token))


def _each(labels: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(labels))


def _sent_along(trace: Trace) -> Mapping[str, str]:
    """What the agent sends beside its token: the header field of each label."""
    asked = [step for step in trace.steps if step.sender == AGENT and step.receiver == GATEWAY]
    return {
        value: name
        for step in asked
        for name, value in step.request.headers
        if is_credential(name.lower()) and LABEL.fullmatch(value)
    }


def _whose(label: str, trace: Trace, along: Mapping[str, str], server: str) -> str:
    if label in along:
        return f"the person's own, from the header {along[label]}"
    used = [step for step in trace.steps if any(one.right == label for one in step.comparisons)]
    return f"the {server}'s own{', to list tools' if all(map(_lists, used)) else ''}"


def _lists(step: Step) -> bool:
    return any(name.lower() == "mcp-method" and value in _LISTING for name, value in step.request.headers)
