"""Steps run side by side in the order of their needs; a run that fails is taken back, or goes on later."""

import io
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from workshop.core import console
from workshop.core.console import Console
from workshop.core.errors import WorkshopError
from workshop.lab.steps import Outcome, Step, StepRun, for_each, in_order, plan

NAMES = ("preflight", "images", "cluster", "load", "operator", "resources")
NEEDS = {
    "preflight": (),
    "images": ("preflight",),
    "cluster": ("preflight",),
    "load": ("images", "cluster"),
    "operator": ("cluster",),
    "resources": ("load", "operator"),
}


class Site:
    """Makes things, in memory; one of them may fail to be made, or to be taken back."""

    def __init__(self) -> None:
        self.made: set[str] = set()
        self.failing: dict[str, BaseException] = {}
        self.stubborn: set[str] = set()
        self.did: list[str] = []
        self.undone: list[str] = []
        self.shown = io.StringIO()

    def steps(self) -> list[Step]:
        return [self.step(name) for name in NAMES]

    def step(self, name: str) -> Step:
        return Step(
            name,
            f"Make {name}",
            do=lambda _note: self.make(name),
            needs=NEEDS[name],
            done=lambda: name in self.made,
            undo=lambda: self.unmake(name),
            plan=lambda: [f"make {name}"],
        )

    def make(self, name: str) -> None:
        self.did.append(name)
        if name in self.failing:
            raise self.failing[name]
        self.made.add(name)

    def unmake(self, name: str) -> None:
        if name in self.stubborn:
            raise WorkshopError(f"{name} cannot be removed", why="it holds on")
        self.undone.append(name)
        self.made.discard(name)

    def run(self, *, undo: bool = True, steps: list[Step] | None = None) -> Outcome:
        with Console(self.shown, self.shown).progress() as progress:
            return StepRun(steps or self.steps(), progress).run(undo=undo)


@pytest.fixture
def site() -> Site:
    return Site()


def test_every_step_runs_after_what_it_needs(site: Site) -> None:
    outcome = site.run()
    assert set(outcome.did) == set(NAMES)
    for name, needs in NEEDS.items():
        assert all(site.did.index(need) < site.did.index(name) for need in needs)


def test_what_is_done_already_is_not_done_again(site: Site) -> None:
    site.run()
    site.did.clear()
    outcome = site.run()
    assert set(outcome.skipped) == set(NAMES)
    assert site.did == []
    assert outcome.did == ()


def test_independent_steps_overlap(site: Site) -> None:
    meeting = threading.Barrier(2, timeout=60)

    def meet(_note: console.Step) -> None:
        meeting.wait()

    steps = [Step(name, name, do=meet) for name in ("build", "create")]
    assert set(site.run(steps=steps).did) == {"build", "create"}


def test_the_times_name_what_each_step_waited_for_and_the_chain_that_decided(site: Site) -> None:
    """`build` ends only after `look`, which begins once `create` has ended."""
    looked = threading.Event()

    def wait(_line: console.Step) -> None:
        assert looked.wait(60)

    def look(_line: console.Step) -> None:
        looked.set()

    steps = [
        Step("tools", "Look at the tools", do=lambda _line: None, done=lambda: True),
        Step("create", "Create", do=lambda _line: None, needs=("tools",)),
        Step("build", "Build", do=wait, needs=("tools",)),
        Step("look", "Look", do=look, needs=("create",)),
        Step("start", "Start", do=lambda _line: None, needs=("create", "build", "look")),
    ]
    times = {time.name: time for time in site.run(steps=steps).times}
    assert {name: time.waited_for for name, time in times.items()} == {
        "tools": "",
        "create": "tools",
        "build": "tools",
        "look": "create",
        "start": "build",
    }
    assert {name for name, time in times.items() if time.critical} == {"tools", "build", "start"}
    assert {name for name, time in times.items() if time.kept} == {"tools"}
    assert next(iter(times)) == "tools"
    assert list(times)[-1] == "start"
    assert all(time.start >= 0 and time.seconds >= 0 for time in times.values())


NETWORK = "dial tcp: lookup registry.example: no such host"


@pytest.mark.parametrize("first", ["network", "name"])
def test_the_failure_that_says_most_is_raised_and_the_other_is_reported(site: Site, first: str) -> None:
    """A wrong name of the node's image must not hide behind a registry that does not answer."""
    failures = {
        "network": WorkshopError("The image `a` cannot be pulled", why=NETWORK),
        "name": WorkshopError("The image `node` cannot be pulled", why="manifest for node not found"),
    }
    begun = threading.Barrier(2, timeout=60)

    def failing(name: str) -> Step:
        return Step(name, f"Fetch {name}", do=lambda _line: fail(name))

    def fail(name: str) -> None:
        begun.wait()
        for thread in threading.enumerate():
            if thread.name == first != name:
                thread.join(60)  # its failure is known by then
        raise failures[name]

    with pytest.raises(WorkshopError) as caught:
        site.run(steps=[failing(name) for name in failures])
    assert caught.value is failures["name"]
    if first == "network":
        assert "Also failed: Fetch network: The image `a` cannot be pulled" in site.shown.getvalue()


@pytest.mark.parametrize("failing", NAMES)
def test_a_failure_takes_back_what_this_run_began_last_first(site: Site, failing: str) -> None:
    site.failing[failing] = WorkshopError(f"{failing} failed")
    with pytest.raises(WorkshopError, match=f"{failing} failed"):
        site.run()
    assert site.made == set()
    assert site.undone == [name for name in reversed(site.did) if name in site.undone]
    assert failing in site.undone, "what is half made is taken back too"


def test_a_step_that_keeps_takes_nothing_back_when_it_fails(site: Site) -> None:
    steps = [replace(step, keep_on_failure=step.name == "resources") for step in site.steps()]
    site.failing["resources"] = WorkshopError("its port is taken")
    with pytest.raises(WorkshopError, match="taken"):
        site.run(steps=steps)
    assert site.undone == []
    assert site.made == {*NAMES} - {"resources"}


@pytest.mark.parametrize("failing", NAMES)
def test_a_kept_failure_goes_on_where_it_stopped(site: Site, failing: str) -> None:
    site.failing[failing] = WorkshopError(f"{failing} failed")
    with pytest.raises(WorkshopError):
        site.run(undo=False)
    made_before = set(site.made)
    assert site.undone == []
    site.failing.clear()
    site.did.clear()
    outcome = site.run()
    assert set(outcome.skipped) == made_before
    assert not made_before & set(site.did)
    assert site.made == set(NAMES)


def test_what_was_there_before_is_not_taken_back(site: Site) -> None:
    site.made |= {"preflight", "cluster"}
    site.failing["operator"] = WorkshopError("no operator")
    with pytest.raises(WorkshopError):
        site.run()
    assert {"preflight", "cluster"} <= site.made


def test_a_step_that_cannot_be_taken_back_is_reported_and_the_others_are(site: Site) -> None:
    site.failing["resources"] = WorkshopError("refused")
    site.stubborn.add("cluster")
    with pytest.raises(WorkshopError, match="refused"):
        site.run()
    assert site.made == {"cluster"}
    assert "cluster cannot be removed. it holds on" in site.shown.getvalue()


class Runner:
    """Stands where the tools' runner does: tells whether it was stopped, and started again."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self.resumed = False

    def stop(self) -> None:
        self.stopped.set()

    def resume(self) -> None:
        self.resumed = True


def stop_at(site: Site, interrupt: Callable[[], None], runner: Runner) -> None:
    waiting = threading.Event()

    def pull(line: console.Step) -> None:
        waiting.set()
        assert runner.stopped.wait(60)
        line.note("half way")
        site.made.add("never reached")

    def fail(_note: console.Step) -> None:
        assert waiting.wait(60)
        interrupt()

    steps = [
        Step("pull", "Pull", do=pull, undo=lambda: site.undone.append("pull")),
        Step("fail", "Fail", do=fail, undo=lambda: site.undone.append("fail")),
    ]
    with Console(site.shown, site.shown).progress() as progress:
        StepRun(steps, progress, runner).run(undo=True)


def test_a_failure_stops_the_steps_beside_it_before_anything_is_taken_back(site: Site) -> None:
    def fail() -> None:
        raise WorkshopError("broken")

    runner = Runner()
    with pytest.raises(WorkshopError, match="broken"):
        stop_at(site, fail, runner)
    assert set(site.undone) == {"pull", "fail"}
    assert site.made == set()
    assert runner.resumed, "taking back needs commands again"
    assert "■ Pull" in site.shown.getvalue(), "it was stopped, it did not fail"


def test_ctrl_c_stops_takes_back_and_comes_out_as_itself(site: Site) -> None:
    runner = Runner()
    with pytest.raises(KeyboardInterrupt):
        stop_at(site, lambda: os.kill(os.getpid(), signal.SIGINT), runner)
    assert set(site.undone) >= {"pull"}


def test_a_second_ctrl_c_leaves_the_rest_and_reports_what_it_is(site: Site) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    steps = [
        Step(
            "cluster", "Create the cluster", do=lambda _note: None, undo=lambda: site.undone.append("cluster")
        ),
        Step("pods", "Wait for the pods", needs=("cluster",), do=lambda _note: None, undo=interrupted),
        Step("last", "Fail", needs=("pods",), do=lambda _note: interrupted()),
    ]
    with pytest.raises(KeyboardInterrupt):
        site.run(steps=steps)
    assert site.undone == []
    assert "Not undone: Create the cluster, Wait for the pods" in site.shown.getvalue()
    assert "`workshop teardown`" in site.shown.getvalue()


def test_the_plan_names_what_every_step_would_run_in_order(site: Site) -> None:
    steps = list(reversed(site.steps()))
    lines = plan(steps)
    assert lines[:3] == ["# Make preflight", "make preflight", ""]
    assert lines.index("make cluster") < lines.index("make load") < lines.index("make resources")
    assert site.did == []


def test_steps_that_wait_for_each_other_are_a_mistake_in_the_list() -> None:
    steps = [Step(a, a, do=lambda _note: None, needs=(b,)) for a, b in (("a", "b"), ("b", "a"))]
    with pytest.raises(ValueError, match="a, b"):
        in_order(steps)


def test_after_a_failure_no_other_item_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    go = threading.Event()
    shutdown = ThreadPoolExecutor.shutdown

    def cancels(pool: ThreadPoolExecutor, **given: bool) -> None:
        shutdown(pool, **{**given, "wait": False})
        go.set()
        shutdown(pool, **given)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", cancels)

    def work(item: int) -> int:
        begun.append(item)
        if item == 0:
            raise WorkshopError("It failed")
        go.wait(60)
        return item

    def note(_: str) -> None:
        pass

    with pytest.raises(WorkshopError, match="It failed"):
        for_each(range(500), work, note)
    assert len(begun) < 500
    assert for_each([], work, note) == {}
