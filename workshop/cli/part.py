"""`workshop part …`: list, show, run and check; `open`: a part as a page; `trace …`: what a run recorded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from workshop.cli.check import add_check, note_progress
from workshop.cli.exercise import add_exercises
from workshop.cli.groups import EXAMPLES, PART_EXAMPLES, Commands, LessonGroup, PartGroup
from workshop.cli.next import find_next, following
from workshop.cli.options import ApproveAs, EnvFile, NoBrowser
from workshop.cli.terminal import running, serve
from workshop.cli.variation import VariationName, Weak, add_variations, ask, lesson_or_variation
from workshop.core.errors import UsageError
from workshop.core.result import Result, Table
from workshop.core.text import one_line, unbroken
from workshop.course.lessons import Lesson, Variation, find_lessons

Question = Annotated[
    str | None, typer.Option("--question", help="Ask this instead of the part's own question.")
]
Model = Annotated[
    Literal["rehearsal"] | None,
    typer.Option("--model", help="Use the rehearsal model, whatever model `.env` names.", show_default=False),
]
Trace = Annotated[
    list[Path] | None,
    typer.Option(
        "--trace",
        metavar="FILE",
        help="Record every HTTP request in FILE: .html, .json or .har.",
        show_default=False,
    ),
]
_TraceFile = Annotated[Path, typer.Argument(metavar="FILE.json", help="A trace of `part 4 run --trace`.")]
_TraceOut = Annotated[Path, typer.Argument(metavar="OUT", help="The file to write: .html, .har or .json.")]

_Part = Annotated[
    str | None,
    typer.Argument(
        metavar="[PART]", help="The part to show. Default: the one you are in.", show_default=False
    ),
]
_Present = Annotated[
    bool, typer.Option("--present", help="For a projector: large type, one request at a time (arrow keys).")
]
_Port = Annotated[
    int | None,
    typer.Option(
        "--port", min=1024, max=65535, help="Serve on this port. Default: a free one.", show_default=False
    ),
]


def build_group(lessons: Sequence[Lesson]) -> Commands:
    """The `part` group: `list`, and a group for each lesson, named by its number."""
    group = Commands("Show and run the parts of the tutorial.", cls=PartGroup)

    @group.command("list")
    def list_parts() -> Result:
        """List the parts."""
        return _listing(lessons)

    for lesson in lessons:
        group.add_typer(_lesson_group(lesson), name=str(lesson.number))
    return group


def _lesson_group(lesson: Lesson) -> Commands:
    examples = [line.format(lesson.number) for line in PART_EXAMPLES]
    group = Commands(lesson.heading, examples, cls=LessonGroup)

    @group.command("show")
    def show(*, variation: VariationName = None) -> Result:
        """Show the lesson's text."""
        chosen = lesson_or_variation(lesson, variation)
        note_progress(chosen, shown=True)
        data = {"part": lesson.number, "variation": variation, "markdown": chosen.readme}
        lines = [f"The files of {chosen.label} are in `{chosen.directory}`"]
        step = f"`{_needed_first(chosen) or chosen.command('run')}`"
        return Result("part show", data, lines=lines, markdown=chosen.readme, next=step)

    @group.command("run")
    def run(
        *,
        variation: VariationName = None,
        weak: Weak = False,
        question: Question = None,
        no_browser: NoBrowser = False,
        approve_as: ApproveAs = None,
        model: Model = None,
        env_file: EnvFile = None,
        trace: Trace = None,
    ) -> Result:
        """Run the lesson: ask the agent its question."""
        from workshop.agent.run import RunOptions

        options = RunOptions(
            question, no_browser, approve_as, model == "rehearsal", env_file, tuple(trace or ())
        )
        chosen = lesson_or_variation(lesson, variation)
        answer, lines = ask(chosen, options, weak=weak)
        note_progress(chosen, ran=True)
        data = {"part": lesson.number, "variation": variation, "answer": answer}
        step = f"`{chosen.command('check')}`"
        return Result("part run", data, answer, lines, next=step)

    add_check(group, lesson)
    add_exercises(group, lesson)
    _add_single_steps(group, lesson)
    add_variations(group, lesson)
    return group


def _needed_first(lesson: Lesson) -> str:
    """`workshop up` for a part that needs it while nothing is up, else empty."""
    from workshop.core.instance import Instance

    deploys = not isinstance(lesson, Variation) and (lesson.directory / "toolhive").is_dir()
    return "workshop up" if deploys and not Instance.load().endpoints else ""


def _add_single_steps(group: typer.Typer, lesson: Lesson) -> None:
    """Give a lesson's group its single steps, if it deploys anything."""
    if not (lesson.directory / "toolhive").is_dir():
        return

    @group.command("apply")
    def apply(*, env_file: EnvFile = None) -> Result:
        """On a cluster: only apply the lesson's manifests."""
        from workshop.core.settings import Settings
        from workshop.course import environment

        with running() as (progress, runner):
            applied = environment.submit(lesson, progress, Settings.load(env_file), runner)
        done = [f"{name} applied" for name in applied.started] + [
            f"{name} unchanged" for name in applied.kept
        ]
        step = f"`workshop part {lesson.number} forward`"
        return _by_hand("part apply", done, applied.commands, step)

    @group.command("by-hand")
    def by_hand(*, env_file: EnvFile = None) -> Result:
        """On a cluster: print each command that deploys the lesson, with its reason."""
        from workshop.core.settings import Settings
        from workshop.course import environment

        with running() as (_, runner):
            steps = environment.by_hand(lesson, Settings.load(env_file), runner)
        lines = [line for step in steps for line in (f"# {step.reason}", step.command, "")]
        # `part N run` would make forwards of its own; `main.py` uses those that were made by hand.
        following = f"`python parts/{lesson.directory.name}/main.py`"
        return Result("part by-hand", {"steps": steps}, lines=lines[:-1], next=following)

    @group.command("forward")
    def forward(*, env_file: EnvFile = None) -> Result:
        """On a cluster: only forward the lesson's workloads to this machine."""
        from workshop.core.settings import Settings
        from workshop.course import environment

        with running() as (progress, runner):
            applied = environment.forward(lesson, progress, Settings.load(env_file), runner)
        done = [f"{name:<16} {url}" for name, url in applied.endpoints.items()]
        step = f"`workshop part {lesson.number} run`"
        return _by_hand("part forward", done, applied.commands, step)


def _by_hand(command: str, done: Sequence[str], commands: Sequence[str], step: str) -> Result:
    lines = [*done, "", "By hand:", *commands]
    return Result(command, {"done": done, "commands": commands}, lines=lines, next=step)


def _listing(lessons: Sequence[Lesson]) -> Result:
    described = [(lesson, lesson.contents) for lesson in lessons]
    data = [
        {
            "part": lesson.number,
            "title": found.title,
            "summary": found.summary,
            "folder": str(lesson.directory),
        }
        for lesson, found in described
    ]
    rows = [(str(lesson.number), found.title, found.summary) for lesson, found in described]
    table = Table(("part", "title", "what is new"), rows)
    return Result("part list", data, table=table, next=following())


def open_page(
    part: _Part = None, *, no_browser: NoBrowser = False, present: _Present = False, port: _Port = None
) -> None:
    """Show the lesson, your progress and the handshake, as it happens, in a browser."""
    from workshop.core.ports import free_port
    from workshop.course.page.app import CompanionPage

    page = CompanionPage(_lesson_named(part), port or free_port(), present=present)
    serve(page, "It is served until Ctrl-C. Run the parts in another terminal.", opens=not no_browser)


def _lesson_named(part: str | None) -> Lesson:
    """The part that was named, or the one that comes next; raises UsageError if it does not exist."""
    lessons = find_lessons()
    wanted = part if part is not None else str(find_next().part or lessons[-1].number)
    for lesson in lessons:
        if str(lesson.number) == wanted:
            return lesson
    known = ", ".join(str(lesson.number) for lesson in lessons)
    raise UsageError(
        f"There is no part `{one_line(wanted)}`", hint=f"There are {known}: `workshop part list`"
    )


def trace_group() -> Commands:
    """The `trace` group."""
    group = Commands("Explain or convert a recorded run.", EXAMPLES["trace"])
    group.command("explain")(explain)
    group.command("render")(render)
    return group


def explain(file: _TraceFile) -> Result:
    """Explain a recorded run request by request, with the specification of each."""
    from workshop.recorder.files import explain as explained
    from workshop.recorder.files import headline, read

    trace = read(file)
    lines = [unbroken(line) for line in explained(trace)]
    following = f"`workshop trace render {file} {file.stem}.html`"
    return Result("trace explain", trace, unbroken(headline(trace)), lines, next=following)


def render(file: _TraceFile, out: _TraceOut) -> Result:
    """Convert a recorded run to an HTML page or a HAR (HTTP Archive) file."""
    from workshop.recorder.files import check_targets, read, write

    check_targets([out])
    write(read(file), out)
    data = {"trace": str(file), "written": str(out)}
    return Result("trace render", data, f"Written: {out}")
