"""The `helm` command, 3.10 or newer, with its own home: a person's logins and plug-ins are not used."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from workshop.core.errors import PreflightError, WorkshopError
from workshop.core.paths import make_private_dir, write_private
from workshop.lab.tools.kubectl import Access
from workshop.lab.tools.run import Done, Runner, Version, parsed, spelled

MINIMUM: Version = (3, 10, 0)
NEWEST_MAJOR = 4
_ASK_SECONDS = 30.0
_PULL_SECONDS = 180.0
_HEAL_SECONDS = 120.0
# An entry that matches nothing: if the file has no entry, Helm looks into the system's keychain.
_NO_LOGIN = b'{"auths": {"no-login.invalid": {}}}\n'


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
        done = self._run(["helm", "version", "--template", "{{.Version}}"], seconds=_ASK_SECONDS)
        version = parsed(done.stdout)
        if version is None or version < MINIMUM or version[0] > NEWEST_MAJOR:
            raise PreflightError(
                f"This version of Helm does not work here: {done.stdout.strip()}",
                why=f"The workshop needs Helm 3 from {spelled(MINIMUM)} on, or Helm {NEWEST_MAJOR}",
                hint="Install a supported version: https://helm.sh/docs/intro/install/",
            )
        return version

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
            updated = _moment(str(last.get("updated", "")))
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
            if max(now.age(), time.monotonic() - begun) >= patience:
                return now
            note(f"{release} is {now.status}, by another Helm command: waiting up to {patience:.0f} s")
            time.sleep(self._look_seconds)

    def _run(self, argv: Sequence[str], *, seconds: float, check: bool = True) -> Done:
        return self._runner.run(argv, seconds=seconds, env=self.environment(), check=check)


def _is_absent(done: Done) -> bool:
    return done.code != 0 and "release: not found" in done.stderr.lower()


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
