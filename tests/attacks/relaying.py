"""A gateway in memory whose remote server is a recorder."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.servers.gateway.harness import PATIENT, Site, configured, settings, site, upstream_of
from tests.servers.gateway.mcp_upstream import Answer, Recorder
from workshop.auth.limits import Patience

CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


@asynccontextmanager
async def relaying(
    folder: Path,
    practice: str,
    answer: Answer | None = None,
    patience: Patience = PATIENT,
    **changes: Any,
) -> AsyncIterator[tuple[Site, Recorder]]:
    """A gateway in memory whose remote server is a recorder, with sign-in at the practice GitHub."""
    recorder = Recorder(answer)
    async with upstream_of(recorder.route()) as remote:
        values = settings(folder, upstream=practice)
        values |= {"remote_url": f"{remote}/mcp/?fixed=1", **changes}
        async with site(configured(folder, values), patience=patience) as gateway:
            yield gateway, recorder
