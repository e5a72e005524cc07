"""With real credentials the same gateway uses GitHub's own addresses: up to the edge of this machine."""

import base64
import hashlib
import json
from urllib.parse import parse_qs, urlsplit

import httpx2

from tests.environment import IsolatedInstance
from workshop.core.browser import press

VERIFIER = "v" * 43
CALLBACK = "http://localhost:8765/callback"


def test_with_an_oauth_app_the_gateway_sends_the_browser_to_github_itself(instance: IsolatedInstance) -> None:
    (instance.folder / ".env").write_text(
        "GITHUB_OAUTH_CLIENT_ID=sample-client-id\r\nGITHUB_OAUTH_CLIENT_SECRET='sample#client-secret'\r\n"
    )
    done = instance.up()
    assert "GitHub upstream (GITHUB_OAUTH_CLIENT_SECRET is in `" in done.stdout
    assert set(instance.states()) == {"github-remote", "workshop", "workshop-0"}, "no practice GitHub"
    assert "sample#client-secret" not in done.stdout + done.stderr
    text = (instance.directory / "workloads" / "github-remote" / "config.json").read_text()
    config = json.loads(text)
    assert config["remote_url"] == "https://api.githubcopilot.com/mcp/"
    upstream = config["auth"]["upstream"]
    assert upstream["token_endpoint"] == "https://github.com/login/oauth/access_token"
    assert upstream["userinfo"]["url"] == "https://api.github.com/user"
    assert "sample#client-secret" not in text

    origin = f"http://localhost:{instance.ports['github-remote']}"
    sent = urlsplit(approve(origin))
    assert (sent.scheme, sent.netloc, sent.path) == ("https", "github.com", "/login/oauth/authorize")
    query = {name: value for name, (value,) in parse_qs(sent.query).items()}
    assert query["client_id"] == "sample-client-id"
    assert query["redirect_uri"] == f"{origin}/oauth/callback"
    assert query["code_challenge_method"] == "S256"
    assert query["scope"].split() == ["repo", "read:org", "read:user", "user:email"]
    assert query["code_challenge"] != challenge(), "the gateway has its own PKCE with GitHub"


def approve(origin: str) -> str:
    """Register, open the consent page, approve, and return where the browser is sent."""
    with httpx2.Client(base_url=origin, trust_env=False) as http:
        client = http.post(
            "/oauth/register", json={"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"}
        ).json()
        page = http.get(
            "/oauth/authorize",
            params={
                "response_type": "code",
                "client_id": client["client_id"],
                "redirect_uri": CALLBACK,
                "code_challenge": challenge(),
                "code_challenge_method": "S256",
                "resource": f"{origin}/",
                "state": "s" * 20,
            },
        )
        approved = press(http, page, ("decision", "approve"))
        assert approved
        return http.send(approved).headers["location"]


def challenge() -> str:
    digest = hashlib.sha256(VERIFIER.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
