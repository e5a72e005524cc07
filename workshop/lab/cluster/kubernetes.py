"""The Kubernetes backend: a namespace of an existing cluster. It changes only objects with our label."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from workshop.core.console import Progress
from workshop.core.console import Step as Line
from workshop.core.errors import CredentialsError, PreflightError, UsageError
from workshop.core.invocation import BACKEND_VARIABLE, again, given_as
from workshop.core.paths import write_private
from workshop.lab.base import BackendName, Choices, Deployment
from workshop.lab.cluster.backend import ClusterBackend
from workshop.lab.cluster.operator import Operator
from workshop.lab.cluster.record import Cluster, ClusterRecord, Tools, new_id
from workshop.lab.cluster.removal import Removal
from workshop.lab.cluster.workloads import Workloads
from workshop.lab.pins import Pins
from workshop.lab.steps import Step
from workshop.lab.tools.run import Runner, copyable

# Words of a name, and not parts of one such as `reproduction` or `delivery`.
_PRODUCTION = re.compile(r"(?<![a-z0-9])(prod|production|prd|live)(?![a-z])", re.IGNORECASE)
_ASK_SECONDS = 30.0


class KubernetesBackend(ClusterBackend):
    """Deploys the parts to a context of the person's kubeconfig, which is read and never written.

    The instance has a kubeconfig of its own, into which that context is copied.
    """

    name: BackendName = "kubernetes"

    def steps(
        self, cluster: Cluster, workloads: Workloads, deployments: Sequence[Deployment], choices: Choices
    ) -> list[Step]:
        """The steps; neither a cluster nor images are created, because both have to exist."""
        del deployments
        require_images(cluster.pins, practice=choices.upstream == "practice")
        operator = Operator(cluster, install=self._choices.install_operator)
        applied = tuple(f"apply-{part.key}" for part in workloads.parts)
        return [
            Step("preflight", "Check the tools", lambda line: _check_tools(cluster, line)),
            Step(
                "access",
                f"Copy the context {cluster.record.name}",
                lambda line: self._copy_access(cluster, line),
                needs=("preflight",),
                plan=lambda: [f"write {cluster.at.kubeconfig}", copyable(_view_argv(cluster.record.name))],
            ),
            *(
                step if step.needs else replace(step, needs=("access",))
                for step in operator.steps(after=("access",))
            ),
            *workloads.steps(after=("crds",), operator=("operator-ready",), images=()),
            workloads.prune(applied),
        ]

    def remove(self, cluster: Cluster, progress: Progress) -> list[str]:
        """Remove our objects from the cluster; the cluster stays."""
        release = Operator(cluster).release
        return Removal(cluster, seconds=cluster.limits.removed, release=release).run(progress, must=True)

    def record(self, known: ClusterRecord | None, pins: Pins) -> ClusterRecord:
        """The record with the chosen context and namespace."""
        context = self._choices.context or (known.name if known else None)
        if context is None:
            raise no_context(
                f"`{given_as('--backend', BACKEND_VARIABLE, 'kubernetes')}` needs `--context NAME`"
            )
        namespace = self._choices.namespace or (known.namespace if known else pins.namespace)
        if known and (known.name, known.namespace) != (context, namespace):
            raise UsageError(
                f"This instance is in namespace `{known.namespace}` of `{known.name}`",
                hint="Run `workshop teardown` first, or leave out `--context` and `--namespace`",
            )
        return known or ClusterRecord("kubernetes", new_id(), context, namespace)

    def _copy_access(self, cluster: Cluster, line: Line) -> None:
        server = copy_context(
            cluster.tools.runner, cluster.record.name, cluster.at.kubeconfig, yes=self._choices.yes
        )
        line.note(f"{server}, Kubernetes {cluster.kube.version()}")

    def with_images(self, record: ClusterRecord, pins: Pins, _tools: Tools) -> tuple[ClusterRecord, Pins]:
        """The workshop's own images; the operator's are those of whoever installs it."""
        return replace(record, images={"mcp_server": pins.mcp_server, "practice": pins.practice}), pins


def no_context(what: str, hint: str = "") -> UsageError:
    """The error for a command that names no context."""
    return UsageError(
        what,
        why="The current context is never used, because it may be any cluster",
        hint=f"{hint}`kubectl config get-contexts` lists yours",
    )


def copy_context(runner: Runner, context: str, path: Path, *, yes: bool) -> str:
    """Write a kubeconfig with one context of the person's, which is not changed; return its server.

    It has the settings of the context's credential plugin too. Raises UsageError for an unknown context, and
    CredentialsError for one that looks like production, unless the person said `yes`.
    """
    done = runner.run(_view_argv(context), seconds=_ASK_SECONDS, check=False)
    if done.code:
        raise UsageError(
            f"There is no context `{context}` in your kubeconfig",
            why=done.stderr.strip()[:200],
            hint="`kubectl config get-contexts` lists what there is",
        )
    server = _server(done.stdout)
    name = next((text for text in (context, server) if looks_like_production(text)), None)
    if name and not yes:
        raise CredentialsError(
            f"The context `{context}` looks like production",
            why=f"By its name: {name}",
            hint=f"If you are sure: {again('--yes')}",
        )
    write_private(path, done.stdout.encode())
    return server


def looks_like_production(name: str) -> bool:
    """Whether the name of a context or an address looks like production."""
    return _PRODUCTION.search(name) is not None


def _check_tools(cluster: Cluster, _line: Line) -> None:
    cluster.tools.helm.examine()
    cluster.tools.kubectl.examine()


def _view_argv(context: str) -> list[str]:
    return ["kubectl", "config", "view", "--minify", "--flatten", "--raw", f"--context={context}"]


def _server(kubeconfig: str) -> str:
    import yaml

    try:
        return str(yaml.safe_load(kubeconfig)["clusters"][0]["cluster"]["server"])
    except (yaml.YAMLError, LookupError, TypeError) as error:
        raise PreflightError("`kubectl config view` printed something unexpected") from error


def require_images(pins: Pins, *, practice: bool) -> None:
    """Raise UsageError unless the person named images of the workshop that the cluster can pull."""
    wanted = ("mcp_server", *(["practice"] if practice else []))
    for name in (name for name in wanted if name not in pins.prebuilt):
        option = name.replace("_", "-")
        raise UsageError(
            f"The image `{getattr(pins, name)}` is not in a registry that this cluster can pull from",
            why="Only the workshop's own kind cluster gets images from this machine",
            hint=f"Push it to a registry; then {again(f'--override={option}=REGISTRY/NAME:TAG')}",
        )
