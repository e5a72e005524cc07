"""What the kind and kubernetes backends share: everything except creating and removing the cluster."""

import contextlib
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from workshop.core.console import Progress
from workshop.core.errors import PreflightError, WorkshopError
from workshop.lab.base import (
    Applied,
    BackendName,
    Choices,
    ClusterChoices,
    Deployment,
    HandStep,
    WorkloadStatus,
    remove_state,
)
from workshop.lab.cluster.checks import check_after
from workshop.lab.cluster.forwards import Forwards
from workshop.lab.cluster.record import Cluster, ClusterFile, ClusterRecord, Tools
from workshop.lab.cluster.removal import VARIATION, Removal, require_gateways, variations_made
from workshop.lab.cluster.render import RenderedPart, Renderer
from workshop.lab.cluster.status import cluster_logs, cluster_status
from workshop.lab.cluster.workloads import Workloads
from workshop.lab.kube.connection import UnreachableError
from workshop.lab.logs import Log, file_logs
from workshop.lab.pins import Pins
from workshop.lab.steps import Outcome, Step, StepRun, needed_for, plan
from workshop.lab.tools.clusters import Access
from workshop.lab.tools.run import Runner

_UNTIL_OPERATOR = ("operator-ready", "load-workshop")
"""The last steps before the parts: the operator runs, and the node has the images of the parts."""


class ClusterBackend(ABC):
    """Runs the parts on a Kubernetes cluster with ToolHive's operator."""

    name: BackendName
    stays = ""  # the file in the instance's directory that stays after `teardown`

    def __init__(self, directory: Path, runner: Runner, choices: ClusterChoices) -> None:
        self._home = directory
        self._runner = runner
        self._choices = choices
        self._file = ClusterFile(directory)
        self._forwards = Forwards(directory, choices.bounds)

    def apply(
        self, deployments: Sequence[Deployment], choices: Choices, progress: Progress, *, prune: bool = False
    ) -> Applied:
        """With `prune`, create the cluster and everything in it; else only what these deployments need."""
        work = self._up if prune else self._reapply
        return work(deployments, choices, progress)

    def plan(self, deployments: Sequence[Deployment], choices: Choices) -> Sequence[str]:
        """The steps of `up`, each with its commands and files; prepared in a temporary folder."""
        with tempfile.TemporaryDirectory() as folder:
            elsewhere = Path(folder) / self._home.name
            if self._home.is_dir():
                # The plan needs the record and the secrets, and not gigabytes of images.
                large = shutil.ignore_patterns("workloads", "bundle", "load-*")
                shutil.copytree(self._home, elsewhere, ignore=large)
            twin = type(self)(elsewhere, self._runner, self._choices)
            cluster = twin.open(new=True)
            workloads = twin.workloads(cluster, deployments, choices)
            lines = plan(twin.chosen(cluster, workloads, deployments, choices))
            return [line.replace(str(elsewhere), str(self._home)) for line in lines]

    def submit(self, deployment: Deployment, choices: Choices, progress: Progress, /) -> Applied:
        """Only apply one part's manifests; `commands` has what a person would type."""
        workloads, part = self._one_part(self._reachable(progress), deployment, choices)
        self._run([workloads.secrets(), workloads.apply(part, ("secrets",))], progress)
        return self._applied(workloads, [workloads.apply_command(part)], part.objects)

    def by_hand(self, deployment: Deployment, choices: Choices, /) -> Sequence[HandStep]:
        """The commands with which a person deploys one part: secrets from files, apply, wait, forward."""
        workloads, part = self._one_part(self._recorded(), deployment, choices)
        return workloads.by_hand(part)

    def forward(self, deployment: Deployment, choices: Choices, progress: Progress, /) -> Applied:
        """Only forward one part's workloads; `commands` has what a person would type."""
        workloads, part = self._one_part(self._reachable(progress), deployment, choices)
        self._run([workloads.forward(endpoint) for endpoint in part.endpoints], progress)
        commands = [workloads.forward_command(endpoint) for endpoint in part.endpoints]
        return self._applied(workloads, commands)

    def prove(
        self, deployment: Deployment, choices: Choices, tokens: Mapping[str, str], progress: Progress, /
    ) -> None:
        """Check, after a login, the token, the tools behind it, and one call."""
        cluster = self._recorded()
        _, part = self._one_part(cluster, deployment, choices)
        check_after(part, cluster, tokens, progress)

    def status(self) -> Sequence[WorkloadStatus]:
        """The cluster, the operator, the workloads' pods, and the forwards."""
        return [*cluster_status(self._recorded()), *self._forwards.status()]

    def logs(self) -> Sequence[Log]:
        """The logs of the containers in the cluster, and of the forwards on this machine."""
        return [*cluster_logs(self._reachable()), *file_logs(self._home / "workloads", "forward/")]

    def withdraw(self, progress: Progress) -> Sequence[str]:
        """Remove from the cluster what each variation applied; return what was removed."""
        if self._file.read() is None:
            return ()
        cluster, removed = self._reachable(), list[str]()
        for name in variations_made(cluster):
            removal = Removal(cluster, seconds=cluster.limits.removed, variation=name)
            removed += removal.run(progress, must=True)
        return removed

    def teardown(self, progress: Progress) -> Sequence[str]:
        """Stop the forwards, remove our objects or the whole cluster, and remove the state."""
        stopped = [f"forward {name}" for name in self._forwards.stop_all(progress)]
        stopped += self.remove(self._recorded(), progress)
        remove_state(self._home, self.stays)
        return stopped

    def open(self, *, new: bool) -> Cluster:
        """The cluster of this instance; a new one takes this command's choices before the last `up`'s."""
        record = self._file.read()
        overrides = {**(record.overrides if record else {}), **self._choices.overrides}
        pins = Pins.load(overrides)
        if record is None or new:
            record = replace(self.record(record, pins), overrides=overrides)
        tools = Tools(self._runner, self._home, pins)
        pins = replace(pins, cluster_name=record.name)
        if new:
            record, pins = self.with_images(record, pins, tools)
        images: dict[str, Any] = dict(record.images)
        at = Access(self._home / "kubeconfig", record.context)
        return Cluster(
            self._home, record, replace(pins, **images), at, tools, self._file, self._choices.bounds
        )

    @abstractmethod
    def record(self, known: ClusterRecord | None, pins: Pins) -> ClusterRecord:
        """The record with this command's choices; raises UsageError for another cluster than before."""

    @abstractmethod
    def with_images(self, record: ClusterRecord, pins: Pins, tools: Tools) -> tuple[ClusterRecord, Pins]:
        """The record with the images of the workloads, and the pins that they come from."""

    @abstractmethod
    def steps(
        self, cluster: Cluster, workloads: Workloads, deployments: Sequence[Deployment], choices: Choices
    ) -> list[Step]:
        """Every step from an empty machine to running workloads."""

    def image_steps(self, cluster: Cluster, deployments: Sequence[Deployment]) -> list[Step]:
        """The steps that bring what `up` did not: the images of a variation. A cluster pulls its own."""
        del cluster, deployments
        return []

    def wait_awake(self, cluster: Cluster, progress: Progress) -> None:
        """Wait for a cluster that was started a moment ago; a stopped one, or another owner's, is not."""
        del cluster, progress

    @abstractmethod
    def remove(self, cluster: Cluster, progress: Progress) -> list[str]:
        """Remove our objects from the cluster, or the cluster itself; return what was removed."""

    def chosen(
        self, cluster: Cluster, workloads: Workloads, deployments: Sequence[Deployment], choices: Choices
    ) -> list[Step]:
        """The steps of `up`, without those of the parts if it stops at the operator."""
        steps = self.steps(cluster, workloads, deployments, choices)
        return steps if self._choices.until is None else needed_for(steps, _UNTIL_OPERATOR)

    def workloads(self, cluster: Cluster, deployments: Sequence[Deployment], choices: Choices) -> Workloads:
        """Render these deployments for the cluster, and write their secrets and files."""
        return Workloads(cluster, Renderer(cluster).render(deployments, choices))

    def _one_part(
        self, cluster: Cluster, deployment: Deployment, choices: Choices
    ) -> tuple[Workloads, RenderedPart]:
        workloads = self.workloads(cluster, [deployment], choices)
        (part,) = workloads.parts
        return workloads, part

    def _up(self, deployments: Sequence[Deployment], choices: Choices, progress: Progress) -> Applied:
        first = self._file.read() is None
        cluster = self.open(new=True)
        self._file.write(cluster.record)  # before anything is created, so that `teardown` knows of it
        run: StepRun | None = None
        try:
            workloads = self.workloads(cluster, deployments, choices)
            with workloads.forwards.holding([each for part in workloads.parts for each in part.endpoints]):
                run = StepRun(self.chosen(cluster, workloads, deployments, choices), progress, self._runner)
                outcome = run.run(undo=first and not self._choices.keep)
        except BaseException as error:
            if not self._wind_up(progress, first=first, left=run is not None and run.left):
                _name_nothing_removed(error, self._home)
            raise
        applied = self._applied(workloads, []) if self._choices.until is None else Applied({}, [], [])
        return replace(applied, steps=outcome.times)

    def _wind_up(self, progress: Progress, *, first: bool, left: bool) -> bool:
        """Remove the state of a first `up` that left nothing; otherwise report that the next one resumes.

        Returns whether something is left.
        """
        made = [thing for thing in self._file.made() if thing != "crds"]
        if first and not left and not made:
            with contextlib.suppress(OSError, WorkshopError):
                remove_state(self._home, self.stays)
            return False
        there = ", ".join(made) or "what is applied"
        progress.tell(f"Left in place: {there}. Run the same command again to resume")
        return True

    def _reapply(self, deployments: Sequence[Deployment], choices: Choices, progress: Progress) -> Applied:
        cluster = self._reachable(progress)
        variations = [each.variation for each in deployments if each.variation]
        if variations:
            require_gateways(cluster)
        workloads = self.workloads(cluster, deployments, choices)
        for name in variations:
            self._file.creating(VARIATION + name)
        images = self.image_steps(cluster, deployments)
        loaded = tuple(step.name for step in images[-1:])
        with workloads.forwards.holding([each for part in workloads.parts for each in part.endpoints]):
            self._run([*images, *workloads.steps(after=loaded, operator=(), images=())], progress)
        return self._applied(workloads, [])

    def _run(self, steps: Sequence[Step], progress: Progress) -> Outcome:
        return StepRun(steps, progress, self._runner).run(undo=False)

    def _recorded(self) -> Cluster:
        if self._file.read() is None:
            raise PreflightError("No cluster is up", hint="Run `workshop up` first")
        return self.open(new=False)

    def _reachable(self, progress: Progress | None = None) -> Cluster:
        cluster = self._recorded()
        try:
            if progress:
                self.wait_awake(cluster, progress)
            cluster.kube.version()
        except UnreachableError as error:
            raise PreflightError(
                f"The cluster `{cluster.record.name}` does not answer",
                why=error.why,
                hint="Is Docker running? `workshop up` starts what is stopped; `workshop status` shows more",
            ) from error
        return cluster

    def _applied(
        self, workloads: Workloads, commands: Sequence[str], objects: Sequence[object] = ()
    ) -> Applied:
        endpoints = [endpoint for part in workloads.parts for endpoint in part.endpoints]
        names = [getattr(item, "title", "") for item in objects] or [each.name for each in endpoints]
        started = [name for name in names if name in workloads.changed | workloads.affected]
        unchanged = [name for name in names if name not in started]
        return Applied({each.name: each.url for each in endpoints}, started, unchanged, commands)


def _name_nothing_removed(error: BaseException, home: Path) -> None:
    """Replace a hint that names files which the undo has removed."""
    if isinstance(error, WorkshopError) and str(home) in error.hint:
        error.hint = "`workshop up --keep` leaves what it made in place, so that you can inspect it"
