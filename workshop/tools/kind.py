"""The `kind` command: clusters whose nodes are containers."""

import os
from collections.abc import Mapping
from pathlib import Path

from workshop.errors import PreflightError
from workshop.tools.run import Done, Runner
from workshop.tools.version import Version, parsed, spelled

MINIMUM: Version = (0, 27, 0)  # the first whose `load` works with the containerd 2 of current node images
_ASK_SECONDS = 30.0
_DELETE_SECONDS = 120.0
_LOAD_SECONDS = 300.0
_PROVIDER = "KIND_EXPERIMENTAL_PROVIDER"


class Kind:
    """Drives `kind`; each command that touches a kubeconfig names the file."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def examine(self) -> Version:
        """The version of kind; raises PreflightError when it is absent or too old."""
        done = self._run("version", seconds=_ASK_SECONDS)
        version = parsed(done.stdout)
        if version is None or version < MINIMUM:
            raise PreflightError(
                f"kind is too old: {done.stdout.strip()}",
                why=f"{spelled(MINIMUM)} is the first that can load images into current nodes",
                hint="Update kind: https://kind.sigs.k8s.io/docs/user/quick-start/#installation",
            )
        return version

    def clusters(self) -> tuple[str, ...]:
        """The names of this engine's kind clusters."""
        return _names(self._run("get", "clusters", seconds=_ASK_SECONDS))

    def nodes(self, name: str) -> tuple[str, ...]:
        """The container names of a cluster's nodes; none when there is no such cluster."""
        return _names(self._run("get", "nodes", "--name", name, seconds=_ASK_SECONDS))

    def create(
        self,
        name: str,
        config: Path,
        kubeconfig: Path,
        image: str,
        seconds: float,
        *,
        retain: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Create a cluster; `retain` keeps the nodes of a failed one, `env` carries the proxy for them."""
        words = ["create", "cluster", "--name", name, "--config", str(config), "--image", image]
        words += ["--kubeconfig", str(kubeconfig), *(["--retain"] if retain else [])]
        self._run(*words, seconds=seconds, env=env)

    def delete(self, name: str, kubeconfig: Path) -> None:
        """Delete a cluster and its entry in our kubeconfig; one that is gone is no error."""
        words = ("delete", "cluster", "--name", name, "--kubeconfig", str(kubeconfig))
        self._run(*words, seconds=_DELETE_SECONDS)

    def load_archive(self, name: str, archive: Path) -> None:
        """Load an image archive into every node of a cluster."""
        self._run("load", "image-archive", str(archive), "--name", name, seconds=_LOAD_SECONDS)

    def export_kubeconfig(self, name: str, kubeconfig: Path) -> None:
        """Write the access of a cluster to our kubeconfig."""
        words = ("export", "kubeconfig", "--name", name, "--kubeconfig", str(kubeconfig))
        self._run(*words, seconds=_ASK_SECONDS)

    def _run(self, *words: str, seconds: float, env: Mapping[str, str] | None = None) -> Done:
        # Images are built with `docker`: another provider of kind's would not see them.
        engine = {_PROVIDER: "docker"} if os.environ.get(_PROVIDER) else {}
        return self._runner.run(["kind", *words], seconds=seconds, env={**engine, **(env or {})})


def _names(done: Done) -> tuple[str, ...]:
    return tuple(line.strip() for line in done.stdout.splitlines() if line.strip())
