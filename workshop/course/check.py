"""Check a part: run its checks in another process, record what passed, and give hints one by one."""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from workshop.core.errors import UsageError, WorkshopError
from workshop.core.files import version_of
from workshop.course.check_outcome import Job, Outcome, State, show_outcomes
from workshop.course.exercise import Exercise, begun, exercise_of, exercises_of
from workshop.course.lessons import Lesson, Variation
from workshop.course.progress import PartStanding, ProgressFile, exercise_folder, share_progress
from workshop.lab import process

Note = Callable[[str], None]
Versions = dict[Path, tuple[int, int, int]]
_START_SECONDS = 30.0  # before the first check: a cold start compiles what it imports
GRACE_SECONDS = 3.0
"""How long a check may clean up after its deadline before its process is ended."""
_LOOK_SECONDS = 0.2
_SETTLED_SECONDS = 0.05  # an editor's one save is several changes within a few milliseconds
_WORK = {".py", ".yaml", ".toml", ".json"}
# -P: a learner's `json.py` in the current folder must not replace Python's.
_CHILD = (sys.executable, "-P", "-m", "workshop.course.check_child")


@dataclass(frozen=True)
class Checked:
    """One check's outcome with the hints given so far, and how many are left."""

    outcome: Outcome
    hints: tuple[str, ...] = ()
    hints_left: int = 0


@dataclass(frozen=True)
class CheckReport:
    """The checks of a part and of its begun exercises, and the exercises that are not begun.

    `done` has the exercise that was asked for, or those that passed for the first time, each with the
    learner's file.
    """

    lesson: Lesson
    passed: bool
    checks: tuple[Checked, ...]
    not_begun: tuple[int, ...]
    done: tuple[tuple[Exercise, Path], ...] = ()

    @property
    def missing(self) -> bool:
        """Whether checks could not be made because what they need is not up."""
        return any(found.outcome.missing for found in self.checks)

    @property
    def counted(self) -> tuple[int, int]:
        """How many checks passed, and how many could be run here."""
        return _counted([found.outcome.state for found in self.checks])

    @property
    def counted_own(self) -> tuple[int, int]:
        """The same for the lesson's own checks, without those of exercises."""
        return _counted([found.outcome.state for found in self.checks if found.outcome.exercise is None])

    @property
    def counted_exercises(self) -> tuple[int, int]:
        """How many exercises passed, and how many are begun."""
        outcomes = [found.outcome for found in self.checks if found.outcome.exercise is not None]
        open_ones = {found.exercise for found in outcomes if found.state not in ("passed", "not applicable")}
        begun_ones = {found.exercise for found in outcomes}
        return len(begun_ones - open_ones), len(begun_ones)


def _counted(states: Sequence[State]) -> tuple[int, int]:
    return states.count("passed"), len(states) - states.count("not applicable")


def check_part(
    lesson: Lesson, progress: ProgressFile, note: Note, *, only: int | None = None, hint: bool = False
) -> CheckReport:
    """Run the checks of a part, or of one exercise; with `hint`, the first that failed gives its next hint.

    Raises UsageError for an exercise that does not exist or is not begun.
    """
    standing = progress.read()
    exercises = exercises_of(lesson)
    files = begun(exercises, exercise_folder(standing))
    if only is not None and exercise_of(lesson, only).number not in files:
        raise UsageError(
            f"Exercise {only} of {lesson.label} is not begun",
            why=f"Its file is not in `{exercise_folder(standing)}`",
            hint=f"`{lesson.command('exercise', str(only))}` begins it",
        )
    job = Job(
        directory=str(lesson.directory),
        scratch="",
        ran=standing.part(lesson.key).ran,
        works={str(number): str(file) for number, file in files.items()},
        only=only,
    )
    outcomes = run_checks(job, note)
    if only is None:
        show_outcomes(lesson.key, outcomes)
        if not isinstance(lesson, Variation):
            passed = [outcome.name for outcome in outcomes if outcome.state == "passed"]
            share_progress(lesson.number, passed)
    with progress.change() as standing:
        part = standing.touch(lesson.key)
        new = {n for n in files if n == only or not part.exercise(n).passed}
        _remember(part, outcomes, only)
        checks = _with_hints(part, outcomes, hint=hint)
    all_passed = all(outcome.state in ("passed", "not applicable") for outcome in outcomes)
    not_begun = tuple(found.number for found in exercises if found.number not in files)
    here = new & {outcome.exercise for outcome in outcomes if outcome.state == "passed"}
    done = tuple((found, files[found.number]) for found in exercises if found.number in here)
    return CheckReport(lesson, all_passed, checks, not_begun if only is None else (), done)


def rounds(lesson: Lesson, progress: ProgressFile, idle: Callable[[], object]) -> Iterator[None]:
    """Yield at once, and again after each save of a file of the lesson or its exercises; this never ends.

    A save while the caller works is not missed. `idle` is called several times a second.
    """
    while True:
        folders, due = _watched(lesson, progress), True
        for changed in _saves(folders):
            if due or changed:
                due = False
                yield
            idle()
            if _watched(lesson, progress) != folders:
                break


def _watched(lesson: Lesson, progress: ProgressFile) -> list[Path]:
    """The folders with the lesson's files and the learner's, as far as they exist."""
    own = exercise_folder(progress.read()) / f"part{lesson.key}"
    return [folder for folder in (lesson.directory, lesson.directory / "toolhive", own) if folder.is_dir()]


def _saves(folders: Sequence[Path]) -> Iterator[bool]:
    """Whether a file was saved, several times a second.

    Looking at a few files costs next to nothing, and works on every file system. The polling of watchfiles
    compares whole seconds, so it misses the second of two saves in one second.
    """
    known = _versions(folders)
    while True:
        time.sleep(_LOOK_SECONDS)
        found = _settled(folders, known)
        yield found != known
        known = found


def _settled(folders: Sequence[Path], known: Versions) -> Versions:
    """The versions now; after a change, those that stayed the same for a moment."""
    found = _versions(folders)
    while found != known:
        time.sleep(_SETTLED_SECONDS)
        known, found = found, _versions(folders)
    return found


def _versions(folders: Sequence[Path]) -> Versions:
    found = {}
    for folder in folders:
        with suppress(OSError):  # a folder may be removed meanwhile
            for file in filter(_is_work, folder.iterdir()):
                if version := version_of(file):
                    found[file] = version
    return found


def _is_work(file: Path) -> bool:
    """Whether a learner writes such a file; editors leave others beside it for a moment."""
    return file.suffix in _WORK and not file.name.startswith(".") and ".mine-" not in file.name


def _remember(part: PartStanding, outcomes: list[Outcome], only: int | None) -> None:
    """Record what has passed; a failure later, as after `teardown`, does not revoke it."""
    for outcome in outcomes:
        if outcome.state == "passed":
            part.hints.pop(outcome.name, None)
            if outcome.exercise is not None:
                part.exercise(outcome.exercise).passed = True
    own = [outcome for outcome in outcomes if outcome.exercise is None]
    if only is None and all(outcome.state in ("passed", "not applicable") for outcome in own):
        part.passed = True


def _with_hints(part: PartStanding, outcomes: list[Outcome], *, hint: bool) -> tuple[Checked, ...]:
    checks = []
    for outcome in outcomes:
        if outcome.state != "failed":
            checks.append(Checked(replace(outcome, hints=())))
            continue
        count = part.hints.get(outcome.name, 0)
        if hint:  # one at a time, for the first that failed: later failures often follow from it
            count, hint = min(count + 1, len(outcome.hints)), False
        # The first failure shows the first hint unasked; `--hint` gives the others.
        count = part.hints[outcome.name] = max(count, 1)
        given = outcome.hints[:count]
        checks.append(Checked(replace(outcome, hints=()), given, len(outcome.hints) - len(given)))
    return tuple(checks)


def run_checks(job: Job, note: Note, grace: float = GRACE_SECONDS) -> list[Outcome]:
    """The outcome of each check, in order; `note` is called with the sentence of the current one."""
    scratch = Path(tempfile.mkdtemp(prefix="workshop-check-"))
    try:
        return _all_outcomes(replace(job, scratch=str(scratch)), note, grace)
    finally:
        # A server that a check has started may have left its session, but not its folder.
        for stray in process.strays(scratch):
            process.end(stray)
        shutil.rmtree(scratch, ignore_errors=True)


def _all_outcomes(job: Job, note: Note, grace: float) -> list[Outcome]:
    settled: dict[str, Outcome] = {}
    # A check that takes its process down is settled as failed; a new process goes on behind it.
    while True:
        states: dict[str, State] = {name: outcome.state for name, outcome in settled.items()}
        child = _Child(replace(job, states=states), grace)
        try:
            lost = child.follow(settled, note)
        finally:
            child.end()
        if lost is None:
            return [settled[name] for name in child.names]
        settled[lost.name] = lost


def _environment() -> dict[str, str]:
    """What the learner's code may know of this process's environment: no secret is in it."""
    own = {key: value for key, value in os.environ.items() if key.startswith(("WORKSHOP_", "XDG_", "PYTHON"))}
    return {**process.passed_on(), **own}


class _Child:
    """One process that runs checks, and the checks that it announced."""

    def __init__(self, job: Job, grace: float) -> None:
        self._grace = grace
        # A file: a pipe that is read only at the end would fill up and stop a program that prints a lot.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `end`
        self._process = subprocess.Popen(
            _CHILD,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=True,  # so that `end` reaches what the learner's code has started
            env=_environment(),
        )
        # A thread reads: only a queue can be read with a time limit on every system.
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._announced: dict[str, dict[str, Any]] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if self._process.stdin:
            self._process.stdin.write(json.dumps(asdict(job)).encode() + b"\n")
            self._process.stdin.close()

    @property
    def names(self) -> Sequence[str]:
        return tuple(self._announced)

    def follow(self, settled: dict[str, Outcome], note: Note) -> Outcome | None:
        """Collect outcomes; None when all checks have one, else that of the check that ended the process."""
        begun, seconds = "", _START_SECONDS
        while True:
            try:
                line = self._lines.get(timeout=seconds)
            except queue.Empty:
                return self._lost(begun, f"It did not end within {seconds - self._grace:g} seconds")
            if not line:
                self._process.wait()
                if self._announced and all(name in settled for name in self._announced):
                    return None
                return self._lost(begun, f"It ended the whole program. {self._last_words()}".strip())
            message = json.loads(line)
            if "checks" in message:
                self._announced = {check["name"]: check for check in message["checks"]}
            elif "begin" in message:
                begun = message["begin"]
                note(self._announced[begun]["sentence"])
                seconds = self._announced[begun]["seconds"] + self._grace
            else:
                outcome = message["outcome"] | {"hints": tuple(message["outcome"]["hints"])}
                settled[outcome["name"]] = Outcome(**outcome)

    def end(self) -> None:
        """End the process and whatever it started in its session."""
        if self._process.poll() is None:
            # SIGKILL: the learner's code may ignore or delay any other signal.
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        # A program that has left the session may still hold the pipe, and the reader waits for it.
        self._reader.join(self._grace)
        if self._process.stdout and not self._reader.is_alive():
            self._process.stdout.close()
        self._stderr.close()

    def _read(self) -> None:
        if self._process.stdout:
            for line in self._process.stdout:
                self._lines.put(line)
        self._lines.put(b"")  # the end of the process, which the queue cannot show otherwise

    def _lost(self, begun: str, reason: str) -> Outcome:
        if not begun:
            raise WorkshopError("The checks could not be started", why=self._last_words() or reason)
        check = self._announced[begun]
        return Outcome(begun, check["sentence"], check["exercise"], "failed", reason, tuple(check["hints"]))

    def _last_words(self) -> str:
        self._stderr.seek(0)
        lines = self._stderr.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip() if lines else ""
