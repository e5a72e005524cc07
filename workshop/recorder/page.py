"""A trace as one HTML page: a sequence diagram that works without network, script or other files."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment
from markupsafe import Markup, escape

from workshop.core.encoding import csp_hash
from workshop.core.pages import page_environment
from workshop.core.text import counted
from workshop.recorder.context import AGENT, GATEWAY, ISSUER, UPSTREAM
from workshop.recorder.masking import LABEL, is_credential
from workshop.recorder.model import Comparison, Message, Step, Trace
from workshop.recorder.wording import SIGNS, UNEQUAL, UNFOLDED, chapter, hop_number, span

_LISTING = frozenset({"initialize", "notifications/initialized", "server/discover", "tools/list"})


@dataclass(frozen=True)
class Picture:
    """The overview: parties in a row, the tokens between each two, and notes on tokens that need one."""

    name: str
    title: str
    boxes: tuple[str, ...]
    wires: tuple[tuple[str, ...], ...]
    good: bool = True
    notes: tuple[tuple[str, str], ...] = ()


def picture(trace: Trace) -> Picture | None:
    """The overview of a trace in which two tokens were compared, or one came from another server."""
    compared = [one for _, one in trace.comparisons if one.relation == "differs from"]
    server = trace.party(GATEWAY).name.lower()
    boxes = (AGENT, GATEWAY, UPSTREAM)
    if not compared:
        return _issued_elsewhere(trace)
    if leaked := next((one for one in compared if not one.holds), None):
        title = f"The {server} passed on the agent's token: it must not"
        return Picture("The token swap", title, boxes, ((leaked.left,), (leaked.right,)), good=False)
    agents, upstreams = (
        _unique(side) for side in zip(*((one.left, one.right) for one in compared), strict=True)
    )
    along = _sent_along(trace)
    if not any(label in along for label in upstreams):
        number = {2: "Two"}.get(len(agents) + len(upstreams), str(len(agents) + len(upstreams)))
        neither = "neither" if number == "Two" else "none"
        title = f"{number} tokens, and {neither} passes the {server}"
        return Picture("The token swap", title, boxes, (agents, upstreams))
    title = f"The agent's token ends at the {server}; the person's own token is passed on"
    notes = (
        *((label, f"the agent's, only for the {server}") for label in agents),
        *((label, _owner(label, trace, along, server)) for label in _unique((*along, *upstreams))),
    )
    return Picture("The tokens", title, boxes, ((*agents, *along), upstreams), notes=notes)


def _issued_elsewhere(trace: Trace) -> Picture | None:
    """The overview of a token from another server: its issuer, its holder, and its only audience."""
    here = {party.id for party in trace.parties}
    fits = [step for step, one in trace.comparisons if one.left_name == "aud in the token" and one.holds]
    if not fits or fits[0].claims is None or ISSUER not in here or UPSTREAM in here:
        return None
    token = (fits[0].claims.label,)
    title = f"The token is another server's, and only for this {trace.party(GATEWAY).name.lower()}"
    return Picture("The token", title, (ISSUER, AGENT, GATEWAY), (token, token))


def _unique(labels: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(labels))


def _sent_along(trace: Trace) -> Mapping[str, str]:
    """The credentials that the agent sends besides its token: the header of each label."""
    asked = [step for step in trace.steps if step.sender == AGENT and step.receiver == GATEWAY]
    return {
        value: name
        for step in asked
        for name, value in step.request.headers
        if is_credential(name.lower()) and LABEL.fullmatch(value)
    }


def _owner(label: str, trace: Trace, along: Mapping[str, str], server: str) -> str:
    if label in along:
        return f"the person's own, from the header {along[label]}"
    used = [step for step in trace.steps if any(one.right == label for one in step.comparisons)]
    return f"the {server}'s own{', to list tools' if all(map(_is_listing, used)) else ''}"


def _is_listing(step: Step) -> bool:
    return any(name.lower() == "mcp-method" and value in _LISTING for name, value in step.request.headers)


_TEMPLATES = Path(__file__).with_name("templates")
_TIMES = frozenset({"exp", "iat", "nbf", "auth_time"})
_REFUSED = 400
_MOST_CARRIED = 4
_COLORS = ("agent", "browser", "gateway", "upstream")
_SHORT = 16
_MOST_LANES = 6
_CODE = re.compile(r"`([^`]+)`")
_RFC = re.compile(r"RFC (\d{4}) §(\d+(?:\.\d+)*)")
_SECRET_KINDS = frozenset({"code", "github-token", "link", "refresh-token", "state", "token", "verifier"})


@dataclass(frozen=True)
class Arrow:
    """One arrow of the diagram, from lane to lane; `side` is where it points to."""

    way: str
    first: int
    last: int
    side: str
    color: int
    text: str
    good: bool
    carries: Sequence[str]


@dataclass(frozen=True)
class Row:
    """A row of the diagram: a step with its arrows, or a response that is shown later than its request."""

    step: Step
    arrows: Sequence[Arrow]
    late: bool = False


STYLE, SCRIPT = ((_TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
"""The style of the diagram, and the script that opens its details and marks equal labels."""


def to_html(trace: Trace) -> str:
    """The page; everything from the network is escaped."""
    return (
        _environment()
        .get_template("page.html")
        .render(
            _values(trace),
            style=Markup(STYLE),  # noqa: S704 - our own file; escaping would change its hash
            script=Markup(SCRIPT),  # noqa: S704 - our own file
            # In the page itself, because a file has no response headers.
            policy=f"default-src 'none'; style-src '{csp_hash(STYLE)}'; script-src '{csp_hash(SCRIPT)}'; "
            "base-uri 'none'; form-action 'none'",
        )
    )


def fragment(trace: Trace, name: Literal["overview", "diagram", "notes"]) -> Markup:
    """One block of the page, for a page that has it among other things; escaped like the whole."""
    template = _environment().get_template("page.html")
    block = template.blocks[name]
    return Markup("".join(block(template.new_context(_values(trace)))))  # noqa: S704 - Jinja has escaped it


def lanes(trace: Trace) -> str:
    """The class of what contains the diagram: how many lanes it has."""
    return f"n{min(max(len(trace.parties), 1), _MOST_LANES)}"


def _values(trace: Trace) -> dict[str, Any]:
    phases = [
        (name, list(rows))
        for name, rows in groupby(_rows(trace), lambda row: chapter(row.step.kind, row.step.phase))
    ]
    return {
        "trace": trace,
        "lanes": lanes(trace),
        "phases": phases,
        "swap": picture(trace),
        "unfolded": UNFOLDED,
        "failed": [one for _, one in trace.comparisons if not one.holds],
        "began": _moment(trace.began),
    }


@cache
def _environment() -> Environment:
    made = page_environment(_TEMPLATES)
    made.filters |= {
        "chips": _chips,
        "labelled": _labelled,
        "prose": _prose,
        "reference": _reference,
        "span": span,
        "claims": _claims,
        "sign": _sign,
        "breakable": _breakable,
        "divisible": _divisible,
        "color": _color,
        "noun": _noun,
        "hop": lambda step: hop_number(step.kind, step.phase) or "",
    }
    return made


def _rows(trace: Trace) -> Iterator[Row]:
    """The steps in order; the response to a step comes after the steps that happened inside it."""
    waiting: list[Step] = []
    parents = {step.inside for step in trace.steps}
    for step in trace.steps:
        while waiting and step.inside != waiting[-1].number:
            yield from _late(trace, waiting.pop())
        if step.number in parents:
            waiting.append(step)
            yield Row(step, [_ask(trace, step)])
        else:
            yield Row(step, [_ask(trace, step), *_answer(trace, step)])
    while waiting:
        yield from _late(trace, waiting.pop())


def _late(trace: Trace, step: Step) -> Iterator[Row]:
    if arrows := _answer(trace, step):
        yield Row(step, arrows, late=True)


def _ask(trace: Trace, step: Step) -> Arrow:
    besides = [value for name, value in step.request.headers if is_credential(name.lower())]
    carried = [step.url, *_fields(step.request, "authorization"), *besides, step.request.body]
    arrow = _arrow(trace, step.sender, step.receiver)
    return replace(arrow, text=f"{step.method} {step.path}", carries=_carried(carried))


def _answer(trace: Trace, step: Step) -> list[Arrow]:
    if step.status is None:
        return []
    carried = [*_fields(step.response, "location"), step.response.body]
    arrow = _arrow(trace, step.receiver, step.sender)
    text, good = f"{step.status} {step.reason}".strip(), step.status < _REFUSED
    return [replace(arrow, way="answer", text=text, good=good, carries=_carried(carried))]


def _arrow(trace: Trace, sender: str, receiver: str) -> Arrow:
    lanes = [party.id for party in trace.parties]
    start, end = (lanes.index(name) if name in lanes else 0 for name in (sender, receiver))
    side = "right" if end >= start else "left"
    return Arrow("ask", min(start, end), max(start, end), side, _color(sender), "", good=True, carries=())


def _color(party: str) -> int:
    return _COLORS.index(party) if party in _COLORS else len(_COLORS)


def _noun(number: int, noun: str) -> str:
    return counted(number, noun).partition(" ")[2]


def _fields(message: Message, name: str) -> list[str]:
    return [value for key, value in message.headers if key.lower() == name]


def _carried(texts: Sequence[str]) -> Sequence[str]:
    """The labels of the secrets that an arrow's message contains, without repetition."""
    found = (match for text in texts for match in LABEL.finditer(text))
    return list(dict.fromkeys(match.group() for match in found if match[1] in _SECRET_KINDS))[:_MOST_CARRIED]


def _chips(value: object) -> Markup:
    """Text, escaped, with each label as a chip; equal labels look the same."""
    text = str(escape(str(value)))
    return Markup(  # noqa: S704 - escaped just above
        LABEL.sub(r'<b class="chip \1" data-label="\1-\2">\1-\2</b>', text)
    )


def _prose(text: str) -> Markup:
    """A sentence, escaped, with its labels as chips and what is between backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(_chips(text))))  # noqa: S704 - escaped by `_chips`


def _labelled(name: str) -> Markup:
    """The name of a compared value, with its labels as chips; it may be broken after an underscore."""
    return Markup(str(_chips(name)).replace("_", "_<wbr>"))  # noqa: S704 - escaped by `_chips`


def _reference(text: str) -> Markup:
    """A reference, escaped; each section of an RFC (Request for Comments) is a link to its text."""
    link = r'<a href="https://www.rfc-editor.org/rfc/rfc\1#section-\2" rel="noreferrer">\g<0></a>'
    return Markup(_RFC.sub(link, str(escape(text))))  # noqa: S704 - escaped here


def _breakable(text: str) -> Markup:
    """Text, escaped; a long one may be broken before each slash, except the first of a path."""
    if len(text) <= _SHORT:
        return escape(text)
    first, slash, rest = text.partition("/")
    return escape(first + slash) + Markup("<wbr>/").join(rest.split("/"))


def _divisible(name: str) -> str:
    """A name whose longest word may be hyphenated, because lanes are narrow."""
    return name.replace("Authorization", "Authori\N{SOFT HYPHEN}zation")


def _sign(comparison: Comparison) -> str:
    """The sign between the two values of a comparison."""
    return (SIGNS if comparison.holds else UNEQUAL)[comparison.relation]


def _claims(claims: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, _claim(name, value)) for name, value in claims.items()]


def _claim(name: str, value: object) -> str:
    # JSON's `true` is 1 in Python.
    if name in _TIMES and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return f"{value} ({datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M:%S} UTC)"
        except (OverflowError, OSError, ValueError):
            return str(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _moment(text: str) -> str:
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except ValueError:
        return text
