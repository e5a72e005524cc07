"""Check that the endpoints on this machine match the manifests, before the agent runs and after its login."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx2

from workshop.core.console import Progress, Step
from workshop.core.errors import CredentialsError, WorkshopError
from workshop.core.http_client import UnusableAnswerError, open_local_client
from workshop.core.interrupts import interrupts
from workshop.lab.cluster import endpoint_checks
from workshop.lab.cluster.endpoint_checks import (
    DEFECT,
    FORWARD_HINT,
    PATH,
    CheckResult,
    MissedError,
    ProxyContract,
    ServerContract,
    ToolCall,
    challenged_metadata,
)
from workshop.lab.cluster.record import Cluster
from workshop.lab.cluster.render import RenderedPart
from workshop.lab.kube.client import bound
from workshop.lab.kube.objects import text
from workshop.toolhive.manifests import UPSTREAM, Resource, auth_config

if TYPE_CHECKING:
    from mcp import Client

_CHECK_SECONDS = 10.0
_NO_ROUTE = "502"  # the answer of ToolHive's proxy while its server's Service refuses connections

Checks = Mapping[str, Callable[[], Awaitable[str]]]
SessionChecks = Mapping[str, Callable[["Client"], Awaitable[str]]]
_PROVIDER = f"{UPSTREAM}.name"
_SIGN_IN = "Sign in again: `workshop part 4 run`"
_SIGN_IN_AFRESH = "The login may have been withdrawn there: `workshop login revoke`, then sign in again"
_LOG = "The proxy's log shows more"
_MIDDLEWARE = "upstreamswap"
_SWAP_HINT = (
    "Without it the proxy would send its own token to the upstream (ToolHive's issue #6681): "
    "is the operator the version of `cluster/versions.toml`, and `authServerRef` in the manifest?"
)


def require(results: Sequence[CheckResult], name: str) -> Sequence[CheckResult]:
    """Return the results if all have passed; else raise one error for the first that has not.

    Raises CredentialsError when only a new login is needed, WorkshopError for anything else.
    """
    for result in results:
        if not result.passed:
            kind = CredentialsError if result.needs_login else WorkshopError
            raise kind(f"`{name}` fails the check `{result.id}`", why=result.found, hint=result.hint)
    return results


async def before_login(contract: ProxyContract, *, seconds: float = _CHECK_SECONDS) -> list[CheckResult]:
    """The results of the checks that need no token, each within `seconds`."""
    async with open_local_client(base_url=contract.base_url, timeout=seconds) as http:
        todo: Checks = {
            "health": lambda: endpoint_checks.health(http),
            "protected-resource": lambda: endpoint_checks.protected_resource(http, contract),
            "authorization-server": lambda: endpoint_checks.authorization_server(http, contract),
            "signing-keys": lambda: endpoint_checks.signing_keys(http, contract),
            "challenge": lambda: endpoint_checks.challenge(http, contract),
        }
        return await _run_checks(todo, seconds)


async def after_login(
    contract: ProxyContract,
    access_token: str,
    call: ToolCall | None = None,
    *,
    seconds: float = _CHECK_SECONDS,
) -> list[CheckResult]:
    """The results of the checks that need a token, each within `seconds`."""
    async with open_local_client(base_url=contract.base_url, timeout=seconds) as http:
        token = {"access-token": lambda: endpoint_checks.access_token(http, contract, access_token)}
        results = await _run_checks(token, seconds)
    if not results[-1].passed:  # nothing else can be asked with this token
        return results

    todo: SessionChecks = {"tools": endpoint_checks.has_tools}
    if call:
        todo = {**todo, "call": lambda client: endpoint_checks.calls(client, call)}
    url = f"{contract.base_url}{PATH}"
    opening = session(url, seconds, token=access_token, issuer=contract.issuer)
    return results + await _in_session(opening, todo, seconds)


async def of_server(
    contract: ServerContract, call: ToolCall | None = None, *, seconds: float = _CHECK_SECONDS
) -> list[CheckResult]:
    """The results of the checks of an MCPServer's proxy, each within `seconds`."""
    todo: SessionChecks = {"tools": lambda client: endpoint_checks.exact_tools(client, contract)}
    if call:
        todo = {**todo, "call": lambda client: endpoint_checks.calls(client, call)}
    return await _in_session(session(contract.url, seconds), todo, seconds)


@asynccontextmanager
async def session(url: str, seconds: float, *, token: str = "", issuer: str = "") -> AsyncIterator["Client"]:
    """Connect; an error that ends the session is raised as MissedError with its likely cause."""
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    refusals: list[httpx2.Response] = []

    async def note(response: httpx2.Response) -> None:
        if response.is_error and response.request.method == "POST":
            await response.aread()
            refusals.append(response)

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    hooks = {"response": [note]}
    http = open_local_client(streams=True, headers=headers, event_hooks=hooks, timeout=seconds)
    try:
        # "legacy": older tool filters of ToolHive drop fields that MCP 2026-07-28 requires, and up to 0.63.0
        # at least a renamed tool cannot be called there.
        async with http, Client(streamable_http_client(url, http_client=http), mode="legacy") as client:
            yield client
    except Exception as error:  # noqa: BLE001 - the SDK raises groups of anything; all become one MissedError
        cause = _first(error)
        if isinstance(cause, MissedError | TimeoutError):
            raise cause from cause.__cause__
        raise _explained(cause, refusals, issuer) from cause


async def _in_session(
    opening: AbstractAsyncContextManager["Client"], checks: SessionChecks, seconds: float
) -> list[CheckResult]:
    results: list[CheckResult] = []
    try:
        # The session is opened within `seconds` too.
        async with asyncio.timeout(seconds * (1 + len(checks))), opening as client:
            for name, check in checks.items():
                results += await _run_checks({name: lambda check=check: check(client)}, seconds)  # type: ignore[misc]
                if not results[-1].passed:
                    return results
    except (MissedError, TimeoutError) as error:
        untried = [name for name in checks if name not in {result.id for result in results}]
        if untried:
            missed = error if isinstance(error, MissedError) else MissedError("No answer", FORWARD_HINT)
            results.append(_missed(untried[0], missed))
    return results


async def _run_checks(checks: Checks, seconds: float) -> list[CheckResult]:
    results: list[CheckResult] = []
    for name, check in checks.items():
        try:
            async with asyncio.timeout(seconds):
                results.append(CheckResult(name, passed=True, found=await check()))
        except MissedError as missed:
            return [*results, _missed(name, missed)]
        except (httpx2.TransportError, UnusableAnswerError, TimeoutError) as error:
            found = f"No answer: {str(error) or f'not within {seconds:g} s'}"
            return [*results, CheckResult(name, passed=False, found=found, hint=FORWARD_HINT)]
    return results


def _missed(name: str, missed: MissedError) -> CheckResult:
    return CheckResult(
        name, passed=False, found=missed.found, hint=missed.hint, needs_login=missed.needs_login
    )


def _explained(cause: Exception, refusals: list[httpx2.Response], issuer: str) -> MissedError:
    if isinstance(cause, httpx2.TransportError):
        return MissedError(f"No answer: {cause or type(cause).__name__}", FORWARD_HINT)
    if isinstance(cause, UnusableAnswerError):
        return MissedError(cause.sentence, _LOG)
    if refusals:
        return _refused(refusals[-1], issuer)
    return MissedError(f"{type(cause).__name__}: {str(cause)[:200]}", _LOG)


def _refused(response: httpx2.Response, issuer: str) -> MissedError:
    answer = response.text[:200] or response.reason_phrase
    if response.status_code == httpx2.codes.FORBIDDEN:
        return MissedError(f"403: {answer}", "You are signed in, but this account may not do that upstream")
    if response.status_code == httpx2.codes.MISDIRECTED_REQUEST:
        hint = "The server behind the proxy does not know the name it is called by: `MCP_ALLOWED_HOSTS`"
        return MissedError(f"421: {answer}", hint)
    if response.status_code != httpx2.codes.UNAUTHORIZED:
        return MissedError(f"{response.status_code}: {answer}", _LOG)
    metadata = challenged_metadata(response)
    if metadata and not metadata.startswith(f"{issuer}/"):
        found = f"The upstream itself refused the token it was sent: its 401 names {metadata}"
        return MissedError(found, f"{_SIGN_IN_AFRESH}; if that is refused too, it is {DEFECT}")
    # The proxy's own refusals: with metadata if its token is not valid, without if it lost the upstream's.
    return MissedError("The proxy no longer has this login", _SIGN_IN, needs_login=True)


def _first(error: BaseException) -> Exception:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, Exception) else RuntimeError(str(error))


def check_before(
    part: RenderedPart, name: str, cluster: Cluster, replace_pods: Callable[[], None], line: Step
) -> None:
    """Run all checks of a workload that need no login; raises WorkshopError for the first failure.

    After a failure its pods are replaced once: a proxy may be stuck in a state from its start.
    """
    try:
        passed = _ask_in_time(part, name, cluster, line)
    except CredentialsError:
        raise
    except WorkshopError as error:
        line.note(f"{error.why}: its pods are replaced")
        replace_pods()
        passed = _ask_in_time(part, name, cluster, line)
    for proxy in part.resources.of("MCPRemoteProxy"):
        if proxy.name == name:
            passed = [*passed, *require([_token_swap(proxy, part, cluster)], proxy.name)]
    line.note(_passed(passed))


def _ask_in_time(part: RenderedPart, name: str, cluster: Cluster, line: Step) -> Sequence[CheckResult]:
    """Check until the proxy reaches its server: a ready pod has no route until kube-proxy adds one."""
    deadline, limit = time.monotonic() + cluster.limits.route, bound(cluster.limits.route)
    while True:
        try:
            return _ask(part, name, cluster)
        except WorkshopError as error:
            if not error.why.startswith(_NO_ROUTE) or time.monotonic() >= deadline:
                raise
            line.note(f"{error.why}: its server does not accept a connection yet, {limit}")
        time.sleep(cluster.limits.look)


def _ask(part: RenderedPart, name: str, cluster: Cluster) -> Sequence[CheckResult]:
    workload = next(item for item in part.resources.workloads if item.name == name)
    if workload.kind == "MCPRemoteProxy":
        return require(interrupts.run(before_login(_contract_of(workload, part, cluster))), name)
    url = next(endpoint.url for endpoint in part.endpoints if endpoint.name == name)
    contract = ServerContract.of(workload, part.resources, url)
    shown = not contract.tools or "calculate" in contract.tools
    call = endpoint_checks.calculation() if shown else None
    return require(interrupts.run(of_server(contract, call)), name)


def check_after(part: RenderedPart, cluster: Cluster, tokens: Mapping[str, str], progress: Progress) -> None:
    """Check each proxy that has a login; `tokens` are access tokens by URL.

    Raises CredentialsError when only a new login is needed, WorkshopError for anything else.
    """
    urls = {endpoint.name: endpoint.url for endpoint in part.endpoints}
    for proxy in part.resources.of("MCPRemoteProxy"):
        token = tokens.get(urls[proxy.name])
        call = None if proxy.find("spec.toolConfigRef") else ToolCall("get_me", {})
        if token:
            with progress.step(f"Check {proxy.name} with the login") as line:
                results = interrupts.run(after_login(_contract_of(proxy, part, cluster), token, call))
                line.note(_passed(require(results, proxy.name)))


def _contract_of(proxy: Resource, part: RenderedPart, cluster: Cluster) -> ProxyContract:
    return ProxyContract.of(proxy, part.resources, cluster.secrets)


def _token_swap(proxy: Resource, part: RenderedPart, cluster: Cluster) -> CheckResult:
    """Whether the operator configured the proxy to send the upstream's token instead of its own."""
    auth = auth_config(proxy, part.resources)
    runs = cluster.kube.get("v1", "ConfigMap", f"{proxy.name}-runconfig", cluster.namespace)
    found = text(runs, "data", "runconfig.json")
    return check_token_swap(found, auth.text(_PROVIDER) if auth else "")


def check_token_swap(runconfig: str, provider: str) -> CheckResult:
    """Whether the proxy is configured to replace its own token by the one of this upstream provider.

    `runconfig` is the operator's text: key `runconfig.json` of the ConfigMap `<proxy>-runconfig`.
    """
    swaps = [item for item in _middlewares(runconfig) if item.get("type") == _MIDDLEWARE]
    passed = bool(swaps) and all(_replaces(swap, provider) for swap in swaps)
    if passed:
        return CheckResult("token-swap", passed=True, found=f"`{_MIDDLEWARE}` for `{provider}`")
    found = f"{json.dumps(swaps)[:200]}, not for `{provider}`" if swaps else "no such middleware"
    return CheckResult("token-swap", passed=False, found=f"`{_MIDDLEWARE}`: {found}", hint=_SWAP_HINT)


def _replaces(swap: Mapping[str, Any], provider: str) -> bool:
    parameters = swap.get("parameters")
    config = parameters.get("config") if isinstance(parameters, Mapping) else None
    if not isinstance(config, Mapping):
        return False
    return config.get("provider_name") == provider and config.get("header_strategy") in (None, "", "replace")


def _middlewares(runconfig: str) -> Sequence[Mapping[str, Any]]:
    try:
        listed = json.loads(runconfig).get("middleware_configs")
    except (ValueError, AttributeError):
        return ()
    return [item for item in listed if isinstance(item, Mapping)] if isinstance(listed, list) else ()


def _passed(results: Sequence[CheckResult]) -> str:
    return f"{len(results)} checks passed"
