"""The most memory that the agent takes when a server sends what never ends, or unpacks to more than it may.

Run: uv run python -m tests.benchmarks.bombs

Each bomb meets an agent in a process of its own. Budget: below 150 MB of resident memory at the peak.
"""

import asyncio
import functools
import re
import subprocess
import sys
import zlib
from collections.abc import Mapping

from tests.serving import raw

BUDGET = 150.0
_MEGABYTE = 1024 * 1024
AGENT = """
import asyncio, resource, sys
from mcp import StdioServerParameters
from workshop.agent.connect import connect
from workshop.core.errors import WorkshopError

async def run():
    first, *more = sys.argv[1:]
    async with connect(StdioServerParameters(command=first, args=more) if more else first):
        raise AssertionError("it is no MCP server")

try:
    asyncio.run(run())
except WorkshopError as error:
    print(error.what)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak / (1024 if sys.platform != "darwin" else 1024 * 1024))
"""


ENDLESS_LINE = """
import sys
while True:
    sys.stdout.write("x" * 65536)
"""


@functools.cache
def packed() -> bytes:
    """Twice the budget, as gzip."""
    packer = zlib.compressobj(1, wbits=zlib.MAX_WBITS | 16)
    pieces = (packer.compress(bytes(_MEGABYTE)) for _ in range(2 * int(BUDGET)))
    return b"".join(pieces) + packer.flush()


def bombs() -> Mapping[str, tuple[bytes, bytes, bool]]:
    """The head, the body and whether the body is repeated for ever, by the bomb's name."""
    json = b"Content-Type: application/json\r\n"
    text = b'{"a": "' + b"x" * 65536
    return {
        "gzip bomb": (b"200 OK\r\n" + json + b"Content-Encoding: gzip", packed(), False),
        "endless JSON": (b"200 OK\r\n" + json[:-2], text, True),
        "huge 401": (b"401 Unauthorized\r\n" + json + b"WWW-Authenticate: Bearer", text, True),
    }


async def peak(head: bytes, body: bytes, *, endless: bool) -> tuple[str, float]:
    """The error that the agent ends with, and its peak of resident memory in MB."""
    async with raw(head, body, endless=endless) as url:
        return await asyncio.to_thread(peak_of, f"{url}/mcp")


def peak_of(*target: str) -> tuple[str, float]:
    """The same for the agent whose server is at this URL, or is this program."""
    command = [sys.executable, "-c", AGENT, *target]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    error, _, megabytes = done.stdout.strip().rpartition("\n")
    return re.sub(r":\d+", "", error), float(megabytes)


def main() -> None:
    peaks = {
        name: asyncio.run(peak(head, body, endless=no_end)) for name, (head, body, no_end) in bombs().items()
    }
    peaks["endless line"] = peak_of(sys.executable, "-c", ENDLESS_LINE)
    for name, (error, megabytes) in peaks.items():
        met = "met" if megabytes < BUDGET else "not met"
        print(f"{name:<14} {megabytes:6.0f} MB   budget {BUDGET:.0f} MB {met}   {error}")


if __name__ == "__main__":
    main()
