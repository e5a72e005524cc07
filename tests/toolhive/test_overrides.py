"""A manifest moved to another port, or to the practice GitHub, still agrees with itself."""

from tests.toolhive.conftest import Change
from workshop.toolhive.lint import check
from workshop.toolhive.overrides import with_client_id, with_gateway_port, with_practice_github

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
