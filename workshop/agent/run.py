"""Run a part, from its `main.py` or from the CLI: prepare its agent, load its `answer`, show progress."""

import argparse
import contextlib
import inspect
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from workshop.agent import events as on
from workshop.agent.approval import Approvals, approval_for
from workshop.agent.events import Asked, Event, ModelAnnounced, Observer, ignore
from workshop.agent.loop import Agent
from workshop.agent.messages import ChatModel
from workshop.agent.part import Part, RunContext, load_module
from workshop.agent.rehearsal import RehearsalModel
from workshop.agent.view import View
from workshop.core.collector import rare_collections
from workshop.core.console import Console
from workshop.core.crash import short_error
from workshop.core.errors import INTERRUPTED, UsageError, WorkshopError
from workshop.core.interrupts import interrupts
from workshop.core.settings import Settings
from workshop.core.streams import prepare_streams
from workshop.core.text import counted, plain
from workshop.recorder import current, recording
from workshop.recorder.files import check_targets, write
from workshop.recorder.live import LiveWriter, is_page_open
from workshop.recorder.model import UNKNOWN, Outcome, Request, Subject, Upstream

if TYPE_CHECKING:
    from workshop.recorder.recorder import Recorder


Answer = Callable[[Agent], Coroutine[Any, Any, str]]


@dataclass(frozen=True)
class RunOptions:
    """The options of one run of a part."""

    question: str | None = None
    no_browser: bool = False
    approve_as: str | None = None
    rehearsal_model: bool = False
    env_file: Path | None = None
    trace: tuple[Path, ...] = ()
    practice_user: str = "learner"
    """Who is suggested for `approve_as`."""
    attended: bool = True
    """Whether a person typed these options."""


@dataclass(frozen=True)
class Endpoints:
    """The URLs of a variation's workloads, by name, and the headers that the agent sends along."""

    urls: Mapping[str, str]
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def run_part(main_file: str, answer: Answer) -> NoReturn:
    """Run the part of this `main.py` with the options of the command line, and end the process.

    Exit codes are those of our errors (see `workshop.core.errors`), 130 for Ctrl-C.
    """
    with rare_collections():
        code = _main(Path(main_file).resolve().parent, answer, sys.argv[1:])
    sys.exit(code)


def _main(directory: Path, answer: Answer, arguments: Sequence[str]) -> int:
    prepare_streams()
    options = _options(arguments)
    console = Console()
    interrupts.install(console)
    try:
        console.out(run_answer(RunContext.load(directory, options.env_file), answer, options, console))
    except KeyboardInterrupt:
        console.tell("Stopped")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - nobody is shown a traceback
        shown = short_error(error, [f"{directory.name}/main.py", *arguments], console.hidden)
        console.error(shown)
        return shown.exit_code
    return 0


def _options(arguments: Sequence[str]) -> RunOptions:
    parser = argparse.ArgumentParser(description="Run this part against what `workshop up` started.")
    parser.add_argument("--question", metavar="TEXT", help="ask this, not the part's own question")
    parser.add_argument("--no-browser", action="store_true", help="print the approval URL, do not open it")
    parser.add_argument(
        "--approve-as", metavar="USER", help="approve as this practice user: learner or mentor"
    )
    parser.add_argument(
        "--trace",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="write what went over HTTP to FILE: .html, .json or .har",
    )
    given = parser.parse_args(arguments)
    return RunOptions(given.question, given.no_browser, given.approve_as, trace=tuple(given.trace))


def run_answer(
    context: RunContext,
    answer: Answer,
    options: RunOptions,
    console: Console,
    upstream: Upstream = UNKNOWN,
    *,
    endpoints: Endpoints | None = None,
) -> str:
    """Run `answer` with the part's agent and show the progress; the returned text is safe to print."""
    console.hide(context.settings.secrets())
    for warning in context.settings.warnings:
        console.warn(warning)
    record = context.instance.record
    practice = options.practice_user if record is not None and record.upstream == "practice" else ""
    with recorded(context, options.trace, console, upstream), View(console, practice=practice) as view:
        approvals = Approvals(view.observe)
        agent = prepare(context, options, noted(approvals), endpoints)
        agent = replace(agent, consent=view.agrees)
        view.observe(Asked(agent.question))
        view.observe(ModelAnnounced(agent.model.name))
        text = interrupts.run(answer(agent))
    if not isinstance(text, str):
        raise UsageError(
            f"`answer` of `{context.directory.name}/main.py` returned no text",
            hint="It ends with `return await agent.ask(…)`",
        )
    # A variation's headers are this user's, also where nobody logs in.
    asked = options.attended and not (endpoints and endpoints.headers)
    if asked and (unused := approvals.unused(options.approve_as)):
        console.say(unused)
    return plain(text)


def prepare(
    context: RunContext, options: RunOptions, observe: Observer = ignore, endpoints: Endpoints | None = None
) -> Agent:
    """The agent of a part, from `part.toml`, `.env` and what `up` started; raises UsageError for mistakes."""
    part, instance = context.part, context.instance
    return Agent(
        question=_question(options.question) or part.question,
        model=_model(part, context.settings, rehearsal=options.rehearsal_model),
        approval=approval_for(no_browser=options.no_browser, approve_as=options.approve_as),
        logins=instance.logins,
        endpoints=endpoints.urls if endpoints else instance.endpoints,
        headers=endpoints.headers if endpoints else {},
        timeouts=part.timeouts,
        observe=observe,
    )


def _question(given: str | None) -> str | None:
    """The question of the command line; raises UsageError for bytes that are not UTF-8.

    Python passes such bytes on as halves of surrogate pairs (PEP 383).
    """
    try:
        (given or "").encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            "`--question` is not UTF-8 text",
            why=f"Character {error.start + 1} is not a character",
            hint="Type the question, or paste it from a UTF-8 file",
        ) from error
    return given


def _model(part: Part, settings: Settings, *, rehearsal: bool) -> ChatModel:
    if rehearsal or not (settings.openai_api_key or settings.openai_base_url):
        return RehearsalModel(part.plans, part.question)
    from workshop.agent.openai_chat import DEFAULT_BASE_URL, OpenAIChat

    if settings.model.value is None:
        raise UsageError(
            "WORKSHOP_MODEL is not set",
            why="`.env` names a model's endpoint or key, but not the model",
            hint="`.env.example` has a ready line for each provider",
        )
    base_url = settings.openai_base_url.value or DEFAULT_BASE_URL
    return OpenAIChat(
        base_url, settings.openai_api_key.value, settings.model.value, timeout=part.timeouts.model
    )


def load_answer(directory: Path) -> Answer:
    """The `answer` of a part's `main.py`; raises UsageError when there is none.

    An error inside the file itself is raised as it is: it names the line of the learner's code.
    """
    path = directory / "main.py"
    answer = getattr(load_module(path, directory), "answer", None)
    if not inspect.iscoroutinefunction(answer):
        raise UsageError(f"`{path}` has no `async def answer(agent)`")
    found: Answer = answer
    return found


_ENDED = Outcome("interrupted", "The run's process was ended")
"""The outcome of a run that goes on, as it is shown once its process is gone."""
_SERVERS = ("Gateway", "Worker", "Resource server")
_PROXY = "Proxy"
"""Part 4's own server: ToolHive's proxy, or what plays it."""

_NOTES: Mapping[type[Event], str] = {
    on.LoginReused: "The agent has a stored login from {issuer}",
    on.ClientForgotten: "{issuer} has forgotten this client; the agent registers again",
    on.ApprovalNeeded: "A person opens the address in a browser",
    on.ModelReplied: "The model answers the question",
    on.PageRequested: "The tool call waits until the person completes a page of the server (URL elicitation)",
    on.PageOpened: "A person opens the page on {host} in a browser",
}


@contextlib.contextmanager
def recorded(
    context: RunContext, targets: Sequence[Path], console: Console, upstream: Upstream
) -> Iterator[None]:
    """Record the block and write the trace to `targets`, also if it fails; show it on an open page.

    Without targets and without a page, do nothing.
    Raises UsageError before the block for a target that could not be written.
    """
    shown = is_page_open()
    if not (targets or shown):
        yield
        return
    from workshop.recorder.build import build_trace
    from workshop.recorder.recorder import Recorder

    check_targets(targets)
    recorder, outcome = Recorder(), Outcome()
    subject = Subject(*_titled(context, upstream), secrets=context.settings.secrets())
    live = _live(recorder, subject, upstream) if shown else None
    try:
        with recording(recorder):
            yield
    # Also for Ctrl-C: the trace of a run that was stopped is written too.
    except BaseException as error:
        outcome = _outcome(error)
        raise
    finally:
        trace = build_trace(recorder, subject, outcome, _upstream_requests(recorder, upstream, console))
        if live:
            live.finish(trace)
        for path in targets:
            try:
                write(trace, path)
            except WorkshopError as error:  # an error of the run itself is more important
                console.warn(error.sentence)
            else:
                console.say(f"Trace: {path}")


def _live(recorder: "Recorder", subject: Subject, upstream: Upstream) -> LiveWriter:
    """What shows the recording on the page of `workshop open` while it is made."""
    from workshop.recorder.build import build_trace

    return LiveWriter(
        recorder,
        lambda: upstream.requests_since(recorder.began),
        lambda requests: build_trace(recorder, subject, _ENDED, requests),
    )


def noted(observe: Observer) -> Observer:
    """An observer that also gives the events between the requests to the flight recorder, if there is one."""
    recorder = current()
    if recorder is None:
        return observe

    def both(event: Event) -> None:
        if text := _note(event):
            recorder.note(text)
        observe(event)

    return both


def _titled(context: RunContext, upstream: Upstream) -> tuple[str, str, str, str]:
    """The title, the upstream's URL and name, and the title's word for the server that the agent asks."""
    title, directory = context.part.title, context.directory
    words = (word for word in _SERVERS if word.lower() in title.lower())
    varied = directory.parent.name == "variations"
    part = (directory.parents[1] if varied else directory).name.partition("_")[0].lstrip("0")
    number = f"Part {part}, {directory.name}: " if varied else f"Part {part}: "
    named = f"{number}{title}" if part.isdigit() else title
    return named, upstream.url, upstream.name, next(words, _SERVERS[0]) if varied else _PROXY


def _upstream_requests(
    recorder: "Recorder", upstream: Upstream, console: Console
) -> Sequence[Request] | None:
    try:
        return upstream.requests_since(recorder.began)
    except WorkshopError as error:
        console.warn(f"The trace lacks the requests that {upstream.name} received: {error.what}")
        return None


def _outcome(error: BaseException) -> Outcome:
    if isinstance(error, WorkshopError):
        return Outcome("failed", error.what, error.why, error.hint)
    if isinstance(error, Exception):
        return Outcome("failed", f"The run ended with {type(error).__name__}")
    return Outcome("interrupted", "The run was stopped from the keyboard")


def _note(event: Event) -> str:
    match event:
        case on.ApprovalNeeded(_, "practice user", user) | on.PageOpened("practice user", _, user):
            return f"`--approve-as` plays the browser, as practice user {user}"
        case on.ModelReplied(turn, calls) if calls:
            return f"The model, turn {turn}, asks for {counted(calls, 'tool call')}"
        case on.Warned(text):
            return text
        case _:
            return _NOTES.get(type(event), "").format(**vars(event))
