"""The `kind`, `kubectl` and `helm` commands, each with an explicit kubeconfig and context.

Helm also has a home of its own: a person's logins and plug-ins are not used.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from workshop.core.errors import PreflightError, WorkshopError
from workshop.core.paths import make_private_dir, write_private
from workshop.core.text import moment
from workshop.lab.pins import Pins
from workshop.lab.tools.run import INSTALL, Done, Runner, Version, parsed, spelled

_ASK_SECONDS = 30.0
_DELETE_SECONDS = 120.0
_LOAD_SECONDS = 300.0
_PROVIDER = "KIND_EXPERIMENTAL_PROVIDER"
_OLDEST_KUBECTL: Version = (1, 25, 0)  # ToolHive's own floor
_OLDEST_HELM: Version = (3, 10, 0)  # ToolHive's charts support 3.10 and newer, and 4
_HELM_BELOW: Version = (5, 0, 0)
_PULL_SECONDS = 180.0
_HEAL_SECONDS = 120.0
# An entry that matches nothing: if the file has no entry, Helm looks into the system's keychain.
_NO_LOGIN = b'{"auths": {"no-login.invalid": {}}}\n'


def control_plane(cluster: str) -> str:
    """The container that kind makes for a cluster's first node."""
    return f"{cluster}-control-plane"


class Kind:
    """Drives `kind`; each command that touches a kubeconfig names the file."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def examine(self) -> Version:
        """The version of kind; raises PreflightError when it is absent or outside the supported range."""
        oldest, below = Pins.load().kind_versions
        printed = self._run(["kind", "version"], seconds=_ASK_SECONDS).stdout
        return _supported("kind", printed, parsed(oldest), parsed(below), f"{oldest} or newer, below {below}")

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


def _supported(
    program: str, printed: str, oldest: Version | None, below: Version | None, needed: str
) -> Version:
    """The version that a program printed; raises PreflightError for an unknown one, or one out of range."""
    version = parsed(printed)
    if version is None or (oldest and version < oldest) or (below and version >= below):
        raise PreflightError(
            f"This version of {program} does not work here: {printed.strip()[:80]}",
            why=f"The workshop needs {needed}",
            hint=INSTALL[program],
        )
    return version


def _names(done: Done) -> tuple[str, ...]:
    # "No kind clusters found." is on stderr.
    return tuple(line.strip() for line in done.stdout.splitlines() if line.strip())


@dataclass(frozen=True)
class Access:
    """A kubeconfig file and a context in it; None takes the file's own current context."""

    kubeconfig: Path
    context: str | None = None

    def flags(self, context_flag: str) -> list[str]:
        """The flags that select this cluster; kubectl and helm name the context differently."""
        chosen = [context_flag, self.context] if self.context else []
        return ["--kubeconfig", str(self.kubeconfig), *chosen]


class Kubectl:
    """Drives `kubectl`; never uses the person's kubeconfig."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def examine(self) -> Version:
        """The version of kubectl; raises PreflightError when it is absent or too old."""
        argv = ("kubectl", "version", "--client", "--output", "json")
        printed = self._runner.run(argv, seconds=_ASK_SECONDS).stdout
        with contextlib.suppress(ValueError, LookupError, TypeError):  # it has other versions too
            printed = str(json.loads(printed)["clientVersion"]["gitVersion"])
        needed = f"{spelled(_OLDEST_KUBECTL)} or newer"
        return _supported("kubectl", printed, _OLDEST_KUBECTL, None, needed)

    @staticmethod
    def argv(at: Access, *words: str) -> list[str]:
        """A kubectl command against one cluster."""
        return ["kubectl", *at.flags("--context"), *words]

    def port_forward_argv(
        self, at: Access, namespace: str, target: str, local: int, remote: int
    ) -> list[str]:
        """The command that forwards a port of this machine's localhost to a port of `target`."""
        return self.argv(at, "--namespace", namespace, "port-forward", target, f"{local}:{remote}")

    def exec(
        self, at: Access, namespace: str, pod: str, words: Sequence[str], *, seconds: float = _ASK_SECONDS
    ) -> Done:
        """Run a command in a pod, whatever its exit code; `words` may begin with the container's flag."""
        argv = self.argv(at, "--namespace", namespace, "exec", pod, *words)
        return self._runner.run(argv, seconds=seconds, check=False)


def skew_note(client: Version, server: Version) -> str:
    """A warning if kubectl and a cluster are more than one minor version apart; else empty."""
    if client[0] == server[0] and abs(client[1] - server[1]) <= 1:
        return ""
    return (
        f"kubectl is {spelled(client)} and the cluster {spelled(server)}: "
        "Kubernetes supports one minor version apart"
    )


@dataclass(frozen=True)
class Release:
    """A Helm release according to its last revision; `chart` is `<name>-<version>`."""

    status: str
    revision: int
    chart: str
    updated: datetime | None = None

    @property
    def pending(self) -> bool:
        """Whether a Helm command is still changing it, or was interrupted."""
        return self.status == "uninstalling" or self.status.startswith("pending-")

    def age(self) -> float:
        """Seconds since the last change of its state, by this machine's clock; never below 0."""
        if self.updated is None:
            return float("inf")
        return max(0.0, (datetime.now(UTC) - self.updated).total_seconds())


class Helm:
    """Drives `helm` under `home`; each command that touches a cluster names kubeconfig and context."""

    def __init__(
        self,
        runner: Runner,
        home: Path,
        ca_file: Path | None = None,
        proxy: Mapping[str, str] | None = None,
        look_seconds: float = 1.0,
    ) -> None:
        self._runner = runner
        self._look_seconds = look_seconds
        self._home = home
        self._proxy = proxy or {}  # for registries, not for clusters
        self._trusted = ["--ca-file", str(ca_file)] if ca_file else []

    def examine(self) -> Version:
        """The version of Helm; raises PreflightError when it is absent or out of range."""
        argv = ["helm", "version", "--template", "{{.Version}}"]
        printed = self._run(argv, seconds=_ASK_SECONDS).stdout
        needed = f"{spelled(_OLDEST_HELM)} or newer, below {spelled(_HELM_BELOW)}"
        return _supported("helm", printed, _OLDEST_HELM, _HELM_BELOW, needed)

    def pull(self, chart: str, version: str, folder: Path) -> Path:
        """The local path of a chart, which is fetched from its OCI reference unless it is in `folder`."""
        archive = self.archive(chart, version, folder)
        if chart.startswith("oci://") and not archive.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            argv, env = self.pull_argv(chart, version, folder), {**self.environment(), **self._proxy}
            self._runner.run(argv, seconds=_PULL_SECONDS, env=env)
        return archive

    @staticmethod
    def archive(chart: str, version: str, folder: Path) -> Path:
        """The local path of a chart, whether it was fetched or not."""
        if not chart.startswith("oci://"):
            return Path(chart)
        return folder / f"{chart.rsplit('/', 1)[-1]}-{version}.tgz"

    def status(self, release: str, namespace: str, at: Access) -> Release | None:
        """The last revision of a release; None when there is none."""
        argv = ["helm", "history", release, "--namespace", namespace, "--max", "1", "--output", "json"]
        done = self._run([*argv, *at.flags("--kube-context")], seconds=_ASK_SECONDS, check=False)
        if _is_absent(done):
            return None
        if done.code:
            raise self._runner.failure(done)
        try:
            last = json.loads(done.stdout)[-1]
            updated = moment(str(last.get("updated", "")))
            return Release(str(last["status"]), int(last["revision"]), str(last["chart"]), updated)
        except (ValueError, LookupError, TypeError) as error:
            raise WorkshopError(
                f"`helm history {release}` printed something unexpected", why=done.stdout.strip()[:200]
            ) from error

    def upgrade(
        self,
        release: str,
        chart: str,
        namespace: str,
        *,
        version: str,
        values: Sequence[Path],
        at: Access,
        seconds: float,
        first: bool = False,
        patience: float = 0.0,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Install or upgrade a release, after repairing an interrupted operation; do not wait for its pods.

        Where others may run Helm, a pending operation is left alone until it is `patience` seconds old. The
        `first` operation of a release has none before it.
        """
        if not first:
            self._heal(release, namespace, at, patience, note)
        argv = self.upgrade_argv(release, chart, namespace, version=version, values=values, at=at)
        # Helm's own limit comes first, because its error names what it waited for.
        self._run([*argv, "--timeout", f"{seconds:.0f}s"], seconds=seconds + _ASK_SECONDS)

    def uninstall(self, release: str, namespace: str, at: Access, seconds: float = _HEAL_SECONDS) -> bool:
        """Uninstall a release and wait until its objects are deleted; False if there was none."""
        argv = ["helm", "uninstall", release, "--namespace", namespace, *at.flags("--kube-context")]
        argv += ["--wait", "--timeout", f"{seconds:.0f}s"]
        done = self._run(argv, seconds=seconds + _ASK_SECONDS, check=False)
        if _is_absent(done):
            return False
        if done.code:
            raise self._runner.failure(done)
        return True

    def pull_argv(self, chart: str, version: str, folder: Path) -> list[str]:
        """The command that fetches a chart."""
        argv = ["helm", "pull", chart, "--version", version, "--destination", str(folder)]
        return argv + self._trusted

    def upgrade_argv(
        self, release: str, chart: str, namespace: str, *, version: str, values: Sequence[Path], at: Access
    ) -> list[str]:
        """The command that installs or upgrades a release; a local chart contains its version."""
        argv = ["helm", "upgrade", release, chart, "--install"]
        argv += ["--namespace", namespace, "--create-namespace"]
        argv += ["--version", version, *self._trusted] if chart.startswith("oci://") else []
        argv += [word for path in values for word in ("--values", str(path))]
        return argv + at.flags("--kube-context")

    def environment(self) -> dict[str, str | None]:
        """Helm's environment, without a person's HELM_* variables: they may name a cluster or a token."""
        registry = self._home / "config" / "registry"  # where Helm looks for it
        if not (registry / "config.json").is_file():
            make_private_dir(registry)
            write_private(registry / "config.json", _NO_LOGIN)
        foreign = dict.fromkeys(name for name in os.environ if name.startswith("HELM_"))
        return {
            **foreign,
            "HELM_CONFIG_HOME": str(self._home / "config"),
            "HELM_CACHE_HOME": str(self._home / "cache"),
            "HELM_DATA_HOME": str(self._home / "data"),
            "DOCKER_CONFIG": str(registry),  # otherwise Helm uses Docker's logins
        }

    def _heal(
        self, release: str, namespace: str, at: Access, patience: float, note: Callable[[str], None]
    ) -> None:
        """End an interrupted operation: Helm refuses every other while one is pending."""
        now = self._settled(release, namespace, at, patience, note)
        if now is None:
            return
        # A first installation has nothing to roll back to, and an uninstallation is only finished.
        if now.status in {"pending-install", "uninstalling"}:
            self.uninstall(release, namespace, at)
        elif now.status in {"pending-upgrade", "pending-rollback"}:
            argv = ["helm", "rollback", release, "--namespace", namespace, *at.flags("--kube-context")]
            self._run(argv, seconds=_HEAL_SECONDS)

    def _settled(
        self, release: str, namespace: str, at: Access, patience: float, note: Callable[[str], None]
    ) -> Release | None:
        """The release once it is no longer pending, or has been pending for `patience` seconds."""
        begun = time.monotonic()
        while True:
            now = self.status(release, namespace, at)
            if now is None or not now.pending:
                return now
            # Both, because `updated` is from the other machine's clock, which may run ahead of this one.
            if max(now.age(), time.monotonic() - begun) >= patience:
                return now
            note(f"{release} is {now.status}, by another Helm command: waiting up to {patience:.0f} s")
            time.sleep(self._look_seconds)

    def _run(self, argv: Sequence[str], *, seconds: float, check: bool = True) -> Done:
        return self._runner.run(argv, seconds=seconds, env=self.environment(), check=check)


def _is_absent(done: Done) -> bool:
    return done.code != 0 and "release: not found" in done.stderr.lower()
