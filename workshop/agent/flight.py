"""The flight recorder of a run: records from its first request to its last, and writes the trace files."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workshop.agent import events as on
from workshop.agent.events import Event, Observer
from workshop.agent.part import RunContext
from workshop.core.console import Console
from workshop.core.errors import WorkshopError
from workshop.recorder import current, recording
from workshop.recorder.files import check_targets, write
from workshop.recorder.live import LiveWriter, is_page_open
from workshop.recorder.model import Outcome, Subject
from workshop.recorder.request import Request, Upstream

if TYPE_CHECKING:
    from workshop.recorder.recorder import Recorder

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
                console.warn(f"{error.what}: {error.why}")
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
            return f"The model, turn {turn}, asks for {calls} tool call{'s' if calls > 1 else ''}"
        case on.Warned(text):
            return text
        case _:
            return _NOTES.get(type(event), "").format(**vars(event))
