"""What the public sample gets wrong, tried against ours: other people, other browsers, old links, markup."""

import itertools
import re
from urllib.parse import urlsplit

import httpx2
import pytest
from mcp import MCPError

from tests.servers.gateway.reading import form_in, origin_of, query_of
from tests.variations.elicitation import (
    COMPUTED,
    MODERN,
    PROFILE,
    Browser,
    Gateway,
    gateway,
    link_id,
    running,
    strange,
    told,
)

__all__ = ["gateway", "running"]

PARAMETERS = ("elicitation_id", "state", "code", "error", "error_description", "iss", "session_id")
LIST_TOOLS = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


async def exchanged(gateway: Gateway) -> int:
    """How many codes GitHub was given: without one there is no token to store."""
    return len([request for request in await gateway.seen() if request.path == "/login/oauth/access_token"])


async def back_from(browser: Browser, gateway: Gateway, url: str, path: str) -> str:
    """The address that leads back to the gateway at `path`, not yet opened."""
    response = await browser.open(url, until=f"{gateway.url}{path}")
    return response.headers["location"]


async def test_a_link_of_learners_connects_nothing_for_mentor(gateway: Gateway) -> None:
    async with gateway.browser("mentor") as mentor, gateway.browser() as learner, gateway.asking() as asking:
        url, _ = await asking.ask()
        page = await mentor.open(url)
        assert page.status_code == 403
        assert "Identity mismatch" in page.text
        assert await exchanged(gateway) == 0
        assert (await learner.open(url)).status_code == 200  # it is still learner's
        assert told(await asking.client.call_tool(PROFILE))["username"] == "learner"


async def test_one_persons_grant_answers_nobody_else(gateway: Gateway) -> None:
    async with gateway.browser() as browser, gateway.asking() as learner, gateway.asking("mentor") as mentor:
        learner.then = browser.open
        assert told(await learner.client.call_tool(PROFILE))["username"] == "learner"
        url, _ = await mentor.ask()
        assert url.startswith(f"{gateway.url}/connect?")


async def test_the_way_to_github_is_good_in_one_browser(gateway: Gateway) -> None:
    """Mentor starts with a link of their own, and sends learner the last part of the way."""
    async with (
        gateway.browser("mentor") as mentor,
        gateway.browser() as learner,
        gateway.asking("mentor") as asking,
    ):
        url, _ = await asking.ask()
        onward = await back_from_form(mentor, url)
        page = await learner.open(onward)
        assert (page.status_code, str(page.url.path)) == (403, "/oauth/callback")
        assert await exchanged(gateway) == 0
        result = await asking.client.session.call_tool(PROFILE, {}, allow_input_required=True)
    assert "username" not in result.model_dump_json()


async def back_from_form(browser: Browser, url: str) -> str:
    """Approve on the gateway's page; GitHub's address is the answer."""
    page = await browser.open_to_form(url, "/connect")
    return str((await browser.press(page)).headers["location"])


@pytest.mark.parametrize("path", ["/signed-in", "/oauth/callback"])
async def test_a_callback_is_good_once(gateway: Gateway, path: str) -> None:
    async with gateway.browser() as browser, gateway.asking() as asking:
        url, _ = await asking.ask()
        back = await back_from(browser, gateway, url, path)
        assert (await browser.http.get(back)).status_code == 200
        before = await exchanged(gateway)
        repeated = await browser.http.get(back)
        assert repeated.status_code == 400
        assert "not known" in repeated.text
        assert await exchanged(gateway) == before


@pytest.mark.parametrize("path", ["/signed-in", "/oauth/callback"])
async def test_a_callback_in_another_browser_is_refused_and_spent(gateway: Gateway, path: str) -> None:
    async with gateway.browser() as browser, gateway.browser() as other, gateway.asking() as asking:
        url, _ = await asking.ask()
        back = await back_from(browser, gateway, url, path)
        assert (await other.http.get(back)).status_code == 403
        assert (await browser.http.get(back)).status_code == 400
        assert await exchanged(gateway) == 0


async def test_a_link_is_used_by_the_approval(gateway: Gateway) -> None:
    async with gateway.browser() as browser, gateway.browser() as other, gateway.asking() as asking:
        url, _ = await asking.ask()
        page = await browser.open_to_form(url, "/connect")
        second = await other.open_to_form(url, "/connect")
        assert (await browser.press(page)).status_code == 303
        assert (await browser.press(page)).status_code == 400
        assert (await other.press(second)).status_code == 400
        assert (await browser.http.get(url)).status_code == 404


async def test_who_closed_the_browser_halfway_can_start_again_at_once(gateway: Gateway) -> None:
    async with gateway.browser() as browser, gateway.browser("mentor") as other, gateway.asking() as asking:
        url, _ = await asking.ask()
        await back_from_form(browser, url)  # at GitHub's page, which is closed
        page = await browser.http.get(url)
        assert page.status_code == 404
        assert "approved already" in page.text
        (onward,) = re.findall('href="(/connect[^"]+)"', page.text)
        again = f"{gateway.url}{onward}"
        assert (await asking.ask())[0] == url, "the client knows one address"
        assert "Identity mismatch" in (await other.open(again)).text
        assert (await browser.open(again)).status_code == 200
        assert told(await asking.client.call_tool(PROFILE))["username"] == "learner"
        for spent in (url, again):
            assert "no longer valid" in (await browser.http.get(spent)).text


@pytest.mark.parametrize(
    "link", ["", "elicitation_id=", "elicitation_id=unknown", "elicitation_id=a&elicitation_id=b"]
)
async def test_an_unknown_link_shows_nothing(gateway: Gateway, link: str) -> None:
    async with gateway.browser() as browser:
        page = await browser.http.get(f"{gateway.url}/connect?{link}")
    assert page.status_code == 404
    assert "set-cookie" not in page.headers


async def test_a_token_is_no_way_to_open_somebody_elses_page(gateway: Gateway) -> None:
    """The page asks who sits at the browser, whatever the request brings along."""
    async with gateway.browser("mentor") as browser, gateway.asking() as asking:
        url, _ = await asking.ask()
        browser.http.headers["Authorization"] = f"Bearer {asking.token}"
        assert (await browser.open(url)).status_code == 403


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"csrf": "wrong"}, 403),
        ({"ticket": "wrong"}, 403),
        ({"ticket": "00" * 40}, 403),
        ({"decision": "perhaps"}, 400),
    ],
)
async def test_a_form_that_was_changed_approves_nothing(
    gateway: Gateway, changes: dict[str, str], status: int
) -> None:
    async with gateway.browser() as browser, gateway.asking() as asking:
        page = await browser.open_to_form((await asking.ask())[0], "/connect")
        assert (await browser.press(page, **changes)).status_code == status
        assert (await browser.press(page)).status_code == 303  # the page itself is still good


async def test_a_form_from_elsewhere_approves_nothing(gateway: Gateway) -> None:
    async with gateway.browser() as browser, gateway.browser() as other, gateway.asking() as asking:
        page = await browser.open_to_form((await asking.ask())[0], "/connect")
        url, fields = form_in(page)
        sent = {**fields, "decision": "approve"}
        ours = origin_of(url)
        assert (await other.http.post(url, data=sent, headers=ours)).status_code == 403
        for wrong in ({}, {"Origin": "null"}, {"Origin": "https://evil.example"}):
            assert (await browser.http.post(url, data=sent, headers=wrong)).status_code == 403
        assert (await browser.http.post(url, data=sent, headers=ours)).status_code == 303


@pytest.mark.parametrize("issuer", ["http://localhost:1", None])
async def test_a_sign_in_that_another_issuer_tells_of_is_none(gateway: Gateway, issuer: str | None) -> None:
    async with gateway.browser() as browser, gateway.asking() as asking:
        back = httpx2.URL(await back_from(browser, gateway, (await asking.ask())[0], "/signed-in"))
        told_by = back.copy_remove_param("iss") if issuer is None else back.copy_set_param("iss", issuer)
        assert (await browser.http.get(told_by)).status_code == 400


async def test_no_parameter_becomes_markup(gateway: Gateway) -> None:
    async with gateway.browser() as browser, gateway.asking() as asking:
        url, _ = await asking.ask()
        signed_in = await back_from(browser, gateway, url, "/signed-in")
        form = await browser.http.get(signed_in)
        pages = [form]
        for path, name in itertools.product(("/connect", "/signed-in", "/oauth/callback"), PARAMETERS):
            pages += [await browser.http.get(f"{gateway.url}{path}", params={name: strange()})]
        onward = str((await browser.press(form)).headers["location"])
        back = await browser.open(onward, until=f"{gateway.url}/oauth/callback")
        refused = {"error": strange(), "error_description": strange(), "error_uri": strange()}
        refused["state"] = query_of(back)["state"]
        pages += [await browser.http.get(f"{gateway.url}/oauth/callback", params=refused)]
        pages += [await browser.press(form, **{name: strange()}) for name in ("ticket", "csrf", "decision")]
    for page in pages:
        assert "alert(" not in page.text
        assert COMPUTED not in page.text
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["referrer-policy"] == ("same-origin" if "<form" in page.text else "no-referrer")
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert page.headers["x-frame-options"] == "DENY"


async def test_names_of_people_and_clients_are_shown_as_text(gateway: Gateway) -> None:
    name = strange()
    token = await gateway.token(client_id=name)
    async with gateway.client(token) as client, gateway.browser() as browser:
        answer = told(await client.call_tool(PROFILE))
        page = await browser.open_to_form(answer["auth_url"], "/connect")
    assert "<script>" not in page.text
    assert "&lt;script&gt;alert(" in page.text


async def test_a_state_is_of_no_use_to_anybody_else(gateway: Gateway) -> None:
    async with gateway.asking() as learner, gateway.asking("mentor") as mentor:
        _, state = await learner.ask()
        for asking, tool in ((mentor, PROFILE), (learner, "GitHubTarget___getUserRepos")):
            with pytest.raises(MCPError, match="requestState") as refused:
                await asking.client.session.call_tool(tool, {}, request_state=state)
            assert refused.value.error.code == -32602
        with pytest.raises(MCPError, match="requestState"):
            await learner.client.session.call_tool(PROFILE, {}, request_state=f"{state}00")


async def test_a_session_answers_only_to_who_opened_it(gateway: Gateway) -> None:
    opening = {
        "jsonrpc": "2.0",
        "id": 0,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "by hand", "version": "1"},
        },
    }
    accept = {"Accept": "application/json, text/event-stream"}
    owner, other = await gateway.token(), await gateway.token("mentor")
    async with httpx2.AsyncClient(trust_env=False, headers=accept) as http:
        url, as_owner = gateway.running.url, {"Authorization": f"Bearer {owner}"}
        opened = await http.post(url, json=opening, headers=as_owner)
        session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
        stolen = await http.post(
            url, json=LIST_TOOLS, headers={**session, "Authorization": f"Bearer {other}"}
        )
        own = await http.post(url, json=LIST_TOOLS, headers={**session, **as_owner})
    assert (stolen.status_code, own.status_code) == (404, 200)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/mcp", 401),
        ("GET", "/nothing", 401),
        ("PUT", "/control/target/GitHubTarget", 401),
        ("DELETE", "/control/target/GitHubTarget", 401),
        ("HEAD", "/connect?elicitation_id=x", 405),
        ("POST", "/signed-in", 405),
        ("POST", "/oauth/callback", 405),
    ],
)
async def test_nothing_else_is_open(gateway: Gateway, method: str, path: str, status: int) -> None:
    async with gateway.browser() as browser:
        answer = await browser.http.request(method, gateway.url + path)
    assert answer.status_code == status


@pytest.mark.parametrize("path", ["/connect", "/signed-in", "/oauth/callback", "/control/target/x", "/mcp"])
async def test_only_our_own_name_is_served(gateway: Gateway, path: str) -> None:
    port = urlsplit(gateway.url).port
    async with gateway.browser() as browser:
        for host in (f"evil.example:{port}", f"127.0.0.1:{port}"):
            assert (await browser.http.get(gateway.url + path, headers={"Host": host})).status_code == 421


async def test_a_token_of_the_page_is_no_key_to_the_agents(gateway: Gateway) -> None:
    """An audience of another server, or a signature of nobody's, opens nothing."""
    for token in (await gateway.token(aud=[f"{gateway.github}/mcp"]), (await gateway.token())[:-4] + "AAAA"):
        async with httpx2.AsyncClient(trust_env=False) as http:
            headers = {"Authorization": f"Bearer {token}", "MCP-Protocol-Version": MODERN}
            assert (await http.post(gateway.running.url, json=LIST_TOOLS, headers=headers)).status_code == 401


async def test_the_id_in_the_link_is_all_there_is(gateway: Gateway) -> None:
    async with gateway.asking() as asking:
        url, state = await asking.ask()
    subject = str(gateway.logins["learner"][1]["sub"])
    for secret in ("learner", "Lea", subject, asking.token):
        assert secret not in url
        assert secret not in state
    assert link_id(url) in url
