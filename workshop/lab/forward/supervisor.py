"""Keep one forward standing: start kubectl, ask through it, start it again when it ends or hangs."""

import asyncio
import contextlib
import logging
import shutil
import signal
import socket
import time
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Literal

from workshop.core.errors import PreflightError, WorkshopError
from workshop.core.ports import bind_loopback
from workshop.lab.forward import config as states
from workshop.lab.forward.config import ForwardConfig, ForwardState
from workshop.lab.forward.relay import Relay
from workshop.lab.forward.tunnel import Tunnel, probe, tunnel

_LOG = logging.getLogger(__name__)

_OPEN_SECONDS = 30.0  # kubectl's own way to the API server and to a running pod
# From a forwarded port to the first answer. kubectl may have chosen the pod that is just leaving, and then
# hangs: try another soon, but give a slow machine more each time.
_FIRST_ANSWER, _LONGEST_ANSWER = 4.0, 30.0
_TRIES = 4
_PROBE_SECONDS = 4.0
_EVERY_SECONDS = 5.0
_LEAST_SECONDS = 1.0  # between two probes, or two tries, however many connections come
_MOST_SILENT = 2
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 15.0
_STEADY_SECONDS = 15.0  # a kubectl that ran so long was well: the next is started at once
_LOOK_SECONDS = 2.0


class Supervisor:
    """One forward: the listener that stays, and the kubectl behind it of the moment."""

    def __init__(self, config: ForwardConfig, handed_over: Sequence[socket.socket] = ()) -> None:
        self._config = config
        self._handed_over = handed_over  # listening sockets of the local port, bound by whoever started us
        self._wanted = asyncio.Event()
        self._state = ForwardState("connecting", time.time())
        self._relay = Relay(self._wanted.set, lambda: self._state.last_error)
        self._host = f"localhost:{config.port}"
        self._patience = _FIRST_ANSWER

    async def run(self, while_exists: Path) -> None:
        """Forward until SIGTERM, or until `while_exists` is removed.

        Raises PreflightError for a port that is taken, or when there is no kubectl.
        """
        if shutil.which(self._config.kubectl) is None:
            raise PreflightError("kubectl is not installed", hint="Install it, and run `workshop up` again")
        listening = self._handed_over or bind_loopback(self._config.port)
        self._write()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with contextlib.AsyncExitStack() as stack:
            for sock in listening:
                server = await asyncio.start_server(self._relay.serve, sock=sock)
                stack.callback(server.close)
            keeping = asyncio.create_task(self._keep())
            watching = asyncio.create_task(_until_gone(while_exists, stop))
            stack.push_async_callback(_cancelled, keeping, watching)
            done, _ = await asyncio.wait({keeping, watching}, return_when=asyncio.FIRST_COMPLETED)
            next(iter(done)).result()

    async def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            started = time.monotonic()
            problem = await self._forward()
            self._relay.use(None)
            if problem.what != self._state.last_error:
                _LOG.warning("%s", problem.what)
            self._set("connecting", problem.what, restarts=self._state.restarts + 1)
            steady = time.monotonic() - started > _STEADY_SECONDS
            pause = _FIRST_PAUSE if steady else min(2 * pause, _LONGEST_PAUSE)
            await self._wait(pause, least=min(pause, _LEAST_SECONDS))

    async def _forward(self) -> WorkshopError:
        """One run of kubectl, from its start to its end; why it ended."""
        env = {**self._config.env, "KUBECONFIG": self._config.kubeconfig}
        async with tunnel(self._config.argv, env) as running:
            ended = asyncio.create_task(running.ended())
            standing = asyncio.create_task(self._stand(running))
            try:
                done, _ = await asyncio.wait({ended, standing}, return_when=asyncio.FIRST_COMPLETED)
                return next(iter(done)).result()
            finally:
                ended.cancel()
                standing.cancel()

    async def _stand(self, running: Tunnel) -> WorkshopError:
        """Pass connections on from the first answer until there is none any more; what was wrong then."""
        try:
            port = await asyncio.wait_for(asyncio.shield(running.port), _OPEN_SECONDS)
        except TimeoutError:
            return WorkshopError(running.problem or f"kubectl forwarded no port in {_OPEN_SECONDS:.0f} s")
        if not await self._first_answer(port):
            return WorkshopError(running.problem or "The forwarded port does not answer")
        self._relay.use(port)
        silent = 0
        while silent < _MOST_SILENT:
            await self._wait(_EVERY_SECONDS, least=_LEAST_SECONDS)
            asked = time.monotonic()
            answer = await probe(port, self._config.health_path, self._host, _PROBE_SECONDS)
            silent = 0 if answer or self._relay.heard > asked else silent + 1
            if answer:
                self._answered(answer)
        return WorkshopError(f"`{self._config.target}` does not answer any more")

    async def _first_answer(self, port: int) -> bool:
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            each = self._patience / _TRIES  # one that was made before the pod had its address never ends
            answer = await probe(port, self._config.health_path, self._host, each)
            if answer:
                self._patience = _FIRST_ANSWER
                self._answered(answer)
                return True
            await asyncio.sleep(_FIRST_PAUSE)
        self._patience = min(2 * self._patience, _LONGEST_ANSWER)
        return False

    def _answered(self, status: int) -> None:
        well = status == HTTPStatus.OK
        self._set("forwarding", "" if well else f"{self._config.health_path} answers with status {status}")

    async def _wait(self, seconds: float, *, least: float) -> None:
        """Wait, but not longer than `least` when somebody connects."""
        await asyncio.sleep(least)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wanted.wait(), seconds - least)
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
        with contextlib.suppress(OSError):  # a full disk, or a state directory that is just being removed
            states.write_state(Path(self._config.state_file), self._state)


async def _until_gone(path: Path, stop: asyncio.Event) -> None:
    while path.exists():  # noqa: ASYNC240 - one stat now and then; no event tells of an unlink
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _LOOK_SECONDS)
            return


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
