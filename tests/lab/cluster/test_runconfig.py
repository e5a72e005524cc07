"""The operator's runconfig either swaps the token for the right upstream, or it is told."""

import json
from typing import Any

import pytest

from workshop.lab.cluster.checks import check_token_swap

SWAP = {"type": "upstreamswap", "parameters": {"config": {"provider_name": "github"}}}
AUTH = {"type": "auth", "parameters": {"oidc_config": {}}}


def runconfig(*middlewares: Any) -> str:
    return json.dumps({"name": "github-remote", "middleware_configs": list(middlewares)})


@pytest.mark.parametrize("strategy", [None, "", "replace"])
def test_a_swap_for_the_upstream_passes(strategy: str | None) -> None:
    swap = {
        "type": "upstreamswap",
        "parameters": {"config": {"provider_name": "github", "header_strategy": strategy}},
    }
    assert check_token_swap(runconfig(AUTH, swap), "github").passed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"middleware_configs": null}',
        runconfig(),
        runconfig(AUTH),
        runconfig("upstreamswap"),
        runconfig({"type": "upstreamswap"}),
        runconfig({"type": "upstreamswap", "parameters": {"config": {"provider_name": "gitlab"}}}),
        runconfig(
            {
                "type": "upstreamswap",
                "parameters": {"config": {"provider_name": "github", "header_strategy": "custom"}},
            }
        ),
        runconfig(SWAP, {"type": "upstreamswap", "parameters": {}}),
    ],
)
def test_anything_else_names_the_known_defect(text: str) -> None:
    result = check_token_swap(text, "github")
    assert not result.passed
    assert "upstreamswap" in result.found
    assert "#6681" in result.hint
