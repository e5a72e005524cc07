"""`python -m workshop.lab.forward --config FILE`: run one port-forward until stopped or FILE is removed."""

import argparse
import asyncio
import logging
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from workshop.core.crash import run_program


def main() -> int:
    """Run the forward; the exit code is that of the error (2: wrong configuration, 3: taken port)."""
    parser = argparse.ArgumentParser(
        prog="python -m workshop.lab.forward", description="Keep one port-forward running."
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="its JSON configuration")
    parser.add_argument(
        "--socket",
        type=int,
        action="append",
        metavar="NUMBER",
        help="a listening socket that was handed over; without one, the configuration's port is bound here",
    )
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    return run_program(lambda: asyncio.run(_forward(given.config, given.socket or ())))


async def _forward(path: Path, numbers: Sequence[int]) -> None:
    from workshop.lab.forward import load
    from workshop.lab.forward.supervisor import Supervisor

    handed_over = [socket.socket(fileno=number) for number in numbers]
    await Supervisor(load(path), handed_over).run(while_exists=path)


if __name__ == "__main__":
    sys.exit(main())
