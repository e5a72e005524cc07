"""The port-forwards of an instance: one detached, supervised process for each workload."""

import contextlib
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from workshop.core.console import Progress, Step
from workshop.core.errors import PreflightError
from workshop.core.ports import bind_loopback, is_free, refuse_shared
from workshop.lab import process
from workshop.lab.base import Limits, Program, State, WorkloadStatus
from workshop.lab.cluster.render import Endpoint
from workshop.lab.forward import ForwardConfig, read_state
from workshop.lab.kube.client import Diagnosis, wait_for
from workshop.lab.process import ProcessState
from workshop.lab.tools.clusters import Access

_ANSWER_SECONDS = 5.0


class Forwards:
    """Starts, checks, reports and stops the forwards of an instance, or of a variation, in its directory."""

    def __init__(self, home: Path, limits: Limits, variation: str = "") -> None:
        self._directory = home / "variations" / variation if variation else home / "workloads"
        self._processes = process.Supervisor(self._directory)
        self._limits = limits
        self._held: dict[int, list[socket.socket]] = {}

    @contextlib.contextmanager
    def holding(self, endpoints: Sequence[Endpoint]) -> Iterator[None]:
        """Bind the endpoints' local ports now, so that no other program has them when the forwards start.

        Raises PreflightError for a port that another program has, UsageError for one that two workloads need.
        """
        refuse_shared({endpoint.name: endpoint.port for endpoint in endpoints})
        forwarded = {state.port for state in self._processes.states().values() if process.find(state)}
        try:
            for endpoint in endpoints:
                if endpoint.port not in forwarded:
                    self._held[endpoint.port] = _bind(endpoint.name, endpoint.port)
            yield
        finally:
            while self._held:
                _close(self._held.popitem()[1])

    def ensure(self, endpoint: Endpoint, at: Access, namespace: str, step: Step) -> bool:
        """Make sure that the forward runs and answers; return whether it was started."""
        state = self._processes.states().get(endpoint.name)
        program = self._program(endpoint, at, namespace)
        started = state is None or state.fingerprint != program.fingerprint or process.find(state) is None
        if started:
            self._start(program, state)
        self._wait(endpoint.name, step)
        step.note(endpoint.url)
        return started

    def stop(self, name: str) -> bool:
        """Stop a forward; False if there was none."""
        state = self._processes.states().get(name)
        return state is not None and self._processes.forget(state)

    def stop_all(self, progress: Progress) -> Sequence[str]:
        """Stop every forward, and every stray process of this instance; return what was stopped."""
        return self._processes.stop(progress)

    def status(self) -> list[WorkloadStatus]:
        """Every recorded forward, with its present state."""
        return [self._status(state) for state in self._processes.states().values()]

    def _program(self, endpoint: Endpoint, at: Access, namespace: str) -> Program:
        config = ForwardConfig(
            port=endpoint.port,
            kubeconfig=str(at.kubeconfig),
            context=at.context or "",
            namespace=endpoint.namespace or namespace,
            target=endpoint.target,
            remote_port=endpoint.remote_port,
            state_file=str(self._state_file(endpoint.name)),
        )
        return Program(
            endpoint.name,
            (sys.executable, "-m", "workshop.lab.forward"),
            endpoint.port,
            urlsplit(endpoint.url).path,
            config=asdict(config),
        )

    def _start(self, program: Program, old: ProcessState | None) -> None:
        """Start the process with its port already bound, so that no other program can take it."""
        if old:
            process.stop(old)
        sockets = self._held.pop(program.port, None) or _bind(program.name, program.port)
        try:
            self._state_file(program.name).unlink(missing_ok=True)  # of the forward before this one
            process.start(program, self._directory, sockets)
        finally:
            _close(sockets)

    def _wait(self, name: str, step: Step) -> None:
        def failed(state: ProcessState | None) -> str:
            return "" if state and process.find(state) else "its process ended"

        wait_for(
            f"The forward to `{name}`",
            lambda: self._processes.states().get(name),
            done=lambda state: state is not None and process.is_healthy(state),
            failed=failed,
            seconds=self._limits.forward,
            note=step.note,
            state=lambda _: self._progress(name),
            diagnose=lambda: self._diagnosis(name),
            look_seconds=self._limits.look,
        )

    def _progress(self, name: str) -> str:
        state = read_state(self._state_file(name))
        return (state.last_error or state.state) if state else "starting"

    def _diagnosis(self, name: str) -> Diagnosis:
        log = self._directory / name / "log.txt"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        return Diagnosis(tuple(lines[-2:]), f"Its log is `{log}`; `workshop status` shows the pods")

    def _status(self, state: ProcessState) -> WorkloadStatus:
        forward = read_state(self._state_file(state.name))
        if process.find(state) is None:
            return WorkloadStatus(state.name, "stopped", state.url, None, state.log, "forward")
        connecting = forward is None or forward.state == "connecting"
        healthy = not connecting and process.is_healthy(state)
        failure = _failing(state.url) if healthy else ""
        healthy = healthy and not failure
        detail = " · ".join(filter(None, ["forward", forward.last_error if forward else "", failure]))
        if forward and forward.restarts:
            detail += f" · reconnected {forward.restarts} times"
        now: State = "running" if healthy else "starting" if connecting else "unhealthy"
        return WorkloadStatus(state.name, now, state.url, state.pid, state.log, detail)

    def _state_file(self, name: str) -> Path:
        return self._directory / name / "forward.json"


def _failing(url: str) -> str:
    """What fails behind a forward, empty for nothing: a proxy may answer `/health` but not MCP requests."""
    from workshop.lab.cluster.endpoint_checks import failing

    return failing(url, _ANSWER_SECONDS) if url.endswith("/mcp") else ""


def _close(sockets: Sequence[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _bind(name: str, port: int) -> list[socket.socket]:
    if is_free(port):  # on macOS, a bind succeeds beside a program that listens on every address
        with contextlib.suppress(PreflightError):
            return bind_loopback(port)
    raise process.port_taken(name, port)
