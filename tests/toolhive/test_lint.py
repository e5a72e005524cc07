"""What ToolHive would refuse, or quietly break on, is refused before anything starts."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.toolhive.conftest import Change
from workshop.core.errors import UsageError
from workshop.toolhive.lint import check
from workshop.toolhive.manifests import Resource, Resources

AUTH_SERVER = "  authServerRef:\n    kind: MCPExternalAuthConfig\n    name: github-remote-auth\n"


def test_the_parts_own_manifests_pass(change: Change) -> None:
    check(change())
    check(change(part="03_toolhive"))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("issuer: http://localhost:8080", "issuer: http://localhost:8080/", "must not end with a slash"),
        ("audience: http://localhost:8080/", "audience: http://localhost:8080", "must be the same text"),
        (
            "resourceUrl: http://localhost:8080/",
            "resourceUrl: http://127.0.0.1:8080/",
            "must be the same text",
        ),
        ("replicas: 1", "replicas: 2", "`replicas` must be 1, not 2"),
        ("  proxyPort:", "  externalAuthConfigRef: {name: x}\n  proxyPort:", "has both `authServerRef`"),
        ("http://localhost:8080", "http://gateway.example:8080", "must start with https://; only localhost"),
        ("http://localhost:8080", "ftp://localhost:8080", "must start with http:// or https://"),
        ("proxyPort: 8080", "proxyPort: 8081", "is not the port of the issuer"),
        ("proxyPort: 8080", "proxyPort: 80800", "between 1 and 65535"),
        ("/oauth/callback", "/callback", "redirectUri must be"),
        ("accessTokenLifespan: 1h", "accessTokenLifespan: 25h", "Go duration from 60s to 86400s"),
        ("accessTokenLifespan: 1h", "accessTokenLifespan: soon", "Go duration"),
        (
            "storage: {type: memory}",
            "cimd: {enabled: sometimes}",
            "enabled` must be true or false, not text",
        ),
        (
            "storage: {type: memory}",
            "cimd: {enabled: true, cacheMaxSize: 0}",
            "cacheMaxSize` must be at least 1",
        ),
        ("storage: {type: memory}", "cimd: {enabled: true, cacheFallbackTtl: 1s}", "from 10s to 86400s"),
        ("storage: {type: memory}", "allowConfidentialClientRegistration: true", "needs an https issuer"),
        (
            "storage: {type: memory}",
            "allowConfidentialClientRegistration: true\n    insecureAllowHTTP: true",
            "exclude each other",
        ),
        ("storage: {type: memory}", "baselineClientScopes: [openid, admin]", "has `admin`, which"),
        ("{type: memory}", "{type: memory, maxDCRClients: -1}", "storage.maxDCRClients` must be at least 0"),
        (
            "{type: memory}",
            "{type: memory, maxDCRClients: true}",
            "maxDCRClients` must be a whole number",
        ),
        ("maxTokens: 60", "maxTokens: 0", "maxTokens` must be at least 1, not 0"),
        ("refillPeriod: 1m", "refillPeriod: 0s", "refillPeriod` must be a Go duration"),
        ("refillPeriod: 1m", "refillPeriod: 60", "refillPeriod` must be a Go duration"),
        ("remoteUrl: https://", "remoteUrl: ftp://", "http:// or https://"),
        ("type: embeddedAuthServer", "type: tokenExchange", "must be `embeddedAuthServer`"),
        ("          tokenEndpoint:", "          #", "tokenEndpoint` is missing"),
        ("  remoteUrl:", "  #", "remoteUrl` is missing"),
        (", refillPeriod: 1m}", "}", "refillPeriod` must be a Go duration"),
    ],
)
def test_a_broken_rule_is_named(change: Change, old: str, new: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        check(change(old, new))
    assert told in caught.value.what


def test_issuers_that_disagree_are_named(change: Change) -> None:
    resources = change(
        "inline:\n    issuer: http://localhost:8080", "inline:\n    issuer: http://localhost:8089"
    )
    with pytest.raises(UsageError, match="differs from"):
        check(resources)


def test_a_reference_to_nothing_is_named(change: Change) -> None:
    with pytest.raises(UsageError, match="refers to MCPOIDCConfig `elsewhere`"):
        check(change("oidcConfigRef:\n    name: github-remote-oidc", "oidcConfigRef:\n    name: elsewhere"))


def test_a_proxy_without_auth_is_refused(change: Change) -> None:
    with pytest.raises(UsageError, match="anyone could use it"):
        check(change(AUTH_SERVER, ""))


@pytest.mark.parametrize("image", ["workshop/mcp-server", "workshop/mcp-server:latest"])
def test_an_image_the_kubelet_would_pull_is_refused(change: Change, image: str) -> None:
    with pytest.raises(UsageError, match="needs a tag"):
        check(change("workshop/mcp-server:0.1.0", image, part="03_toolhive"))


def test_two_replicas_are_fine_where_logins_are_shared(change: Change) -> None:
    resources = change("storage: {type: memory}", "storage: {type: redis}")
    (proxy,) = resources.of("MCPRemoteProxy")
    check(replaced(resources, {**proxy.body, "spec": {**proxy.body["spec"], "replicas": 2}}))


def test_an_https_issuer_may_be_anywhere_and_an_http_one_where_the_manifest_insists(change: Change) -> None:
    check(change("http://localhost:8080", "https://gateway.example:8080"))
    resources = change("http://localhost:8080", "http://gateway.example:8080")
    (auth,) = resources.of("MCPExternalAuthConfig")
    server = {**auth.body["spec"]["embeddedAuthServer"], "insecureAllowHTTP": True}
    check(replaced(resources, {**auth.body, "spec": {**auth.body["spec"], "embeddedAuthServer": server}}))


def test_a_server_and_a_proxy_of_one_name_are_refused(change: Change) -> None:
    both = Resources(
        (*change(part="03_toolhive").all, *change("name: github-remote\n", "name: workshop\n").all)
    )
    with pytest.raises(UsageError, match="has the same name as an MCPServer"):
        check(both)


def replaced(resources: Resources, body: Mapping[str, Any]) -> Resources:
    """The same resources, one of them with another body."""
    return Resources(
        tuple(
            Resource(each.kind, each.name, body, each.source) if each.kind == body["kind"] else each
            for each in resources.all
        )
    )
