"""Is what answers on this machine what the manifests say? Before the agent runs, and after its login."""

from collections.abc import Mapping, Sequence

from workshop.backends.render import Rendered
from workshop.backends.site import Site
from workshop.console import Progress
from workshop.kube.objects import text
from workshop.toolhive.contracts import CheckResult, ProxyContract, ServerContract, ToolCall
from workshop.toolhive.endpoints import (
    require,
    require_after_login,
    require_before_login,
    require_server,
)
from workshop.toolhive.lint import auth_config
from workshop.toolhive.manifests import Resource
from workshop.toolhive.runconfig import check_token_swap
from workshop.toolhive.secrets import SecretFiles
from workshop.toolhive.session_checks import calculation

_PROVIDER = "spec.embeddedAuthServer.upstreamProviders.0.name"


def check_before(part: Rendered, site: Site, progress: Progress) -> None:
    """All that can be asked without a login; raises WorkshopError for the first thing that is wrong."""
    urls = {endpoint.name: endpoint.url for endpoint in part.endpoints}
    for server in part.resources.of("MCPServer"):
        with progress.step(f"Check {server.name}") as line:
            contract = ServerContract.of(server, part.resources, urls[server.name])
            shown = not contract.tools or "calculate" in contract.tools
            line.note(_passed(require_server(contract, calculation() if shown else None)))
    for proxy in part.resources.of("MCPRemoteProxy"):
        with progress.step(f"Check {proxy.name}") as line:
            passed = require_before_login(_contract(proxy, part, site))
            line.note(_passed([*passed, *require([_token_swap(proxy, part, site)], proxy.name)]))


def check_after(part: Rendered, site: Site, tokens: Mapping[str, str], progress: Progress) -> None:
    """The self-test of each proxy that somebody has logged in to; `tokens` are access tokens by URL.

    Raises CredentialsError when only a new login is needed, WorkshopError for anything else.
    """
    urls = {endpoint.name: endpoint.url for endpoint in part.endpoints}
    for proxy in part.resources.of("MCPRemoteProxy"):
        token = tokens.get(urls[proxy.name])
        call = None if proxy.find("spec.toolConfigRef") else ToolCall("get_me", {})
        if token:
            with progress.step(f"Check {proxy.name} with the login") as line:
                line.note(_passed(require_after_login(_contract(proxy, part, site), token, call)))


def _contract(proxy: Resource, part: Rendered, site: Site) -> ProxyContract:
    return ProxyContract.of(proxy, part.resources, SecretFiles(site.home / "secrets"))


def _token_swap(proxy: Resource, part: Rendered, site: Site) -> CheckResult:
    """Whether the operator told the proxy to send the upstream's token in place of its own."""
    auth = auth_config(proxy, part.resources)
    runs = site.kube.get("v1", "ConfigMap", f"{proxy.name}-runconfig", site.namespace)
    found = text(runs, "data", "runconfig.json")
    return check_token_swap(found, auth.text(_PROVIDER) if auth else "")


def _passed(results: Sequence[CheckResult]) -> str:
    return f"{len(results)} checks passed"
