"""The server of parts 2 and 3, judged by the conformance suite: all that does not need a fixture tool."""

import pytest

from tests.clients.packages import Npm
from tests.conformance.servers import lesson_server
from tests.conformance.verdicts import EXPECTED_FAILURES, judge_server

NOT_SCORED_BUT_MET = ("server-session-lifecycle", "http-header-validation")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
async def test_the_lesson_s_server_passes_what_a_revision_requires(npm: Npm, revision: str) -> None:
    async with lesson_server() as url:
        verdict = await judge_server(npm, url, revision, "--expected-failures", str(EXPECTED_FAILURES))
    assert verdict.status == 0, verdict.summary
    assert verdict.scenarios & set(NOT_SCORED_BUT_MET)
    assert verdict.failures(*NOT_SCORED_BUT_MET) == set()
