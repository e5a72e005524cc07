"""`workshop up` on a new kind cluster against a plain script of the same steps, one after the other.

Run: uv run python -m tests.benchmarks.cluster [--pairs 3] [--early-probes]

It needs Docker, kind, helm and kubectl, and takes about two and a half minutes a pair. A first `up`, which is
not counted, pulls and builds what the engine lacks. Then the script and `up` take turns, each on a cluster of
its own that is deleted again. The script installs ToolHive as it comes; with `--early-probes` its operator
and its remote proxy are asked as early as those of `up` whether they are ready. WORKSHOP_IMAGE_… and the like
work as for `up`.
"""

import argparse
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from workshop.core.paths import cluster_dir
from workshop.core.ports import free_port
from workshop.lab.cluster.recipes import build_arguments, build_network, recipes_for
from workshop.lab.pins import Pins
from workshop.lab.tools.docker import Docker
from workshop.lab.tools.run import Runner

TOOLS = ("docker", "kind", "helm", "kubectl")
# The workloads of the course: the Service of each, and its port in the cluster.
WORKLOADS = ("workshop", "github-remote", "practice-github")
GOAL = 0.7
_HEALTHY_SECONDS = 60.0
_WAIT = "--timeout=300s"


@dataclass(frozen=True)
class Files:
    """What an `up` wrote, for the script to use: the same configuration, values and manifests."""

    folder: Path
    ports: dict[str, int]
    early_probes: bool

    @property
    def kind_config(self) -> Path:
        return self.folder / "default" / "cluster" / "kind.yaml"

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets.yaml"

    @property
    def manifests(self) -> list[Path]:
        """The manifests of the parts; without what `up` says of probes, unless that was asked for."""
        found = sorted((self.folder / "default" / "manifests").glob("*.yaml"))
        return found if self.early_probes else [self._plain(path) for path in found]

    @property
    def values(self) -> list[Path]:
        ours = cluster_dir() / "operator-values.yaml"
        images = self.folder / "default" / "operator" / "operator-images.yaml"
        return [ours if self.early_probes else self._plain(ours), images]

    def _plain(self, path: Path) -> Path:
        target = self.folder / f"plain-{path.name}"
        documents = [_without_probes(document) for document in yaml.safe_load_all(path.read_text("utf-8"))]
        target.write_text(yaml.safe_dump_all(documents), "utf-8")
        return target


def main() -> None:
    options = _options()
    if missing := _missing():
        print(f"Skipped: this needs {', '.join(TOOLS)}, and {missing}")
        return
    with tempfile.TemporaryDirectory() as home:
        files = _warm_up(Path(home), early_probes=options.early_probes)
        taken: dict[str, list[float]] = {"script": [], "up": []}
        for number in range(options.pairs):
            phases = script(files)
            report = up(Path(home) / str(number))
            taken["script"].append(sum(phases.values()))
            taken["up"].append(report["seconds"])
            print("script  " + _line(taken["script"][-1], phases), flush=True)
            print("up      " + _line(taken["up"][-1], _critical(report)), flush=True)
    for step in report["steps"]:
        marked = "  critical" if step["critical"] else ""
        print(f"{step['name']:<30} {step['start']:6.1f} s {step['seconds']:6.1f} s{marked}")
    ratios = [ours / theirs for ours, theirs in zip(taken["up"], taken["script"], strict=True)]
    for name, seconds in taken.items():
        print(f"{name:<30} {statistics.median(seconds):6.1f} s")
    print(f"{f'ratio (goal {GOAL})':<30} {statistics.median(ratios):6.2f}")


def script(files: Files) -> dict[str, float]:
    """The steps one after the other on a new cluster, and the seconds of each."""
    name, kubeconfig = _name(), files.folder / "script-kubeconfig"
    phases: dict[str, float] = {}
    try:
        for phase, act in _phases(name, kubeconfig, files):
            started = time.monotonic()
            act()
            phases[phase] = time.monotonic() - started
    finally:
        _run("kind", "delete", "cluster", "--name", name, "--kubeconfig", str(kubeconfig))
    return phases


def up(home: Path) -> dict[str, Any]:
    """`workshop up` on a new cluster: what it reports, and the seconds it took as a whole."""
    started = time.monotonic()
    try:
        report: dict[str, Any] = json.loads(_workshop(home, *_up_options(_name(), _free_ports())))["data"]
        report["seconds"] = time.monotonic() - started
    finally:
        _workshop(home, "teardown")
    return report


def _phases(name: str, kubeconfig: Path, files: Files) -> Iterator[tuple[str, Any]]:
    pins = Pins.load()
    kubectl = ["kubectl", "--kubeconfig", str(kubeconfig), "--namespace", pins.namespace]
    yield (
        "cluster",
        lambda: _run(
            *("kind", "create", "cluster", "--name", name, "--kubeconfig", str(kubeconfig)),
            *("--config", str(files.kind_config), "--image", pins.node_image),
        ),
    )
    yield "operator images", lambda: _load(name, pins.operator, pins.proxy_runner)
    yield "build", lambda: _build(pins)
    yield "workshop images", lambda: _load(name, pins.mcp_server, pins.practice)
    yield "definitions", lambda: _install(pins.chart_crds, "toolhive-operator-crds", kubeconfig, [])
    yield "operator", lambda: _install(pins.chart_operator, "toolhive-operator", kubeconfig, files.values)
    yield "operator ready", lambda: _rolled_out(kubectl, "toolhive-operator")
    yield "manifests", lambda: _apply(kubectl, [files.secrets, *files.manifests])
    for workload in WORKLOADS:
        yield f"{workload} ready", lambda workload=workload: _ready(kubectl, workload)
    yield "forwards", lambda: _forward(kubectl, files.ports)


def _load(name: str, *images: str) -> None:
    """Each image as an archive of its own, as the README of kind has it."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "image.tar"
        for image in images:
            _run("docker", "save", "--output", str(archive), image)
            _run("kind", "load", "image-archive", str(archive), "--name", name)


def _build(pins: Pins) -> None:
    docker = Docker(Runner())
    for recipe in recipes_for("practice", pins):
        arguments, network = build_arguments(recipe, pins), build_network()
        with recipe.context() as context:
            docker.build(recipe.tag, context, recipe.dockerfile, arguments, network=network)


def _install(chart: str, release: str, kubeconfig: Path, values: Sequence[Path]) -> None:
    pins = Pins.load()
    argv = ["helm", "upgrade", release, chart, "--install", "--kubeconfig", str(kubeconfig)]
    argv += ["--namespace", pins.namespace, "--create-namespace"]
    argv += ["--version", pins.toolhive_version] if chart.startswith("oci://") else []
    _run(*argv, *(word for path in values for word in ("--values", str(path))))


def _apply(kubectl: Sequence[str], files: Sequence[Path]) -> None:
    for path in files:
        _run(*kubectl, "apply", "--server-side", "--filename", str(path))


def _ready(kubectl: Sequence[str], workload: str) -> None:
    kinds = {"workshop": "mcpserver", "github-remote": "mcpremoteproxy"}
    if kind := kinds.get(workload):
        _run(*kubectl, "wait", "--for=jsonpath={.status.phase}=Ready", f"{kind}/{workload}", _WAIT)
    _rolled_out(kubectl, workload)


def _rolled_out(kubectl: Sequence[str], deployment: str) -> None:
    _run(*kubectl, "rollout", "status", f"deployment/{deployment}", _WAIT)


def _forward(kubectl: Sequence[str], ports: dict[str, int]) -> None:
    """Forward each workload in turn, until it answers."""
    targets = {
        "workshop": ("svc/mcp-workshop-proxy", 8080),
        "github-remote": ("svc/mcp-github-remote-remote-proxy", ports["github-remote"]),
        "practice-github": ("svc/practice-github", ports["practice-github"]),
    }
    with ExitStack() as running:
        for workload, (target, port) in targets.items():
            argv = [*kubectl, "port-forward", target, f"{ports[workload]}:{port}"]
            running.enter_context(_started(argv))
            _await_health(ports[workload])


@contextmanager
def _started(argv: Sequence[str]) -> Iterator[None]:
    running = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        running.terminate()
        running.wait()


def _await_health(port: int) -> None:
    deadline = time.monotonic() + _HEALTHY_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://localhost:{port}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _warm_up(home: Path, *, early_probes: bool) -> Files:
    """An `up` that brings every image into the engine, and whose files the script takes over."""
    ports, name = _free_ports(), _name()
    files = Files(home, ports, early_probes)
    kubectl = ["kubectl", "--kubeconfig", str(home / "default" / "kubeconfig")]
    try:
        _workshop(home, *_up_options(name, ports))
        namespace = Pins.load().namespace
        told = _run(*kubectl, "get", "secrets", "--namespace", namespace, "--output", "json")
        kept = [_bare(item) for item in json.loads(told)["items"] if item["type"] == "Opaque"]
        files.secrets.touch(mode=0o600)
        files.secrets.write_text(yaml.safe_dump_all(kept), "utf-8")
        shutil.copytree(home / "default", home / "kept")
    finally:
        _workshop(home, "teardown")
    (home / "kept").rename(home / "default")
    return files


def _bare(secret: dict[str, Any]) -> dict[str, Any]:
    """A Secret as it can be applied to another cluster."""
    names = ("name", "namespace", "labels")
    metadata = {name: secret["metadata"][name] for name in names if name in secret["metadata"]}
    return {**secret, "metadata": metadata}


def _without_probes(document: dict[str, Any]) -> dict[str, Any]:
    if "operator" in document:
        return {"operator": {**document["operator"], "readinessProbe": {}}}
    if document.get("kind") == "MCPRemoteProxy":
        for container in document["spec"].get("podTemplateSpec", {}).get("spec", {}).get("containers", ()):
            container.pop("startupProbe", None)
            container.pop("readinessProbe", None)
    return document


def _up_options(name: str, ports: dict[str, int]) -> list[str]:
    chosen = [f"--port={workload}={port}" for workload, port in ports.items()]
    return ["up", "--backend=kind", f"--cluster-name={name}", "--upstream=practice", "--json", "-q", *chosen]


def _workshop(home: Path, *words: str) -> str:
    environment = {**os.environ, "WORKSHOP_HOME": str(home)}
    return _run(sys.executable, "-m", "workshop", *words, env=environment)


def _run(*argv: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(argv)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def _free_ports() -> dict[str, int]:
    return {workload: free_port() for workload in WORKLOADS}


def _name() -> str:
    return f"workshop-benchmark-{secrets.token_hex(3)}"


def _line(seconds: float, parts: dict[str, float]) -> str:
    told = ", ".join(f"{name} {taken:.1f}" for name, taken in parts.items())
    return f"{seconds:5.1f} s: {told}"


def _critical(report: dict[str, Any]) -> dict[str, float]:
    """The steps that decided how long `up` took."""
    return {step["name"]: step["seconds"] for step in report["steps"] if step["critical"]}


def _missing() -> str:
    """What is not here of what it needs."""
    absent = [name for name in TOOLS if shutil.which(name) is None]
    if absent:
        return f"there is no {', '.join(absent)} on the PATH"
    answered = subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0
    return "" if answered else "Docker does not answer"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="`workshop up` against a plain script of the same steps.")
    parser.add_argument("--pairs", type=int, default=3, choices=range(1, 100), metavar="N")
    parser.add_argument("--early-probes", action="store_true", help="let the script ask as early as `up`")
    return parser.parse_args()


if __name__ == "__main__":
    main()
