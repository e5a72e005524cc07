"""The `kind` command: clusters whose nodes are containers."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from workshop.core.errors import PreflightError
from workshop.lab.pins import Pins
from workshop.lab.tools.run import Done, Runner, Version, parsed

_ASK_SECONDS = 30.0
_DELETE_SECONDS = 120.0
_LOAD_SECONDS = 300.0
_PROVIDER = "KIND_EXPERIMENTAL_PROVIDER"


def control_plane(cluster: str) -> str:
    """The container that kind makes for a cluster's first node."""
    return f"{cluster}-control-plane"


class Kind:
    """Drives `kind`; each command that touches a kubeconfig names the file."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def examine(self) -> Version:
        """The version of kind; raises PreflightError when it is absent or outside the supported range."""
        minimum, below = Pins.load().kind_versions
        done = self._run(["kind", "version"], seconds=_ASK_SECONDS)
        version = parsed(done.stdout)
        if version is None or not (parsed(minimum) or version) <= version < (parsed(below) or version):
            raise PreflightError(
                f"This version of kind does not work here: {done.stdout.strip()}",
                why=f"The workshop needs {minimum} or newer, below {below}",
                hint="Install a supported version: https://kind.sigs.k8s.io/docs/user/quick-start/#installation",
            )
        return version

    def clusters(self) -> tuple[str, ...]:
        """The names of this engine's kind clusters."""
        return _names(self._run(["kind", "get", "clusters"], seconds=_ASK_SECONDS))

    def nodes(self, name: str) -> tuple[str, ...]:
        """The container names of a cluster's nodes; none when there is no such cluster."""
        return _names(self._run(["kind", "get", "nodes", "--name", name], seconds=_ASK_SECONDS))

    def create(
        self,
        name: str,
        config: Path,
        kubeconfig: Path,
        image: str,
        seconds: float,
        *,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Create a cluster; `env` has the proxy for its nodes."""
        self._run(self.create_argv(name, config, kubeconfig, image), seconds=seconds, env=env)

    def delete(self, name: str, kubeconfig: Path) -> None:
        """Delete a cluster and its entry in our kubeconfig; an absent one is not an error."""
        argv = ["kind", "delete", "cluster", "--name", name, "--kubeconfig", str(kubeconfig)]
        self._run(argv, seconds=_DELETE_SECONDS)

    def load_archive(self, name: str, archive: Path) -> None:
        """Load an image archive into every node of a cluster."""
        self._run(self.load_argv(name, archive), seconds=_LOAD_SECONDS, repeatable=False)

    def export_kubeconfig(self, name: str, kubeconfig: Path) -> None:
        """Write the access of a cluster to our kubeconfig."""
        argv = ["kind", "export", "kubeconfig", "--name", name, "--kubeconfig", str(kubeconfig)]
        self._run(argv, seconds=_ASK_SECONDS)

    @staticmethod
    def create_argv(name: str, config: Path, kubeconfig: Path, image: str) -> list[str]:
        """The command that creates a cluster."""
        argv = ["kind", "create", "cluster", "--name", name, "--config", str(config), "--image", image]
        return [*argv, "--kubeconfig", str(kubeconfig)]

    @staticmethod
    def load_argv(name: str, archive: Path) -> list[str]:
        """The command that loads an image archive into a cluster's nodes."""
        return ["kind", "load", "image-archive", str(archive), "--name", name]

    def _run(
        self,
        argv: Sequence[str],
        *,
        seconds: float,
        env: Mapping[str, str] | None = None,
        repeatable: bool = True,
    ) -> Done:
        # Images are built with `docker`: another provider of kind would not have them.
        engine = {_PROVIDER: "docker"} if os.environ.get(_PROVIDER) else {}
        together = {**engine, **(env or {})}
        return self._runner.run(argv, seconds=seconds, env=together, repeatable=repeatable)


def _names(done: Done) -> tuple[str, ...]:
    return tuple(line.strip() for line in done.stdout.splitlines() if line.strip())
