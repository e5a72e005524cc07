"""A manifest moved to another port, or to the practice GitHub, still agrees with itself."""

from tests.toolhive.conftest import Change
from workshop.toolhive.lint import check
from workshop.toolhive.manifests import Resources
from workshop.toolhive.overrides import (
    with_client_id,
    with_early_probes,
    with_gateway_port,
    with_node_authorities,
    with_practice_github,
    with_practice_in_cluster,
    without_usage_metrics,
)

OAUTH = "spec.embeddedAuthServer.upstreamProviders.0.oauth2Config"


def test_another_port_moves_issuer_audience_and_callback_together(change: Change) -> None:
    moved = with_gateway_port(change(), "github-remote", 9191)
    check(moved)
    proxy, auth = moved.of("MCPRemoteProxy")[0], moved.of("MCPExternalAuthConfig")[0]
    assert proxy.find("spec.proxyPort") == 9191
    assert proxy.find("spec.oidcConfigRef.audience") == "http://localhost:9191/"
    assert auth.find("spec.embeddedAuthServer.issuer") == "http://localhost:9191"
    assert auth.find(f"{OAUTH}.redirectUri") == "http://localhost:9191/oauth/callback"
    assert auth.find(f"{OAUTH}.tokenEndpoint") == "https://github.com/login/oauth/access_token"


def test_the_remote_proxy_reads_the_authorities_of_its_node(change: Change) -> None:
    changed = with_node_authorities(change())
    check(changed)
    (proxy,) = changed.of("MCPRemoteProxy")
    (volume,) = proxy.find("spec.podTemplateSpec.spec.volumes")
    (container,) = proxy.find("spec.podTemplateSpec.spec.containers")
    assert container["name"] == "toolhive"  # the name ToolHive gives it, by which it is patched
    (mount,) = container["volumeMounts"]
    assert (mount["name"], mount["mountPath"]) == (volume["name"], volume["hostPath"]["path"])
    environment = {
        item["name"]: item["value"] for item in proxy.find("spec.resourceOverrides.proxyDeployment.env")
    }
    assert environment["SSL_CERT_FILE"] == mount["mountPath"]


def test_the_practice_github_takes_the_place_of_every_github_address(change: Change) -> None:
    before = change()
    practice = with_practice_github(before, "http://localhost:9292", "practice-app")
    check(practice)
    proxy, auth = practice.of("MCPRemoteProxy")[0], practice.of("MCPExternalAuthConfig")[0]
    assert proxy.find("spec.remoteUrl") == "http://localhost:9292/mcp/"
    assert auth.find(f"{OAUTH}.authorizationEndpoint") == "http://localhost:9292/login/oauth/authorize"
    assert auth.find(f"{OAUTH}.tokenEndpoint") == "http://localhost:9292/login/oauth/access_token"
    assert auth.find(f"{OAUTH}.userInfo.endpointUrl") == "http://localhost:9292/user"
    assert auth.find(f"{OAUTH}.clientId") == "practice-app"
    assert "github.com" not in str([resource.body["spec"] for resource in practice.all])
    assert "github.com" in str(before.of("MCPExternalAuthConfig")[0].body), "the original stays as it was"


def test_another_oauth_app_changes_the_client_id_only(change: Change) -> None:
    before, after = change(), with_client_id(change(), "mine")
    assert after.of("MCPExternalAuthConfig")[0].find(f"{OAUTH}.clientId") == "mine"
    assert after.of("MCPRemoteProxy") == before.of("MCPRemoteProxy")


def test_in_a_cluster_the_proxy_uses_the_service_and_the_browser_the_port_forward(change: Change) -> None:
    practice = in_cluster(change())
    check(practice)
    proxy, auth = practice.of("MCPRemoteProxy")[0], practice.of("MCPExternalAuthConfig")[0]
    assert proxy.find("spec.remoteUrl") == "http://practice-github:8090/mcp/"
    assert auth.find(f"{OAUTH}.tokenEndpoint") == "http://practice-github:8090/login/oauth/access_token"
    assert auth.find(f"{OAUTH}.userInfo.endpointUrl") == "http://practice-github:8090/user"
    assert auth.find(f"{OAUTH}.authorizationEndpoint") == "http://localhost:9292/login/oauth/authorize"
    assert auth.find(f"{OAUTH}.redirectUri") == "http://localhost:8080/oauth/callback"
    assert auth.find(f"{OAUTH}.insecureAllowHTTP") is True
    assert auth.find(f"{OAUTH}.allowPrivateIPs") is True
    assert env_of(practice, "MCPRemoteProxy") == {"INSECURE_DISABLE_URL_VALIDATION": "true"}


def test_no_proxy_reports_its_usage(change: Change) -> None:
    for part, kind in (("03_toolhive", "MCPServer"), ("04_remote_oauth", "MCPRemoteProxy")):
        once = without_usage_metrics(change(part=part))
        assert env_of(once, kind) == {"TOOLHIVE_USAGE_METRICS_ENABLED": "false"}
        assert without_usage_metrics(once) == once


def test_environment_that_a_manifest_sets_itself_is_kept(change: Change) -> None:
    own = "resourceOverrides: {proxyDeployment: {env: [{name: TOOLHIVE_DEBUG, value: 'true'}]}}"
    after = without_usage_metrics(in_cluster(change("  replicas: 1", f"  {own}\n  replicas: 1")))
    assert env_of(after, "MCPRemoteProxy") == {
        "TOOLHIVE_DEBUG": "true",
        "INSECURE_DISABLE_URL_VALIDATION": "true",
        "TOOLHIVE_USAGE_METRICS_ENABLED": "false",
    }


def in_cluster(resources: Resources) -> Resources:
    return with_practice_in_cluster(
        resources,
        service_origin="http://practice-github:8090",
        browser_origin="http://localhost:9292",
        client_id="practice-app",
    )


def env_of(resources: Resources, kind: str) -> dict[str, str]:
    (workload,) = resources.of(kind)
    env = workload.items("spec.resourceOverrides.proxyDeployment.env")
    assert len({item["name"] for item in env}) == len(env), "Kubernetes refuses a name that comes twice"
    return {item["name"]: item["value"] for item in env}


def test_a_remote_proxy_is_asked_early_whether_it_is_ready(change: Change) -> None:
    changed = with_early_probes(with_node_authorities(change()))
    check(changed)
    (proxy,) = changed.of("MCPRemoteProxy")
    (container,) = proxy.find("spec.podTemplateSpec.spec.containers")
    assert container["name"] == "toolhive"
    assert container["volumeMounts"]
    assert container["readinessProbe"]["initialDelaySeconds"] == 1
    starting = container["startupProbe"]
    assert starting["periodSeconds"] * starting["failureThreshold"] == 90


def test_a_probe_that_a_manifest_sets_itself_is_kept(change: Change) -> None:
    own = "{spec: {containers: [{name: toolhive, readinessProbe: {initialDelaySeconds: 40}}]}}"
    changed = with_early_probes(change("  replicas: 1", f"  podTemplateSpec: {own}\n  replicas: 1"))
    (container,) = changed.of("MCPRemoteProxy")[0].find("spec.podTemplateSpec.spec.containers")
    assert container["readinessProbe"]["initialDelaySeconds"] == 40
