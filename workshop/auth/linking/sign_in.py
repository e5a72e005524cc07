"""The gateway as a client of the identity provider: who is it that sits at this browser?"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workshop.auth.config_auth import Upstream
from workshop.auth.limits import Clock
from workshop.auth.oauth_errors import PageError
from workshop.auth.outbound import Outbound
from workshop.auth.outside_tokens import Caller, KeysUnavailableError, OutsideTokens
from workshop.auth.parameters import Parameters
from workshop.auth.upstream import UpstreamError, UpstreamProvider


def own_registration(config: Mapping[str, Any]) -> Upstream:
    """The gateway's own registration at the identity provider: a public client, so PKCE and no secret."""
    return Upstream(
        name="the identity provider",
        authorization_endpoint=config["authorization_endpoint"],
        token_endpoint=config["token_endpoint"],
        client_id=config["client_id"],
        client_secret="",
        redirect_uri=f"{config['url']}/signed-in",
        scopes=("openid", "profile"),
        userinfo=None,
    )


@dataclass(frozen=True)
class Identity:
    """Signs a person in, with PKCE, and learns who it is from a token made for this gateway."""

    config: Upstream
    tokens: OutsideTokens
    outbound: Outbound
    clock: Clock = time.time

    def peer(self, config: Upstream) -> UpstreamProvider:
        """Any OAuth server that the gateway is a client of: this one, or GitHub."""
        return UpstreamProvider(config, self.outbound, self.clock)

    async def caller(self, parameters: Parameters, verifier: str) -> Caller:
        """Who signed in; raises PageError when nobody did, or another issuer says so (RFC 9207)."""
        code = parameters.get("code")
        if parameters.get("iss") != self.tokens.issuer.issuer or code is None or "error" in parameters:
            raise PageError("You did not sign in", "Nothing was connected.")
        try:
            answer = await self.peer(self.config).exchange(code, verifier)
            caller = await self.tokens.verify(answer.access_token)
        except (UpstreamError, KeysUnavailableError) as error:
            raise PageError(
                "Signing in failed", "The identity provider could not be asked.", status=502
            ) from error
        if caller is None or caller.client_id != self.config.client_id:
            raise PageError("Signing in failed", "The token was not made for this gateway.", status=502)
        return caller
