"""The page of `workshop open`: the lesson, and beside it what changes while the parts run.

The progress, the handshake and the requests are made anew whenever one of their files has changed.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from workshop.core import hops
from workshop.core.errors import WorkshopError
from workshop.core.files import version_of
from workshop.core.instance import Instance
from workshop.core.paths import state_home
from workshop.course.check_outcome import MARKS, last_outcomes, outcomes_file
from workshop.course.exercise import exercises_of
from workshop.course.lessons import Lesson, find_lessons
from workshop.course.logs import Logs
from workshop.course.next_step import environment_now, next_step, overview
from workshop.course.page.server import (
    HEADERS,
    Answer,
    PageServer,
    Update,
    event,
    html,
    missing,
    script_of,
    templates,
)
from workshop.course.progress import ProgressFile
from workshop.recorder import live
from workshop.recorder.live import page_open, read_live
from workshop.recorder.page import SCRIPT, fragment, lanes, to_html
from workshop.recorder.wording import hop_number

_SCRIPT = SCRIPT + script_of("page.js")
# Polled: the files are few, and some systems watch no files.
_LOOK_SECONDS = 0.2
_LOOKS_BEFORE_COMMENT = 50
_SHELL = frozenset({"sh", "bash", "shell", "console"})
_FOLDER = re.compile(r"(\d+)_\w+")
_PROXY = "github-remote"
_LINES = 400
_MOST_REQUESTS = 60
_REQUEST = re.compile(
    r"(?P<time>[\d:]{8})\S* INFO workshop\.gateway\.requests "
    r"(?P<method>[A-Z]+) (?P<path>/\S*) (?P<status>\d{3}|-) "
)
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


class CompanionPage(PageServer):
    """The page of one `workshop open`: its address, and the application that serves it."""

    def __init__(self, lesson: Lesson, port: int, *, present: bool = False) -> None:
        super().__init__(port)
        self._lesson = lesson
        self._present = present

    @property
    def url(self) -> str:
        return (
            f"http://localhost:{self.port}{self._address(self._lesson)}{'?present' if self._present else ''}"
        )

    def routes(self) -> dict[str, Answer]:
        return {
            "/": self._home,
            "/part/{number}": self._page,
            "/part/{number}/events": self._events,
            "/trace": self._trace,
        }

    async def serve(self, ready: Callable[[], Awaitable[None]]) -> None:
        with page_open():
            await super().serve(ready)

    def _address(self, lesson: Lesson) -> str:
        return f"{self.base}/part/{lesson.number}"

    async def _home(self, _request: Request) -> Response:
        return RedirectResponse(self._address(self._lesson), headers=HEADERS)

    async def _page(self, request: Request) -> Response:
        lesson = _lesson(request)
        if lesson is None:
            return missing("There is no such part.")
        present = "present" in request.query_params
        # On a projector it is the class that reads, not the learner of this machine.
        if not present:
            await asyncio.to_thread(note_read, lesson)
        address = self._address(lesson)
        return html(
            "page.html",
            _SCRIPT,
            lesson=lesson,
            text=lesson_html(lesson.readme, address),
            parts=[(one.number, one.heading, self._address(one)) for one in find_lessons()],
            events=f"{address}/events",
            trace=f"{self.base}/trace",
            present=present,
        )

    async def _trace(self, _request: Request) -> Response:
        found = await asyncio.to_thread(read_live)
        if found is None:
            return missing("Nothing has been recorded yet.")
        # The page's own policy is in a `meta` element, where this directive has no effect (CSP Level 3
        # section 3.3).
        policy = {"Content-Security-Policy": "frame-ancestors 'none'"}
        return HTMLResponse(to_html(found.trace), headers={**HEADERS, **policy})

    async def _events(self, request: Request) -> Response:
        lesson = _lesson(request)
        if lesson is None:
            return missing("There is no such part.")
        return self.streaming(changes(lesson))


async def changes(lesson: Lesson) -> AsyncGenerator[str]:
    """The whole content as server-sent events, then what changes, without an end."""
    known: dict[str, object] = {}
    looks = 0
    while True:
        files = changed_files(lesson)
        for name, paths in files.items():
            states = [version_of(path) for path in paths]
            if name not in known or known[name] != states:
                known[name] = states
                # In a thread: some contents take long, and other pages must go on meanwhile.
                yield event(name, await asyncio.to_thread(update, name, lesson))
        looks += 1
        if looks % _LOOKS_BEFORE_COMMENT == 0:
            yield ": still here\n\n"  # a browser that has gone is noticed when something is written
        await asyncio.sleep(_LOOK_SECONDS)


def _lesson(request: Request) -> Lesson | None:
    number = request.path_params["number"]
    return next((lesson for lesson in find_lessons() if str(lesson.number) == number), None)


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
        {"mark": MARKS[one.state], "sentence": one.sentence, "state": one.state, "reason": one.reason}
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
        # Probes of health would push the handshake out of the list.
        if (found := _REQUEST.search(line)) and found["path"] != "/health":
            path, status = found["path"], found["status"]
            yield Received(found["time"], f"{found['method']} {path}", status, _hop(path, status))


def _hop(path: str, status: str) -> hops.Hop | None:
    if path.startswith("/mcp") and status == str(_UNAUTHORIZED):
        return hops.hop(hops.REFUSAL)
    return next((hops.hop(number) for start, number in _PATHS if path.startswith(start)), None)


def lesson_html(markdown: str, base: str) -> Markup:
    """The lesson; the pages of parts are below `base`, such as `/TOKEN/part/4`.

    A link to another part's lesson leads to its page, one to a file of the checkout becomes plain text, and
    any HTML in the text stays text.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("fence", _fence)
    tokens = parser.parse(markdown)
    _add_anchors(tokens)
    for token in tokens:
        _turn_links(token.children or [], base)
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704 - HTML is off in the parser


def _fence(_self: object, tokens: Sequence[Token], at: int, _options: object, _env: object) -> str:
    """A code block; of commands, each line is an element of its own, which can be copied."""
    token = tokens[at]
    lines = token.content.rstrip("\n").split("\n")
    # A command that goes on in the next line cannot be copied line by line.
    if token.info.strip() not in _SHELL or any(line.endswith("\\") or "<<" in line for line in lines):
        return str(Markup("<pre tabindex=0><code>{}</code></pre>\n").format(token.content.rstrip("\n")))
    shown = Markup("\n").join(_command(line) for line in lines)
    return str(Markup("<pre class=commands tabindex=0><code>{}</code></pre>\n").format(shown))


def _command(line: str) -> Markup:
    command = line.partition("  #")[0].strip()
    if not command or command.startswith("#"):
        return escape(line)
    return Markup('<span class=command data-command="{}">{}</span>').format(command, line)


def _add_anchors(tokens: Sequence[Token]) -> None:
    """Give each heading the anchor that GitHub gives it; a repeated one is numbered."""
    known: dict[str, int] = {}
    for heading, inline in pairwise(tokens):
        if heading.type == "heading_open":
            text = "".join(child.content for child in inline.children or [])
            name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            count = known[name] = known.get(name, -1) + 1
            heading.attrSet("id", f"{name}-{count}" if count else name)


def _turn_links(tokens: Sequence[Token], base: str) -> None:
    shown = True
    for token in tokens:
        if token.type == "link_open":
            target = _target(str(token.attrGet("href") or ""), base)
            shown = bool(target)
            token.attrs = {"href": target, "rel": "noreferrer"} if shown else {"class": "file"}
        if token.type in ("link_open", "link_close") and not shown:
            token.tag = "span"
        if token.type == "image":
            # The policy of the page allows no images; the file is not served either.
            token.attrs = {"src": "", "alt": ""}


def _target(href: str, base: str) -> str:
    """Where a link leads on the page; empty for a file, which the page does not show."""
    parts = urlsplit(href)
    if parts.scheme in ("http", "https") or href.startswith("#"):
        return href
    path = PurePosixPath(parts.path)
    folder = _FOLDER.fullmatch(path.parent.name)
    if path.name != "README.md" or folder is None or parts.scheme or parts.netloc:
        return ""
    return f"{base.rpartition('/')[0]}/{int(folder[1])}" + (f"#{parts.fragment}" if parts.fragment else "")
