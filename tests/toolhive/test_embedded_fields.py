"""Every field of a manifest is acted on, ignored, or refused by the embedded backend; none is forgotten."""

import re

import pytest

from tests.toolhive.conftest import Change
from workshop.core.errors import UsageError
from workshop.core.paths import parts_dir
from workshop.toolhive import lint
from workshop.toolhive.fields import ACTED_ON, IGNORED, check_embedded, kinds
from workshop.toolhive.manifests import load

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
