"""The agent's own client, judged by the conformance suite: every scenario that a revision requires."""

import shlex
import sys
from pathlib import Path

import pytest

from tests.clients.packages import Npm
from tests.conformance.verdicts import PATIENCE_MILLISECONDS, judge

CLIENT = Path(__file__).with_name("client.py")
ROOT = CLIENT.parents[2]
REQUIRED = {"2025-11-25": 18, "2026-07-28": 32}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("revision", REQUIRED)
async def test_the_agent_passes_what_a_revision_requires_of_a_client(npm: Npm, revision: str) -> None:
    program = shlex.join(["env", f"PYTHONPATH={ROOT}", sys.executable, str(CLIENT)])
    verdict = await judge(
        npm,
        "client",
        *("--command", program, "--requirements", revision, "--timeout", str(PATIENCE_MILLISECONDS)),
    )
    assert verdict.status == 0, verdict.summary
    assert len(verdict.scenarios) >= REQUIRED[revision]
