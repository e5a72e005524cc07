"""Run the practice GitHub: `python -m workshop.servers.practice --config FILE`."""

import argparse
import logging
import os
import sys
from pathlib import Path

from workshop.core.crash import run_program
from workshop.servers.practice import config as configuration
from workshop.servers.practice.config import RECORD_SECRET


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM, or until the configuration file is removed; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m workshop.servers.practice", description="The practice GitHub."
    )
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="JSON file: port, OAuth app"
    )
    parser.add_argument(
        "--seats", type=int, default=0, metavar="N", help=f"one user for each seat; needs {RECORD_SECRET}"
    )
    given = parser.parse_args(arguments)
    path: Path = given.config
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("mcp").setLevel(logging.WARNING)
    return run_program(lambda: _serve(configuration.load(path).with_seats(given.seats, os.environ), path))


def _serve(config: configuration.PracticeConfig, path: Path) -> None:
    from workshop.core.serving import serve
    from workshop.servers.practice.app import create_app

    serve(
        create_app(config),
        port=config.port,
        while_exists=path,
        host="0.0.0.0" if config.service_host else "localhost",
    )


if __name__ == "__main__":
    sys.exit(main())
