"""The manifests' pieces fit together (`tests/toolhive/test_crds.py` holds them to ToolHive's CRDs)."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from workshop.toolhive import lint, manifests
from workshop.toolhive.manifests import CLIENT_ID_PLACEHOLDER

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [ROOT / "parts" / part / "toolhive" for part in ("03_toolhive", "04_remote_oauth")]
BODIES: list[dict[str, Any]] = [
    body
    for folder in FOLDERS
    for path in sorted(folder.glob("*.yaml"))
    for body in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]


def named(kind: str) -> dict[str, Any]:
    (body,) = [body for body in BODIES if body["kind"] == kind]
    spec: dict[str, Any] = body["spec"]
    return spec


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
def test_our_own_lint_finds_nothing(folder: Path) -> None:
    resources = manifests.load(folder)
    assert resources.all
    lint.check(resources)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
def test_every_workload_of_part_toml_is_a_resource_and_the_other_way_round(folder: Path) -> None:
    data = tomllib.loads((folder.parent / "part.toml").read_text(encoding="utf-8"))
    told = {(workload["kind"], workload["name"]) for workload in data["workloads"]}
    resources = manifests.load(folder).all
    assert told == {(r.kind, r.name) for r in resources if r.kind in ("MCPServer", "MCPRemoteProxy")}


def test_issuer_and_audience_differ_by_one_slash() -> None:
    issuer = named("MCPExternalAuthConfig")["embeddedAuthServer"]["issuer"]
    reference = named("MCPRemoteProxy")["oidcConfigRef"]
    assert named("MCPOIDCConfig")["inline"]["issuer"] == issuer == "http://localhost:8080"
    assert reference["audience"] == reference["resourceUrl"] == f"{issuer}/"


def test_the_client_id_is_the_placeholder_that_env_replaces() -> None:
    (upstream,) = named("MCPExternalAuthConfig")["embeddedAuthServer"]["upstreamProviders"]
    assert upstream["oauth2Config"]["clientId"] == CLIENT_ID_PLACEHOLDER


def test_no_manifest_holds_a_secret() -> None:
    assert "Secret" not in {body["kind"] for body in BODIES}


def test_the_tool_config_hides_one_tool_describes_another_and_renames_none() -> None:
    """A renamed tool could not be called through ToolHive in MCP 2026-07-28: only the body is translated."""
    spec = named("MCPToolConfig")
    assert {real: set(override) for real, override in spec["toolsOverride"].items()} == {
        "get_issue": {"description"}
    }
    assert spec["toolsFilter"] == ["list_repositories", "list_issues", "get_issue", "calculate"]


def test_the_remote_proxy_asks_for_tools_that_only_read() -> None:
    assert named("MCPRemoteProxy")["headerForward"] == {"addPlaintextHeaders": {"X-MCP-Readonly": "true"}}
