"""What ToolHive's operator makes of part 4's manifests: the run configuration that the proxy reads.

The operator's code is `cmd/thv-operator/controllers/mcpremoteproxy_runconfig.go` and
`cmd/thv-operator/pkg/controllerutil/authserver.go`. Only what our manifests have is here; a field that is
not known stops the test, so that no part of a manifest is left out without a word.
"""

from collections.abc import Mapping
from typing import Any

from workshop.toolhive.lint import DEFAULT_SCOPES
from workshop.toolhive.manifests import Resource, Resources, auth_config, oidc_config, seconds
from workshop.toolhive.secrets import SecretFiles

_SERVER = "spec.embeddedAuthServer"
_SCHEMA = "v0.1.0"


def proxy(resource: Resource, resources: Resources, secrets: SecretFiles) -> dict[str, Any]:
    """`runconfig.json` of one MCPRemoteProxy; it listens on loopback, for a test is no cluster."""
    auth = auth_config(resource, resources)
    assert auth is not None
    oidc = oidc_config(resource, resources)
    audience = resource.text("spec.oidcConfigRef.audience")
    scopes = list(resource.items("spec.oidcConfigRef.scopes") or DEFAULT_SCOPES)
    return {
        "schema_version": _SCHEMA,
        "name": resource.name,
        "image": "",
        "remote_url": resource.text("spec.remoteUrl"),
        "transport": resource.text("spec.transport"),
        "host": "127.0.0.1",
        "port": resource.port("spec.proxyPort", 8080),
        "oidc_config": {
            "Issuer": oidc.text("spec.inline.issuer"),
            "Audience": audience,
            "ResourceURL": resource.text("spec.oidcConfigRef.resourceUrl"),
            "AllowPrivateIP": oidc.find("spec.inline.jwksAllowPrivateIP"),
            "InsecureAllowHTTP": oidc.find("spec.inline.insecureAllowHTTP"),
            "Scopes": scopes,
        },
        "embedded_auth_server_config": auth_server(
            auth.mapping(_SERVER), secrets, audience=audience, scopes=scopes
        ),
        "header_forward": _header_forward(resource),
        **_tools(resource, resources),
    }


def before(resource: Resource, resources: Resources, remote_url: str, port: int) -> dict[str, Any]:
    """`runconfig.json` of a proxy without a login that does for `remote_url` what an MCPServer's does."""
    return {
        "schema_version": _SCHEMA,
        "name": resource.name,
        "image": "",
        "remote_url": remote_url,
        "transport": resource.text("spec.transport"),
        "host": "127.0.0.1",
        "port": port,
        **_tools(resource, resources),
    }


def auth_server(
    spec: Mapping[str, Any], secrets: SecretFiles, *, audience: str, scopes: list[str]
) -> dict[str, Any]:
    """The embedded authorization server of a proxy or of a virtual server, from its part of the `spec`."""
    known = {
        *("issuer", "signingKeySecretRefs", "hmacSecretRefs", "tokenLifespans", "storage"),
        *("upstreamProviders", "registrationRateLimit", "baselineClientScopes", "cimd"),
        *("allowConfidentialClientRegistration", "insecureAllowConfidentialOverLoopbackHTTP"),
    }
    assert spec.keys() <= known, spec.keys() - known
    signing = [secrets.path(ref["name"], ref["key"]) for ref in spec["signingKeySecretRefs"]]
    (provider,) = spec["upstreamProviders"]
    config = {
        "schema_version": _SCHEMA,
        "issuer": spec["issuer"],
        "allowed_audiences": [audience],
        "scopes_supported": scopes,
        "signing_key_config": {"key_dir": str(signing[0].parent), "signing_key_file": signing[0].name},
        "hmac_secret_files": [str(secrets.path(ref["name"], ref["key"])) for ref in spec["hmacSecretRefs"]],
        "token_lifespans": _lifespans(spec.get("tokenLifespans", {})),
        "upstreams": [_upstream(provider, secrets)],
        "storage": _storage(spec.get("storage", {})),
    }
    if baseline := spec.get("baselineClientScopes"):
        config["baseline_client_scopes"] = baseline
    if spec.get("allowConfidentialClientRegistration"):
        config["allow_confidential_client_registration"] = True
        loopback = spec["insecureAllowConfidentialOverLoopbackHTTP"]
        config["insecure_allow_confidential_over_loopback_http"] = loopback
    if cimd := spec.get("cimd"):
        config["cimd"] = {"enabled": cimd["enabled"]}
    if limit := spec.get("registrationRateLimit"):
        config["registration_rate_limit"] = {
            "requests_per_second": limit["maxTokens"] / seconds(limit["refillPeriod"]),
            "burst": limit["maxTokens"],
        }
    return config


def _lifespans(given: Mapping[str, str]) -> dict[str, str]:
    names = {
        "accessTokenLifespan": "access_token_lifespan",
        "refreshTokenLifespan": "refresh_token_lifespan",
        "authCodeLifespan": "auth_code_lifespan",
    }
    return {names[name]: value for name, value in given.items()}


def _storage(given: Mapping[str, Any]) -> dict[str, Any]:
    assert given.get("type", "memory") == "memory"
    limit = given.get("maxDCRClients")
    return {"type": "memory"} | ({} if limit is None else {"max_dcr_clients": limit})


def _upstream(provider: Mapping[str, Any], secrets: SecretFiles) -> dict[str, Any]:
    names = {
        "authorizationEndpoint": "authorization_endpoint",
        "tokenEndpoint": "token_endpoint",
        "clientId": "client_id",
        "redirectUri": "redirect_uri",
        "scopes": "scopes",
        "insecureAllowHTTP": "insecure_allow_http",
        "allowPrivateIPs": "allow_private_ips",
    }
    given = dict(provider["oauth2Config"])
    reference, userinfo = given.pop("clientSecretRef"), given.pop("userInfo")
    return {
        "name": provider["name"],
        "type": provider["type"],
        "oauth2_config": {
            **{names[name]: value for name, value in given.items()},
            "client_secret_file": str(secrets.path(reference["name"], reference["key"])),
            "userinfo": _userinfo(userinfo),
        },
    }


def _userinfo(given: Mapping[str, Any]) -> dict[str, Any]:
    fields = {"subjectFields": "subject_fields", "nameFields": "name_fields", "emailFields": "email_fields"}
    return {
        "endpoint_url": given["endpointUrl"],
        "http_method": given["httpMethod"],
        "additional_headers": given["additionalHeaders"],
        "field_mapping": {fields[name]: value for name, value in given["fieldMapping"].items()},
    }


def _header_forward(resource: Resource) -> dict[str, Any]:
    return {"add_plaintext_headers": dict(resource.mapping("spec.headerForward.addPlaintextHeaders"))}


def _tools(resource: Resource, resources: Resources) -> dict[str, Any]:
    if not resource.find("spec.toolConfigRef"):
        return {}
    config = resources.named("MCPToolConfig", resource.text("spec.toolConfigRef.name"), wanted_by=resource)
    overrides = config.mapping("spec.toolsOverride")
    return {
        "tools_filter": list(config.items("spec.toolsFilter")),
        "tools_override": {name: dict(override) for name, override in overrides.items()},
    }


def virtual_server(resource: Resource, resources: Resources, backends: Mapping[str, str]) -> dict[str, Any]:
    """`config.yaml` of one VirtualMCPServer; `backends` has the address of each server of its group.

    The operator's code is `cmd/thv-operator/pkg/vmcpconfig/converter.go`.
    """
    reference = resource.mapping("spec.incomingAuth.oidcConfigRef")
    oidc = resources.named("MCPOIDCConfig", reference["name"], wanted_by=resource)
    assert resource.find("spec.incomingAuth.type") == "oidc"
    assert resource.find("spec.outgoingAuth.source") == "discovered"
    return {
        **resource.mapping("spec.config"),
        "name": resource.name,
        "groupRef": resource.text("spec.groupRef.name"),
        "incomingAuth": {
            "type": "oidc",
            "oidc": {
                "issuer": oidc.text("spec.inline.issuer"),
                "clientId": "",
                "audience": reference["audience"],
                "resource": reference["resourceUrl"],
                "jwksAllowPrivateIp": oidc.find("spec.inline.jwksAllowPrivateIP"),
                "insecureAllowHttp": oidc.find("spec.inline.insecureAllowHTTP"),
            },
        },
        "outgoingAuth": {"source": "inline", "backends": _outgoing(resources)},
        "backends": [
            {"name": name, "url": url, "transport": "streamable-http"} for name, url in backends.items()
        ],
    }


def _outgoing(resources: Resources) -> dict[str, Any]:
    """What each server of the group is sent, by the auth config that its own manifest refers to."""
    told = {}
    for server in (*resources.of("MCPServerEntry"), *resources.of("MCPServer")):
        if name := server.find("spec.externalAuthConfigRef.name"):
            auth = resources.named("MCPExternalAuthConfig", name, wanted_by=server)
            assert auth.find("spec.type") == "upstreamInject"
            provider = auth.text("spec.upstreamInject.providerName")
            told[server.name] = {"type": "upstream_inject", "upstreamInject": {"providerName": provider}}
    return told
