"""One run of `kubectl port-forward`, which ends with us however we end."""

import asyncio
import contextlib
import logging
import os
import re
import signal
from collections.abc import AsyncIterator, Mapping, Sequence

from workshop.core.errors import WorkshopError

_LOG = logging.getLogger(__name__)

# kubectl does not notice that its parent has died. This shell does, even of SIGKILL: its standard input is a
# pipe that ends then. PR_SET_PDEATHSIG would be Linux alone.
_GUARD = (
    "exec 3<&0;"
    '"$@" </dev/null 3<&- & child=$!;'
    '(read -r _ <&3; kill -9 "$child") >/dev/null 2>&1 & watch=$!;'
    'wait "$child"; code=$?;'
    'kill "$watch" 2>/dev/null; exit "$code"'
)
_CHOSEN = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ->")
_NOISE = ("Handling connection for ", "Forwarding from ")
_END_SECONDS = 3.0
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")


class Tunnel:
    """A running kubectl: the port it chose, the last problem it told, and its end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.problem = ""
        self._reading = asyncio.create_task(self._read())

    async def ended(self) -> WorkshopError:
        """Wait for kubectl's end; why it ended."""
        code = await self._process.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._reading), _END_SECONDS)
        return WorkshopError(self.problem or f"kubectl ended with exit code {code}")

    async def close(self) -> None:
        """End kubectl, and wait until it and its guard are gone."""
        if self._process.stdin:
            self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), _END_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self._reading.cancel()
        self.port.cancel()

    async def _read(self) -> None:
        output = self._process.stdout
        while output and (line := await output.readline()):
            text = line.decode(errors="replace").strip()
            found = _CHOSEN.match(text)
            if found and not self.port.done():
                self.port.set_result(int(found[1]))
            if text and not text.startswith(_NOISE):
                if text != self.problem:
                    _LOG.info("kubectl: %s", text)
                self.problem = text


@contextlib.asynccontextmanager
async def tunnel(argv: Sequence[str], env: Mapping[str, str]) -> AsyncIterator[Tunnel]:
    """Run kubectl until the block ends."""
    process = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        _GUARD,
        "workshop-forward",
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **env},
        process_group=0,  # one signal ends the guard and kubectl
    )
    running = Tunnel(process)
    try:
        yield running
    finally:
        await asyncio.shield(running.close())


async def probe(port: int, path: str, host: str, seconds: float) -> int | None:
    """The HTTP status of a GET through `port`; None when nothing sensible came back within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            return await _ask(port, path, host)
    except (OSError, TimeoutError):
        return None


async def _ask(port: int, path: str, host: str) -> int | None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        found = _STATUS.match(await reader.readline())
        return int(found[1]) if found else None
    finally:
        writer.close()
