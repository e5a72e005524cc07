"""What the operator told a proxy to do: ConfigMap `<proxy>-runconfig`, key `runconfig.json`."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from workshop.toolhive.contracts import CheckResult

_MIDDLEWARE = "upstreamswap"
_HINT = (
    "Without it the proxy would send its own token to the upstream (ToolHive's issue #6681): "
    "is the operator the version of `cluster/versions.toml`, and `authServerRef` in the manifest?"
)


def check_token_swap(runconfig: str, provider: str) -> CheckResult:
    """Whether the proxy is told to replace its own token by the one of this upstream provider."""
    swaps = [item for item in _middlewares(runconfig) if item.get("type") == _MIDDLEWARE]
    passed = bool(swaps) and all(_replaces(swap, provider) for swap in swaps)
    if passed:
        return CheckResult("token-swap", passed=True, found=f"`{_MIDDLEWARE}` for `{provider}`")
    found = f"{json.dumps(swaps)[:200]}, not for `{provider}`" if swaps else "no such middleware"
    return CheckResult("token-swap", passed=False, found=f"`{_MIDDLEWARE}`: {found}", hint=_HINT)


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
