"""The questions about logins: each asks one proxy for one thing, and says in a few words what it answered."""

from typing import Any

import httpx2

from tests.servers.gateway.harness import CALLBACK, DISCOVER, MCP_HEADERS, VERIFIER, SignedIn
from tests.servers.gateway.reading import challenge_of, decoded, query_of
from tests.toolhive_real.places import Place, Visitor
from workshop.core.browser import forms, press

_AUTHORIZATION_SERVER = "/.well-known/oauth-authorization-server"
RESOURCE = "/.well-known/oauth-protected-resource"
_SITE = "https://client.example/callback"


async def client_of(place: Place, visitor: Visitor) -> str:
    """A registered client, the same one while the proxy knows it: registrations are counted."""
    if not place.client_id:
        place.client_id = await visitor.register()
    return place.client_id


async def signed_in(place: Place, visitor: Visitor, user: str = "learner") -> SignedIn:
    """A login of a practice user; raises AssertionError where a step is refused."""
    client_id = await client_of(place, visitor)
    arrived = await visitor.code(client_id, user)
    answer = await visitor.redeem(client_id, arrived["code"])
    assert answer.status_code == httpx2.codes.OK, answer.text
    return SignedIn(client_id, answer.json())


async def consent_page(place: Place, visitor: Visitor, **changes: str | None) -> httpx2.Response:
    page = await visitor.authorize(await client_of(place, visitor), **changes)
    assert page.status_code == httpx2.codes.OK, f"{page.status_code} {page.headers} {page.text[:300]}"
    return page


# What a client reads before it logs in.


async def challenge(_: Place, visitor: Visitor) -> str:
    """A request without a token."""
    answer = await visitor.call()
    told = challenge_of(answer)
    error = told.get("error", "no error")
    scopes = "asks for offline_access" if "offline_access" in told.get("scope", "") else "no offline_access"
    where = "says where" if told.get("resource_metadata") == f"{visitor.url}{RESOURCE}" else "says nowhere"
    return f"{answer.status_code}, {where}, {error}, {scopes}"


async def resource_document(_: Place, visitor: Visitor) -> str:
    document = (await visitor.http.get(RESOURCE)).json()
    resource, (server,) = document["resource"], document["authorization_servers"]
    return f"{_plain(visitor, resource)} of {_plain(visitor, server)}, {document['bearer_methods_supported']}"


async def endpoint_resource(_: Place, visitor: Visitor) -> str:
    """What the metadata below the endpoint's path name, and whether a login for the endpoint's URL begins."""
    document = (await visitor.http.get(f"{RESOURCE}/mcp")).json()
    page = await visitor.authorize(await visitor.register(), resource=f"{visitor.url}/mcp")
    return f"{_plain(visitor, document['resource'])}; authorize: {_step(page)}"


async def empty_values(_: Place, visitor: Visitor) -> str:
    """A registration with empty members, and a login with empty parameters."""
    empty: dict[str, Any] = {"scope": "", "grant_types": [], "response_types": []}
    answer = await visitor.register_response(token_endpoint_auth_method="", **empty)
    page = await visitor.authorize(str(answer.json().get("client_id")), prompt="")
    return f"{answer.status_code}, {_step(page)}"


async def pkce(_: Place, visitor: Visitor) -> str:
    return str((await _metadata(visitor))["code_challenge_methods_supported"])


async def client_documents(_: Place, visitor: Visitor) -> str:
    taken = (await _metadata(visitor)).get("client_id_metadata_document_supported", False)
    return "taken" if taken else "not taken"


async def revocation(_: Place, visitor: Visitor) -> str:
    told = "revocation_endpoint" in await _metadata(visitor)
    answer = await visitor.http.post("/oauth/revoke", data={"token": "no-token-of-anybody"})
    return f"{'announced' if told else 'not announced'}, {answer.status_code}"


async def grants(_: Place, visitor: Visitor) -> str:
    """Grants beyond those of a person's login."""
    told = set((await _metadata(visitor))["grant_types_supported"])
    more = sorted(grant.rpartition(":")[2] for grant in told - {"authorization_code", "refresh_token"})
    return ", ".join(more) or "none"


async def host(place: Place, visitor: Visitor) -> str:
    """The same door under the name 127.0.0.1."""
    answer = await visitor.http.get(RESOURCE, headers={"Host": f"127.0.0.1:{place.config.port}"})
    return str(answer.status_code)


async def _metadata(visitor: Visitor) -> dict[str, Any]:
    document: dict[str, Any] = (await visitor.http.get(_AUTHORIZATION_SERVER)).json()
    return document


# Registration.


async def registered_redirects(_: Place, visitor: Visitor) -> str:
    """Plain http to another machine, as a redirect address."""
    answer = await visitor.register_response(redirect_uris=["http://example.com/callback"])
    return f"{answer.status_code} {answer.json()['error']}"


async def private_redirect(_: Place, visitor: Visitor) -> str:
    """A redirect address with a scheme of a program's own, as Cursor's."""
    answer = await visitor.register_response(redirect_uris=["cursor://anysphere.cursor-mcp/oauth/callback"])
    return str(answer.status_code)


async def confidential_clients(_: Place, visitor: Visitor) -> str:
    """How clients may authenticate, and registrations: by body, by header, and of a program on loopback."""
    methods = (await _metadata(visitor))["token_endpoint_auth_methods_supported"]
    asked = (("client_secret_post", _SITE), ("client_secret_basic", _SITE), ("client_secret_post", CALLBACK))
    answers = [
        await visitor.register_response(token_endpoint_auth_method=method, redirect_uris=[uri])
        for method, uri in asked
    ]
    return f"{' '.join(sorted(methods))}; {', '.join(str(answer.status_code) for answer in answers)}"


async def client_secrets(_: Place, visitor: Visitor) -> str:
    """A code, redeemed by a client with a secret: with its own, with another, in the header, without."""
    method = "client_secret_post"
    answer = await visitor.register_response(token_endpoint_auth_method=method, redirect_uris=[_SITE])
    client_id, secret = str(answer.json()["client_id"]), str(answer.json()["client_secret"])
    code = (await visitor.code(client_id, redirect_uri=_SITE))["code"]
    fields = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
    wrong = await visitor.redeem(client_id, code, redirect_uri=_SITE, client_secret="x" * len(secret))
    none = await visitor.redeem(client_id, code, redirect_uri=_SITE)
    other = await visitor.http.post(
        "/oauth/token", data={**fields, "redirect_uri": _SITE}, auth=(client_id, secret)
    )
    right = await visitor.redeem(client_id, code, redirect_uri=_SITE, client_secret=secret)
    statuses = {"right": right, "wrong": wrong, "other way": other, "none": none}
    return ", ".join(f"{name} {answer.status_code}" for name, answer in statuses.items())


async def unsafe_redirects(_: Place, visitor: Visitor) -> str:
    """Schemes that a browser or the system gives a meaning: those that are registered."""
    schemes = ("javascript", "data", "file", "intent", "ms-msdt", "web+app")
    answers = [await visitor.register_response(redirect_uris=[f"{scheme}:/x"]) for scheme in schemes]
    accepted = [scheme for scheme, answer in zip(schemes, answers, strict=True) if answer.is_success]
    return " ".join(accepted) or "none"


async def unregistered_offline_access(_: Place, visitor: Visitor) -> str:
    """A login with `offline_access`; registered was only the refresh grant, as by Claude Code."""
    grants = ["authorization_code", "refresh_token"]
    client_id = await visitor.register(scope="openid", grant_types=grants)
    return _step(await visitor.authorize(client_id, scope="openid offline_access"))


async def baseline_scope(_: Place, visitor: Visitor) -> str:
    """The scopes of a client that registers one."""
    answer = await visitor.register_response(scope="openid", grant_types=["authorization_code"])
    return str(answer.json()["scope"])


async def registrations_at_once(_: Place, visitor: Visitor) -> str:
    """Three registrations in a row."""
    answers = [await visitor.register_response() for _ in range(3)]
    waits = "says when" if answers[-1].headers.get("retry-after") else "does not say when"
    return f"{' '.join(str(answer.status_code) for answer in answers)}, {waits}"


# From the consent page to the code.


async def consent(place: Place, visitor: Visitor) -> str:
    """The first page of a login."""
    page = await consent_page(place, visitor)
    decisions = {button for form in forms(page) for button in form.buttons if button[0] == "decision"}
    return "asks" if {("decision", "approve"), ("decision", "deny")} <= decisions else f"{decisions}"


async def denial(place: Place, visitor: Visitor) -> str:
    answer = await visitor.decide(await consent_page(place, visitor), "deny")
    return f"redirect, {query_of(answer).get('error')}"


async def foreign_form(place: Place, visitor: Visitor) -> str:
    """The consent form, sent by the page of another site."""
    return await _form_with(place, visitor, "https://evil.example")


async def form_without_origin(place: Place, visitor: Visitor) -> str:
    return await _form_with(place, visitor, None)


async def opaque_origin(place: Place, visitor: Visitor) -> str:
    """The consent form with `Origin: null`, as of a page that hides where it is from."""
    return await _form_with(place, visitor, "null")


async def _form_with(place: Place, visitor: Visitor, origin: str | None) -> str:
    page = await consent_page(place, visitor)
    request = press(visitor.browser, page, ("decision", "approve"))
    assert request
    request.headers.pop("origin", None)
    if origin is not None:
        request.headers["origin"] = origin
    return _step(await visitor.browser.send(request))


async def refusals(place: Place, visitor: Visitor) -> str:
    """A consent and a callback in a browser that did not begin the login, and a client that nobody knows."""
    request = press(visitor.browser, await consent_page(place, visitor), ("decision", "approve"))
    assert request
    request.headers.pop("cookie", None)
    consented = await visitor.http.send(request)
    to_github = await visitor.decide(await consent_page(place, visitor))
    back = await visitor.at_upstream(to_github)
    returned = await visitor.http.get(back.headers["location"])
    unknown = await visitor.authorize("nobody-registered-this")
    return f"consent {_step(consented)}, callback {_step(returned)}, client {_step(unknown)}"


async def issuer_in_answer(place: Place, visitor: Visitor) -> str:
    arrived = await visitor.code(await client_of(place, visitor))
    return "sent" if arrived.get("iss") == visitor.url else "not sent"


async def other_port(place: Place, visitor: Visitor) -> str:
    """The client's callback at another port of `localhost` than the registered one."""
    moved = CALLBACK.replace("8765", "18765")
    arrived = await visitor.code(await client_of(place, visitor), redirect_uri=moved)
    return "taken" if arrived.get("code") else "refused"


async def other_spelling(place: Place, visitor: Visitor) -> str:
    """The client's callback at 127.0.0.1 instead of `localhost`."""
    moved = CALLBACK.replace("localhost", "127.0.0.1")
    return _step(await visitor.authorize(await client_of(place, visitor), redirect_uri=moved))


async def other_resource(place: Place, visitor: Visitor) -> str:
    """A code for another server."""
    client_id = await client_of(place, visitor)
    return _step(await visitor.authorize(client_id, resource="http://localhost:9/mcp"))


async def no_resource(place: Place, visitor: Visitor) -> str:
    return _step(await visitor.authorize(await client_of(place, visitor), resource=None))


async def no_pkce(place: Place, visitor: Visitor) -> str:
    """A login without a code challenge, which OAuth 2.1 does not have."""
    client_id = await client_of(place, visitor)
    answer = await visitor.authorize(client_id, code_challenge=None, code_challenge_method=None)
    if answer.has_redirect_location:
        return f"before consent, {query_of(answer)['error']}"
    back = await visitor.at_upstream(await visitor.decide(answer))
    return f"after the login, {_step(await visitor.browser.get(back.headers['location']))}"


def _step(answer: httpx2.Response) -> str:
    if answer.has_redirect_location:
        return f"redirect, {query_of(answer).get('error', 'goes on')}"
    return f"{answer.status_code}"


# Tokens.


async def claims(place: Place, visitor: Visitor) -> str:
    """The claims of an access token."""
    header, claims = decoded((await signed_in(place, visitor)).access_token)
    return f"{header['typ']}: {' '.join(sorted(claims))}"


async def audience(place: Place, visitor: Visitor) -> str:
    _, claims = decoded((await signed_in(place, visitor)).access_token)
    return f"{[_plain(visitor, each) for each in claims['aud']]} of {_plain(visitor, claims['iss'])}"


async def wrong_verifier(place: Place, visitor: Visitor) -> str:
    client_id = await client_of(place, visitor)
    code = (await visitor.code(client_id))["code"]
    return outcome(await visitor.redeem(client_id, code, code_verifier=VERIFIER[::-1]))


async def second_redemption(place: Place, visitor: Visitor) -> str:
    """A code that was used, and then the access token that was given for it."""
    client_id = await client_of(place, visitor)
    code = (await visitor.code(client_id))["code"]
    first = SignedIn(client_id, (await visitor.redeem(client_id, code)).json())
    again = outcome(await visitor.redeem(client_id, code))
    return f"{again}; the token then: {(await visitor.call(first.bearer)).status_code}"


async def redeem_for_another(place: Place, visitor: Visitor) -> str:
    """A code for this server, redeemed for another one."""
    client_id = await client_of(place, visitor)
    code = (await visitor.code(client_id))["code"]
    return outcome(await visitor.redeem(client_id, code, resource="http://localhost:9/mcp"))


async def refresh(place: Place, visitor: Visitor) -> str:
    """A refresh, then the old refresh token, then the new one."""
    held = await signed_in(place, visitor)
    new = await visitor.refresh(held.client_id, held.refresh_token)
    assert new.status_code == httpx2.codes.OK, new.text
    old = outcome(await visitor.refresh(held.client_id, held.refresh_token))
    after = outcome(await visitor.refresh(held.client_id, new.json()["refresh_token"]))
    return f"200; the old one: {old}; the new one after that: {after}"


async def forged(_: Place, visitor: Visitor) -> str:
    answer = await visitor.call({"Authorization": "Bearer not.a.token"})
    return f"{answer.status_code} {challenge_of(answer).get('error')}"


async def token_in_the_address(place: Place, visitor: Visitor) -> str:
    """A good token in the header, and one in the query too."""
    held = await signed_in(place, visitor)
    answer = await visitor.http.post(
        f"/mcp?access_token={held.access_token}", headers={**MCP_HEADERS, **held.bearer}, json=DISCOVER
    )
    return str(answer.status_code)


def outcome(answer: httpx2.Response) -> str:
    """What the token endpoint said."""
    return "200" if answer.is_success else f"{answer.status_code} {answer.json().get('error')}"


def _plain(visitor: Visitor, url: str) -> str:
    return url.replace(visitor.url, "http://localhost:8080")
