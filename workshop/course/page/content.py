"""What the page shows besides the lesson, read anew whenever a file has changed: progress, hops, requests."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment

from workshop.core import hops
from workshop.core.errors import WorkshopError
from workshop.core.instance import Instance
from workshop.core.pages import page_environment
from workshop.core.paths import state_home
from workshop.course.exercise import exercises_of
from workshop.course.lessons import Lesson, find_lessons
from workshop.course.logs import Logs
from workshop.course.next_step import environment_now, next_step, overview
from workshop.course.page.outcomes import last_outcomes, outcomes_file
from workshop.course.progress import ProgressFile
from workshop.recorder import live
from workshop.recorder.page import fragment, lanes
from workshop.recorder.wording import hop_number

TEMPLATES = Path(__file__).with_name("templates")
_PROXY = "github-remote"
_LINES = 400
_MOST_REQUESTS = 60
_REQUEST = re.compile(
    r"(?P<time>[\d:]{8})\S* INFO workshop\.gateway\.requests "
    r"(?P<method>[A-Z]+) (?P<path>/\S*) (?P<status>\d{3}|-) "
)
_MARKS = {"passed": "✓", "failed": "✗", "not tried": "·", "not applicable": "○"}
_UNAUTHORIZED = 401
_PATHS = (  # the beginning of a path, and the hop that a request for it belongs to
    ("/.well-known/oauth-protected-resource", hops.RESOURCE),
    ("/.well-known/o", hops.ISSUER),
    ("/oauth/register", hops.REGISTRATION),
    ("/oauth/authorize", hops.CONSENT),
    ("/oauth/consent", hops.CONSENT),
    ("/oauth/callback", hops.SIGN_IN),
    ("/oauth/token", hops.TOKEN),
    ("/mcp", hops.SWAP),
)

Update = Mapping[str, Any]


@cache
def templates() -> Environment:
    """The templates of the page."""
    return page_environment(TEMPLATES)


def note_read(lesson: Lesson) -> None:
    """Record that a lesson was read, as `part N show` does."""
    with contextlib.suppress(WorkshopError), ProgressFile(lambda _: None).change() as standing:
        standing.touch(lesson.key).shown = True


def changed_files(lesson: Lesson) -> dict[str, tuple[Path, ...]]:
    """The files that each part of the page is made from, by the part's name."""
    home = state_home()
    directory = Instance.locate().directory
    log = directory / "workloads" / _PROXY / "log.txt"
    return {
        "handshake": (live.live_file(),),
        "progress": (home / "progress.json", directory / "instance.json", outcomes_file(lesson.key)),
        "requests": (log,),
    }


def update(name: str, lesson: Lesson) -> Update:
    """The present content of a part of the page: its HTML, and for the handshake what script needs."""
    make = {"progress": _progress, "handshake": _handshake, "requests": _requests}[name]
    return make(lesson)


def _progress(lesson: Lesson) -> Update:
    lessons, standing = find_lessons(), ProgressFile(lambda _: None).read()
    try:
        step = next_step(lessons, standing, environment_now())
        command, why = step.command, step.why
    except WorkshopError as error:  # such as a damaged record: the command reports it better
        command, why = "workshop status", error.what
    rows = {row.part: row for row in overview(lessons, standing)}
    own = rows[lesson.number]
    exercises = [
        {
            "number": one.number,
            "title": one.title,
            "state": state,
            "command": _exercise(lesson, one.number, state),
        }
        for one, state in zip(exercises_of(lesson), own.exercises, strict=True)
    ]
    checks = [
        {"mark": _MARKS[one.state], "sentence": one.sentence, "state": one.state, "reason": one.reason}
        for one in last_outcomes(lesson.key)
        if one.exercise is None
    ]
    values = {"row": own, "exercises": exercises, "checks": checks, "command": command, "why": why}
    return {"html": templates().get_template("progress.html").render(lesson=lesson, **values)}


def _exercise(lesson: Lesson, number: int, state: str) -> str:
    """The command that goes on with an exercise; empty once it has passed."""
    if state in ("passed", "solution"):
        return ""
    return lesson.command("check" if state == "begun" else "exercise", str(number))


def _handshake(_lesson: Lesson) -> Update:
    found = live.read_live()
    if found is None:
        return {"running": False, "steps": 0, "html": templates().get_template("waiting.html").render()}
    trace = found.trace
    reached = {hop_number(step.kind, step.phase) for step in trace.steps}
    html = (
        templates()
        .get_template("handshake.html")
        .render(
            trace=trace,
            running=found.running,
            hops=[(hop, hop.number in reached) for hop in hops.HOPS] if _is_handshake(reached) else [],
            lanes=lanes(trace),
            overview="" if found.running else fragment(trace, "overview"),
            diagram=fragment(trace, "diagram"),
            notes=fragment(trace, "notes"),
        )
    )
    return {"running": found.running, "steps": len(trace.steps), "html": html}


def _is_handshake(reached: set[int | None]) -> bool:
    """Whether a run has hops of a login; without one, everything counts as the last hop."""
    return bool(reached - {hops.SWAP, None})


def _requests(_lesson: Lesson) -> Update:
    rows = list(_received())[-_MOST_REQUESTS:]
    return {"html": templates().get_template("requests.html").render(rows=rows)}


@dataclass(frozen=True)
class Received:
    """A request that the proxy has logged, and the hop that it belongs to, if any."""

    time: str
    request: str
    status: str
    hop: hops.Hop | None


def _received() -> Iterator[Received]:
    try:
        written = Logs(_PROXY).last(_LINES)
    except WorkshopError:  # nothing is up
        return
    for line in (line for log in written for line in log.lines):
        if (found := _REQUEST.search(line)) and found["path"] != "/health":
            path, status = found["path"], found["status"]
            yield Received(found["time"], f"{found['method']} {path}", status, _hop(path, status))


def _hop(path: str, status: str) -> hops.Hop | None:
    if path.startswith("/mcp") and status == str(_UNAUTHORIZED):
        return hops.hop(hops.REFUSAL)
    return next((hops.hop(number) for start, number in _PATHS if path.startswith(start)), None)
