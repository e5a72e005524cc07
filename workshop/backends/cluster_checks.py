"""Is what answers on this machine what the manifests say? Before the agent runs, and after its login."""

from collections.abc import Mapping
from pathlib import Path

from workshop.backends.render import Rendered
from workshop.console import Progress
from workshop.toolhive.contracts import ProxyContract, ServerContract, ToolCall
from workshop.toolhive.endpoints import require_after_login, require_before_login, require_server
from workshop.toolhive.secrets import SecretFiles

_WHO_AM_I = ToolCall("get_me", {})


def check_before(part: Rendered, home: Path, progress: Progress) -> None:
    """All that can be asked without a login; raises WorkshopError for the first thing that is wrong."""
    for endpoint in part.endpoints:
        for server in part.resources.of("MCPServer"):
            if server.name == endpoint.name:
                with progress.step(f"Check {endpoint.name}") as line:
                    contract = ServerContract.of(server, part.resources, endpoint.url)
                    line.note(f"{len(require_server(contract))} checks passed")
    for proxy_contract in _proxies(part, home):
        with progress.step(f"Check {proxy_contract.name}") as line:
            line.note(f"{len(require_before_login(proxy_contract))} checks passed")


def check_after(part: Rendered, home: Path, tokens: Mapping[str, str], progress: Progress) -> None:
    """The self-test of each proxy that somebody has logged in to; `tokens` are access tokens by URL.

    Raises CredentialsError when only a new login is needed, WorkshopError for anything else.
    """
    urls = {endpoint.name: endpoint.url for endpoint in part.endpoints}
    for contract in _proxies(part, home):
        token = tokens.get(urls[contract.name])
        if token:
            with progress.step(f"Check {contract.name} with the login") as line:
                passed = require_after_login(contract, token, _WHO_AM_I)
                line.note(f"{len(passed)} checks passed")


def _proxies(part: Rendered, home: Path) -> list[ProxyContract]:
    secrets = SecretFiles(home / "secrets")
    return [ProxyContract.of(proxy, part.resources, secrets) for proxy in part.resources.of("MCPRemoteProxy")]
