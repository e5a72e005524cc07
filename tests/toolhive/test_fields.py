"""Every field of a manifest is held against ToolHive's CRDs, and has a meaning in the embedded backend."""

import copy
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.effort import looks
from tests.fuzz.strategies import json_values
from tests.toolhive.conftest import Change
from tests.toolhive.crd_table import table
from tests.toolhive.crds import OLDER, PINNED, Crd, crds_folder, crds_of, from_table
from workshop.core.errors import UsageError
from workshop.core.paths import cluster_dir, parts_dir
from workshop.toolhive import fields, lint
from workshop.toolhive.fields import ACTED_ON, IGNORED, check_embedded, kinds
from workshop.toolhive.manifests import Resource, Resources, load

OTHERS = ("start.yaml", "kubernetes.yaml")  # a task without its answer; Kubernetes' own kinds
OTHERS_FOLDER = "kuadrant"  # another project's kinds
BODIES: list[dict[str, Any]] = [
    body
    for path in sorted(parts_dir().rglob("*.yaml"))
    if path.name not in OTHERS and path.parent.name != OTHERS_FOLDER
    for body in yaml.safe_load_all(path.read_text("utf-8"))
]


def faults(kind: str, spec: Mapping[str, Any], **rest: object) -> list[str]:
    body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec, **rest}
    return [f"{found.path} {found.problem}" for found in fields.faults_of(Resource(kind, "x", body, "file"))]


def server(**spec: object) -> list[str]:
    return faults("MCPServer", {"image": "a:1", **spec})


def test_the_table_is_that_of_the_crds() -> None:
    crds, older = crds_folder(PINNED), crds_folder(OLDER)
    if crds is None or older is None:
        pytest.skip("ToolHive's CRDs are not beside the checkout")
    assert fields.TABLE.read_text("utf-8") == table(PINNED, crds, OLDER, older)


def test_the_table_is_of_the_pinned_version() -> None:
    found = json.loads(fields.TABLE.read_text("utf-8"))
    versions = tomllib.loads((cluster_dir() / "versions.toml").read_text("utf-8"))
    assert found["toolhive"] == versions["toolhive"]["version"] == PINNED
    assert found["older"] == OLDER


@pytest.mark.parametrize("body", BODIES, ids=lambda body: f"{body['kind']}-{body['metadata']['name']}")
def test_every_manifest_of_the_parts_passes(body: dict[str, Any]) -> None:
    assert body["kind"] in fields.kinds()
    assert fields.faults_of(Resource(body["kind"], body["metadata"]["name"], body, "file")) == []


@pytest.mark.parametrize(
    ("part", "old", "new", "path", "hint"),
    [
        ("03", "  proxyPort:", "  proxyport:", "spec.proxyport", "Did you mean `proxyPort`?"),
        ("03", "toolsFilter:", "toolFilter:", "spec.toolFilter", "Did you mean `toolsFilter`?"),
        ("03", "      description:", "      desciption:", "get_issue.desciption", "mean `description`?"),
        ("03", "  name: workshop\n", "  name: workshop\n  lables: {}\n", "metadata.lables", "mean `labels`?"),
        ("03", "kind: MCPServer", "kind: MCPServer\nsepc: {}", "`sepc`", "Remove it"),
        ("04", "  remoteUrl:", "  remoteURL:", "spec.remoteURL", "Did you mean `remoteUrl`?"),
        ("04", "refillPeriod:", "refill:", "registrationRateLimit.refill", "mean `refillPeriod`?"),
        ("04", "tokenEndpoint:", "tokenEndpiont:", "oauth2Config.tokenEndpiont", "mean `tokenEndpoint`?"),
        ("04", "{type: memory}", "{tpye: memory}", "storage.tpye", "Did you mean `type`?"),
        (
            "04",
            "  replicas: 1",
            "  nonsenseField: true",
            "spec.nonsenseField",
            "Fields that you can add there: ",
        ),
    ],
)
def test_an_unknown_field_is_refused_with_a_suggestion(
    change: Change, part: str, old: str, new: str, path: str, hint: str
) -> None:
    folder = {"03": "03_toolhive", "04": "04_remote_oauth"}[part]
    with pytest.raises(UsageError) as caught:
        lint.check(change(old, new, part=folder))
    assert path in caught.value.what
    assert "is not a known field" in caught.value.what
    assert hint in caught.value.hint
    assert ".yaml, document" in caught.value.why


def test_a_misspelt_secret_is_refused(tmp_path: Path) -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringdata": {"key": "hidden"}}
    (tmp_path / "secret.yaml").write_text(yaml.safe_dump(body), encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        lint.check(load(tmp_path))
    assert caught.value.what == "Secret/s: `stringdata` is not a known field"
    assert caught.value.hint == "Did you mean `stringData`?"


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"proxyPort": "8080"}, "spec.proxyPort must be a whole number, not text"),
        ({"proxyPort": True}, "spec.proxyPort must be a whole number, not a boolean"),
        ({"proxyPort": 0}, "spec.proxyPort must be between 1 and 65535, not 0"),
        ({"proxyPort": 80.5}, "spec.proxyPort must be a whole number, not a number"),
        ({"replicas": 1 << 31}, "spec.replicas must fit into 32 bits, not 2147483648"),
        (
            {"transport": "http"},
            "spec.transport must be one of `stdio`, `streamable-http`, `sse`, not 'http'",
        ),
        ({"args": "all"}, "spec.args must be a list, not text"),
        ({"args": ["a", None]}, "spec.args.1 must be text, not empty"),
        ({"env": [{"name": "A"}]}, "spec.env.0.value is missing"),
        ({"env": [{"name": "A", "value": "b"}] * 2}, "spec.env has `A` more than once"),
        ({"resources": {"limits": {"cpu": 1}}}, "spec.resources.limits.cpu must be text, not a whole number"),
        ({"resources": ["cpu"]}, "spec.resources must be a mapping, not a list"),
        ({"image": None}, "spec.image is missing"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(spec: dict[str, Any], told: str) -> None:
    assert server(**spec) == [told]


def test_other_bounds_and_patterns_are_named() -> None:
    (repeated,) = faults("MCPToolConfig", {"toolsFilter": ["a", "b", "a"]})
    assert repeated == "spec.toolsFilter has `a` more than once"
    rate = {"maxTokens": 0, "refillPeriod": "1m"}
    entry = {"name": "x" * 64, "type": "oauth2"}
    server = {"issuer": "https://a.example/", "registrationRateLimit": rate, "upstreamProviders": [entry]}
    found = faults("MCPExternalAuthConfig", {"type": "embeddedAuthServer", "embeddedAuthServer": server})
    assert found[0].startswith("spec.embeddedAuthServer.issuer must match `^https?://")
    assert found[0].endswith("not 'https://a.example/'")
    assert found[1] == "spec.embeddedAuthServer.registrationRateLimit.maxTokens must be at least 1, not 0"
    path = "spec.embeddedAuthServer.upstreamProviders.0.name"
    assert found[2] == f"{path} must have between 1 and 63 characters, not 64"


def test_a_line_end_does_not_pass_for_the_end_of_a_text() -> None:
    spec = {"type": "embeddedAuthServer", "embeddedAuthServer": {"issuer": "https://a.example\n"}}
    (found,) = faults("MCPExternalAuthConfig", spec)
    assert found.startswith("spec.embeddedAuthServer.issuer must match")


@pytest.mark.parametrize("value", [{"containers": [{"name": "mcp", "whatever": 1}]}, {}, None])
def test_what_the_crds_leave_open_stays_open(value: object) -> None:
    assert server(podTemplateSpec={"spec": value}) == []
    assert server(podTemplateSpec=None) == []
    assert faults("MCPServer", {"image": "a:1"}, status={"anything": [1]}) == []


def test_a_value_is_not_shown_where_its_type_is_wrong() -> None:
    (found,) = fields.faults_of(
        Resource("Secret", "s", {"stringData": {"key": 123456789}, "kind": "Secret"}, "file")
    )
    assert "123456789" not in repr(found)
    assert found.hint == "Put it in quotes"


def places(value: object, path: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    yield path
    pairs = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in pairs:
        yield from places(inner, (*path, key))


PLACES = [(number, place) for number, body in enumerate(BODIES) for place in places(body["spec"], ("spec",))]


@pytest.fixture(scope="module", params=["table", PINNED])
def judges(request: pytest.FixtureRequest) -> Mapping[str, Crd]:
    """JSON Schema with what the table says, and with the CRDs themselves."""
    if request.param == "table":
        return {kind: Crd(schema) for kind, schema in from_table().items()}
    if crds_folder(request.param) is None:
        pytest.skip("ToolHive's CRDs are not beside the checkout")
    return crds_of(request.param)


@looks(200)
@given(place=st.sampled_from(PLACES), value=json_values, name=st.sampled_from(["", "other", "name", "type"]))
def test_the_check_agrees_with_json_schema_on_any_value(
    judges: Mapping[str, Crd], place: tuple[int, tuple[Any, ...]], value: object, name: str
) -> None:
    number, path = place
    body = copy.deepcopy(BODIES[number])
    inside: Any = body
    for key in path[:-1]:
        inside = inside[key]
    if name and isinstance(inside[path[-1]], dict):
        inside[path[-1]][name] = value
    else:
        inside[path[-1]] = value
    plain = without_nulls(body)
    found = fields.faults_of(Resource(body["kind"], "x", plain, "file"))
    told = judges[body["kind"]].refusals(Resource(body["kind"], "x", plain, "file"), rules=False)
    assert bool(found) == bool(told), (found, told)


def without_nulls(value: Any) -> Any:
    """As the API server drops them: in a mapping, null means that the field is absent."""
    if isinstance(value, Mapping):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def test_part_3_and_4_pass_together(change: Change) -> None:
    everything = Resources((*change().all, *change(part="03_toolhive").all))
    lint.check(everything)


STORAGE = "    storage: {type: memory}"
PROXY = "  proxyPort: 8080"
OAUTH = "          clientId: "
TABLES = [(kind, path) for table in (ACTED_ON, IGNORED) for kind, paths in table.items() for path in paths]


@pytest.mark.parametrize("folder", sorted(parts_dir().glob("*/toolhive")), ids=lambda path: path.parent.name)
def test_the_parts_own_manifests_have_a_meaning_here(folder: object) -> None:
    check_embedded(load(parts_dir() / str(folder)))


@pytest.mark.parametrize(
    ("before", "field", "path"),
    [
        *(
            (STORAGE, f"    {field}", f"spec.embeddedAuthServer.{field.partition(':')[0]}")
            for field in (
                "disableUpstreamTokenInjection: true",
                "authorizationEndpointBaseUrl: http://localhost:8080",
                "forceConfidentialRedirectUris: ['https://client.example/cb']",
                "allowPrivateKeyJWTRegistration: true",
                "tlsListener: {certificateSecretRef: {name: a, key: b}}",
                "trustedIssuers: [{name: a}]",
                "delegateClients: [{clientId: a}]",
                "inboundGrants: {tokenExchange: {}, jwtBearer: {issuerPolicies: [{issuerRef: a}]}}",
            )
        ),
        *(
            (PROXY, f"  {field}", f"spec.{field.partition(':')[0]}")
            for field in (
                "audit: {enabled: true}",
                "authzConfigRef: {name: a}",
                "endpointPrefix: /x",
                "trustProxyHeaders: true",
                "telemetryConfigRef: {name: a}",
                "sessionStorage: {provider: redis}",
            )
        ),
        *(
            (OAUTH, f"          {field}", "spec.embeddedAuthServer.upstreamProviders.0.oauth2Config")
            for field in (
                "omitScopeOnRefresh: true",
                "tokenEndpointAuthMethod: client_secret_basic",
                "additionalTokenParams: {resource: x}",
                "identityFromToken: {subjectPath: sub}",
            )
        ),
    ],
)
def test_a_field_without_a_meaning_is_refused_by_its_path(
    change: Change, before: str, field: str, path: str
) -> None:
    with pytest.raises(UsageError) as caught:
        check_embedded(change(before, f"{field}\n{before}"))
    assert path in caught.value.what
    assert "no meaning in the embedded backend" in caught.value.what


@pytest.mark.parametrize("field", ["oidcConfigRef: {name: a}", "externalAuthConfigRef: {name: a}"])
def test_a_server_that_its_manifest_protects_does_not_run_open(change: Change, field: str) -> None:
    with pytest.raises(UsageError, match=field.partition(":")[0]):
        check_embedded(change("  proxyPort: 8080", f"  {field}\n  proxyPort: 8080", part="03_toolhive"))


@pytest.mark.parametrize(
    "field", ["disableUpstreamTokenInjection: false", "tlsListener:", "trustedIssuers: []"]
)
def test_a_field_that_says_nothing_is_no_fault(change: Change, field: str) -> None:
    check_embedded(change(STORAGE, f"    {field}\n{STORAGE}"))


@pytest.mark.parametrize(
    "field", ["resources: {limits: {cpu: 1m}}", "podTemplateSpec: {spec: {hostNetwork: true}}"]
)
def test_a_field_of_pods_is_ignored(change: Change, field: str) -> None:
    without = "  resources:\n    requests: {cpu: 50m, memory: 64Mi}\n    limits: {cpu: 200m, memory: 256Mi}\n"
    resources = change(without, f"  {field}\n")
    lint.check(resources)
    check_embedded(resources)


@pytest.mark.parametrize(("kind", "path"), TABLES)
def test_the_tables_name_fields_that_exist(kind: str, path: str) -> None:
    """A misspelt one would refuse what is acted on."""
    found = kinds()[kind]
    for name in path.split("."):
        found = found.inside[name]


def test_the_help_topic_names_every_ignored_field() -> None:
    topic = (parts_dir().parent / "workshop" / "cli" / "topics" / "backends.md").read_text("utf-8")
    section = topic.partition("are ignored: ")[2].partition("\n- ")[0]
    named = set(re.findall(r"`(\w+)`", section.replace("`proxyPort`", "")))
    ignored = {path.rsplit(".", 1)[1] for paths in IGNORED.values() for path in paths}
    assert named == ignored - {"proxyPort"}
    assert "an MCPServer's\n  `proxyPort`" in section
