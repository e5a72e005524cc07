"""The embedded backend: the workloads of the same manifests as local processes, without a cluster."""

import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from workshop.core.console import Progress
from workshop.core.errors import UsageError
from workshop.core.ports import free_port, refuse_shared
from workshop.lab import process
from workshop.lab.base import (
    PRACTICE_CLIENT_ID,
    PRACTICE_GITHUB,
    Applied,
    BackendName,
    Choices,
    Deployment,
    HandStep,
    Program,
    WorkloadStatus,
    remove_state,
)
from workshop.lab.logs import Log, file_logs

if TYPE_CHECKING:
    from workshop.toolhive.manifests import Resources


class EmbeddedBackend:
    """Runs each workload as one detached process under the instance's directory."""

    name: BackendName = "embedded"

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "workloads"
        self._processes = process.Supervisor(self._directory)
        self._secrets = directory / "secrets"

    def apply(
        self, deployments: Sequence[Deployment], choices: Choices, progress: Progress, *, prune: bool = False
    ) -> Applied:
        """Start what does not run as these manifests describe it; with `prune`, stop everything else."""
        programs = self.prepare(deployments, choices)
        refuse_shared({item.name: item.port for item in programs})
        if prune:
            self._processes.prune(programs, progress)
        applied = self._processes.apply(programs, progress)
        urls = applied.endpoints
        return replace(applied, endpoints={name: urls[name] for name in urls if not _is_pod(name, urls)})

    def plan(self, deployments: Sequence[Deployment], choices: Choices) -> Sequence[str]:
        """The files and commands of these deployments, without any change: a temporary folder is used."""
        home = self._directory.parent
        with tempfile.TemporaryDirectory() as elsewhere:
            programs = EmbeddedBackend(Path(elsewhere) / home.name).prepare(deployments, choices)
            lines = [line for item in programs for line in _planned_lines(item, Path(elsewhere) / home.name)]
            return [line.replace(str(Path(elsewhere) / home.name), str(home)) for line in lines]

    def submit(self, deployment: Deployment, _choices: Choices, _progress: Progress) -> Applied:
        """Refused: there is no API to apply manifests to."""
        raise _only_on_a_cluster("apply", deployment.part)

    def by_hand(self, deployment: Deployment, _choices: Choices) -> Sequence[HandStep]:
        """Refused: there is no operator that would act on manifests."""
        raise _only_on_a_cluster("by-hand", deployment.part)

    def forward(self, deployment: Deployment, _choices: Choices, _progress: Progress) -> Applied:
        """Refused: every workload listens on this machine already."""
        raise _only_on_a_cluster("forward", deployment.part)

    def prove(
        self, _deployment: Deployment, _choices: Choices, _tokens: Mapping[str, str], _progress: Progress
    ) -> None:
        """Nothing to check: the gateway's own tests cover the token swap."""

    def status(self) -> Sequence[WorkloadStatus]:
        """Every recorded workload, with its present state."""
        return self._processes.status()

    def logs(self) -> Sequence[Log]:
        """The file of each workload, also of one whose start failed."""
        return file_logs(self._directory)

    def withdraw(self, _progress: Progress, /) -> Sequence[str]:
        """Nothing: here a variation applies nothing."""
        return ()

    def teardown(self, progress: Progress) -> Sequence[str]:
        """Stop every workload, and every stray process of this instance; remove the state."""
        stopped = self._processes.stop(progress)
        remove_state(self._directory.parent)
        return stopped

    def prepare(self, deployments: Sequence[Deployment], choices: Choices) -> list[Program]:
        """Write the secrets of these deployments, and return their programs."""
        # Only what starts or plans something reads manifests: `status`, `logs` and `teardown` do not.
        from workshop.lab.deployments import Planner, practice_secret, with_choices, write_secrets
        from workshop.toolhive import fields, lint, overrides
        from workshop.toolhive.secrets import SecretFiles

        for deployment in deployments:
            lint.check(deployment.resources)
            fields.check_embedded(deployment.resources)
        ports = self._ports(deployments, choices)
        secrets = SecretFiles(self._secrets)
        planner = Planner(self._directory, secrets, ports)

        def with_practice(resources: "Resources") -> "Resources":
            origin = f"http://localhost:{ports[PRACTICE_GITHUB]}"
            return overrides.with_practice_github(resources, origin, PRACTICE_CLIENT_ID)

        programs: list[Program] = []
        for deployment in deployments:
            resources = with_choices(deployment.resources, choices, ports, with_practice)
            configs = write_secrets(secrets, resources, choices)
            if choices.upstream == "practice":
                programs += [planner.practice(auth, practice_secret(secrets)) for auth in configs]
            programs += planner.deployment(replace(deployment, resources=resources))
        return programs

    def _ports(self, deployments: Sequence[Deployment], choices: Choices) -> dict[str, int]:
        """The port of each workload and, as `<server>-0`, of each server behind its proxy."""
        from workshop.lab.deployments import default_ports

        states = self._processes.states()
        ports: dict[str, int] = {}
        for deployment in deployments:
            ports |= default_ports(deployment)
        pods = [f"{each.name}-0" for found in deployments for each in found.resources.of("MCPServer")]
        ports |= {name: port for name, port in choices.ports.items() if name in ports or name in pods}
        for pod in pods:
            # A running server keeps its port: a part that has not changed is not restarted.
            running = states.get(pod)
            port = running.port if running and process.find(running) else None
            if port is None or port in ports.values():
                port = free_port(besides=ports.values())
            ports.setdefault(pod, port)
        return ports


def _planned_lines(program: Program, home: Path) -> list[str]:
    folder = home / "workloads"
    config = [f"write {folder / program.name / 'config.json'}"] if program.config is not None else []
    argv = shlex.join(process.command(program, folder))
    return [f"# Start {program.name}: {program.url}", *config, argv, ""]


def _only_on_a_cluster(verb: str, part: int) -> UsageError:
    return UsageError(
        f"`part {part} {verb}` needs a cluster, but the embedded backend is up",
        why="Its workloads are processes on this machine: there is nothing to apply or to forward",
        hint=f"`workshop part {part} run` needs neither; for a cluster, `workshop teardown` comes first",
    )


def _is_pod(name: str, endpoints: Mapping[str, str]) -> bool:
    return name.endswith("-0") and name.removesuffix("-0") in endpoints
