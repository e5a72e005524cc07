"""A room's figures: seconds and API calls of `room create` and `remove`, and a class that logs in at once.

Run: uv run python -m tests.benchmarks.room [--seats 5,20,60] [--people 200]

The first part needs kubectl, and etcd, kube-apiserver and kube-controller-manager in `KUBEBUILDER_ASSETS`; it
is left out without them. An API server alone starts no pods, so its operator is a Deployment with a status.
The second part starts the practice GitHub in a process of its own.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from tests.lab.cluster.workloads import controller, pod
from tests.lab.kube.api_server import assets, running_api_server, running_namespace_controller
from tests.lab.room.bench import Facilitator, at_home
from tests.servers.practice.conftest import read_form, redirected
from workshop.core.ports import free_port
from workshop.core.seats import seat_numbers, seat_user
from workshop.core.settings import Settings
from workshop.lab.cluster.operator import DEFINITIONS
from workshop.lab.cluster.readiness import NAMESPACE, OPERATOR
from workshop.lab.kube.client import Kube
from workshop.lab.kube.connection import Connection
from workshop.lab.kube.objects import name_of
from workshop.lab.room.status import look
from workshop.servers.practice.config import RECORD_SECRET, PracticeConfig, load
from workshop.toolhive.manifests import TOOLHIVE_API

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
    return httpx2.AsyncClient(base_url=url, verify=False, timeout=_SECONDS, trust_env=False)


def definition(kind: str) -> dict[str, Any]:
    """One of ToolHive's kinds for an API server, without a schema."""
    group, version = TOOLHIVE_API.split("/")
    plural = "mcpremoteproxies" if kind.endswith("y") else f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": plural, "singular": kind.lower(), "kind": kind}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [served]},
    }


def arrange(kube: Kube) -> None:
    """What an installed operator looks like: its definitions, its Deployment, and a pod that is ready."""
    for kind in DEFINITIONS:
        kube.apply(definition(kind))
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    for body in (controller(OPERATOR), pod("operator-1", of=OPERATOR)):
        labels = {**body["metadata"].get("labels", {}), "app.kubernetes.io/name": OPERATOR}
        metadata = {"name": name_of(body), "namespace": NAMESPACE, "labels": labels}
        template = body["spec"]["template"] if body["kind"] == "Deployment" else body
        template.setdefault("spec", {})["containers"] = [{"name": "manager", "image": "operator:v0.63.0"}]
        kube.create({**body, "metadata": metadata, "status": {}})
        base = "/apis/apps/v1" if body["kind"] == "Deployment" else "/api/v1"
        path = f"{base}/namespaces/{NAMESPACE}/{body['kind'].lower()}s/{name_of(body)}/status"
        status = {**body["status"], "containerStatuses": [], "readyReplicas": 1}
        report = {"body": {"status": status}, "content_type": "application/merge-patch+json"}
        kube._connection.request("report a status", "patch", path, **report)


@contextmanager
def counted() -> Iterator[list[str]]:
    """The API calls that are made in the block."""
    calls: list[str] = []
    request = Connection.request

    def counting(connection: Connection, doing: str, method: str, path: str, **params: object) -> bytes:
        calls.append(doing)
        return request(connection, doing, method, path, **params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "request", counting)
        yield calls


def rooms(folder: Path, programs: Path, sizes: Sequence[int]) -> None:
    """Create, look at and remove a room of each size, and print the seconds and the calls."""
    env = folder / "env"
    env.write_text("GITHUB_OAUTH_CLIENT_SECRET=made-up\nGITHUB_OAUTH_CLIENT_ID=made-up\n")
    (folder / "api").mkdir()
    with ExitStack() as stack:
        admin = stack.enter_context(running_api_server(programs, folder / "api"))["admin"]
        stack.enter_context(running_namespace_controller(programs, admin))
        stack.enter_context(at_home(folder, admin))
        kube = Kube(admin, "test")
        arrange(kube)
        for seats in sizes:
            measure(Facilitator(folder / str(seats), "test"), kube, seats, Settings.load(env))


def measure(person: Facilitator, kube: Kube, seats: int, settings: Settings) -> None:
    """One room from its creation to its removal."""
    name = f"bench-{seats}"
    how: dict[str, Any] = {"upstream": "github", "settings": settings}
    acts: dict[str, Callable[[], object]] = {
        "create": lambda: person.create(name, seats, **how),
        "create again": lambda: person.create(name, **how),
        "status": lambda: look(kube, name),
        "remove": lambda: person.remove(name, keep_operator=True),
    }
    for act, run in acts.items():
        started = time.perf_counter()
        with counted() as calls:
            run()
        seconds, a_seat = time.perf_counter() - started, len(calls) / seats
        print(f"{seats:5} seats  {act:<13} {seconds:6.1f} s {len(calls):6} calls, {a_seat:5.1f} a seat")


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the figures of a room.")
    parser.add_argument("--seats", default="5,20,60", metavar="N,N")
    parser.add_argument("--people", type=int, default=200, metavar="N")
    given = parser.parse_args()
    programs = assets()
    with tempfile.TemporaryDirectory() as folder:
        if programs and (programs / "kube-controller-manager").is_file() and shutil.which("kubectl"):
            rooms(Path(folder), programs, [int(seats) for seats in given.seats.split(",")])
        else:
            print("Skipped: a room needs kubectl and the programs of KUBEBUILDER_ASSETS")
        with practice_github(Path(folder), given.people) as (config, server):
            for _ in range(2):
                print(asyncio.run(class_at_once(config, given.people, server)))


if __name__ == "__main__":
    main()
