"""A server that has everything gives the same answers behind our gateway as without it, check by check."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.agent.conftest import log_in
from tests.clients.packages import Npm
from tests.conformance.servers import bearer_hop, gateway
from tests.conformance.verdicts import Verdict, judge, judge_server
from tests.servers.gateway.harness import settings
from workshop.core.ports import free_port

REVISIONS = ["2025-11-25", "2026-07-28"]
TIMED = "server-sse-polling"
"""A scenario, not scored, in which the suite gives a server a few seconds to close a stream."""


@pytest.mark.timeout(400)
@pytest.mark.parametrize("revision", REVISIONS)
async def test_the_gateway_changes_no_answer_of_a_server(
    npm: Npm, tmp_path: Path, practice: str, everything_url: str, revision: str
) -> None:
    """Directly, behind a gateway without a login, and behind one with: there a hop of ours adds the token."""
    direct = await judged(npm, everything_url, revision)
    assert direct.status == 0, direct.summary

    values = settings(tmp_path, upstream=practice, port=free_port()) | {"remote_url": everything_url}
    async with gateway(tmp_path, values | {"auth": None}) as url:
        open_gateway = await judged(npm, f"{url}/mcp", revision)
    assert open_gateway.checks == direct.checks, open_gateway.summary

    async with (
        gateway(tmp_path, values) as url,
        bearer_hop(url, await log_in(f"{url}/mcp", tmp_path / "logins")) as hop,
    ):
        behind_login = await judged(npm, f"{hop}/mcp", revision)
    assert behind_login.checks == direct.checks, behind_login.summary


async def judged(npm: Npm, url: str, revision: str) -> Verdict:
    """The suite's verdict; `TIMED` is judged again, up to five times, if it did not close in time."""
    verdict = await judge_server(npm, url, revision)
    for _ in range(5):
        if all(status == "SUCCESS" for scenario, _, status in verdict.checks if scenario == TIMED):
            break
        again = await judge(npm, "server", "--url", url, "--scenario", TIMED, "--spec-version", revision)
        others = {check: number for check, number in verdict.checks.items() if check[0] != TIMED}
        verdict = replace(verdict, checks=again.checks + Counter(others))
    return verdict
