"""`workshop --help` against a bare `import typer`. Budget: at most three times.

Run: uv run python -m tests.benchmarks.start_up
"""

import sys

from tests.benchmarks.timing import interleaved

ROUNDS = 15


def main() -> None:
    medians = interleaved(
        {
            "python -c 'import typer'": [sys.executable, "-c", "import typer"],
            "workshop --help": [sys.executable, "-m", "workshop", "--help"],
        },
        ROUNDS,
    )
    bare, ours = medians.values()
    for name, median in medians.items():
        print(f"{name:<28} {median * 1000:7.0f} ms")
    print(f"{'ratio (budget 3.0)':<28} {ours / bare:7.2f}")


if __name__ == "__main__":
    main()
