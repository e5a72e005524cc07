"""Other people's programs from npm and pip: installed once into a cache, and run in a scratch home.

    python -m tests.clients.packages

installs all of them beforehand, so that no test waits for a package.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

NODE = "node@22"
# Each program, or library, and its package. Inspector 1 is here for its page, which asks servers itself.
PACKAGES = {
    "claude": "@anthropic-ai/claude-code@2.1.332",
    "conformance": "@modelcontextprotocol/conformance@0.2.0-alpha.12",
    "mcp-inspector": "@modelcontextprotocol/inspector@2.12.0",
    "inspector-1": "@modelcontextprotocol/inspector@1.0.3",
    "mcp-remote": "mcp-remote@0.15.1",
    "oauth4webapi": "oauth4webapi@3.8.8",
    "openid-client": "openid-client@6.9.0",
    "fastmcp": "fastmcp==4.2.3",
    "mcp-authlab": "mcp-authlab==0.2.2",
}
FETCH_SECONDS = 300
_PASSED_ON = (
    *("PATH", "LANG", "NODE_EXTRA_CA_CERTS", "NPM_CONFIG_REGISTRY", "NPM_CONFIG_CAFILE"),
    *("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"),
)
# What runs gets no way to the internet: whoever tries hears at once that nobody is there.
LOOPBACK_ONLY = {
    **dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"), "http://127.0.0.1:9"),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "localhost,127.0.0.1,::1"),
}


@dataclass(frozen=True)
class Finished:
    """What a program left behind."""

    status: int
    output: str
    errors: str


@dataclass(frozen=True)
class Npm:
    """Installs packages below `cache`, one folder each, and runs their programs under a Node of their own."""

    cache: Path
    home: Path

    def folder(self, program: str) -> Path:
        """Where a program's package is; see `cannot_have` for what happens without it."""
        package = NODE if program == "node" else PACKAGES[program]
        folder = self.cache / package.replace("/", "+")
        with _to_be_installed(folder) as missing:
            if missing:
                if shutil.which("npm") is None:
                    cannot_have(package, "npm is not installed")
                (folder / "package.json").write_text("{}")
                words = ["npm", "install", "--no-audit", "--no-fund", package]
                _install(package, words, folder, self.environment())
        return folder

    def program(self, name: str) -> str:
        """The path of a program."""
        command = "mcp-inspector" if name == "inspector-1" else name
        if name.startswith("mcp-remote"):
            name = "mcp-remote"
        return str(self.folder(name) / "node_modules" / ".bin" / command)

    def environment(self) -> dict[str, str]:
        """A home and a cache of our own, and the registry settings of the person who runs the tests."""
        kept = {name: value for name, value in os.environ.items() if name.upper() in _PASSED_ON}
        scratch = {"HOME": str(self.home), "npm_config_cache": str(self.cache / "npm")}
        return {"npm_config_userconfig": str(Path.home() / ".npmrc"), **kept, **scratch}

    def to_run(
        self, environment: Mapping[str, str] | None = None, *, loopback_only: bool = True
    ) -> dict[str, str]:
        """The environment of a program that runs: our Node first, and no way to the internet."""
        node = self.folder("node") / "node_modules" / "node" / "bin"
        return {
            **self.environment(),
            "PATH": f"{node}{os.pathsep}{os.environ['PATH']}",
            **(LOOPBACK_ONLY if loopback_only else {}),
            **(environment or {}),
        }

    @asynccontextmanager
    async def start(
        self, program: str, *words: str, environment: Mapping[str, str] | None = None
    ) -> AsyncIterator[Process]:
        """Start a program of the packages; what is left of it and its children ends with the block."""
        process = await asyncio.create_subprocess_exec(
            *(self.program(program), *words),
            # The client that the suite drives inherits its environment, so it gets no proxies.
            env=self.to_run(environment, loopback_only=program != "conformance"),
            cwd=self.home,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            end_group(process.pid)
            await process.communicate()

    async def run(
        self, program: str, *words: str, seconds: float = 60, environment: Mapping[str, str] | None = None
    ) -> Finished:
        """Run a program to its end, which comes within `seconds`."""
        async with self.start(program, *words, environment=environment) as process:
            output, errors = await asyncio.wait_for(process.communicate(), seconds)
            assert process.returncode is not None
            return Finished(process.returncode, output.decode(), errors.decode())


def python_package(cache: Path, name: str) -> Path:
    """A folder for `PYTHONPATH` with a package and all that it needs; skips where it cannot be had."""
    folder = cache / PACKAGES[name]
    with _to_be_installed(folder) as missing:
        if missing:
            words = ["pip", "install", "--quiet", "--target", str(folder), PACKAGES[name]]
            uv = shutil.which("uv")
            words = [uv, *words, "--python", sys.executable] if uv else [sys.executable, "-m", *words]
            # From the root: below the project, uv would hold these packages to the project's own versions.
            _install(PACKAGES[name], words, Path(folder.anchor), os.environ)
    return folder


@contextmanager
def _to_be_installed(folder: Path) -> Iterator[bool]:
    """Whether the package is still missing from `folder`; a block that ends without an error installed it."""
    folder.mkdir(parents=True, exist_ok=True)
    # A worker of xdist that runs Node while another one still writes it gets "Text file busy".
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = not (folder / "installed").exists()
        yield missing
        (folder / "installed").touch()


def run_python(
    folder: Path, words: Sequence[str], environment: Mapping[str, str], cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python with these words and the packages of `python_package`'s folder."""
    return subprocess.run(
        [sys.executable, *words],
        env={**os.environ, **environment, "PYTHONPATH": str(folder)},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=FETCH_SECONDS,
        check=False,
    )


def _install(package: str, words: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> None:
    try:
        done = subprocess.run(
            words,
            env=dict(environment),
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=FETCH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        cannot_have(package, f"it did not arrive within {FETCH_SECONDS} s")
    if done.returncode:
        cannot_have(package, done.stderr[-300:])


def cannot_have(package: str, why: str) -> None:
    """Skip, unless `REQUIRE_NPM` says that this machine can have the packages."""
    reason = f"{package} cannot be had: {why}"
    if os.environ.get("REQUIRE_NPM"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def started(
    words: Sequence[str], environment: Mapping[str, str], folder: Path
) -> Iterator["subprocess.Popen[str]"]:
    """A program in a group of its own, which ends with the block; stdout has stderr too."""
    process = subprocess.Popen(
        words,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        end_group(process.pid)
        process.communicate()


def end_group(pid: int) -> None:
    """End whatever is left of a process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def main() -> None:
    """Install every package into the folder of pytest's cache that the tests use."""
    cache = Path(__file__).resolve().parents[2] / ".pytest_cache" / "d" / "clients"
    with tempfile.TemporaryDirectory() as home:
        npm = Npm(cache, Path(home))
        for name in ("node", *PACKAGES):
            if "==" in PACKAGES.get(name, ""):
                python_package(cache, name)
            else:
                npm.folder(name)


if __name__ == "__main__":
    main()
