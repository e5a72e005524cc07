"""The verdict of the conformance suite on a client or a server, check by check."""

import json
import re
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.clients.packages import Npm

EXPECTED_FAILURES = Path(__file__).with_name("expected-failures.yml")
PATIENCE_MILLISECONDS = 180_000
"""Scenarios run all at once: on two cores each takes far longer than alone."""
_SECONDS = 380
_TIMESTAMP = re.compile(r"-\d{4}-\d\d-\d\dT[\d-]+Z$")
_JUDGED = ("SUCCESS", "FAILURE", "WARNING", "SKIPPED")


@dataclass(frozen=True)
class Verdict:
    """The suite's exit status, its summary, and how often each check of each scenario ended how."""

    status: int
    summary: str
    checks: Counter[tuple[str, str, str]]

    @property
    def scenarios(self) -> set[str]:
        return {scenario for scenario, _, _ in self.checks}

    def failures(self, *scenarios: str) -> set[tuple[str, str]]:
        """Scenario and name of every check that failed, in `scenarios` or in all."""
        return {
            (scenario, check)
            for scenario, check, status in self.checks
            if status == "FAILURE" and (not scenarios or scenario in scenarios)
        }


async def judge(npm: Npm, *arguments: str) -> Verdict:
    """Run `conformance` with these arguments."""
    with tempfile.TemporaryDirectory() as results:
        done = await npm.run("conformance", *arguments, "-o", results, seconds=_SECONDS)
        summary = done.output.rpartition("=== ")[2] + done.errors[-2000:]
        return Verdict(done.status, summary, _checks(Path(results)))


async def judge_server(npm: Npm, url: str, revision: str, *options: str) -> Verdict:
    """Let the suite use a server as the clients of one protocol revision do."""
    wanted = ("--url", url, "--requirements", revision, "--timeout", str(PATIENCE_MILLISECONDS))
    return await judge(npm, "server", *wanted, *options)


def _checks(results: Path) -> Counter[tuple[str, str, str]]:
    found: Counter[tuple[str, str, str]] = Counter()
    for path in results.rglob("checks.json"):
        scenario = _TIMESTAMP.sub("", str(path.parent.relative_to(results))).removeprefix("server-")
        for check in json.loads(path.read_text("utf-8")):
            if check["status"] in _JUDGED:
                found[scenario, check["id"], check["status"]] += 1
    return found
