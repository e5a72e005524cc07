"""The whole course on a real cluster: one that kind makes for it, or one that an environment variable names.

`uv run pytest -m kind` makes a cluster of its own with kind, and leaves nothing. On an existing cluster:

    WORKSHOP_E2E_CONTEXT=NAME        run there instead, with the Kubernetes backend
    WORKSHOP_E2E_KUBECONFIG=FILE     the kubeconfig that has it; unset: KUBECONFIG, or kubectl's default
    WORKSHOP_E2E_NAMESPACE=NAME      the namespace; unset: one of its own, removed again
    WORKSHOP_E2E_BUNDLE=FILE         with kind: take everything from this bundle
    WORKSHOP_E2E_SECONDS=900         how long any one wait may take
    WORKSHOP_IMAGE_…, WORKSHOP_CHART_…, WORKSHOP_NODE_IMAGE, WORKSHOP_REGISTRY_MIRROR, …: as for `up`
"""

import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from workshop.core.ports import free_port
from workshop.lab import process

WORKLOADS = ("github-remote", "practice-github", "workshop")
SECONDS = float(os.environ.get("WORKSHOP_E2E_SECONDS", "900"))
_WIND_UP_SECONDS = 300
_TOOLS = ("docker", "kind", "helm", "kubectl")


@dataclass(frozen=True)
class Course:
    """Runs `workshop` as an attendee does: own state, own ports, own cluster or namespace."""

    home: Path
    folder: Path
    name: str
    context: str | None
    kubeconfig: Path
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        return self.home / "default"

    @property
    def namespace(self) -> str:
        if self.context is None:
            return "toolhive-system"
        return os.environ.get("WORKSHOP_E2E_NAMESPACE", self.name)

    @property
    def up_options(self) -> list[str]:
        """What says where: the rest of the commands know it from then on."""
        ports = [f"--port={name}={port}" for name, port in self.ports.items()]
        common = ["--upstream=practice", f"--timeout={SECONDS:.0f}", *ports]
        if self.context:
            where = ["--backend=kubernetes", f"--context={self.context}", f"--namespace={self.namespace}"]
            return [*where, *common]
        bundle = os.environ.get("WORKSHOP_E2E_BUNDLE")
        packed = [f"--bundle={bundle}"] if bundle else []
        return ["--backend=kind", f"--cluster-name={self.name}", *packed, *common]

    def run(self, *arguments: str, seconds: float = SECONDS) -> subprocess.CompletedProcess[str]:
        """Run one command to its end, without a terminal; one that does not end is ended as by Ctrl-C."""
        argv = [sys.executable, "-m", "workshop", *arguments]
        running = subprocess.Popen(
            argv,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            out, err = running.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=_WIND_UP_SECONDS)
            err += f"\n(ended by the test after {seconds:.0f} s)"
        return subprocess.CompletedProcess(argv, running.returncode, out, err)

    def ok(self, *arguments: str, seconds: float = SECONDS) -> subprocess.CompletedProcess[str]:
        """Run one command that must succeed; what there is to know stands in the failure."""
        done = self.run(*arguments, seconds=seconds)
        if done.returncode:
            status = self.run("status", seconds=120).stdout
            pytest.fail(
                f"workshop {' '.join(arguments)} ended with {done.returncode}\n"
                f"{done.stdout}\n{done.stderr}\n{status}\n{self.seen()}"
            )
        return done

    def kubectl(self, *words: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """Run kubectl against the cluster with the instance's own access."""
        argv = [*self._kubectl, "--namespace", self.namespace, *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=seconds, check=False)

    def seen(self) -> str:
        """Everything for the report of a failure."""
        node = None if self.context else f"{self.name}-control-plane"
        return evidence(self._kubectl, self.namespace, node, self.directory / "workloads")

    @property
    def _kubectl(self) -> list[str]:
        return ["kubectl", "--kubeconfig", str(self.directory / "kubeconfig")]

    @property
    def environment(self) -> dict[str, str]:
        given = {name: value for name, value in os.environ.items() if not name.startswith("WORKSHOP_E2E_")}
        ours = {"WORKSHOP_HOME": str(self.home), "KUBECONFIG": str(self.kubeconfig), "BROWSER": "true"}
        given.pop("WORKSHOP_BACKEND", None)
        return {**given, **ours, "COLUMNS": "100"}

    def clusters(self) -> list[str]:
        done = subprocess.run(["kind", "get", "clusters"], capture_output=True, text=True, check=False)
        return done.stdout.split()

    def processes(self) -> list[psutil.Process]:
        """Every process that names this course's state directory."""
        return list(process.strays(self.directory / "workloads"))

    def digest(self) -> str:
        """What the person's kubeconfig holds, in short."""
        return hashlib.sha256(self.kubeconfig.read_bytes()).hexdigest()


@pytest.fixture(scope="session")
def course(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Course]:
    context = os.environ.get("WORKSHOP_E2E_CONTEXT")
    reason = _missing(context)
    if reason:
        pytest.skip(reason)
    root = tmp_path_factory.mktemp("course")
    folder = root / "here"
    folder.mkdir()
    (folder / ".env").touch()  # the checkout's own is not read then
    name = f"workshop-e2e-{secrets.token_hex(3)}"
    kubeconfig = _kubeconfig(context, root)
    ports = {workload: free_port() for workload in WORKLOADS}
    made = Course(root / "state", folder, name, context, kubeconfig, ports)
    yield made
    try:
        made.run("teardown")
    finally:
        for left in made.processes():
            process.end(left)
        if context is None and name in made.clusters():
            away = ["kind", "delete", "cluster", "--name", name, "--kubeconfig", str(root / "none")]
            subprocess.run(away, check=False, timeout=300)


@pytest.fixture(scope="session")
def deployed(course: Course, request: pytest.FixtureRequest) -> Course:
    """The course, up; the tests of this folder follow each other in it, and the last one removes it."""
    try:
        course.ok("up", "-v", "--keep", *course.up_options, seconds=3 * SECONDS)  # a failure can be looked at
    except pytest.fail.Exception:
        request.session.shouldstop = "without a cluster there is no more to see"  # once is enough
        raise
    return course


def _missing(context: str | None) -> str:
    wanted = ("kubectl", "helm") if context else _TOOLS
    absent = [tool for tool in wanted if shutil.which(tool) is None]
    if absent:
        return f"{', '.join(absent)} not installed"
    if context:
        return ""
    asked = subprocess.run(["docker", "version"], capture_output=True, text=True, timeout=60, check=False)
    if "permission denied" in asked.stderr:
        pytest.fail(f"Docker is here, and may not be used: {asked.stderr.strip()}")
    return f"Docker does not answer: {asked.stderr.strip()}" if asked.returncode else ""


def _kubeconfig(context: str | None, root: Path) -> Path:
    """The person's kubeconfig: with kind, one with something in it that must stay as it is."""
    if context:
        given = os.environ.get("WORKSHOP_E2E_KUBECONFIG") or os.environ.get("KUBECONFIG")
        return Path(given) if given else Path.home() / ".kube" / "config"
    path = root / "kubeconfig"
    path.write_text("apiVersion: v1\nkind: Config\ncurrent-context: somewhere-else\n")
    return path


_SECONDS = 60
_LINES = 60
_RESOURCES = (
    "mcpservers,mcpremoteproxies,mcpoidcconfigs,mcpexternalauthconfigs,mcptoolconfigs,virtualmcpservers"
)


def evidence(kubectl: Sequence[str], namespace: str, node: str | None, logs: Path) -> str:
    """The tools' versions, the node, the pods and what they last said; no secret is among it."""
    tools = [["docker", "version"], ["docker", "ps", "--all"], ["kind", "version"], ["helm", "version"]]
    inside = [["crictl", "images"], ["crictl", "ps", "--all"], ["journalctl", "-u", "kubelet", "-n", "20"]]
    cluster = [
        ["get", "nodes", "-o", "wide"],
        ["get", "pods", "-A", "-o", "wide"],
        ["get", "events", "-A", "--sort-by=.metadata.creationTimestamp"],
        ["get", _RESOURCES, "-n", namespace, "-o", "yaml"],
        ["describe", "pods", "-n", namespace],
        ["logs", "-n", namespace, "deployment/toolhive-operator"],
        ["logs", "-n", namespace, "-l", "toolhive=true", "--all-containers", "--prefix", "--tail=60"],
        ["logs", "-n", namespace, "deployment/practice-github"],
    ]
    asked = [*tools, *([["docker", "exec", node, *words] for words in inside] if node else [])]
    asked += [[*kubectl, *words] for words in cluster]
    return "\n".join([*map(_said, asked), *map(_last, sorted(logs.glob("*/log.txt")))])


def _said(argv: Sequence[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_SECONDS, check=False)
        told = done.stdout + done.stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        told = str(error)
    lines = told.splitlines()
    whole = "yaml" in argv or "describe" in argv
    return "\n".join([f"$ {' '.join(argv)}", *(lines if whole else lines[-_LINES:])])


def _last(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join([f"$ tail {log}", *lines[-_LINES:]])
