"""How the resource server says no (RFC 6750 section 3, RFC 9728 section 5.1)."""

from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import Response

from workshop.auth.responses import private_json


class RefusedError(Exception):
    """The resource server answers this itself; the request goes no further."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


@dataclass(frozen=True)
class Challenge:
    """What every refusal of a protected resource tells: where its metadata is, and what to ask for first."""

    realm: str
    metadata_url: str
    scopes: tuple[str, ...]

    def no_token(self) -> RefusedError:
        """401 without an error code: the client has done nothing wrong yet (RFC 6750 section 3.1)."""
        return self._refusal(401, None, "unauthorized", "This MCP server needs an access token")

    def bad_token(self, description: str = "The access token is not valid") -> RefusedError:
        return self._refusal(401, "invalid_token", "invalid_token", description)

    def bad_request(self, description: str) -> RefusedError:
        return self._refusal(400, "invalid_request", "invalid_request", description)

    def insufficient_scope(self) -> RefusedError:
        return self._refusal(
            403, "insufficient_scope", "insufficient_scope", "The access token lacks a scope"
        )

    def token_in(self, headers: Headers) -> str:
        """The one bearer token of a request (RFC 6750 section 2.1).

        Raises RefusedError.
        """
        values = headers.getlist("authorization")
        if not values:
            raise self.no_token()
        if len(values) > 1:
            raise self.bad_request("More than one Authorization header")
        scheme, _, token = values[0].partition(" ")
        if scheme.lower() != "bearer":
            raise self.no_token()
        if not token.strip():
            raise self.bad_request("The Authorization header has no token")
        return token.strip(" ")

    def _refusal(self, status: int, code: str | None, error: str, description: str) -> RefusedError:
        parameters = {"realm": self.realm, "resource_metadata": self.metadata_url}
        if self.scopes:
            parameters["scope"] = " ".join(self.scopes)
        if code:
            parameters |= {"error": code, "error_description": description}
        challenge = "Bearer " + ", ".join(f'{name}="{value}"' for name, value in parameters.items())
        body = {"error": error, "error_description": description}
        return RefusedError(private_json(body, status=status, headers={"www-authenticate": challenge}))
