"""Check the types of the project, of the files in `parts/` and of this script, in one run of mypy.

mypy identifies a module by its name, and several folders in `parts/` have a `server.py` or a `checks.py`. Its
command line derives names from paths; its build API accepts them, so each of these files gets one of its own.
"""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mypy.fscache import FileSystemCache
from mypy.main import process_options, run_build
from mypy.modulefinder import BuildSource

PARTS = Path("parts")
IN_PARTS = ("*/*.py", "*/variations/*/*.py")


def sources_in_parts() -> Iterator[BuildSource]:
    """Each file, as the module that its neighbours import; with its folder where two have the same name."""
    files = [file for pattern in IN_PARTS for file in sorted(PARTS.glob(pattern))]
    count = Counter(file.stem for file in files)
    for file in files:
        name = file.stem if count[file.stem] == 1 else f"{file.parent.name}_{file.stem}"
        yield BuildSource(str(file), name.replace("-", "_"), base_dir=str(file.parent))


def main() -> int:
    """Return 0 without findings, 1 with some; mypy prints them."""
    cache = FileSystemCache()
    sources, options = process_options([], fscache=cache)
    sources += [BuildSource(__file__, "check_types"), *sources_in_parts()]
    _, messages, blocked = run_build(sources, options, cache, time.time(), sys.stdout, sys.stderr)
    sys.stdout.write(f"{len(sources)} files checked\n")
    return int(bool(messages) or blocked)


if __name__ == "__main__":
    sys.exit(main())
