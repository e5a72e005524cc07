"""How the resource server says no (RFC 6750 section 3, RFC 9728 section 5.1)."""

from starlette.responses import Response

from workshop.gateway.config_auth import Auth
from workshop.gateway.metadata import PROTECTED_RESOURCE_PATH
from workshop.gateway.responses import private_json


class RefusedError(Exception):
    """The relay answers this itself; nothing goes upstream."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


def no_token(config: Auth) -> RefusedError:
    """401 without an error code: the client has done nothing wrong yet (RFC 6750 section 3.1)."""
    return _refusal(config, 401, None, "unauthorized", "This MCP server needs an access token")


def bad_token(config: Auth, description: str = "The access token is not valid") -> RefusedError:
    return _refusal(config, 401, "invalid_token", "invalid_token", description)


def bad_request(config: Auth, description: str) -> RefusedError:
    return _refusal(config, 400, "invalid_request", "invalid_request", description)


def insufficient_scope(config: Auth) -> RefusedError:
    return _refusal(config, 403, "insufficient_scope", "insufficient_scope", "The access token lacks a scope")


def _refusal(config: Auth, status: int, code: str | None, error: str, description: str) -> RefusedError:
    parameters = {
        "realm": config.issuer,
        "resource_metadata": config.issuer + PROTECTED_RESOURCE_PATH,
        "scope": " ".join(config.challenge_scopes),
    }
    if code:
        parameters |= {"error": code, "error_description": description}
    challenge = "Bearer " + ", ".join(f'{name}="{value}"' for name, value in parameters.items())
    body = {"error": error, "error_description": description}
    return RefusedError(private_json(body, status=status, headers={"www-authenticate": challenge}))
