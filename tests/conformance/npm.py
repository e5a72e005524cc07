"""The judges from npm, run under a Node of their own and in a scratch home."""

import asyncio
import contextlib
import os
import shutil
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

PACKAGES = (
    "node@22",
    "@modelcontextprotocol/conformance@0.2.0-alpha.12",
    "@modelcontextprotocol/inspector@2.12.0",
)
_PASSED_ON = (
    *("PATH", "LANG", "NODE_EXTRA_CA_CERTS", "NPM_CONFIG_REGISTRY", "NPM_CONFIG_CAFILE"),
    *("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"),
)


@dataclass(frozen=True)
class Finished:
    """What a program left behind."""

    status: int
    output: str
    errors: str


@dataclass(frozen=True)
class Npm:
    """Runs the programs of the pinned packages, which npx keeps in `cache`."""

    cache: Path
    home: Path

    def environment(self) -> dict[str, str]:
        """A home and a cache of our own, and the registry settings of the person who runs the tests."""
        kept = {name: value for name, value in os.environ.items() if name.upper() in _PASSED_ON}
        scratch = {"HOME": str(self.home), "npm_config_cache": str(self.cache)}
        return {"npm_config_userconfig": str(Path.home() / ".npmrc"), **kept, **scratch}

    @asynccontextmanager
    async def start(
        self, *command: str, environment: Mapping[str, str] | None = None
    ) -> AsyncIterator[Process]:
        """Start a program of the packages; what is left of it and its children ends with the block."""
        npx = shutil.which("npx")
        assert npx
        packages = [word for package in PACKAGES for word in ("-p", package)]
        process = await asyncio.create_subprocess_exec(
            *(npx, "--yes", *packages, *command),
            env={**self.environment(), **(environment or {})},
            cwd=self.home,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()

    async def run(
        self, *command: str, seconds: float = 60, environment: Mapping[str, str] | None = None
    ) -> Finished:
        """Run a program to its end, which comes within `seconds`."""
        async with self.start(*command, environment=environment) as process:
            output, errors = await asyncio.wait_for(process.communicate(), seconds)
            assert process.returncode is not None
            return Finished(process.returncode, output.decode(), errors.decode())
