"""Two instances on one machine at the same time."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.environment import IsolatedInstance, instance_in
from workshop.core.invocation import INSTANCE
from workshop.lab import process


@dataclass(frozen=True)
class Named(IsolatedInstance):
    """An instance with a name beside others in the same state directory."""

    name: str = "default"

    @property
    def directory(self) -> Path:
        return self.home / self.name

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, INSTANCE: self.name}


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Named, Named]]:
    made = instance_in(tmp_path)
    first = Named(made.home, made.folder, {}, "first")
    second = replace(first, name="second")
    yield first, second
    for each in (first, second):
        for left in each.processes():
            process.end(left)


def _part_4(instance: Named) -> list[str]:
    words = ("part", "4", "run", "--approve-as", "learner", "--model", "rehearsal")
    commands = (("up",), words, ("part", "4", "check"), ("status",))
    done = [instance.run(*command, timeout=300) for command in commands]
    assert [each.returncode for each in done] == [0, 0, 0, 0], "\n".join(each.stderr for each in done)
    assert "token 1 (the agent's) never" in done[1].stdout + done[1].stderr
    return [state.url for state in instance.states().values()]


def test_two_instances_do_part_4_at_once_and_the_end_of_one_leaves_the_other(
    two: tuple[Named, Named],
) -> None:
    first, second = two
    with ThreadPoolExecutor() as pool:
        urls = list(pool.map(_part_4, two))
    assert not set(urls[0]) & set(urls[1]), "each has ports of its own"
    before = second.states()
    assert second.run("up").returncode == 0
    assert second.states() == before, "its ports are the same, so nothing was restarted"
    assert first.run("teardown").returncode == 0
    assert not first.directory.exists()
    assert first.processes() == []
    assert second.states() == before
    assert all(process.find(state) for state in before.values())
    ran = second.run("part", "4", "run", "--model", "rehearsal")
    assert "trail-mapper" in ran.stdout
    assert second.run("teardown").returncode == 0
    assert second.processes() == []
