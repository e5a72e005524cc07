"""A room's figures: seconds and API calls of `room create` and `remove`, and a class that logs in at once.

Run: uv run python -m tests.benchmarks.room [--seats 5,20,60] [--people 200]

The first part needs kubectl, Helm, and etcd, kube-apiserver and kube-controller-manager in
`KUBEBUILDER_ASSETS`; it is left out without them. There is no node: a pod is reported as ready and runs
nothing. ToolHive's operator runs beside the API server if `WORKSHOP_THV_OPERATOR` is the path of its program;
then the seats apply their parts too. The second part starts the practice GitHub in a process of its own.
"""

import argparse
import asyncio
import contextlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.lab.kube.api_server import (
    KUBELET,
    ApiServer,
    add_node,
    assets,
    pods_that_start,
    running_controllers,
    running_operator,
)
from tests.lab.room.bench import Facilitator, at_home, count
from tests.lab.room.rooms import node
from tests.servers.practice.conftest import read_form, redirected
from workshop.core.console import Console, Progress
from workshop.core.ports import free_port
from workshop.core.seats import seat_numbers, seat_user
from workshop.lab.base import PRACTICE_GITHUB, PRACTICE_PORT, SEAT_FILE, Choices, ClusterChoices
from workshop.lab.kube.client import Kube, wait_for
from workshop.lab.kube.connection import Connection
from workshop.lab.kube.objects import Object, text
from workshop.lab.room import seat_file
from workshop.lab.room.seat import SeatBackend
from workshop.lab.room.status import look
from workshop.lab.steps import for_each
from workshop.lab.tools.run import Runner
from workshop.servers.practice.config import RECORD_SECRET, PracticeConfig, load
from workshop.toolhive.manifests import TOOLHIVE_API

CONTROLLERS = (
    *("deployment-controller", "replicaset-controller", "statefulset-controller", "namespace-controller"),
    *("garbage-collector-controller", "resourcequota-controller", "serviceaccount-controller"),
    *("endpointslice-controller", "clusterrole-aggregation-controller"),
)
WORKLOADS = ("MCPServer", "MCPRemoteProxy")
KINDS = (
    *(("v1", kind) for kind in ("Namespace", "Secret", "ConfigMap", "Service", "ServiceAccount", "Pod")),
    *(("v1", kind) for kind in ("ResourceQuota", "LimitRange")),
    *(("rbac.authorization.k8s.io/v1", kind) for kind in ("Role", "RoleBinding", "ClusterRole")),
    *(("apps/v1", kind) for kind in ("Deployment", "ReplicaSet", "StatefulSet")),
    *(("networking.k8s.io/v1", "NetworkPolicy"), ("coordination.k8s.io/v1", "Lease")),
    *(
        (TOOLHIVE_API, kind)
        for kind in (*WORKLOADS, "MCPOIDCConfig", "MCPExternalAuthConfig", "MCPToolConfig")
    ),
)
_UP_SECONDS = 900
_SECRET = "a made-up secret of a benchmark"
_CALLBACK = "http://localhost:8080/oauth/callback"
_SECONDS = 120
_START_SECONDS = 60
_PERCENT = 99


@dataclass(frozen=True)
class Logins:
    """What a class that logs in at once waits, in milliseconds, and what the practice GitHub then uses."""

    people: int
    seconds: float
    waits: Sequence[float]
    cpu: float
    memory: int

    def __str__(self) -> str:
        p50, p99 = statistics.median(self.waits), statistics.quantiles(self.waits, n=100)[_PERCENT - 1]
        rate = self.people / self.seconds
        waits = f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, {rate:.0f} a second"
        used = f"{self.cpu / self.people * 1000:.1f} ms of CPU each, {self.memory / 2**20:.0f} MiB at the end"
        return f"{self.people} logins at once: {waits}; {used}"


@contextmanager
def practice_github(folder: Path, seats: int) -> Iterator[tuple[PracticeConfig, psutil.Process]]:
    """A practice GitHub in a process of its own, with a user for each seat."""
    port = free_port()
    (folder / "secret").write_text(_SECRET)
    config = {"port": port, "client_id": "practice-workshop-app", "client_secret_file": "secret"}
    file = folder / "practice.json"
    file.write_text(json.dumps({**config, "callback_url": _CALLBACK, "app_name": "MCP workshop"}))
    command = [sys.executable, "-m", "workshop.servers.practice", f"--config={file}", f"--seats={seats}"]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, env={**os.environ, RECORD_SECRET: _SECRET})
    try:
        _await(f"http://localhost:{port}/health")
        yield load(file), psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


def _await(url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx2.HTTPError):
            if httpx2.get(url, trust_env=False).status_code == HTTPStatus.OK:
                return
        time.sleep(0.1)
    raise TimeoutError(url)


async def log_in(config: PracticeConfig, browser: httpx2.AsyncClient, user: str) -> float:
    """One person's login, from the page to the first request with the token; its milliseconds."""
    app, started = {"client_id": config.client_id, "redirect_uri": _CALLBACK}, time.perf_counter()
    asked = {**app, "scope": "repo read:user", "state": "any", "login": user}
    page = await browser.get("/login/oauth/authorize", params=asked)
    form = {**read_form(page.text).fields, "user": user}
    code = redirected(await browser.post("/login/oauth/authorize", data=form))["code"]
    given = {**app, "client_secret": config.client_secret, "code": code}
    json_answer = {"Accept": "application/json"}
    token = (await browser.post("/login/oauth/access_token", data=given, headers=json_answer)).json()
    answer = await browser.get("/user", headers={"Authorization": f"Bearer {token['access_token']}"})
    assert answer.json()["login"] == user, answer.text
    return (time.perf_counter() - started) * 1000


async def class_at_once(config: PracticeConfig, people: int, server: psutil.Process) -> Logins:
    """Everybody logs in at the same moment, each in a browser of their own."""
    users = [seat_user(number) for number in seat_numbers(people)]
    async with contextlib.AsyncExitStack() as stack:
        browsers = [await stack.enter_async_context(_browser(config.port)) for _ in users]
        busy, started = sum(server.cpu_times()[:2]), time.perf_counter()
        each = zip(browsers, users, strict=True)
        waits = await asyncio.gather(*(log_in(config, browser, user) for browser, user in each))
        seconds = time.perf_counter() - started
    cpu = sum(server.cpu_times()[:2]) - busy
    return Logins(people, seconds, waits, cpu, server.memory_info().rss)


def _browser(port: int) -> httpx2.AsyncClient:
    # Without a store of certificates, which takes longer to load than a login takes.
    url = f"http://localhost:{port}"
    # On a busy machine, the server closes a connection before its next request; a browser would try again.
    soon = httpx2.Limits(keepalive_expiry=1)
    return httpx2.AsyncClient(base_url=url, verify=False, timeout=_SECONDS, trust_env=False, limits=soon)


@contextmanager
def counted() -> Iterator[list[str]]:
    """The API calls of ours that are made in the block."""
    calls: list[str] = []
    request = Connection.request

    def counting(connection: Connection, doing: str, method: str, path: str, **params: object) -> bytes:
        if threading.current_thread().name != KUBELET:
            calls.append(doing)
        return request(connection, doing, method, path, **params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "request", counting)
        yield calls


class Bench:
    """One API server, controllers and the real operator, in which rooms of several sizes come and go."""

    def __init__(self, folder: Path, programs: Path, operator: Path | None) -> None:
        self._folder, self._programs, self._operator = folder, programs, operator
        self._kube: Kube
        self._watched: dict[str, psutil.Process] = {}

    def run(self, sizes: Sequence[int]) -> None:
        """Print the figures of a room of each size; a room of one seat keeps the operator meanwhile."""
        (self._folder / "api").mkdir()
        with ExitStack() as stack:
            server = stack.enter_context(ApiServer(self._programs, self._folder / "api"))
            admin = server.admin
            stack.enter_context(running_controllers(self._programs, admin, CONTROLLERS))
            stack.enter_context(at_home(self._folder, admin))
            self._kube = Kube(admin, "test")
            add_node(self._kube, node("large", cpu="512", memory="2Ti", pods="9999"))
            stack.enter_context(pods_that_start(self._kube))
            with act("room create, with the operator's charts"):
                self._facilitator("first").create("first", 1)
            if self._operator:
                process = stack.enter_context(running_operator(self._operator, admin))
                self._watched = {"operator": process, "API server": server.process}
            for seats in sizes:
                self._room(seats)

    def _room(self, seats: int) -> None:
        """One room from its creation to its removal; the same objects are there afterwards."""
        name, person, kube = f"bench-{seats}", self._facilitator(str(seats)), self._kube
        before = count(kube, KINDS)
        with act("room create", seats):
            report = person.create(name, seats)
        with act("room create again", seats):
            person.create(name)
        used = {name: sum(process.cpu_times()[:2]) for name, process in self._watched.items()}
        if used:
            files = [Path(seat.file) for seat in report.seats]
            quiet = Console(io.StringIO(), io.StringIO())
            with act("each seat applies its parts", seats), quiet.progress() as progress:
                for_each(files, partial(self._apply, progress), lambda _: None)
            with act("the operator makes them", seats):
                wait_for(
                    "the workloads",
                    lambda: [one for kind in WORKLOADS for one in kube.list(TOOLHIVE_API, kind)],
                    done=lambda found: len(found) == 2 * seats and all(map(is_made, found)),
                    failed=lambda _: "",
                    seconds=_UP_SECONDS,
                )
        for watched, process in self._watched.items():
            cpu, memory = sum(process.cpu_times()[:2]) - used[watched], process.memory_info().rss
            print(f"{seats:5} seats  {watched}: {cpu:.1f} s of CPU, {memory / 2**20:.0f} MiB")
        with act("room status", seats):
            look(kube, name)
        there = count(kube, KINDS)
        with act("room remove", seats):
            person.remove(name, keep_operator=True)
        sums = [sum(map(len, counted.values())) for counted in (before, there, count(kube, KINDS))]
        print(f"{seats:5} seats  objects: {sums[0]} before, {sums[1]} with the room, {sums[2]} after")

    def _apply(self, progress: Progress, file: Path) -> None:
        """What a seat's `up` applies, with the seat's own rights."""
        seat = seat_file.read(file)
        home = self._folder / seat.about.namespace
        seat_file.write(home / SEAT_FILE, seat)
        backend = SeatBackend(home, Runner(), ClusterChoices())
        for part in Facilitator.parts():
            ports = {workload.name: PRACTICE_PORT for workload in part.resources.workloads}
            ports[PRACTICE_GITHUB] = PRACTICE_PORT
            backend.submit(part, Choices("practice", ports=ports), progress)
            for server in part.resources.of("MCPServer"):
                self._kube.apply(server_set(server.name, seat.about.namespace))

    def _facilitator(self, name: str) -> Facilitator:
        return Facilitator(self._folder / "files" / name, "test")


def server_set(name: str, namespace: str) -> Object:
    """What ToolHive's proxy makes of an MCPServer, when it runs: the StatefulSet of the server itself."""
    labels = {"app": name}
    safe = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {"name": "mcp", "image": "lab/mcp-server:1", "securityContext": safe}
    of_pod = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [container], "securityContext": of_pod},
    }
    spec = {"serviceName": name, "selector": {"matchLabels": labels}, "template": template}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec}


@contextmanager
def act(what: str, seats: int = 1) -> Iterator[None]:
    """Print the seconds and the API calls of ours that the block takes."""
    started = time.perf_counter()
    with counted() as calls:
        yield
    seconds, a_seat = time.perf_counter() - started, len(calls) / seats
    print(
        f"{seats:5} seats  {what:<28} {seconds:6.1f} s {len(calls):6} calls, {a_seat:5.1f} a seat", flush=True
    )


def is_made(workload: Object) -> bool:
    """Whether the operator reports a workload as running."""
    return text(workload, "status", "phase") in {"Ready", "Running"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the figures of a room.")
    parser.add_argument("--seats", default="5,20,60", metavar="N,N")
    parser.add_argument("--people", type=int, default=200, metavar="N")
    given = parser.parse_args()
    programs, operator = assets(), os.environ.get("WORKSHOP_THV_OPERATOR")
    with tempfile.TemporaryDirectory() as folder:
        tools = shutil.which("kubectl") and shutil.which("helm")
        if programs and (programs / "kube-controller-manager").is_file() and tools:
            sizes = [int(seats) for seats in given.seats.split(",")]
            Bench(Path(folder), programs, Path(operator) if operator else None).run(sizes)
        else:
            print("Skipped: a room needs kubectl, Helm and the programs of KUBEBUILDER_ASSETS")
        with practice_github(Path(folder), given.people) as (config, server):
            for _ in range(2):
                print(asyncio.run(class_at_once(config, given.people, server)))


if __name__ == "__main__":
    main()
