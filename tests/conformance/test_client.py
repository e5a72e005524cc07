"""The agent's own client, judged by the conformance suite: every scenario that a revision requires."""

from pathlib import Path

import pytest

from tests.clients.packages import Npm
from tests.clients.relay import relayed
from tests.conformance.client import run
from tests.conformance.verdicts import PATIENCE_MILLISECONDS, judge

REQUIRED = {"2025-11-25": 18, "2026-07-28": 32}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("revision", REQUIRED)
async def test_the_agent_passes_what_a_revision_requires_of_a_client(
    npm: Npm, tmp_path: Path, revision: str
) -> None:
    with relayed(run, tmp_path) as command:
        started = f'{command} "$MCP_CONFORMANCE_SCENARIO" "$MCP_CONFORMANCE_CONTEXT"'
        wanted = ("--command", started, "--requirements", revision, "--timeout", str(PATIENCE_MILLISECONDS))
        verdict = await judge(npm, "client", *wanted)
    assert verdict.status == 0, verdict.summary
    assert len(verdict.scenarios) >= REQUIRED[revision]
