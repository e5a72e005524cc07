"""A real login, recorded in this process, so that the test knows its secrets."""

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
from workshop.recorder import recording
from workshop.recorder.build import build_trace
from workshop.recorder.model import Outcome, Subject, Trace
from workshop.recorder.recorder import Recorder

__all__ = ["authority", "home", "scenario", "serve", "session", "workshop"]


@dataclass(frozen=True)
class Recording:
    """The recorder and the trace of a run."""

    recorder: Recorder
    trace: Trace

    def step(self, kind: str) -> Any:
        """The first request of a kind."""
        return next(step for step in self.trace.steps if step.kind == kind)


async def record_run(scenario: Scenario, **options: Any) -> Recording:
    """Ask once, with the recorder on and the practice GitHub's record."""
    recorder = Recorder()
    with recording(recorder):
        await scenario.ask(**options)
    record = Record("embedded", "practice", {}, {PRACTICE_GITHUB: scenario.practice_url})
    upstream = upstream_of(Instance(scenario.folder, record))
    seen = await anyio.to_thread.run_sync(functools.partial(upstream.requests_since, recorder.began))
    trace = build_trace(recorder, Subject("Part 4", upstream.url, upstream.name), Outcome(), seen)
    return Recording(recorder, trace)


@pytest.fixture
async def login(scenario: Scenario) -> AsyncIterator[Recording]:
    async with scenario.gateway():
        yield await record_run(scenario)
