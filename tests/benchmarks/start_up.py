"""`workshop --help` and `workshop status` against a bare `import typer`. Budget: at most three times.

Commands are timed interleaved, so that a ratio holds when the machine's speed drifts.

Run: uv run python -m tests.benchmarks.start_up
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence


def seconds(command: Sequence[str], env: Mapping[str, str] | None = None) -> float:
    """Wall seconds of one run of a command that must succeed."""
    started = time.perf_counter()
    done = subprocess.run(
        command, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}\n{done.stderr.decode()}")
    return time.perf_counter() - started


def interleaved(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, float]:
    """The median seconds of each command, after one warm-up round."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            elapsed = seconds(command)
            if number:
                taken[name].append(elapsed)
    return {name: statistics.median(times) for name, times in taken.items()}


ROUNDS = 15
BUDGET = 3.0


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"WORKSHOP_HOME": home, "WORKSHOP_BACKEND": "embedded"}
        bare, *measured = interleaved(
            {
                "python -c 'import typer'": [sys.executable, "-c", "import typer"],
                "workshop --help": [sys.executable, "-m", "workshop", "--help"],
                "workshop status": [sys.executable, "-m", "workshop", "status"],
            },
            ROUNDS,
        ).items()
    print(f"{bare[0]:<28} {bare[1] * 1000:7.0f} ms")
    for name, median in measured:
        print(f"{name:<28} {median * 1000:7.0f} ms, ratio {median / bare[1]:.2f} (budget {BUDGET})")


if __name__ == "__main__":
    main()
