"""The gateway with prefixes on a cluster: its manifests pass ToolHive's CRDs, and agree with each other."""

import tomllib
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from tests.toolhive.test_crds import Crds, crds, rules
from workshop.core.paths import parts_dir
from workshop.toolhive.manifests import TOOLHIVE_API, Resource, Resources

__all__ = ["crds", "rules"]

VARIATION = parts_dir() / "04_remote_oauth" / "variations" / "prefix-gateway"
KINDS = {
    "MCPGroup",
    "MCPServerEntry",
    "MCPServer",
    "MCPExternalAuthConfig",
    "MCPOIDCConfig",
    "VirtualMCPServer",
}
# What vMCP 0.63.0 never forwards: `RestrictedHeaders`, and `vmcpRestrictedHeaders` of its validator.
NEVER_FORWARDED = {"host", "close", "connection", "keep-alive", "te", "trailer", "upgrade", "http2-settings"}
NEVER_FORWARDED |= {"proxy-authorization", "proxy-authenticate", "proxy-connection", "transfer-encoding"}
NEVER_FORWARDED |= {"content-length", "forwarded", "x-forwarded-for", "x-forwarded-host"}
NEVER_FORWARDED |= {"x-forwarded-proto", "x-real-ip", "authorization", "cookie"}

OIDC_REFERENCE = (
    "    oidcConfigRef:\n      name: prefix-gateway-oidc\n      audience: http://localhost:4483/mcp\n"
    "      resourceUrl: http://localhost:4483/mcp"
)


def resources(old: str = "", new: str = "") -> Resources:
    """The manifests, with one text replaced by another; the text must be there."""
    texts = [path.read_text("utf-8") for path in sorted((VARIATION / "toolhive").glob("*.yaml"))]
    assert any(old in text for text in texts)
    bodies = [body for text in texts for body in yaml.safe_load_all(text.replace(old, new) if old else text)]
    return Resources(tuple(Resource(b["kind"], b["metadata"]["name"], b, "manifest") for b in bodies))


def gateway(found: Resources) -> Resource:
    (one,) = found.of("VirtualMCPServer")
    return one


def disagreements(found: Resources) -> list[str]:
    """What each manifest alone cannot show, and ToolHive finds out when the pod starts, or never."""
    one = gateway(found)
    servers = [*found.of("MCPServerEntry"), *found.of("MCPServer")]
    told = [
        (f"{server.title} is in another group", server.find("spec.groupRef"), one.find("spec.groupRef"))
        for server in servers
    ]
    told += [
        ("no such group", [group.body["metadata"]["name"] for group in found.of("MCPGroup")], [_group(one)]),
        ("tools of no server", _workloads(one), sorted(server.name for server in servers)),
        ("issuers differ", *_issuers(found)),
        ("audience differs", one.find(f"{_OIDC}.audience"), one.find(f"{_OIDC}.resourceUrl")),
        ("another callback", one.find(f"{_UPSTREAM}.redirectUri"), f"{_issuers(found)[1]}/oauth/callback"),
    ]
    told += [
        (f"{server.name} does not accept its own Host header", f"mcp-{server.name}" in _hosts(server), True)
        for server in found.of("MCPServer")
    ]
    return [text for text, is_, ought in told if is_ != ought] + _dangling(found) + _forwarded(one)


_OIDC = "spec.incomingAuth.oidcConfigRef"
_UPSTREAM = "spec.authServerConfig.upstreamProviders.0.oauth2Config"


def _group(one: Resource) -> str:
    return one.text("spec.groupRef.name")


def _hosts(server: Resource) -> list[str]:
    """The further names in a Host header that part 3's server accepts: its proxy sends its Service's."""
    told = [item["value"] for item in server.items("spec.env") if item["name"] == "MCP_ALLOWED_HOSTS"]
    return [name.strip() for value in told for name in value.split(",")]


def _workloads(one: Resource) -> list[str]:
    return sorted(tool["workload"] for tool in one.items("spec.config.aggregation.tools"))


def _issuers(found: Resources) -> tuple[str, str]:
    one = gateway(found)
    config = found.named("MCPOIDCConfig", one.text(f"{_OIDC}.name"), wanted_by=one)
    return config.text("spec.inline.issuer"), one.text("spec.authServerConfig.issuer")


def _dangling(found: Resources) -> list[str]:
    providers = [item["name"] for item in gateway(found).items("spec.authServerConfig.upstreamProviders")]
    configs = {config.name: config for config in found.of("MCPExternalAuthConfig")}
    told = [
        f"{entry.title} names no auth config"
        for entry in found.of("MCPServerEntry")
        if entry.find("spec.externalAuthConfigRef.name") not in configs
    ]
    return told + [
        f"{config.title} injects what nobody provides"
        for config in configs.values()
        if config.find("spec.upstreamInject.providerName") not in providers
    ]


def _forwarded(one: Resource) -> list[str]:
    names = {str(name).lower() for name in one.items("spec.passthroughHeaders")}
    return [f"{name} is never forwarded" for name in sorted(names & NEVER_FORWARDED)]


def refusals(crds: Crds, found: Resources) -> list[str]:
    return [refusal for resource in found.all for refusal in crds[resource.kind].refusals(resource)]


def test_the_manifests_are_accepted(crds: Crds) -> None:
    found = resources()
    assert {resource.kind for resource in found.all} == KINDS
    assert refusals(crds, found) == []


def test_the_manifests_agree_with_each_other() -> None:
    found = resources()
    assert disagreements(found) == []
    assert {resource.find("apiVersion") for resource in found.all} == {TOOLHIVE_API}
    assert {resource.find("metadata.namespace") for resource in found.all} == {"toolhive-system"}


def test_no_manifest_holds_a_secret() -> None:
    assert not resources().of("Secret")


def test_the_prefix_is_that_of_the_variation_and_the_tools_are_too() -> None:
    config = tomllib.loads((VARIATION / "part.toml").read_text("utf-8"))["workloads"][-1]["config"]
    (registered,) = [item for item in config["registrations"] if item["prefix"] == "github_"]
    one = gateway(resources())
    (github,) = [tool for tool in one.items("spec.config.aggregation.tools") if tool["workload"] == "github"]
    assert one.find("spec.config.aggregation.conflictResolutionConfig.prefixFormat") == "{workload}_"
    assert set(github["filter"]) == set(registered["filter"]) - set(registered["only"])


# One rule of VirtualMCPServer, on headers of its optimizer, needs a function that our CEL runtime lacks.
@pytest.mark.parametrize("kind", sorted(KINDS - {"VirtualMCPServer"}))
def test_every_rule_of_these_kinds_can_be_evaluated(rules: Crds, kind: str) -> None:
    from cel_expr_python import cel

    for program in rules[kind].programs():
        assert program.return_type() == cel.Type.BOOL


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("  transport: streamable-http\n  external", "  external", "'transport' is a required property"),
        ("  transport: streamable-http\n  external", "  transport: stdio\n  external", "is not one of"),
        ("remoteUrl: https://", "remoteUrl: ftp://", "does not match"),
        ("    type: oidc ", "    type: basic ", "is not one of"),
        ("  incomingAuth:", "  incoming:", "'incomingAuth' is a required property"),
        ("      audience:", "      audiences:", "'audience' is a required property"),
        ("conflictResolution: prefix", "conflictResolution: suffix", "is not one of"),
        ("defaultToolVisibility: deny", "defaultToolVisibility: none", "is not one of"),
        ("{workload: github, filter:", "{filter:", "'workload' is a required property"),
        ("filter: [get_me", "filters: [get_me", "'filters' was unexpected"),
        ("source: discovered", "source: guessed", "is not one of"),
        ("issuer: http://localhost:4483\n", "issuer: http://localhost:4483/\n", "does not match"),
        ("  upstreamInject: {providerName: github}", "  tokenExchange: {}", "is a required property"),
        ("  replicas: 1", "  passthroughHeaders: X-GitHub-PAT", "is not of type 'array'"),
        ("  replicas: 1", "  prefix: github_", "'prefix' was unexpected"),
    ],
)
def test_what_the_crds_refuse(crds: Crds, old: str, new: str, told: str) -> None:
    found = refusals(crds, resources(old, new))
    assert any(told in refusal for refusal in found), found


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            OIDC_REFERENCE,
            "    authzConfigRef: {name: rules}",
            "oidcConfigRef is required when type is oidc",
        ),
        ("type: upstreamInject", "type: bearerToken", "if and only if type is"),
        ("clientId: replace", "# replace", "exactly one of clientId or dcrConfig"),
    ],
)
def test_what_a_rule_of_the_crds_refuses(rules: Crds, old: str, new: str, told: str) -> None:
    found = refusals(rules, resources(old, new))
    assert any(told in refusal for refusal in found), found


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "name: prefix-gateway\n  namespace: toolhive-system\nspec:\n  description",
            "OTHER",
            "no such group",
        ),
        ("  name: local", "  name: other", "tools of no server"),
        ("value: mcp-local}", "value: mcp-workshop}", "local does not accept its own Host header"),
        ("{workload: local,", "{workload: notes,", "tools of no server"),
        ("issuer: http://localhost:4483     #", "issuer: http://localhost:8080     #", "issuers differ"),
        ("resourceUrl: http://localhost:4483/mcp", "resourceUrl: http://localhost:4483/", "audience differs"),
        ("http://localhost:4483/oauth/callback", "http://localhost:8080/oauth/callback", "another callback"),
        ("Ref: {name: prefix-gateway-github}", "Ref: {name: elsewhere}", "names no auth config"),
        ("providerName: github", "providerName: gitlab", "injects what nobody provides"),
        ("  replicas: 1", "  passthroughHeaders: [Authorization]", "authorization is never forwarded"),
        ("  replicas: 1", "  passthroughHeaders: [cookie]", "cookie is never forwarded"),
    ],
)
def test_what_no_crd_sees_is_found(crds: Crds, old: str, new: str, told: str) -> None:
    if new == "OTHER":
        new = old.replace("prefix-gateway", "elsewhere")
    found = resources(old, new)
    assert refusals(crds, found) == []
    assert any(told in text for text in disagreements(found)), disagreements(found)


def test_a_header_of_the_callers_is_accepted_but_would_reach_every_server(crds: Crds) -> None:
    found = resources("  replicas: 1", "  passthroughHeaders: [X-GitHub-PAT]")
    assert refusals(crds, found) == []
    assert disagreements(found) == []
    entry = crds["MCPServerEntry"]
    (github,) = found.of("MCPServerEntry")
    body: Mapping[str, Any] = {
        **github.body,
        "spec": {**github.mapping("spec"), "passthroughHeaders": ["X-GitHub-PAT"]},
    }
    (refusal,) = entry.refusals(Resource(github.kind, github.name, body, github.source))
    assert "'passthroughHeaders' was unexpected" in refusal
