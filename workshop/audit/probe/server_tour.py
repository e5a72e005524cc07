"""The authorization server: its metadata, and one request to each endpoint that it has to refuse."""

from urllib.parse import quote, urlencode, urlsplit

from workshop.audit.probe.evidence import Answer, ServerAnswers
from workshop.audit.probe.exchange import Exchange
from workshop.audit.probe.target import split
from workshop.audit.probe.worthless import EVIL_CALLBACK, UNKNOWN_CLIENT, UNKNOWN_GRANT

_CREATED = (200, 201)
# The challenge of RFC 7636 appendix B: well formed, and of no use to anybody.
_CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


async def ask_server(issuer: str, resource: str, exchange: Exchange) -> ServerAnswers:
    """Look at the issuer's metadata, then at the endpoints that it names on hosts we may ask."""
    metadata = await _metadata(issuer, exchange)
    if metadata is None:
        return ServerAnswers()
    endpoints = metadata.document
    token = endpoints.get("token_endpoint")
    registration = await _register(endpoints.get("registration_endpoint"), exchange)
    asked = {"grant_type": UNKNOWN_GRANT, "client_id": UNKNOWN_CLIENT}
    return ServerAnswers(
        metadata=metadata,
        registration=registration,
        unregistration=await _unregister(registration, exchange) if registration else None,
        token_form=await exchange.send("POST", str(token), data=asked),
        token_json=await exchange.send("POST", str(token), json=asked),
        authorize=await _authorize(endpoints.get("authorization_endpoint"), resource, exchange),
    )


async def _metadata(issuer: str, exchange: Exchange) -> Answer | None:
    """RFC 8414 with the path inserted, then OpenID Connect discovery inserted and appended, as clients do."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    places = [f"{origin}/.well-known/oauth-authorization-server{path}"]
    places.append(f"{origin}/.well-known/openid-configuration{path}")
    if path:
        places.append(f"{origin}{path}/.well-known/openid-configuration")
    for place in places:
        answer = await exchange.send("GET", place, headers={"accept": "application/json"})
        if answer is not None and answer.status == 200 and answer.document:  # noqa: PLR2004 - OK
            return answer
    return None


async def _register(endpoint: object, exchange: Exchange) -> Answer | None:
    """One registration that must be refused."""
    if split(endpoint) is None:
        return None
    wanted = {
        "client_name": "workshop probe (to be refused)",
        "redirect_uris": [EVIL_CALLBACK],
        "token_endpoint_auth_method": "none",
    }
    return await exchange.send("POST", str(endpoint), json=wanted)


async def _unregister(registration: Answer, exchange: Exchange) -> Answer | None:
    """Delete the client that should not be there, if the server lets us (RFC 7592 section 2.3)."""
    client = registration.document if registration.status in _CREATED else {}
    place, token = client.get("registration_client_uri"), client.get("registration_access_token")
    if split(place) is None or not isinstance(token, str) or not (token.isascii() and token.isprintable()):
        return None
    return await exchange.send("DELETE", str(place), headers={"authorization": f"Bearer {token}"})


async def _authorize(endpoint: object, resource: str, exchange: Exchange) -> Answer | None:
    if split(endpoint) is None:
        return None
    query = {
        "response_type": "code",
        "client_id": UNKNOWN_CLIENT,
        "redirect_uri": EVIL_CALLBACK,
        "state": "probe",
        "code_challenge": _CHALLENGE,
        "code_challenge_method": "S256",
        "resource": resource,
    }
    joint = "&" if urlsplit(str(endpoint)).query else "?"
    url = f"{endpoint}{joint}{urlencode(query, quote_via=quote)}"
    return await exchange.send("GET", url, headers={"accept": "text/html"})
