"""`workshop --help` and `workshop status` against a bare `import typer`. Budget: at most three times.

Run: uv run python -m tests.benchmarks.start_up
"""

import os
import sys
import tempfile

from tests.benchmarks.timing import interleaved

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
