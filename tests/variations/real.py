"""A variation's server as `workshop serve` starts it, from a configuration file of the test's."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx2

from tests.lab.tools.waiting import until
from tests.servers.gateway.harness import NO_TLS
from workshop.core.paths import checkout_dir

_SECONDS = 60


@dataclass(frozen=True)
class Served:
    """A server that runs; `log` is what it wrote so far."""

    port: int
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text("utf-8")

    def get(self, path: str, *, port: int | None = None, **headers: str) -> httpx2.Response:
        return httpx2.get(
            f"http://127.0.0.1:{port or self.port}{path}",
            headers=headers,
            verify=NO_TLS,  # to read the system's certificates takes longer than to ask
            trust_env=False,
            timeout=60,
        )

    def metrics(self, port: int) -> dict[str, float]:
        """The samples at `/metrics`, by their name and labels."""
        lines = self.get("/metrics", port=port).text.splitlines()
        samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}


@contextmanager
def served(
    name: str, config: Path, port: int, environment: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """Run `workshop serve NAME --config FILE` until the block ends; SIGTERM ends it.

    `environment` is added to this process's own, as that of an `Edge`.
    """
    argv = [sys.executable, "-m", "workshop", "serve", name, "--config", str(config)]
    with running(argv, config.with_name(f"{name}.log"), port, environment or {}) as found:
        yield found


class _Run(Protocol):
    def __call__(
        self, name: str, config: Path, port: int, environment: Mapping[str, str] | None = None
    ) -> AbstractContextManager[Served]: ...


@dataclass(frozen=True)
class Way:
    """How a server runs, and the addresses besides loopback at which it finds the test's internet."""

    run: _Run = served
    also: Sequence[str] = ()


AS_PROCESS = Way()


@contextmanager
def program(module: str, path: Path, config: Mapping[str, object]) -> Iterator[Served]:
    """Run one of our other servers, `python -m MODULE`, with a configuration that is written to `path`."""
    path.write_text(json.dumps(config))
    argv = [sys.executable, "-m", module, "--config", str(path)]
    with running(argv, path.with_suffix(".log"), int(str(config["port"])), {}) as found:
        yield found


@contextmanager
def practice_github(folder: Path, port: int, callback: str, secret: str, **options: str) -> Iterator[Served]:
    """The practice GitHub with the OAuth app of the READMEs' examples; `public_url` is its other address."""
    (folder / "app-secret").write_text(secret)
    app = {
        "port": port,
        "client_id": "your-oauth-app",
        "client_secret_file": "app-secret",
        "callback_url": callback,
        "app_name": "An MCP server",
        **options,
    }
    with program("workshop.servers.practice", folder / "github.json", app) as found:
        yield found


def example(readme: str, kind: str) -> str:
    """The first block of a kind in a README's *Use it for real*."""
    section = readme.partition("## Use it for real")[2]
    found = re.search(rf"^```{kind}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def visitor(folder: Path, environment: Mapping[str, str], *words: str) -> list[dict[str, Any]]:
    """What our agent's calls return, as a program of its own; see `tests.variations.visitor`."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.variations.visitor", "call", *words],
        cwd=folder,
        env={**os.environ, **environment, "PYTHONPATH": str(checkout_dir())},
        capture_output=True,
        text=True,
        timeout=2 * _SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@contextmanager
def running(
    argv: list[str],
    log: Path,
    port: int,
    environment: Mapping[str, str],
    *,
    ends: int = -signal.SIGTERM,
    ready: str = "/health",
) -> Iterator[Served]:
    """Run a program until the block ends: from when `ready` answers, until SIGTERM, with exit code `ends`."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv, stdout=output, stderr=output, cwd=log.parent, env={**os.environ, **environment}
        )
    found = Served(port, log)
    try:
        _wait(found, process, ready)
        yield found
        process.send_signal(signal.SIGTERM)
        assert process.wait(_SECONDS) == ends, found.log
    finally:
        process.kill()
        process.wait()


def _wait(found: Served, process: subprocess.Popen[bytes], ready: str) -> None:
    """Ask until `ready` answers with 200 or the program ends, with pauses: its start needs the processor."""

    def answers() -> bool:
        assert process.poll() is None, found.log
        with suppress(httpx2.TransportError):
            return found.get(ready).status_code == 200
        return False

    until(answers, _SECONDS)
