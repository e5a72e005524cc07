"""The comparison from end to end: start each system, collect its evidence, remove it; then the HTML page."""

import contextlib
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup, escape

from workshop.audit.compare.client import HttpSession
from workshop.audit.compare.collect import attempt, clean_up, collect
from workshop.audit.compare.evidence import (
    Asked,
    Authorization,
    Cell,
    Evidence,
    Provider,
    Refreshed,
    Session,
    TokenAnswer,
    Unobserved,
)
from workshop.audit.compare.rows import ROWS
from workshop.audit.compare.systems import RunningSystem, System, running_system
from workshop.audit.probe.model import Answer, Target
from workshop.audit.probe.report import examine
from workshop.audit.sign_in import SignedIn, Signing
from workshop.core.console import Progress
from workshop.core.encoding import csp_hash
from workshop.core.errors import UsageError, WorkshopError, reason
from workshop.core.interrupts import interrupts
from workshop.core.pages import page_environment
from workshop.core.paths import check_writable, write_result
from workshop.core.text import one_line

_CLEANUP_SECONDS = 40.0
_MOST = 600
_NEIGHBOUR_SECONDS = 5.0
_TEMPLATES = Path(__file__).with_name("templates")
_SIGNS = {"good": "✓", "bad": "✗", "plain": "", "unseen": "?"}
_JUDGEMENTS = {"good": "as it should be: ", "bad": "a weakness: ", "plain": "", "unseen": ""}


@dataclass(frozen=True)
class Column:
    """One system of the comparison, with a cell for each row."""

    name: str
    title: str
    url: str
    seconds: float
    cells: Mapping[str, Cell]


@dataclass(frozen=True)
class NotStarted:
    """A system that could not be started, and the error."""

    name: str
    what: str
    why: str
    hint: str

    @property
    def text(self) -> str:
        return ". ".join(part for part in (self.what, self.why, self.hint) if part)


@dataclass(frozen=True)
class Comparison:
    """The results of all systems, and the seconds that they took."""

    columns: Sequence[Column]
    not_started: Sequence[NotStarted]
    seconds: float

    @property
    def not_observed(self) -> int:
        """How many cells could not be filled."""
        return sum(cell.tone == "unseen" for column in self.columns for cell in column.cells.values())


@dataclass
class _Started:
    """A system that runs, and its evidence so far."""

    running: RunningSystem
    stack: contextlib.ExitStack
    directory: Path
    began: float
    evidence: Evidence

    @property
    def logins(self) -> Path:
        return self.directory / "logins"

    def remove(self) -> None:
        """Stop everything and remove every file."""
        self.stack.close()
        shutil.rmtree(self.directory, ignore_errors=True)


def compare(systems: Sequence[System], progress: Progress, own: Sequence[Column] = ()) -> Comparison:
    """Probe each system in turn; one that does not start is reported, and the others are still probed.

    At most two run at a time: before a system is removed, it and the next one get each other's token. The
    columns in `own`, of a person's own servers, come first.
    """
    began, columns, failed = time.monotonic(), list(own), list[NotStarted]()
    with tempfile.TemporaryDirectory(prefix="workshop-compare-") as base, contextlib.ExitStack() as rest:
        before: _Started | None = None
        for system in systems:
            try:
                started = _start(system, Path(base) / system.name.replace(" ", "-"), rest, progress)
            except (WorkshopError, OSError) as error:
                failed.append(_not_started(system, error))
                continue
            if before is not None:
                interrupts.run(_exchange_tokens(before, started))
                columns.append(_remove(before, progress))
            before = started
        if before is not None:
            columns.append(_remove(before, progress))
    return Comparison(columns, failed, time.monotonic() - began)


def _start(system: System, directory: Path, rest: contextlib.ExitStack, progress: Progress) -> _Started:
    began = time.monotonic()
    with progress.step(f"Probe {system.name}") as step:
        step.note("start")
        # In `rest` too, so that an error or Ctrl-C between two systems stops each one that runs.
        stack = rest.enter_context(contextlib.ExitStack())
        running = stack.enter_context(running_system(system, directory / "system"))
        evidence = interrupts.run(collect(running, directory / "logins", step.note))
        step.note(running.url)
    return _Started(running, stack, directory, began, evidence)


async def _exchange_tokens(one: _Started, other: _Started) -> None:
    """Send each system the other's token."""
    async with HttpSession() as http:
        for here, there in ((one, other), (other, one)):
            answer = await attempt(_NEIGHBOUR_SECONDS, lambda h=here, t=there: _present(http, h, t))  # type: ignore[misc]
            if not isinstance(answer, Unobserved):
                answers = {**here.evidence.neighbours, there.running.system.name: answer}
                here.evidence = replace(here.evidence, neighbours=answers)


async def _present(http: HttpSession, here: _Started, there: _Started) -> Answer:
    asked = there.evidence.asked
    if not isinstance(asked, Asked) or not asked.token:
        raise WorkshopError(f"{there.running.system.name} did not issue a token")
    return await http.initialize(here.running.url, asked.token, here.running.headers)


def _remove(started: _Started, progress: Progress) -> Column:
    with progress.step(f"Remove {started.running.system.name}"):
        cleaned = interrupts.run(
            attempt(
                _CLEANUP_SECONDS,
                lambda: clean_up(started.running, started.logins, started.evidence, started.remove),
            )
        )
        # Again, because `clean_up` may have been cut off by its deadline.
        started.remove()
    evidence = replace(started.evidence, cleaned=cleaned)
    return column_of(evidence, started.running.system.title, time.monotonic() - started.began)


def column_of(evidence: Evidence, title: str, seconds: float) -> Column:
    """The column of one system, which took so many seconds."""
    cells = {row.id: _safe(row.cell(evidence)) for row in ROWS}
    return Column(evidence.name, title, evidence.url, seconds, cells)


def _safe(cell: Cell) -> Cell:
    """The cell with its text made safe to print: it repeats what servers sent."""
    return Cell(one_line(cell.value, _MOST), one_line(cell.seen, _MOST), cell.tone)


def _not_started(system: System, error: WorkshopError | OSError) -> NotStarted:
    if isinstance(error, WorkshopError):
        return NotStarted(system.name, error.what, error.why, error.hint)
    return NotStarted(system.name, "It could not start", reason(error), "")


def to_html(comparison: Comparison) -> str:
    """The comparison as one HTML page without script or network; what systems sent is escaped."""
    style = (_TEMPLATES / "compare.css").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template("compare.html")
        .render(
            comparison=comparison,
            rows=ROWS,
            signs=_SIGNS,
            judgements=_JUDGEMENTS,
            style=Markup(style),  # noqa: S704 - our own file; escaping would change its hash
            # In the page itself, because a file has no response headers.
            policy=f"default-src 'none'; style-src '{csp_hash(style)}'; base-uri 'none'; form-action 'none'",
            began=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        )
    )


def check_target(path: Path) -> None:
    """Raise UsageError for a file that cannot be an HTML page, before anything runs."""
    if path.suffix.lower() not in {".html", ".htm"}:
        raise UsageError(
            f"`{path}` is not an HTML file", hint="For example `workshop part 4 compare --html compare.html`"
        )
    check_writable(path, "page")


def write(comparison: Comparison, path: Path) -> None:
    """Write the page, replacing an existing file; only the owner can read it."""
    write_result(path, to_html(comparison), "page")


@cache
def _environment() -> Environment:
    made = page_environment(_TEMPLATES)
    made.filters["codes"] = _codes
    return made


def _codes(text: str) -> Markup:
    """Text, escaped, with the text between backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped here


_CODE = re.compile(r"`([^`]+)`")
_UNKNOWN = "unknown"
_OK = 200


async def outside(target: Target, signing: Signing | None, note: Callable[[str], None]) -> Column:
    """Probe a server that is not the workshop's; with `signing`, log in there as the agent does.

    Nothing is tried there that only a system of the workshop may be asked for. Raises WorkshopError if no
    MCP server answers or the login fails.
    """
    began = time.monotonic()
    probed = await examine(target, follow=False, sending=note, signing=signing)
    guarded = probed.evidence.guarded
    why = "no login was made; `--login` makes one" if guarded else "the server requires no token"
    found = replace(_blank(target, why), probe_result=probed)
    if probed.signed_in is not None:
        found = await _with_login(found, probed.signed_in)
    return column_of(found, "Your own server", time.monotonic() - began)


def _blank(target: Target, no_login: str) -> Evidence:
    not_asked = Unobserved("it is not a system of the workshop, so the part's question is not asked")
    not_tried = Unobserved("logins that should fail are tried at the workshop's own systems only")
    not_sent = Unobserved("tokens of others are sent to the workshop's own systems only")
    no_record = Unobserved("what is behind it keeps no record that could be read")
    return Evidence(
        name=one_line(target.parts.netloc, 60),
        url=target.url,
        workloads={_UNKNOWN: target.url},
        facts=(),
        server=_UNKNOWN,
        github="",  # not None: that would state that there is none
        asked=not_asked,
        again=not_asked,
        github_record=no_record,
        searched=no_record,
        registered=Unobserved("clients are registered at the workshop's own systems only"),
        session=Unobserved(no_login),
        without_proof=not_tried,
        for_another=not_tried,
        presented=not_sent,
        refreshed=Unobserved(no_login),
        names=Unobserved(no_login),
        cleaned=Unobserved("it was not started here"),
    )


async def _with_login(found: Evidence, signed_in: SignedIn) -> Evidence:
    """What the agent's login shows; the token is sent to the server itself, and no redirect is followed."""
    login, tools = signed_in.login, tuple(signed_in.tools)
    async with HttpSession() as http:
        first_use = await http.initialize(login.resource, signed_in.token, {})
    metadata = login.authorization_server.model_dump(mode="json", exclude_none=True)
    provider = Provider.described(metadata, login.resource)
    response = signed_in.response
    callback = {"iss": response.iss} if response and response.iss else {}
    authorization = Authorization(pages=None, callback=callback if response else None)
    # The agent's client got the tokens, and does not pass on the answer: only the endpoint is known here.
    answered = TokenAnswer(Answer("POST", provider.endpoint("token"), _OK, (), ""))
    keeps = "there is a refresh token; it stays with the agent's login and is not used here"
    has_refresh = login.tokens is not None and bool(login.tokens.refresh_token)
    listed = one_line(", ".join(tools), 120) or "none"
    return replace(
        found,
        session=Session(provider, authorization, answered, first_use),
        refreshed=Unobserved(keeps) if has_refresh else Refreshed(given=False),
        names=Unobserved(f"what is behind it is not known; its {len(tools)} tools are {listed}"),
    )
