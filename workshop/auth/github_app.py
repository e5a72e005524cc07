"""An OAuth app at GitHub, or at the practice GitHub: the same paths below another origin."""

from workshop.auth.config_auth import Upstream, UserInfo

_GITHUB, _GITHUB_API = "https://github.com", "https://api.github.com"


def api_of(github: str) -> str:
    """Where the REST API of a GitHub is: its own host on github.com, else the same."""
    return _GITHUB_API if github == _GITHUB else github


def github_app(
    github: str, *, client_id: str, client_secret: str, redirect_uri: str, scopes: tuple[str, ...]
) -> Upstream:
    """The app; people are known by their login."""
    return Upstream(
        name="GitHub",
        authorization_endpoint=f"{github}/login/oauth/authorize",
        token_endpoint=f"{github}/login/oauth/access_token",
        client_id=client_id,
        client_secret=client_secret,
        redirect_uri=redirect_uri,
        scopes=scopes,
        userinfo=UserInfo(f"{api_of(github)}/user", "GET", {}, ("login",), ("name",), ("email",)),
    )
