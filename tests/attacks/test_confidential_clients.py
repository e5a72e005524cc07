"""Clients with a secret, where the operator allows them: the secret itself, and what it does not replace."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from tests.servers.gateway.harness import CALLBACK, VERIFIER, Site, configured, settings, site

WEBSITE = "https://claude.ai/api/mcp/auth_callback"
METHODS = ["client_secret_post", "client_secret_basic"]


@pytest.fixture
async def confidential(tmp_path: Path, practice: str) -> AsyncIterator[Site]:
    """A gateway that gives secrets to those who ask."""
    values = settings(tmp_path, upstream=practice)
    values["auth"]["confidential_clients"] = True
    async with site(configured(tmp_path, values)) as running:
        yield running


async def registered(gateway: Site, method: str = METHODS[0]) -> tuple[str, str]:
    answer = await gateway.register_response(token_endpoint_auth_method=method, redirect_uris=[WEBSITE])
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert (body["token_endpoint_auth_method"], body["client_secret_expires_at"]) == (method, 0)
    return str(body["client_id"]), str(body["client_secret"])


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


async def send(
    gateway: Site, fields: dict[str, str], method: str, client_id: str, secret: str, path: str = "token"
) -> httpx2.Response:
    """A request to the token endpoint in the way that a client registered."""
    headers = basic(client_id, secret) if method == METHODS[1] else {}
    more = {} if headers else {"client_id": client_id, "client_secret": secret}
    return await gateway.http.post(f"/oauth/{path}", data={**fields, **more}, headers=headers)


async def code_fields(gateway: Site, client_id: str, **changes: str) -> dict[str, str]:
    code = (await gateway.code(client_id, redirect_uri=WEBSITE))["code"]
    fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": WEBSITE}
    return {**fields, "code_verifier": VERIFIER, **changes}


async def test_by_default_nobody_gets_a_secret(gateway: Site) -> None:
    metadata = (await gateway.http.get("/.well-known/oauth-authorization-server")).json()
    assert metadata["token_endpoint_auth_methods_supported"] == ["none"]
    for method in METHODS:
        answer = await gateway.register_response(token_endpoint_auth_method=method, redirect_uris=[WEBSITE])
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")


@pytest.mark.parametrize("method", METHODS)
async def test_a_client_with_a_secret_signs_in_refreshes_and_signs_out(
    confidential: Site, method: str
) -> None:
    client_id, secret = await registered(confidential, method)
    fields = await code_fields(confidential, client_id)
    token = (await send(confidential, fields, method, client_id, secret)).json()
    bearer = {"Authorization": f"Bearer {token['access_token']}"}
    assert (await confidential.call(bearer)).status_code == 200
    fields = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"]}
    refreshed = await send(confidential, fields, method, client_id, secret)
    assert refreshed.status_code == 200, refreshed.text
    gone = {"token": refreshed.json()["refresh_token"]}
    assert (await send(confidential, gone, method, client_id, secret, "revoke")).status_code == 200
    assert (await confidential.call(bearer)).status_code == 401


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("change", ["none", "wrong", "shorter", "longer", "another client's", "other way"])
async def test_without_its_own_secret_a_client_gets_nothing_and_loses_nothing(
    confidential: Site, method: str, change: str
) -> None:
    client_id, secret = await registered(confidential, method)
    _, other = await registered(confidential, method)
    fields = await code_fields(confidential, client_id)
    if change == "none":
        answer = await confidential.http.post("/oauth/token", data={**fields, "client_id": client_id})
    elif change == "other way":
        way = next(each for each in METHODS if each != method)
        answer = await send(confidential, fields, way, client_id, secret)
    else:
        changed = {"wrong": "x" * len(secret), "shorter": secret[:-1], "longer": f"{secret}x"}
        answer = await send(confidential, fields, method, client_id, changed.get(change, other))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    by_header = "authorization" in answer.request.headers
    assert ("www-authenticate" in answer.headers) is by_header, "RFC 6749 section 5.2"
    assert (await send(confidential, fields, method, client_id, secret)).status_code == 200


@pytest.mark.parametrize("path", ["token", "revoke"])
async def test_a_refresh_and_a_sign_out_need_the_secret_too(confidential: Site, path: str) -> None:
    client_id, secret = await registered(confidential)
    fields = await code_fields(confidential, client_id)
    token = (await send(confidential, fields, METHODS[0], client_id, secret)).json()["refresh_token"]
    sent = {"grant_type": "refresh_token", "refresh_token": token, "token": token, "client_id": client_id}
    answer = await confidential.http.post(f"/oauth/{path}", data=sent)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_a_secret_does_not_replace_the_verifier(confidential: Site) -> None:
    client_id, secret = await registered(confidential)
    fields = await code_fields(confidential, client_id, code_verifier="w" * 43)
    answer = await send(confidential, fields, METHODS[0], client_id, secret)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize(
    "uri", [CALLBACK, "https://localhost/cb", "cursor://anysphere.cursor-mcp/oauth/callback"]
)
async def test_a_program_on_somebody_s_computer_gets_no_secret(confidential: Site, uri: str) -> None:
    answer = await confidential.register_response(
        token_endpoint_auth_method=METHODS[0], redirect_uris=[WEBSITE, uri]
    )
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_redirect_uri")
    assert "redirect_uris[1]" in answer.json()["error_description"]


async def test_a_client_cannot_choose_its_secret_and_a_public_one_has_none(confidential: Site) -> None:
    answer = await confidential.register_response(
        token_endpoint_auth_method=METHODS[0], redirect_uris=[WEBSITE], client_secret="chosen"
    )
    assert answer.json()["client_secret"] != "chosen"
    assert len(answer.json()["client_secret"]) >= 43
    public = await confidential.register_response(client_secret="chosen")
    assert "client_secret" not in public.json()
    client_id = str(public.json()["client_id"])
    for sent in ({"client_secret": "chosen"}, {"client_secret": "None"}):
        answer = await confidential.redeem(client_id, "x", **sent)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def written(folder: Path) -> str:
    return "\n".join(file.read_bytes().decode("latin-1") for file in folder.iterdir())


async def test_the_store_has_the_digest_only_and_the_log_nothing(
    confidential: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client_id, secret = await registered(confidential)
    fields = await code_fields(confidential, client_id)
    assert (await send(confidential, fields, METHODS[0], client_id, secret)).status_code == 200
    assert secret not in written(tmp_path)
    assert secret not in caplog.text
    stored = confidential.config.auth
    assert secret not in repr(stored)


@pytest.mark.parametrize(
    "header", ["Basic", "Basic ", "Basic !", "Basic eA==", "Bearer x", "Basic /w==", "Digest x", "basic Og=="]
)
async def test_a_header_without_id_and_secret_is_refused(confidential: Site, header: str) -> None:
    fields = {"grant_type": "authorization_code", "code": "x", "code_verifier": VERIFIER}
    answer = await confidential.http.post("/oauth/token", data=fields, headers={"Authorization": header})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic ")


async def test_two_headers_or_two_clients_are_refused(confidential: Site) -> None:
    client_id, secret = await registered(confidential, METHODS[1])
    fields: dict[str, Any] = {"grant_type": "refresh_token", "refresh_token": "x"}
    header = basic(client_id, secret)["Authorization"]
    two = [("Authorization", header), ("Authorization", header)]
    answer = await confidential.http.post("/oauth/token", data=fields, headers=two)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    other = {**fields, "client_id": "somebody-else"}
    answer = await confidential.http.post("/oauth/token", data=other, headers=basic(client_id, secret))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    same = {**fields, "client_id": client_id}
    answer = await confidential.http.post("/oauth/token", data=same, headers=basic(client_id, secret))
    assert answer.json()["error"] == "invalid_grant", "the same id twice is one client"


async def test_id_and_secret_are_form_encoded_before_they_are_joined(confidential: Site) -> None:
    """RFC 6749 section 2.3.1; ours have nothing to encode, so both forms mean the same."""
    client_id, secret = await registered(confidential, METHODS[1])
    encoded = basic(quote(client_id.replace("-", "%2D"), safe="%"), secret.replace("_", "%5F"))
    fields = await code_fields(confidential, client_id)
    answer = await confidential.http.post("/oauth/token", data=fields, headers=encoded)
    assert answer.status_code == 200, answer.text


async def test_secrets_stay_good_when_no_more_are_given_out(tmp_path: Path, practice: str) -> None:
    """As in ToolHive: the setting is about registration."""
    values = settings(tmp_path, upstream=practice)
    values["auth"]["confidential_clients"] = True
    async with site(configured(tmp_path, values)) as gateway:
        client_id, secret = await registered(gateway)
    values["auth"]["confidential_clients"] = False
    async with site(configured(tmp_path, values)) as gateway:
        fields = await code_fields(gateway, client_id)
        assert (await send(gateway, fields, METHODS[0], client_id, secret)).status_code == 200
