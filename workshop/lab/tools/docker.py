"""The `docker` command: the engine's state, and the few image operations a cluster needs."""

import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from workshop.core.errors import DeadlineError, WorkshopError, reason
from workshop.lab.tools import engine
from workshop.lab.tools.engine import Engine, EngineError
from workshop.lab.tools.run import Done, Runner

_IMAGE_SECONDS = 900.0
_COPY_SECONDS = 120.0
_REFUSED = ("denied", "unauthorized", "403 forbidden", "error getting credentials")
_MOST_BYTES = 4 * 2**20


@dataclass(frozen=True)
class ImageInfo:
    """An image that the engine has."""

    id: str
    platform: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ContainerState:
    """Whether a container runs, and since when it does, or did: RFC 3339 text."""

    running: bool
    started_at: str


class Docker:
    """Drives `docker`; never logs in or out, never changes its context."""

    def __init__(self, runner: Runner, ask_seconds: float = 20.0) -> None:
        self._runner = runner
        self._ask_seconds = ask_seconds

    def examine(self) -> Engine:
        """The engine that answers; raises EngineError, a PreflightError, for every other state."""
        return self.engine

    @cached_property
    def engine(self) -> Engine:
        """The engine, examined once."""
        if shutil.which("docker") is None:
            raise engine.absent()
        context, endpoint = self._endpoint()
        try:
            version = self._ask("version", "--format", "{{json .}}")
            found = _json(version.stdout)
            # Without an engine, `docker version` still prints the client's half.
            if version.code or not found.get("Server"):
                raise engine.unreachable(version.stderr or version.stdout, endpoint, context)
            info = self._ask("info", "--format", "{{json .}}")
        except DeadlineError as error:
            problem = f"It did not answer within {self._ask_seconds:.0f} s"
            raise engine.unreachable(problem, endpoint, context) from error
        if info.code:
            raise engine.unreachable(info.stderr or info.stdout, endpoint, context)
        return engine.read_engine(found, _json(info.stdout), endpoint)

    def image(self, ref: str) -> ImageInfo | None:
        """The engine's information about an image; None if it does not have it."""
        found = self._inspect("image", ref, "{{json .}}")
        if found is None:
            return None
        variant = f"/{found['Variant']}" if found.get("Variant") else ""
        return ImageInfo(
            id=str(found.get("Id", "")),
            platform=f"{found.get('Os', '')}/{found.get('Architecture', '')}{variant}",
            labels=(found.get("Config") or {}).get("Labels") or {},
        )

    def pull(self, ref: str, platform: str) -> None:
        """Pull one platform of an image; if the registry refuses the stored login, pull again without it."""
        argv = ["docker", "pull", "--quiet", "--platform", platform, ref]
        done = self._runner.run(argv, seconds=_IMAGE_SECONDS, check=False)
        if done.code and any(mark in done.stderr.lower() for mark in _REFUSED) and self._pull_bare(argv):
            return
        if done.code:
            raise self._runner.failure(done, what=f"The image `{ref}` cannot be pulled")

    def build(
        self,
        tag: str,
        context: Path,
        dockerfile: Path,
        build_args: Mapping[str, str],
        *,
        network: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Build an image; the values of its arguments are in the environment: one may contain a login."""
        argv = self.build_argv(tag, context, dockerfile, build_args, network=network, labels=labels)
        context_name, _ = self._endpoint()
        env = {
            "BUILDX_BUILDER": context_name,  # another builder does not export the image to the engine
            "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",  # kind cannot load the index that they make
            "DOCKER_DEFAULT_PLATFORM": self.engine.platform,
            **build_args,
        }
        self._runner.run(argv, seconds=_IMAGE_SECONDS, env=env)

    def save(self, refs: Sequence[str], archive: Path, platform: str) -> None:
        """Write images to an archive of one platform; a failure leaves no file."""
        part = archive.with_name(f".{archive.name}.part")
        chosen = self._one_platform(platform)
        try:
            self._runner.run(self.save_argv(refs, part, chosen), seconds=_IMAGE_SECONDS, repeatable=False)
            part.replace(archive)
        finally:
            part.unlink(missing_ok=True)

    def load(self, archive: Path) -> tuple[str, ...]:
        """Load an archive's images into the engine; return their names."""
        done = self._runner.run(["docker", "load", "--input", str(archive)], seconds=_IMAGE_SECONDS)
        # An image without a name has the line `Loaded image ID: sha256:…`.
        lines = [line.partition(":") for line in done.stdout.splitlines() if line.startswith("Loaded image")]
        return tuple(name.strip() for _, _, name in lines)

    def tag(self, source: str, target: str) -> None:
        """Give an image another name."""
        self._runner.run(["docker", "tag", source, target], seconds=self._ask_seconds)

    def exec(
        self, container: str, argv: Sequence[str], *, seconds: float = _COPY_SECONDS, check: bool = True
    ) -> Done:
        """Run a command inside a running container."""
        return self._runner.run(["docker", "exec", container, *argv], seconds=seconds, check=check)

    def container(self, name: str) -> ContainerState | None:
        """The state of a container; None if there is none of that name."""
        found = self._inspect("container", name, "{{json .State}}")
        if found is None:
            return None
        return ContainerState(found.get("Running") is True, str(found.get("StartedAt") or ""))

    def start(self, container: str, seconds: float) -> None:
        """Start a container; one that already runs is left alone."""
        self._runner.run(["docker", "start", container], seconds=seconds)

    def import_archive(self, node: str, archive: Path) -> bool:
        """Import an image archive into the containerd of a kind node; False if its `ctr` fails.

        `kind load image-archive` runs the same command without `--local`. That option bypasses containerd's
        transfer service, which takes two to three times the processor time for an archive (containerd 2.3).
        """
        argv = ["docker", "exec", "--interactive", node, "ctr", "--namespace=k8s.io", "images", "import"]
        argv += ["--local", "--all-platforms", "--digests", "-"]
        if not archive.is_file():
            return False
        return self._runner.run(argv, seconds=_IMAGE_SECONDS, stdin=archive, check=False).code == 0

    def copy_from(self, container: str, source: str, target: Path) -> None:
        """Copy a file out of a container, running or not."""
        argv = ["docker", "cp", f"{container}:{source}", str(target)]
        self._runner.run(argv, seconds=_COPY_SECONDS, repeatable=False)

    @staticmethod
    def build_argv(
        tag: str,
        context: Path,
        dockerfile: Path,
        build_args: Iterable[str] = (),
        *,
        network: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> list[str]:
        """The command that builds an image, with the names of the arguments that the environment contains."""
        argv = ["docker", "build", "--tag", tag, "--file", str(dockerfile)]
        argv += [word for name in build_args for word in ("--build-arg", name)]
        argv += [word for name, value in (labels or {}).items() for word in ("--label", f"{name}={value}")]
        argv += ["--network", network] if network else []
        return [*argv, str(context)]

    @staticmethod
    def save_argv(refs: Sequence[str], archive: Path, platform: str | None = None) -> list[str]:
        """The command that writes images to an archive."""
        chosen = ["--platform", platform] if platform else []
        return ["docker", "save", *chosen, "--output", str(archive), *refs]

    def _inspect(self, kind: str, name: str, what: str) -> dict[str, Any] | None:
        """The engine's information about an image or a container; None if it has none of that name."""
        done = self._ask(kind, "inspect", "--format", what, name)
        if done.code and f"no such {kind}" in done.stderr.lower():
            return None
        if done.code:
            raise self._runner.failure(done)
        return _json(done.stdout)

    def _ask(self, *words: str) -> Done:
        return self._runner.run(["docker", *words], seconds=self._ask_seconds, check=False)

    def _endpoint(self) -> tuple[str, str]:
        """The name of the current context and the address behind it."""
        done = self._ask("context", "inspect", "--format", "{{json .}}")
        if done.code:
            raise EngineError(
                "remote",
                "Docker's current context cannot be used",
                why=done.stderr.strip(),
                hint="Run `docker context use default`, or unset DOCKER_CONTEXT",
            )
        found = _json(done.stdout)
        return str(found.get("Name", "")), str(
            ((found.get("Endpoints") or {}).get("docker") or {}).get("Host", "")
        )

    def _pull_bare(self, argv: Sequence[str]) -> bool:
        """Pull without any stored login: registries refuse a stale one even for a public image."""
        _, endpoint = self._endpoint()
        with tempfile.TemporaryDirectory() as empty:
            # An empty configuration has no contexts either, so the engine's address is given.
            env = {"DOCKER_CONFIG": empty, "DOCKER_HOST": endpoint}
            return self._runner.run(argv, seconds=_IMAGE_SECONDS, env=env, check=False).code == 0

    def _one_platform(self, platform: str) -> str | None:
        if self.engine.saves_platforms:
            return platform
        if self.engine.containerd_store:
            raise EngineError(
                "too-old",
                f"Docker {self.engine.version} stores images of several platforms and cannot save just one",
                why="`docker save --platform` came with Docker 28",
                hint="Update Docker, or switch off its containerd image store",
            )
        return None  # the classic store has only one platform of each image


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise WorkshopError("`docker` printed something that is not JSON", why=text.strip()[:200]) from error
    if isinstance(found, list):
        found = found[0] if found else {}
    return found if isinstance(found, dict) else {}


def image_ids(archive: Path) -> dict[str, str]:
    """The id of each image by its reference: the digest of its configuration, as containerd uses it.

    The engine's own id is the same with Docker's classic store, and differs with its containerd store.
    Raises WorkshopError when the file is not an image archive.
    """
    try:
        with tarfile.open(archive) as tar:
            index = next((member for member in tar if member.name == "manifest.json"), None)
            content = tar.extractfile(index) if index and index.size <= _MOST_BYTES else None
            images: list[dict[str, Any]] = json.loads(content.read() if content else b"null")
        return {tag: _digest(image["Config"]) for image in images for tag in image["RepoTags"] or ()}
    except (OSError, EOFError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise WorkshopError(
            f"`{archive.name}` is not an image archive",
            why="It ends too early" if isinstance(error, EOFError) else reason(error),
        ) from error


def _digest(config: str) -> str:
    # It is `HEX.json` up to Docker 24, and `blobs/sha256/HEX` in the OCI layout of newer ones.
    return f"sha256:{Path(config).name.removesuffix('.json')}"
