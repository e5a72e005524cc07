"""`python -m workshop.forward --config FILE`: keep one forward until stopped, or until FILE is removed."""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from workshop.errors import WorkshopError


def main() -> int:
    """The exit code is the error's own (2 for a wrong configuration, 3 for a taken port)."""
    parser = argparse.ArgumentParser(
        prog="python -m workshop.forward", description="Keep one forward standing."
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="its JSON configuration")
    path = parser.parse_args().config
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        asyncio.run(_forward(path))
    except WorkshopError as error:
        lines = [error.what, error.why, error.hint]
        sys.stderr.write("".join(f"{' '.join(line.split())}\n" for line in lines if line))
        return error.exit_code
    return 0


async def _forward(path: Path) -> None:
    from workshop.forward.config import load
    from workshop.forward.supervisor import Supervisor

    await Supervisor(load(path)).run(while_exists=path)


if __name__ == "__main__":
    sys.exit(main())
