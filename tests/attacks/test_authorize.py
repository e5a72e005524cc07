"""Attacks on the authorization endpoint (checklist T01 to T23)."""

import httpx2
import pytest

from tests.servers.gateway.harness import CALLBACK, ISSUER, Site
from tests.servers.gateway.reading import query_of


def is_page_without_redirect(answer: httpx2.Response, status: int = 400) -> bool:
    is_page = answer.headers.get("content-type", "").startswith("text/html")
    return answer.status_code == status and is_page and "location" not in answer.headers


async def refusal(gateway: Site, **changes: str | None) -> dict[str, str]:
    """The error a client is told; checks that it goes to the client, with `iss` and its state."""
    answer = await gateway.authorize(await gateway.register(), **changes)
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"].startswith(f"{CALLBACK}?")
    told = query_of(answer)
    assert told["iss"] == ISSUER
    assert "code" not in told
    return told


@pytest.mark.parametrize("client_id", ["unknown", "", "' OR 1=1 --", "https://evil.test/client"])
async def test_t01_an_unknown_client_gets_a_page_and_no_redirect(gateway: Site, client_id: str) -> None:
    assert is_page_without_redirect(await gateway.authorize(client_id))


async def test_t02_an_unregistered_redirect_uri_gets_a_page_and_no_redirect(gateway: Site) -> None:
    answer = await gateway.authorize(await gateway.register(), redirect_uri="https://evil.test/cb")
    assert is_page_without_redirect(answer)


REGISTERED = "https://client.test/cb?fixed=1"


@pytest.mark.parametrize(
    "variant",
    [
        "https://client.test/cb",
        "https://client.test/cb/../x?fixed=1",
        "https://client.test/cb/x?fixed=1",
        "https://client.test/cb/?fixed=1",
        "https://client.test/cb?fixed=1&more=2",
        "https://client.test/cb?fixed=1#fragment",
        "https://client.test/CB?fixed=1",
        "https://client.test/%2e%2e/cb?fixed=1",
        "https://client.test/cb%2e%2e?fixed=1",
        "https://CLIENT.test/cb?fixed=1",
        "https://client.test:443/cb?fixed=1",
        "https://client.test:8443/cb?fixed=1",
        "http://client.test/cb?fixed=1",
        "https://client.test/cb?fixed=1 ",
        "https://client.test\t/cb?fixed=1",
    ],
)
async def test_t03_a_near_miss_of_a_registered_redirect_uri_is_refused(gateway: Site, variant: str) -> None:
    client_id = await gateway.register(redirect_uris=[REGISTERED])
    assert is_page_without_redirect(await gateway.authorize(client_id, redirect_uri=variant))


@pytest.mark.parametrize(
    "variant",
    [
        "http://localhost:8765@evil.test/callback",
        "http://localhost:8765:@evil.test/callback",
        "http://localhost.evil.test/callback",
        "http://localhost:8765.evil.test/callback",
        "http://127.0.0.1.evil.test/callback",
        "//evil.test",
        "//localhost:8765/callback",
        "http:\\\\evil.test",
        "http://localhost:8765\\@evil.test/callback",
        "http://localhost:99999/callback",
        "http://localhost:0/callback",
        "http://localhost:/callback@evil.test",
        "http://localhost:8765/callback#",
        "http://[::1]:8765/callback",
        "http://LOCALHOST:8765/callback",
        "http://2130706433:8765/callback",
    ],
)
async def test_t04_a_host_that_only_looks_like_loopback_is_refused(gateway: Site, variant: str) -> None:
    assert is_page_without_redirect(await gateway.authorize(await gateway.register(), redirect_uri=variant))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
async def test_t05_a_loopback_redirect_uri_may_have_another_port(gateway: Site, host: str) -> None:
    client_id = await gateway.register(redirect_uris=[f"http://{host}:8765/callback"])
    answer = await gateway.authorize(client_id, redirect_uri=f"http://{host}:51234/callback")
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "variant",
    [
        "http://localhost:8765/other",
        "http://localhost:8765/callback/",
        "http://localhost:8765/callback?x=1",
        "http://127.0.0.1:8765/callback",
        "https://localhost:8765/callback",
    ],
)
async def test_t06_a_loopback_redirect_uri_differs_in_nothing_but_the_port(
    gateway: Site, variant: str
) -> None:
    assert is_page_without_redirect(await gateway.authorize(await gateway.register(), redirect_uri=variant))


SCHEMES = ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "vbscript:x", "blob:x", "about:x"]


@pytest.mark.parametrize("uri", SCHEMES)
async def test_t07_a_redirect_uri_that_runs_or_reads_something_is_refused_everywhere(
    gateway: Site, uri: str
) -> None:
    registered = await gateway.register_response(redirect_uris=[uri])
    assert registered.status_code == 400
    assert registered.json()["error"] == "invalid_redirect_uri"
    assert is_page_without_redirect(await gateway.authorize(await gateway.register(), redirect_uri=uri))


async def test_t08_two_registered_redirect_uris_and_none_given_is_refused(gateway: Site) -> None:
    client_id = await gateway.register(redirect_uris=[CALLBACK, "https://client.test/cb"])
    assert is_page_without_redirect(await gateway.authorize(client_id, redirect_uri=None))


async def test_t08_an_empty_redirect_uri_is_not_a_missing_one(gateway: Site) -> None:
    assert is_page_without_redirect(await gateway.authorize(await gateway.register(), redirect_uri=""))


async def test_t09_no_code_challenge_is_refused(gateway: Site) -> None:
    told = await refusal(gateway, code_challenge=None)
    assert told["error"] == "invalid_request"
    assert told["state"] == "the-client-state"


@pytest.mark.parametrize("method", ["plain", None, "s256", "S512", ""])
async def test_t10_any_pkce_method_but_s256_is_refused(gateway: Site, method: str | None) -> None:
    assert (await refusal(gateway, code_challenge_method=method))["error"] == "invalid_request"


@pytest.mark.parametrize(
    "challenge", ["", "a" * 42, "a" * 44, "a" * 42 + "+", "a" * 42 + "=", "ä" * 43, "a" * 4000]
)
async def test_t11_a_challenge_of_another_shape_is_refused(gateway: Site, challenge: str) -> None:
    assert (await refusal(gateway, code_challenge=challenge))["error"] == "invalid_request"


@pytest.mark.parametrize("kind", ["token", "id_token", "code token", "none", "CODE"])
async def test_t12_any_response_type_but_code_is_refused(gateway: Site, kind: str) -> None:
    assert (await refusal(gateway, response_type=kind))["error"] == "unsupported_response_type"


@pytest.mark.parametrize("kind", ["", None])
async def test_t12_an_empty_response_type_is_refused(gateway: Site, kind: str | None) -> None:
    assert (await refusal(gateway, response_type=kind))["error"] == "invalid_request"


@pytest.mark.parametrize(
    "resource",
    [
        "https://other.test/mcp",
        "http://localhost:8080",
        "http://localhost:8080/#x",
        "http://localhost:8080/mcp/",
        "http://localhost:8080/mcp?x",
        "http://localhost:8080/other",
        "http://LOCALHOST:8080/",
        "http://user@localhost:8080/",
        "/mcp",
        " ",
        "http://127.0.0.1:8080/",
    ],
)
async def test_t14_a_resource_that_is_not_ours_as_written_is_refused(gateway: Site, resource: str) -> None:
    assert (await refusal(gateway, resource=resource))["error"] == "invalid_target"


@pytest.mark.parametrize("other", ["http://localhost:8080/", "https://other.test/"])
async def test_t15_two_resources_are_refused(gateway: Site, other: str) -> None:
    parameters = gateway.authorize_parameters(await gateway.register())
    answer = await gateway.browser.get(
        f"{ISSUER}/oauth/authorize", params=[*parameters.items(), ("resource", other)]
    )
    assert query_of(answer)["error"] == "invalid_target"


@pytest.mark.parametrize("scope", ["admin", "openid admin", "OPENID", "openid\tprofile"])
async def test_t16_an_unknown_scope_is_refused(gateway: Site, scope: str) -> None:
    assert (await refusal(gateway, scope=scope))["error"] == "invalid_scope"


async def test_t16_a_scope_the_client_did_not_register_is_refused(gateway: Site) -> None:
    client_id = await gateway.register(scope="openid")
    assert query_of(await gateway.authorize(client_id, scope="openid email"))["error"] == "invalid_scope"


async def test_t19_without_state_nothing_named_state_comes_back(gateway: Site) -> None:
    assert "state" not in await refusal(gateway, state=None, response_type="token")
    assert "state" not in await gateway.code(await gateway.register(), state=None)


async def test_t19_a_state_of_any_characters_comes_back_as_it_was(gateway: Site) -> None:
    state = "a b&code=evil#%0d%0aSet-Cookie: x=1<script>é"
    told = await refusal(gateway, state=state, response_type="token")
    assert told["state"] == state


async def test_t19_a_state_beyond_measure_is_refused(gateway: Site) -> None:
    assert (await refusal(gateway, state="s" * 3000))["error"] == "invalid_request"


@pytest.mark.parametrize("prompt", ["none", "none login", "login none"])
async def test_t21_prompt_none_is_answered_without_a_page(gateway: Site, prompt: str) -> None:
    assert (await refusal(gateway, prompt=prompt))["error"] == "consent_required"


async def test_t21_other_prompts_show_the_page(gateway: Site) -> None:
    assert (await gateway.authorize(await gateway.register(), prompt="consent")).status_code == 200


@pytest.mark.parametrize(
    ("name", "error"), [("request", "request_not_supported"), ("request_uri", "request_uri_not_supported")]
)
async def test_t22_request_objects_are_refused_and_not_fetched(gateway: Site, name: str, error: str) -> None:
    told = await refusal(gateway, **{name: "http://127.0.0.1:1/object"})
    assert told["error"] == error


@pytest.mark.parametrize("mode", ["fragment", "form_post", "web_message"])
async def test_a_response_mode_that_leaks_the_code_is_refused(gateway: Site, mode: str) -> None:
    assert (await refusal(gateway, response_mode=mode))["error"] == "invalid_request"


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_t23_only_get_is_answered(gateway: Site, method: str) -> None:
    parameters = gateway.authorize_parameters(await gateway.register())
    answer = await gateway.browser.request(method, f"{ISSUER}/oauth/authorize", params=parameters)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
async def test_a_repeated_client_or_redirect_uri_gets_a_page_and_no_redirect(
    gateway: Site, name: str
) -> None:
    parameters = gateway.authorize_parameters(await gateway.register())
    repeated = {**parameters, name: [parameters[name]] * 2}
    assert is_page_without_redirect(await gateway.browser.get(f"{ISSUER}/oauth/authorize", params=repeated))


@pytest.mark.parametrize(
    "name", ["scope", "state", "code_challenge", "code_challenge_method", "response_type"]
)
async def test_any_other_repeated_parameter_is_reported_to_the_client(gateway: Site, name: str) -> None:
    parameters = gateway.authorize_parameters(await gateway.register())
    repeated = {**parameters, name: [parameters[name]] * 2}
    answer = await gateway.browser.get(f"{ISSUER}/oauth/authorize", params=repeated)
    assert query_of(answer)["error"] == "invalid_request"


@pytest.mark.parametrize(
    "query", ["%ff=1", "client_id=%ff", "&".join("a=1" for _ in range(100)), "a=" + "b" * 9000]
)
async def test_a_query_nobody_can_read_gets_a_page(gateway: Site, query: str) -> None:
    assert is_page_without_redirect(await gateway.browser.get(f"{ISSUER}/oauth/authorize?{query}"))
