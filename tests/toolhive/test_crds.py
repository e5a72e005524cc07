"""Our manifests, in every form we apply, pass ToolHive's own CRDs: their structure and their CEL rules."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.lab.cluster.bench import site_in
from tests.toolhive.conftest import Change
from tests.toolhive.crds import FOLDERS, OLDER, PINNED, Crd, crds_folder, crds_of
from workshop.core.instance import Upstream
from workshop.core.settings import Setting, Settings
from workshop.course.lessons import find_lessons
from workshop.lab.base import Choices
from workshop.lab.cluster.record import ClusterRecord
from workshop.lab.cluster.render import Renderer
from workshop.lab.pins import Pins
from workshop.toolhive.manifests import Resource, Resources
from workshop.toolhive.overrides import (
    OPTIONAL_FIELDS,
    with_client_id,
    with_gateway_port,
    with_node_authorities,
    with_practice_in_cluster,
    without,
    without_usage_metrics,
)

Crds = Mapping[str, Crd]
KINDS = {"MCPServer", "MCPToolConfig", "MCPRemoteProxy", "MCPOIDCConfig", "MCPExternalAuthConfig"}


@pytest.fixture(scope="module", params=[PINNED, OLDER], ids=["pinned", OLDER])
def crds(request: pytest.FixtureRequest) -> Crds:
    """What the API server knows of ToolHive's kinds: the pinned version's, and an older one's."""
    return crds_of(request.param)


@pytest.fixture
def rules(request: pytest.FixtureRequest, crds: Crds) -> Crds:
    """The same, for tests of the CEL rules, which our table does not hold."""
    version = request.node.callspec.params["crds"]
    if crds_folder(version) is None:
        pytest.skip(f"ToolHive's CRDs are not in `../shared/{FOLDERS[version]}`: no CEL rules")
    pytest.importorskip("cel_expr_python", reason="no CEL runtime for this Python")
    return crds


def refusals(crds: Crds, resources: Resources) -> list[str]:
    """What is refused of what `up` sends: an older ToolHive gets no field that ours can do without."""
    return [refusal for item in resources.all for refusal in crds[item.kind].refusals(_sent(crds, item))]


def _sent(crds: Crds, resource: Resource) -> Resource:
    for field in OPTIONAL_FIELDS:
        if resource.find(field) is not None and not crds[resource.kind].knows(field):
            resource = without(resource, field)
    return resource


def test_only_a_field_that_an_older_toolhive_lacks_is_left_out(
    crds: Crds, request: pytest.FixtureRequest
) -> None:
    known = [crds["MCPExternalAuthConfig"].knows(field) for field in OPTIONAL_FIELDS]
    assert known == [request.node.callspec.params["crds"] == PINNED] * len(OPTIONAL_FIELDS)


def in_cluster(resources: Resources) -> Resources:
    return with_practice_in_cluster(
        resources,
        service_origin="http://practice-github:8090",
        browser_origin="http://localhost:8090",
        client_id="practice-workshop-app",
    )


FORMS: dict[str, Callable[[Resources], Resources]] = {
    "as written": lambda resources: resources,
    "another OAuth app": lambda resources: with_client_id(resources, "Iv1.mine"),
    "another port": lambda resources: with_gateway_port(resources, "github-remote", 9090),
    "practice in the cluster": in_cluster,
    "no usage metrics": without_usage_metrics,
    "the node's authorities": with_node_authorities,
    "all at once": lambda resources: without_usage_metrics(
        in_cluster(with_gateway_port(resources, "github-remote", 9090))
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_part_4_is_accepted_in_every_form_we_apply(crds: Crds, change: Change, form: str) -> None:
    resources = FORMS[form](change())
    assert {resource.kind for resource in resources.all} == KINDS - {"MCPServer", "MCPToolConfig"}
    assert refusals(crds, resources) == []


@pytest.mark.parametrize("form", ["as written", "no usage metrics"])
def test_part_3_is_accepted_in_every_form_we_apply(crds: Crds, change: Change, form: str) -> None:
    resources = FORMS[form](change(part="03_toolhive"))
    assert {resource.kind for resource in resources.all} == {"MCPServer", "MCPToolConfig"}
    assert refusals(crds, resources) == []


@pytest.mark.parametrize("upstream", ["practice", "github"])
def test_what_up_applies_to_a_cluster_is_accepted(crds: Crds, tmp_path: Path, upstream: Upstream) -> None:
    settings = Settings(Setting("Iv1.mine", ".env"), Setting("the app's secret", ".env"))
    choices = Choices(upstream, settings, {"github-remote": 9090, "practice-github": 9091})
    pins = Pins.load({"mcp-server": "mirror.example/mcp-server:2"})
    deployments = [found for lesson in find_lessons() if (found := lesson.deployment())]
    site = site_in(tmp_path, ClusterRecord("kubernetes", "i-1", "test", "room-7"), pins)
    parts = Renderer(site).render(deployments, choices)
    applied = [resource for part in parts for resource in part.objects if resource.kind in crds]
    assert {resource.kind for resource in applied} == KINDS
    assert {resource.find("metadata.namespace") for resource in applied} == {"room-7"}
    assert refusals(crds, Resources(tuple(applied))) == []


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_rule_of_the_kinds_we_apply_can_be_evaluated(rules: Crds, kind: str) -> None:
    from cel_expr_python import cel

    for program in rules[kind].programs():
        assert program.return_type() == cel.Type.BOOL


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("issuer: http://localhost:8080", "issuer: http://localhost:8080/", "does not match"),
        ("  authServerRef:", "  authServer:", "'authServer' was unexpected"),
        ("proxyPort: 8080", "proxyport: 8080", "'proxyport' was unexpected"),
        ("proxyPort: 8080", "proxyPort: '8080'", "is not of type 'integer'"),
        ("transport: streamable-http", "transport: stdio", "is not one of"),
        ("  remoteUrl: ", "  # ", "'remoteUrl' is a required property"),
        ("remoteUrl: https://", "remoteUrl: ftp://", "does not match"),
        ("tokenEndpoint:", "#", "'tokenEndpoint' is a required property"),
        ("accessTokenLifespan: 1h", "accessTokenLifespan: soon", "does not match"),
        ("httpMethod: GET", "httpMethod: PUT", "is not one of"),
        ("    audience:", "    # ", "'audience' is a required property"),
        (
            "proxyPort: 8080",
            "resourceOverrides: {proxyDeployment: {env: [{name: A, value: b}, {name: A, value: c}]}}",
            "comes twice",
        ),
    ],
)
def test_a_fault_of_structure_is_found(crds: Crds, change: Change, old: str, new: str, told: str) -> None:
    found = refusals(crds, change(old, new))
    assert any(told in refusal for refusal in found), found


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("image: workshop/mcp-server:0.1.0", "image:", "None is not of type 'string'"),
        ("  transport:", "  imagePullPolicy: Never\n  transport:", "'imagePullPolicy' was unexpected"),
        ("transport: streamable-http", "transport: http", "is not one of"),
        ("proxyPort: 8080", "proxyPort: 65536", "greater than the maximum"),
        ("toolsFilter:", "toolsFilters:", "'toolsFilters' was unexpected"),
    ],
)
def test_a_fault_of_part_3s_structure_is_found(
    crds: Crds, change: Change, old: str, new: str, told: str
) -> None:
    found = refusals(crds, change(old, new, part="03_toolhive"))
    assert any(told in refusal for refusal in found), found


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "  type: inline\n",
            "  type: inline\n  kubernetesServiceAccount: {}\n",
            "kubernetesServiceAccount must be set when type is",
        ),
        (
            "  type: inline\n",
            "  type: kubernetesServiceAccount\n",
            "inline must be set when type is 'inline'",
        ),
        ("type: oauth2\n", "type: oidc\n", "oidcConfig must be set when type is 'oidc'"),
        (
            "        oauth2Config:\n",
            "        oidcConfig: {issuerUrl: 'https://a.example', clientId: c}\n        oauth2Config:\n",
            "(and the other must not be set)",
        ),
        ("  type: embeddedAuthServer\n", "  type: tokenExchange\n", "if and only if type is 'tokenExchange'"),
        (
            "  embeddedAuthServer:\n",
            "  headerInjection: {headerName: A, valueSecretRef: {name: a, key: b}}\n  embeddedAuthServer:\n",
            "if and only if type is 'headerInjection'",
        ),
        ("          clientId: replace", "          # ", "exactly one of clientId or dcrConfig"),
        (
            "          clientId: replace",
            "          dcrConfig: {discoveryUrl: 'https://a.example/x'}\n          clientId: replace",
            "exactly one of clientId or dcrConfig",
        ),
    ],
)
def test_a_fault_that_only_a_rule_sees_is_found(
    rules: Crds, change: Change, old: str, new: str, told: str
) -> None:
    found = refusals(rules, change(old, new))
    assert any(told in refusal for refusal in found), found


def test_an_upstream_without_its_config_is_found(rules: Crds, change: Change) -> None:
    resources = change()
    (auth,) = resources.of("MCPExternalAuthConfig")
    body = copy.deepcopy(dict(auth.body))
    del body["spec"]["embeddedAuthServer"]["upstreamProviders"][0]["oauth2Config"]
    (refusal,) = refusals(rules, Resources((Resource(auth.kind, auth.name, body, auth.source),)))
    assert "oauth2Config must be set when type is 'oauth2'" in refusal


def test_both_authorization_policies_at_once_are_found(rules: Crds, change: Change) -> None:
    both = "authzConfig: {type: inline, inline: {policies: [x]}}\n  authzConfigRef: {name: x}\n"
    for part in ("03_toolhive", "04_remote_oauth"):
        found = refusals(rules, change("proxyPort: 8080", f"{both}  proxyPort: 8080", part=part))
        assert any("authzConfig and authzConfigRef" in refusal for refusal in found), found
