"""`workshop`, and `python -m workshop`."""

import sys

from workshop.core.collector import rare_collections


def run() -> None:
    """The console script."""
    with rare_collections():
        # Inside, because this loads most of what a command needs.
        from workshop.cli.main import main

        code = main()
    sys.exit(code)


if __name__ == "__main__":
    run()
