"""Kuadrant's eleven steps for an external server: its manifests, as files of ours, and their cleanup.

Steps 6 (status), 7 and 10 (a client) and 11 (a call with the caller's token) are also our own gateway's:
test_prefix_gateway_real.py and test_for_real.py.
"""

import json
import re
from typing import Any

import yaml

from tests.variations.prefix_gateway import FOLDER
from workshop.course.connect import _connection

NO_IDENTITY = {"error": "Unauthorized", "message": "Access denied: Authentication required."}
HOST = "api.githubcopilot.com"


def resources() -> list[dict[str, Any]]:
    files = (FOLDER / "kuadrant" / name for name in ("upstream.yaml", "policies.yaml"))
    return [found for file in files for found in yaml.safe_load_all(file.read_text("utf-8"))]


def resource(kind: str, name: str = "") -> dict[str, Any]:
    (found,) = (
        each for each in resources() if each["kind"] == kind and name in {"", each["metadata"]["name"]}
    )
    return found


def test_the_files_have_the_resources_in_the_order_of_the_steps() -> None:
    assert [each["kind"] for each in resources()] == [
        *("ServiceEntry", "DestinationRule", "HTTPRoute", "Secret", "MCPServerRegistration"),
        *("AuthPolicy", "AuthPolicy"),
    ]


def test_step_1_a_service_entry_for_the_host() -> None:
    spec = resource("ServiceEntry")["spec"]
    assert (spec["hosts"], spec["location"], spec["resolution"]) == ([HOST], "MESH_EXTERNAL", "DNS")
    assert spec["ports"] == [{"name": "https", "number": 443, "protocol": "HTTPS"}]


def test_step_2_a_destination_rule_with_tls_under_the_hosts_name() -> None:
    spec = resource("DestinationRule")["spec"]
    assert (spec["host"], spec["trafficPolicy"]["tls"]) == (HOST, {"mode": "SIMPLE", "sni": HOST})


def test_step_3_a_route_that_rewrites_the_host_and_has_one_backend() -> None:
    spec = resource("HTTPRoute")["spec"]
    (rule,) = spec["rules"]
    assert rule["filters"] == [{"type": "URLRewrite", "urlRewrite": {"hostname": HOST}}]
    assert [(each["kind"], each["name"], each["port"]) for each in rule["backendRefs"]] == [
        ("Hostname", HOST, 443)
    ]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/mcp"}}]
    assert all(name.endswith(".mcp.local") for name in spec["hostnames"])


def test_step_4_a_secret_with_the_label_and_the_whole_header() -> None:
    secret = resource("Secret")
    assert secret["metadata"]["labels"] == {"mcp.kuadrant.io/secret": "true"}
    assert secret["stringData"]["token"].startswith("Bearer replace-with-")


def test_step_5_a_registration_that_refers_to_the_route_and_the_secret() -> None:
    registration = resource("MCPServerRegistration")
    spec = registration["spec"]
    assert registration["apiVersion"] == "mcp.kuadrant.io/v1"
    assert re.fullmatch(r"[a-z0-9][a-z0-9_]*", spec["prefix"])
    assert set(spec) <= {
        *("prefix", "targetRef", "path", "credentialRef", "state", "caCertSecretRef"),
        *("tokenURLElicitation", "userSpecificList", "category", "hint", "tags"),
    }
    assert spec["targetRef"]["name"] == resource("HTTPRoute")["metadata"]["name"]
    secret = resource("Secret")
    assert spec["credentialRef"]["name"] == secret["metadata"]["name"]
    assert spec["credentialRef"]["key"] in secret["stringData"]
    assert registration["metadata"]["namespace"] == secret["metadata"]["namespace"]


def test_step_8_a_policy_for_the_gateway_that_answers_as_ours_does() -> None:
    spec = resource("AuthPolicy", "mcp-identity")["spec"]
    assert spec["targetRef"]["kind"] == "Gateway"
    assert [each["predicate"] for each in spec["when"]] == ["!request.path.startsWith('/.well-known/')"]
    refused = spec["rules"]["response"]["unauthenticated"]
    assert json.loads(refused["body"]["value"]) == NO_IDENTITY
    assert "resource_metadata=https://" in refused["headers"]["WWW-Authenticate"]["value"]


def test_step_9_a_policy_for_the_route_that_moves_the_header() -> None:
    spec = resource("AuthPolicy", "github-token")["spec"]
    assert spec["targetRef"]["kind"] == "HTTPRoute"
    assert spec["targetRef"]["name"] == resource("HTTPRoute")["metadata"]["name"]
    response = spec["rules"]["response"]
    assert response["unauthorized"]["code"] == 400
    assert json.loads(response["unauthorized"]["body"]["value"]) == {
        "error": "Bad Request",
        "message": "Missing required x-github-pat header",
    }
    (moved,) = response["success"]["headers"].items()
    assert moved == (
        "authorization",
        {"plain": {"expression": '"Bearer " + request.headers["x-github-pat"]'}},
    )


def test_steps_7_and_10_a_client_is_configured_with_the_header() -> None:
    found = _connection("vscode", "prefix-gateway", "http://localhost:8134/mcp", {"x-github-pat": "/a/file"})
    assert found.entry["headers"] == {"x-github-pat": "${env:X_GITHUB_PAT}"}
    assert found.variables == {"X_GITHUB_PAT": "/a/file"}


def test_the_cleanup_deletes_all_seven_what_uses_a_thing_first() -> None:
    page = (FOLDER / "README.md").read_text("utf-8").partition("\n## On Kuadrant\n")[2]
    deleted = re.findall(r"^kubectl delete (\S+) (\S+) -n (\S+)( --ignore-not-found)?$", page, re.MULTILINE)
    there = {(each["kind"].lower(), each["metadata"]["name"]) for each in resources()}
    assert {(kind, name) for kind, name, _, _ in deleted} == there
    assert len(deleted) == 7
    for kind, name, namespace, ignoring in deleted:
        (found,) = (
            each for each in resources() if (each["kind"].lower(), each["metadata"]["name"]) == (kind, name)
        )
        assert found["metadata"]["namespace"] == namespace
        assert bool(ignoring) is (kind == "authpolicy")
    kinds = [kind for kind, *_ in deleted]
    assert kinds[:3] == ["mcpserverregistration", "httproute", "serviceentry"]
