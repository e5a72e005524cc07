"""The seconds an attendee waits: `up`, `up` again, a whole part 4, the rehearsal. Needs free ports only.

Run: uv run python -m tests.benchmarks.flow
"""

import os
import statistics
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.start_up import seconds
from workshop.core.ports import free_port

ROUNDS = 5
BUDGETS = {
    "up": 2.0,
    "up again": 1.0,
    "part 4 run, first login": 3.0,
    "part 4 run again": 3.0,
    "rehearse": 20.0,
}


def main() -> None:
    workshop = [sys.executable, "-m", "workshop"]
    taken: dict[str, list[float]] = {name: [] for name in BUDGETS}
    for number in range(ROUNDS + 1):
        with tempfile.TemporaryDirectory() as home:
            os.environ["WORKSHOP_HOME"] = str(Path(home))
            os.environ["WORKSHOP_BACKEND"] = "embedded"
            ports = [
                f"--port={name}={free_port()}" for name in ("github-remote", "practice-github", "workshop")
            ]
            part = [*workshop, "part", "4", "run", "--approve-as", "learner", "--model", "rehearsal"]
            commands = {
                "up": [*workshop, "up", "--upstream", "practice", *ports],
                "up again": [*workshop, "up", "--upstream", "practice"],
                "part 4 run, first login": part,
                "part 4 run again": part,
            }
            try:
                times = {name: seconds(command) for name, command in commands.items()}
            finally:
                seconds([*workshop, "teardown"])
            times["rehearse"] = seconds([*workshop, "rehearse", *ports])
        if number:  # the first round warms the disk
            for name, elapsed in times.items():
                taken[name].append(elapsed)
    for name, budget in BUDGETS.items():
        print(f"{name:<26} {statistics.median(taken[name]):6.2f} s   budget {budget:4.1f} s")


if __name__ == "__main__":
    main()
