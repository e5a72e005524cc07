"""Is what answers on this machine what the manifests say? Before the agent runs, and after its login."""

from collections.abc import Callable, Mapping, Sequence

from workshop.core.console import Progress, Step
from workshop.core.errors import CredentialsError, WorkshopError
from workshop.lab.cluster.endpoints import require, require_after_login, require_before_login, require_server
from workshop.lab.cluster.render import Rendered
from workshop.lab.cluster.session_checks import calculation
from workshop.lab.cluster.site import Site
from workshop.lab.kube.objects import text
from workshop.toolhive.contracts import CheckResult, ProxyContract, ServerContract, ToolCall
from workshop.toolhive.lint import auth_config
from workshop.toolhive.manifests import Resource
from workshop.toolhive.runconfig import check_token_swap
from workshop.toolhive.secrets import SecretFiles

_PROVIDER = "spec.embeddedAuthServer.upstreamProviders.0.name"


def check_before(part: Rendered, name: str, site: Site, replace_pods: Callable[[], None], line: Step) -> None:
    """Ask a workload all that takes no login; raises WorkshopError for the first thing that is wrong.

    One that does not answer as it must gets new pods once: a proxy may be stuck with an answer of its start.
    """
    try:
        passed = _ask(part, name, site)
    except CredentialsError:
        raise
    except WorkshopError as error:
        line.note(f"{error.why}: its pods are replaced")
        replace_pods()
        passed = _ask(part, name, site)
    for proxy in part.resources.of("MCPRemoteProxy"):
        if proxy.name == name:
            passed = [*passed, *require([_token_swap(proxy, part, site)], proxy.name)]
    line.note(_passed(passed))


def _ask(part: Rendered, name: str, site: Site) -> Sequence[CheckResult]:
    workload = next(item for item in part.workloads if item.name == name)
    if workload.kind == "MCPRemoteProxy":
        return require_before_login(_contract(workload, part, site))
    url = next(endpoint.url for endpoint in part.endpoints if endpoint.name == name)
    contract = ServerContract.of(workload, part.resources, url)
    shown = not contract.tools or "calculate" in contract.tools
    return require_server(contract, calculation() if shown else None)


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
