"""The manifests are what ToolHive 0.44.0 accepts, and their pieces fit together."""

import tomllib
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # comes with mcp; its types are a package of their own
import pytest
import yaml

from workshop.toolhive import lint, manifests
from workshop.toolhive.overrides import CLIENT_ID_PLACEHOLDER

ROOT = Path(__file__).resolve().parents[2]
CRDS = ROOT.parent / "shared" / "toolhive-crds"
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


def validator(kind: str) -> jsonschema.Draft202012Validator:
    """Checks structure as the API server does, and refuses unknown fields, which it would drop in silence."""
    for path in CRDS.glob("*.yaml"):
        definition = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]
        if definition["names"]["kind"] == kind:
            (schema,) = [
                version["schema"]["openAPIV3Schema"]
                for version in definition["versions"]
                if version["name"] == "v1beta1"
            ]
            schema["properties"]["metadata"] = {"type": "object"}
            return jsonschema.Draft202012Validator(closed(schema))
    pytest.fail(f"there is no CRD for {kind} in {CRDS}")


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    result = dict(schema)
    if "properties" in schema:
        result["properties"] = {name: closed(inner) for name, inner in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            result["additionalProperties"] = False
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            result[key] = closed(schema[key])
    return result


needs_crds = pytest.mark.skipif(not CRDS.is_dir(), reason=f"needs ToolHive's CRDs in {CRDS}")


@needs_crds
@pytest.mark.parametrize("body", BODIES, ids=lambda body: body["kind"])
def test_a_manifest_is_valid_by_its_crd(body: dict[str, Any]) -> None:
    errors = [f"{error.json_path}: {error.message}" for error in validator(body["kind"]).iter_errors(body)]
    assert errors == []


@needs_crds
@pytest.mark.parametrize(
    ("kind", "change", "says"),
    [
        ("MCPServer", {"image": None}, "None is not of type 'string'"),
        ("MCPServer", {"imagePullPolicy": "Never"}, "'imagePullPolicy' was unexpected"),
        ("MCPServer", {"transport": "http"}, "'http' is not one of"),
        ("MCPServer", {"proxyPort": 65536}, "greater than the maximum"),
        ("MCPRemoteProxy", {"remoteUrl": "ftp://host"}, "does not match"),
    ],
)
def test_the_crds_refuse_what_is_wrong(kind: str, change: dict[str, Any], says: str) -> None:
    body = {"kind": kind, "spec": {**named(kind), **change}}
    (message,) = [error.message for error in validator(kind).iter_errors(body)]
    assert says in message


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


def test_the_tool_config_hides_one_tool_and_renames_another() -> None:
    spec = named("MCPToolConfig")
    assert {real: override["name"] for real, override in spec["toolsOverride"].items()} == {
        "get_issue": "read_issue"
    }
    assert spec["toolsFilter"] == ["list_repositories", "list_issues", "read_issue", "calculate"]


def test_the_remote_proxy_asks_for_tools_that_only_read() -> None:
    assert named("MCPRemoteProxy")["headerForward"] == {"addPlaintextHeaders": {"X-MCP-Readonly": "true"}}
