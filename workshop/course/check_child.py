"""The process that runs checks: a job on stdin, a line of JSON on stdout for each thing that happens.

A process of its own because checks run the learner's code: it may print, end the program, or never come back.
"""

import asyncio
import contextlib
import inspect
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from workshop.core.collector import rare_collections
from workshop.core.errors import CheckError, WorkshopError
from workshop.core.text import one_line
from workshop.course.check_outcome import (
    Job,
    NotApplicableError,
    NotPassedError,
    NotUpError,
    Outcome,
    State,
)
from workshop.course.checks import Check, Subject, checks_of

Send = Callable[[dict[str, Any]], object]
PAUSE_SECONDS = 0.5
_MOST_REASON = 600
_MOST_MEMORY = 2 * 1024**3  # far more than a part needs, and less than a computer has


def chosen(checks: Iterable[Check], job: Job) -> list[Check]:
    """The checks of a job: the part's and those of exercises that are begun, or one exercise's."""
    begun = [check for check in checks if check.exercise is None or str(check.exercise) in job.works]
    return [check for check in begun if job.only in (None, check.exercise)]


def run_job(job: Job, send: Send, pause: float = PAUSE_SECONDS) -> None:
    """Run the checks one after another, with `pause` seconds before another try; each is announced first."""
    subject = Subject(Path(job.directory), Path(job.scratch), job.ran)
    checks = chosen(checks_of(subject.module("checks")), job)
    fields = ("name", "sentence", "seconds", "hints", "exercise")
    send({"checks": [{name: getattr(check, name) for name in fields} for check in checks]})
    states, missing = dict(job.states), False
    for check in checks:
        if check.name in states:
            continue
        send({"begin": check.name})
        work = Path(job.works[str(check.exercise)]) if check.exercise is not None else None
        outcome = judge(check, replace(subject, work=work), states, pause)
        if outcome.missing and missing:  # the first one has said it, with its hint
            outcome = replace(outcome, state="not tried", hints=())
        missing = missing or outcome.missing
        states[check.name] = outcome.state
        send({"outcome": asdict(outcome)})


def judge(check: Check, subject: Subject, states: dict[str, State], pause: float) -> Outcome:
    """Run one check; any exception in it becomes the reason why it failed."""
    outcome = Outcome(check.name, check.sentence, check.exercise, "passed")
    if any(states.get(name, "passed") in ("failed", "not tried") for name in check.needs):
        return replace(outcome, state="not tried", reason="A check that it depends on has not passed")
    started = time.monotonic()
    state, reason, hints, missing = _tried(check, subject, pause)
    took = round(time.monotonic() - started, 2)
    return replace(
        outcome,
        state=state,
        reason=one_line(reason, _MOST_REASON - 1),
        hints=hints,
        seconds=took,
        missing=missing,
    )


def _tried(check: Check, subject: Subject, pause: float) -> tuple[State, str, tuple[str, ...], bool]:
    """The state, the reason, the hints, and whether what the check needs is not up."""
    try:
        _run(check, subject, pause)
    except NotPassedError as error:
        return "failed", str(error), _hints_from(error.hint, check), False
    except NotApplicableError as error:
        return "not applicable", str(error), (), False
    except WorkshopError as error:
        return "failed", error.sentence, _hints_from(error.hint, check), isinstance(error, NotUpError)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the learner's code may fail in any way
        return "failed", _explained(error, subject), check.hints, False
    return "passed", "", (), False


def _hints_from(first: str, check: Check) -> tuple[str, ...]:
    """The check's hints, with the one that belongs to this failure before them."""
    return tuple(dict.fromkeys(filter(None, (first, *check.hints))))


def _run(check: Check, subject: Subject, pause: float) -> None:
    if inspect.iscoroutinefunction(check.act):
        asyncio.run(_awaited(check, subject, pause))
        return
    for attempt in range(check.retries + 1):
        try:
            check.act(subject)
        except NotPassedError:
            if attempt == check.retries:
                raise
            time.sleep(pause)
        else:
            return


async def _awaited(check: Check, subject: Subject, pause: float) -> None:
    reasons = [f"It took longer than {check.seconds:g} seconds"]
    try:
        async with asyncio.timeout(check.seconds) as bound:
            for attempt in range(check.retries + 1):
                try:
                    await check.act(subject)  # type: ignore[misc]  # an async function's result
                except (NotPassedError, WorkshopError) as error:
                    if attempt == check.retries or isinstance(error, CheckError):
                        raise  # waiting does not start what is not up
                    reasons.append(str(error))
                    await asyncio.sleep(pause)
                else:
                    return
    except TimeoutError:
        if not bound.expired():  # the timeout is one of the learner's code
            raise
        raise NotPassedError(reasons[-1]) from None


def _explained(error: BaseException, subject: Subject) -> str:
    """An error in the learner's code or the part's, with its line."""
    where = ""
    if isinstance(error, SyntaxError) and error.filename:
        where = f", line {error.lineno} of {Path(error.filename).name}"
    else:
        folders = (str(subject.work), str(subject.directory))
        frames = list(traceback.extract_tb(error.__traceback__))
        own = [f for f in frames if f.filename.startswith(folders) and not f.filename.endswith("checks.py")]
        if own:
            where = f", line {own[-1].lineno} of {Path(own[-1].filename).name}"
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}{where}: {text}" if text else f"{type(error).__name__}{where}"


def _bound_memory() -> None:
    """Let a program that collects without an end fail, instead of the machine."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # not every system has such a bound
        import resource

        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        most = _MOST_MEMORY if hard == resource.RLIM_INFINITY else min(_MOST_MEMORY, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def main() -> None:
    """Read the job and run it; the learner's output goes to stderr, only our own lines to stdout."""
    _bound_memory()
    job = Job(**json.loads(sys.stdin.buffer.readline()))
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1) as out:
        # A `print` of the learner's must not be read as one of our lines.
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        run_job(job, lambda message: out.write(f"{json.dumps(message)}\n"))


if __name__ == "__main__":
    with rare_collections():
        main()
