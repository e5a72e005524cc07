"""A login that is really flown, in this process, so that the test knows every secret of it."""

import functools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from tests.agent.conftest import authority, home, serve, session
from tests.agent.test_gateway_login import Scenario, scenario
from tests.cli.conftest import workshop
from workshop.core.instance import Instance, Record
from workshop.course.practice_record import upstream_of
from workshop.lab.base import PRACTICE_GITHUB
from workshop.recorder.current import recording
from workshop.recorder.model import Outcome, Subject, Trace
from workshop.recorder.recorder import Recorder
from workshop.recorder.story import build_trace

__all__ = ["authority", "home", "scenario", "serve", "session", "workshop"]


@dataclass(frozen=True)
class Flight:
    """What was recorded, raw and told."""

    recorder: Recorder
    trace: Trace

    def step(self, kind: str) -> Any:
        """The first hop of a kind."""
        return next(step for step in self.trace.steps if step.kind == kind)


async def fly(scenario: Scenario, **options: Any) -> Flight:
    """Ask once in this room, with the recorder on and the practice GitHub as a witness."""
    recorder = Recorder()
    with recording(recorder):
        await scenario.ask(**options)
    record = Record("embedded", "practice", {}, {PRACTICE_GITHUB: scenario.practice_url})
    upstream = upstream_of(Instance(scenario.folder, record))
    seen = await anyio.to_thread.run_sync(functools.partial(upstream.hops_since, recorder.began))
    trace = build_trace(recorder, Subject("Part 4", upstream.url, upstream.name), Outcome(), seen)
    return Flight(recorder, trace)


@pytest.fixture
async def flight(scenario: Scenario) -> AsyncIterator[Flight]:
    async with scenario.gateway():
        yield await fly(scenario)
