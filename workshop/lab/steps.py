"""Steps that can be done, skipped and undone, several at once; and the same work on many items."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Protocol, TypeVar

from workshop.core import console
from workshop.core.console import Progress
from workshop.core.errors import CredentialsError, PreflightError, UsageError, WorkshopError
from workshop.toolhive.known_messages import may_heal

_GRACE_SECONDS = 10.0  # in which the running steps may end by themselves after a failure
_OTHERS_SECONDS = 5.0  # a network error may have a cause that another step reports a moment later
_AT_ONCE = 8  # gentle to a small API server; 60 seats then take 20 s
T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Step:
    """One step of a run: it starts after the steps that it `needs`, and is skipped if it is `done`.

    `do` gets the step's line of progress; a note on that line raises an exception once the run has to stop.
    `undo` removes what `do` created, even in part. `plan` returns what `do` would run and write.
    When a step with `keep_on_failure` fails, nothing is undone: what the steps before it created is sound.
    """

    name: str
    label: str
    do: Callable[[console.Step], object]
    needs: tuple[str, ...] = ()
    done: Callable[[], bool] = lambda: False
    undo: Callable[[], object] | None = None
    keep_on_failure: bool = False
    plan: Callable[[], Sequence[str]] = lambda: ()


@dataclass(frozen=True)
class StepTime:
    """When a step began, in seconds since the start of the run, how long it took, and what it waited for.

    `waited_for` names the needed step that ended last. The `critical` steps are the chain of these that ends
    with the run: only if one of them gets faster, the run does. `kept` steps were already done.
    """

    name: str
    label: str
    start: float
    seconds: float
    waited_for: str
    critical: bool
    kept: bool


@dataclass(frozen=True)
class Outcome:
    """The steps that a run did, those that were done already and so were skipped, and the time of each."""

    did: tuple[str, ...]
    skipped: tuple[str, ...]
    times: tuple[StepTime, ...] = ()


class Stoppable(Protocol):
    """What runs commands for the steps, and can be stopped."""

    def stop(self) -> None:
        """End what runs now, and start nothing else."""

    def resume(self) -> None:
        """Start commands again."""


class _StoppedError(BaseException):
    """Ends a step when another step of the run has failed; no `except Exception` may swallow it."""


@dataclass
class _Line(console.Step):
    """A step's line of progress, which ends the step once the run has to stop."""

    check_stop: Callable[[], object] = lambda: None
    shown: console.Step | None = None

    def note(self, text: str) -> None:
        """Show the detail, unless the run has to stop."""
        self.check_stop()
        if self.shown:
            self.shown.note(text)


class StepRun:
    """Runs steps in the order of their needs, in parallel where these allow it."""

    def __init__(self, steps: Sequence[Step], progress: Progress, runner: Stoppable | None = None) -> None:
        self._steps = in_order(steps)
        self._progress = progress
        self._runner = runner
        self._stopping = threading.Event()
        self._ended: queue.SimpleQueue[tuple[Step, BaseException | None]] = queue.SimpleQueue()
        self._running: dict[str, threading.Thread] = {}
        self._begun: list[Step] = []
        self._failed: Step | None = None
        self.left = False  # whether a failed run left in place what it had begun
        self._did: list[str] = []
        self._skipped: list[str] = []
        self._began: dict[str, float] = {}
        self._finished: dict[str, float] = {}

    def run(self, *, undo: bool) -> Outcome:
        """Do every step that is not done; a failure ends them all, and the most specific one is raised.

        With `undo`, what this run began is then undone, last first, unless the failed step has
        `keep_on_failure`. Ctrl-C is a failure like any other, and a second one ends the undoing.
        """
        start = time.monotonic()
        try:
            self._run()
        except BaseException:
            undo = undo and not (self._failed and self._failed.keep_on_failure)
            self.left = not undo and bool(self._begun)
            self._wind_up(undo=undo)
            raise
        return Outcome(tuple(self._did), tuple(self._skipped), self._times(start))

    def _run(self) -> None:
        waiting = {step.name: step for step in self._steps}
        while waiting or self._running:
            finished = {*self._did, *self._skipped}
            for step in [found for found in waiting.values() if finished.issuperset(found.needs)]:
                self._start(waiting.pop(step.name))
            ended, error = self._ended.get()
            self._running.pop(ended.name)
            if error is not None:
                raise self._most_specific([(ended, error), *self._failures_beside(error)])

    def _failures_beside(self, error: BaseException) -> Iterator[tuple[Step, BaseException]]:
        """What else has failed by now, or fails soon if this failure may be only the network's."""
        waits = isinstance(error, WorkshopError) and may_heal(error.why)
        until = time.monotonic() + (_OTHERS_SECONDS if waits else 0.0)
        while self._running:
            try:
                ended, other = self._ended.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return
            self._running.pop(ended.name)
            if other is not None:
                yield ended, other

    def _most_specific(self, failures: Sequence[tuple[Step, BaseException]]) -> BaseException:
        self._failed, chosen = min(failures, key=lambda failure: _rank(failure[1]))
        for step, error in failures:
            if error is not chosen:
                self._progress.tell(f"Also failed: {step.label}: {error}")
        return chosen

    def _start(self, step: Step) -> None:
        # A daemon: a step that does not heed the stop must not keep the process from ending.
        thread = threading.Thread(target=self._work, args=(step,), name=step.name, daemon=True)
        self._running[step.name] = thread
        thread.start()

    def _times(self, start: float) -> tuple[StepTime, ...]:
        """The time of each step, ordered by start."""
        ended, waited_for = self._finished, {}
        for step in self._steps:
            waited_for[step.name] = max(step.needs, key=ended.__getitem__, default="")
        critical = [max(ended, key=ended.__getitem__, default="")]
        while before := waited_for.get(critical[-1]):
            critical.append(before)
        return tuple(
            StepTime(
                step.name,
                step.label,
                round(self._began[step.name] - start, 2),
                round(ended[step.name] - self._began[step.name], 2),
                waited_for[step.name],
                critical=step.name in critical,
                kept=step.name in self._skipped,
            )
            for step in sorted(self._steps, key=lambda step: self._began[step.name])
        )

    def _work(self, step: Step) -> None:
        error: BaseException | None = None
        self._began[step.name] = time.monotonic()
        try:
            self._do(step)
        except BaseException as caught:  # noqa: BLE001 - the main thread raises it
            error = caught
        self._finished[step.name] = time.monotonic()
        self._ended.put((step, error))

    def _do(self, step: Step) -> None:
        if step.done():
            self._skipped.append(step.name)
            return
        self._raise_if_stopping()
        self._begun.append(step)
        with self._progress.step(step.label) as shown:
            step.do(_Line(step.label, check_stop=self._raise_if_stopping, shown=shown))
            self._raise_if_stopping()
        self._did.append(step.name)

    def _raise_if_stopping(self) -> None:
        if self._stopping.is_set():
            raise _StoppedError

    def _wind_up(self, *, undo: bool) -> None:
        try:
            self._stop()
            if undo:
                self._undo()
        except KeyboardInterrupt:
            left = ", ".join(step.label for step in self._begun)
            self._progress.tell(f"Not undone: {left}. `workshop teardown` removes it")
            raise

    def _stop(self) -> None:
        self._stopping.set()
        if self._runner:
            self._runner.stop()
        deadline = time.monotonic() + _GRACE_SECONDS
        for thread in self._running.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._runner:
            self._runner.resume()

    def _undo(self) -> None:
        for step in [begun for begun in reversed(self._begun) if begun.undo]:
            try:
                with self._progress.step(f"Undo: {step.label}"):
                    step.undo()  # type: ignore[misc]  # those without were left out above
            except WorkshopError as error:
                self._progress.tell(error.in_full)
            self._begun.remove(step)


def _rank(error: BaseException) -> int:
    """Rank of an error: the lower, the more specific it is; network errors come last."""
    if not isinstance(error, WorkshopError):
        return 0
    if isinstance(error, UsageError | PreflightError | CredentialsError):
        return 1
    return {False: 2, None: 3, True: 4}[may_heal(error.why)]


def plan(steps: Sequence[Step]) -> list[str]:
    """What the steps would run and write, in order, each under a heading."""
    lines: list[str] = []
    for step in in_order(steps):
        lines += [f"# {step.label}", *step.plan(), ""]
    return lines[:-1]


def needed_for(steps: Sequence[Step], names: Sequence[str]) -> list[Step]:
    """The steps of these names, and all that they need, in the order given."""
    wanted, waiting = set[str](), list(names)
    needs = {step.name: step.needs for step in steps}
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += needs.get(name, ())
    return [step for step in steps if step.name in wanted]


def in_order(steps: Iterable[Step]) -> list[Step]:
    """The steps, each after those that it needs; raises ValueError for a cycle."""
    waiting = list(steps)
    ordered: list[Step] = []
    while waiting:
        known = {step.name for step in ordered}
        step = next((found for found in waiting if known.issuperset(found.needs)), None)
        if step is None:
            raise ValueError(f"Steps that wait for each other: {', '.join(left.name for left in waiting)}")
        waiting.remove(step)
        ordered.append(step)
    return ordered


def for_each(items: Iterable[T], work: Callable[[T], U], note: Callable[[str], None]) -> dict[T, U]:
    """What `work` returns for each item, several at once; after a failure no other item is begun."""
    waiting = list(items)
    done: dict[T, U] = {}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        futures = {pool.submit(work, item): item for item in waiting}
        try:
            for future in as_completed(futures):
                done[futures[future]] = future.result()
                note(f"{len(done)} of {len(waiting)}")
        except BaseException:  # Ctrl-C too
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return {item: done[item] for item in waiting}
