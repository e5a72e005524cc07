"""Keep one port-forward running: start kubectl, probe through it, restart it when it ends or hangs."""

import asyncio
import contextlib
import logging
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Literal

from workshop.core.errors import PreflightError, WorkshopError
from workshop.core.ports import bind_loopback
from workshop.lab.forward import ForwardConfig, ForwardState, write_state

_LOG = logging.getLogger(__name__)

# kubectl does not notice that its parent has died. This shell does, even after SIGKILL, because its standard
# input is a pipe that ends then. PR_SET_PDEATHSIG exists on Linux only.
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

_HEALTH = "/health"
_TRIES = 4
_MOST_SILENT = 2
_CHUNK = 64 * 1024
_RETRY_SECONDS = 0.1
_UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Retry-After: 2\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
)


@dataclass(frozen=True)
class Timing:
    """The pauses and time limits of a forward, in seconds."""

    open: float = 30.0  # kubectl's connection to the API server and to a running pod
    # From a forwarded port to the first answer. kubectl may have chosen a pod that is just terminating, and
    # then hangs: try another soon, but allow a slow machine more time with each try.
    first_answer: float = 4.0
    longest_answer: float = 30.0
    probe: float = 4.0
    between_probes: float = 5.0
    least: float = 1.0  # between two probes, or two tries, however many connections come
    first_pause: float = 0.2
    longest_pause: float = 15.0
    steady: float = 15.0  # a kubectl that ran this long was healthy: the next one starts at once
    look: float = 2.0  # between two looks whether the configuration file still exists
    hold: float = 20.0  # how long a connection waits for a tunnel


_TIMING = Timing()


class Tunnel:
    """A running kubectl: the port that it chose, the last problem that it reported, and its end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.problem = ""
        self._reading = asyncio.create_task(self._read())

    async def ended(self) -> WorkshopError:
        """Wait for kubectl to end; return the reason."""
        code = await self._process.wait()
        await _within(_END_SECONDS, asyncio.shield(self._reading))
        return WorkshopError(self.problem or f"kubectl ended with exit code {code}")

    async def close(self) -> None:
        """End kubectl, and wait until it and its guard have ended."""
        if self._process.stdin:
            self._process.stdin.close()
        await _within(_END_SECONDS, self._process.wait())
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
    """The HTTP status of a GET through `port`; None without a valid answer within `seconds`."""
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


class Supervisor:
    """One port-forward: a listener that stays, and the present kubectl behind it."""

    def __init__(
        self,
        config: ForwardConfig,
        handed_over: Sequence[socket.socket] = (),
        timing: Timing = _TIMING,
    ) -> None:
        self._config = config
        self._timing = timing
        self._handed_over = handed_over  # listening sockets of the local port, bound by the parent process
        self._wanted = asyncio.Event()
        self._state = ForwardState("connecting", time.time())
        self._relay = Relay(self._wanted.set, lambda: self._state.last_error, hold_seconds=timing.hold)
        self._host = f"localhost:{config.port}"
        self._patience = self._timing.first_answer

    async def run(self, while_exists: Path) -> None:
        """Forward until SIGTERM, or until `while_exists` is removed.

        Raises PreflightError for a port that is taken, or when there is no kubectl.
        """
        if shutil.which(self._config.kubectl) is None:
            raise PreflightError(
                "`kubectl` was not found on your PATH", hint="Install it, and run `workshop up` again"
            )
        listening = self._handed_over or bind_loopback(self._config.port)
        self._write()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with contextlib.AsyncExitStack() as stack:
            for sock in listening:
                server = await asyncio.start_server(self._relay.serve, sock=sock)
                stack.callback(server.close)
            running = asyncio.create_task(self._run_forever())
            watching = asyncio.create_task(_until_gone(while_exists, stop, self._timing.look))
            stack.push_async_callback(_cancelled, running, watching)
            done, _ = await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
            next(iter(done)).result()

    async def _run_forever(self) -> None:
        pause = self._timing.first_pause
        while True:
            started = time.monotonic()
            problem = await self._forward()
            self._relay.use(None)
            if problem.what != self._state.last_error:
                _LOG.warning("%s", problem.what)
            self._set("connecting", problem.what, restarts=self._state.restarts + 1)
            steady = time.monotonic() - started > self._timing.steady
            pause = self._timing.first_pause if steady else min(2 * pause, self._timing.longest_pause)
            await self._wait(pause, least=min(pause, self._timing.least))

    async def _forward(self) -> WorkshopError:
        """One run of kubectl, from its start to its end; return why it ended."""
        async with tunnel(self._config.argv, {"KUBECONFIG": self._config.kubeconfig}) as running:
            ended = asyncio.create_task(running.ended())
            serving = asyncio.create_task(self._serve(running))
            try:
                done, _ = await asyncio.wait({ended, serving}, return_when=asyncio.FIRST_COMPLETED)
                return next(iter(done)).result()
            finally:
                ended.cancel()
                serving.cancel()

    async def _serve(self, running: Tunnel) -> WorkshopError:
        """Pass connections on from the first answer until answers cease; return what was wrong then."""
        try:
            async with asyncio.timeout(self._timing.open):
                port = await asyncio.shield(running.port)
        except TimeoutError:
            return WorkshopError(
                running.problem or f"kubectl did not forward a port within {self._timing.open:.0f} s"
            )
        if not await self._first_answer(port):
            return WorkshopError(running.problem or "The forwarded port does not answer")
        self._relay.use(port)
        silent = 0
        while silent < _MOST_SILENT:
            await self._wait(self._timing.between_probes, least=self._timing.least)
            asked = time.monotonic()
            answer = await probe(port, _HEALTH, self._host, self._timing.probe)
            silent = 0 if answer or self._relay.heard > asked else silent + 1
            if answer:
                self._answered(answer)
        return WorkshopError(f"`{self._config.target}` no longer answers")

    async def _first_answer(self, port: int) -> bool:
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            each = self._patience / _TRIES  # a request from before the pod had its address never ends
            answer = await probe(port, _HEALTH, self._host, each)
            if answer:
                self._patience = self._timing.first_answer
                self._answered(answer)
                return True
            await asyncio.sleep(self._timing.first_pause)
        self._patience = min(2 * self._patience, self._timing.longest_answer)
        return False

    def _answered(self, status: int) -> None:
        healthy = status == HTTPStatus.OK
        self._set("forwarding", "" if healthy else f"{_HEALTH} answers with status {status}")

    async def _wait(self, seconds: float, *, least: float) -> None:
        """Wait, but not longer than `least` when a client connects."""
        await asyncio.sleep(least)
        await _within(seconds - least, self._wanted.wait())
        self._wanted.clear()

    def _set(
        self, state: Literal["connecting", "forwarding"], error: str, restarts: int | None = None
    ) -> None:
        count = self._state.restarts if restarts is None else restarts
        since = self._state.since if state == self._state.state else time.time()
        changed = ForwardState(state, since, count, error)
        if changed != self._state:
            self._state = changed
            self._write()

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # a full disk, or a state directory that is being removed
            write_state(Path(self._config.state_file), self._state)


async def _until_gone(path: Path, stop: asyncio.Event, look_seconds: float) -> None:
    # One stat now and then: there is no event for an unlink.
    while path.exists() and not stop.is_set():  # noqa: ASYNC240
        await _within(look_seconds, stop.wait())


async def _within(seconds: float, happens: Awaitable[object]) -> None:
    """Wait for it, but not longer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await happens


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Relay:
    """Joins each connection to the local port with one to the tunnel's present port."""

    def __init__(
        self,
        wanted: Callable[[], None],
        problem: Callable[[], str],
        *,
        hold_seconds: float = 20.0,
        linger_seconds: float = 5.0,
    ) -> None:
        self._wanted = wanted
        self._problem = problem
        self._hold_seconds = hold_seconds
        # A client that has closed the connection looks like one that has only finished sending.
        self._linger_seconds = linger_seconds
        self._port: int | None = None
        self._open = asyncio.Event()
        # The event loop keeps only weak references to its tasks.
        self._serving: set[asyncio.Task[None] | None] = set()
        self.heard = 0.0  # when the other side last sent something

    def use(self, port: int | None) -> None:
        """Pass connections on to `port` from now on; with None, hold them."""
        self._port = port
        if port is None:
            self._open.clear()
        else:
            self._open.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; answer 503 with the reason if there is no tunnel in time."""
        self._serving.add(asyncio.current_task())
        self._wanted()
        try:
            through = await self._connect()
            if through is None:
                await self._refuse(writer)
                return
            try:
                await self._join(reader, writer, *through)
            finally:
                through[1].close()
        except (OSError, asyncio.CancelledError):
            pass  # one side disconnected, or we stop: asyncio would log a cancelled connection as an error
        finally:
            writer.close()
            self._serving.discard(asyncio.current_task())

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._hold_seconds):
                while await self._open.wait():
                    with contextlib.suppress(OSError):  # kubectl has ended: its supervisor learns it soon
                        return await asyncio.open_connection("127.0.0.1", self._port)
                    await asyncio.sleep(_RETRY_SECONDS)
        return None

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        back: asyncio.StreamReader,
        forth: asyncio.StreamWriter,
    ) -> None:
        """Copy both ways until the service ends, or the client does and no answer follows."""
        sending = asyncio.create_task(self._copy(reader, forth))
        answering = asyncio.create_task(self._copy(back, writer, heard=True))
        try:
            await asyncio.wait({sending, answering}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done() or sending.exception():
                return
            forth.write_eof()
            await _cancelled(answering)  # only one task may read
            with contextlib.suppress(TimeoutError):
                await self._copy(back, writer, heard=True, patience=self._linger_seconds)
        finally:
            sending.cancel()
            answering.cancel()
            await asyncio.gather(sending, answering, return_exceptions=True)

    async def _copy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        heard: bool = False,
        patience: float | None = None,
    ) -> None:
        while True:
            async with asyncio.timeout(patience):
                data = await reader.read(_CHUNK)
            if not data:
                return
            if heard:
                self.heard = time.monotonic()
            writer.write(data)
            await writer.drain()

    async def _refuse(self, writer: asyncio.StreamWriter) -> None:
        text = f"The forward to the cluster is not up: {self._problem() or 'still connecting'}\n".encode()
        writer.write(_UNAVAILABLE % (len(text), text))
        await writer.drain()
