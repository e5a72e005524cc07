"""Is a running proxy what its manifests say? Checks through the port-forward, before and after a login.

Each set is tried in order and ends at the first check that has not passed: the later ones build on it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from workshop.core.errors import CredentialsError, WorkshopError
from workshop.core.interrupts import interrupts
from workshop.toolhive.contracts import (
    FORWARD_HINT,
    CheckResult,
    MissedError,
    ProxyContract,
    ServerContract,
    ToolCall,
)

if TYPE_CHECKING:
    import httpx2

    from workshop.lab.cluster.session_checks import Session

_SECONDS = 10.0

Checks = Mapping[str, Callable[[], Awaitable[str]]]
SessionChecks = Mapping[str, Callable[["Session"], Awaitable[str]]]


def require_before_login(contract: ProxyContract, *, sign_in: bool = False) -> Sequence[CheckResult]:
    """Everything that can be asked of a remote proxy without a token; with `sign_in`, a login is begun too.

    Raises WorkshopError naming the first check that has not passed.
    """
    return require(interrupts.run(before_login(contract, sign_in=sign_in)), contract.name)


def require_after_login(
    contract: ProxyContract, access_token: str, call: ToolCall | None = None
) -> Sequence[CheckResult]:
    """The token, the tools behind it, and one call that only reads.

    Raises CredentialsError when only a new login is needed, WorkshopError naming any other check.
    """
    return require(interrupts.run(after_login(contract, access_token, call)), contract.name)


def require_server(contract: ServerContract, call: ToolCall | None = None) -> Sequence[CheckResult]:
    """An MCPServer's proxy shows its tools, hides what it hides, and passes a call on.

    Raises WorkshopError naming the first check that has not passed.
    """
    return require(interrupts.run(of_server(contract, call)), contract.url)


def require(results: Sequence[CheckResult], name: str) -> Sequence[CheckResult]:
    """The results, if all have passed; else the one error that tells of the first that has not."""
    for result in results:
        if not result.passed:
            kind = CredentialsError if result.needs_login else WorkshopError
            raise kind(f"`{name}` fails the check `{result.id}`", why=result.found, hint=result.hint)
    return results


async def before_login(
    contract: ProxyContract, *, sign_in: bool = False, seconds: float = _SECONDS
) -> list[CheckResult]:
    """The results of the checks that need no token, each within `seconds`."""
    from workshop.lab.cluster import endpoint_checks as checks
    from workshop.lab.cluster import sign_in_check

    async with _http(contract.base_url, seconds) as http:
        todo: dict[str, Callable[[], Awaitable[str]]] = {
            "health": lambda: checks.health(http),
            "protected-resource": lambda: checks.protected_resource(http, contract),
            "authorization-server": lambda: checks.authorization_server(http, contract),
            "signing-keys": lambda: checks.signing_keys(http, contract),
            "challenge": lambda: checks.challenge(http, contract),
        }
        if sign_in:
            todo["sign-in"] = lambda: sign_in_check.sign_in(http, contract)
        return await _run(todo, seconds)


async def after_login(
    contract: ProxyContract, access_token: str, call: ToolCall | None = None, *, seconds: float = _SECONDS
) -> list[CheckResult]:
    """The results of the checks that need a token, each within `seconds`."""
    from workshop.lab.cluster import endpoint_checks, session_checks

    async with _http(contract.base_url, seconds) as http:
        token = {"access-token": lambda: endpoint_checks.access_token(http, contract, access_token)}
        results = await _run(token, seconds)
    if not results[-1].passed:
        return results

    todo: SessionChecks = {"tools": session_checks.has_tools}
    if call:
        todo = {**todo, "call": lambda opened: session_checks.calls(opened, call)}
    url = f"{contract.base_url}{contract.path}"
    opening = session_checks.session(url, seconds, token=access_token, issuer=contract.issuer)
    return results + await _in_session(opening, todo, seconds)


async def of_server(
    contract: ServerContract, call: ToolCall | None = None, *, seconds: float = _SECONDS
) -> list[CheckResult]:
    """The results of the checks of an MCPServer's proxy, each within `seconds`."""
    from workshop.lab.cluster import session_checks

    todo: SessionChecks = {"tools": lambda opened: session_checks.exact_tools(opened, contract)}
    if call:
        todo = {**todo, "call": lambda opened: session_checks.calls(opened, call)}
    return await _in_session(session_checks.session(contract.url, seconds), todo, seconds)


def _http(base_url: str, seconds: float) -> "httpx2.AsyncClient":
    import httpx2

    return httpx2.AsyncClient(base_url=base_url, timeout=seconds, trust_env=False)


async def _in_session(
    opening: "AbstractAsyncContextManager[Session]", checks: SessionChecks, seconds: float
) -> list[CheckResult]:
    results: list[CheckResult] = []
    try:
        async with asyncio.timeout(seconds * (1 + len(checks))), opening as opened:
            for name, check in checks.items():
                results += await _run({name: lambda check=check: check(opened)}, seconds)  # type: ignore[misc]
                if not results[-1].passed:
                    return results
    except (MissedError, TimeoutError) as error:
        untried = [name for name in checks if name not in {result.id for result in results}]
        if untried:
            missed = error if isinstance(error, MissedError) else MissedError("No answer", FORWARD_HINT)
            results.append(_missed(untried[0], missed))
    return results


async def _run(checks: Checks, seconds: float) -> list[CheckResult]:
    import httpx2

    results: list[CheckResult] = []
    for name, check in checks.items():
        try:
            async with asyncio.timeout(seconds):
                results.append(CheckResult(name, passed=True, found=await check()))
        except MissedError as missed:
            return [*results, _missed(name, missed)]
        except (httpx2.TransportError, TimeoutError) as error:
            found = f"No answer: {str(error) or f'not within {seconds:g} s'}"
            return [*results, CheckResult(name, passed=False, found=found, hint=FORWARD_HINT)]
    return results


def _missed(name: str, missed: MissedError) -> CheckResult:
    return CheckResult(
        name, passed=False, found=missed.found, hint=missed.hint, needs_login=missed.needs_login
    )
