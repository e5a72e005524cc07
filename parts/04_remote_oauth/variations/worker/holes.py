"""The thirteen holes of the public server: each a way to look whether it is open."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import quote

from attacker import ELSEWHERE, HERE, Attacker, a_browser

_GITHUB = "/login/oauth/authorize"
_GITHUB_TOKEN = re.compile(r"practice_[a-z0-9-]+_[a-z2-7]+_[0-9a-f]{32}")
_HERE_TOO = "http://localhost:8765/other"
_OTHER_SERVER = "https://other.example/mcp"


@dataclass(frozen=True)
class Hole:
    """One hole, the exercise that closes it, and whether a worker has it."""

    name: str
    exercise: int
    is_open: Callable[[Attacker], Awaitable[bool]]


async def any_address(attacker: Attacker) -> bool:
    """A client without addresses, and then a login that ends anywhere."""
    client = await attacker.register()
    return bool(client) and await _ends_elsewhere(attacker, client["client_id"])


async def no_client(attacker: Attacker) -> bool:
    return await _ends_elsewhere(attacker, None)


async def nobody_asked(attacker: Attacker) -> bool:
    answer = await attacker.ask("GET", attacker.request(client_id=await _client_id(attacker)))
    return answer.is_redirect and _GITHUB in answer.headers["location"]


async def any_browser(attacker: Attacker) -> bool:
    """One browser gets as far as the callback, and another one opens that."""
    async with a_browser() as one, a_browser() as other:
        begin = attacker.request(client_id=await _client_id(attacker))
        link = await attacker.travel(one, begin, f"{attacker.url}/callback")
        answer = await attacker.ask("GET", link, other)
    return answer.is_redirect and "code=" in answer.headers["location"]


async def chosen_key(attacker: Attacker) -> bool:
    """While a person is at GitHub, somebody begins a login with the same `state` and another address."""
    asked = {"client_id": await _client_id(attacker, HERE, _HERE_TOO), "state": "a-state-somebody-saw"}
    async with a_browser() as person, a_browser() as somebody:
        at_github = await attacker.travel(person, attacker.request(**asked), _GITHUB)
        await attacker.travel(somebody, attacker.request(**asked, redirect_uri=_HERE_TOO), _GITHUB)
        return (await attacker.travel(person, at_github, _HERE_TOO)).startswith(_HERE_TOO)


async def no_pkce(attacker: Attacker) -> bool:
    login = await attacker.login()
    return login is not None and (await attacker.redeem(login, code_verifier="w" * 43)).is_success


async def stored_answers(attacker: Attacker) -> bool:
    login = await attacker.login()
    answer = await attacker.redeem(login) if login else None
    return answer is not None and "no-store" not in answer.headers.get("cache-control", "")


async def no_revocation(attacker: Attacker) -> bool:
    login = await attacker.login()
    if login is None:
        return False
    token = str((await attacker.redeem(login)).json().get("access_token", ""))
    await attacker.ask("POST", "/revoke", data={"token": token, "client_id": login.client_id})
    return await attacker.works(token)


async def token_in_address(attacker: Attacker) -> bool:
    token = await attacker.token()
    return bool(token) and await attacker.works(token, f"/mcp?token={token}", header=False)


async def no_challenge(attacker: Attacker) -> bool:
    return "resource_metadata" not in (await attacker.ask("POST", "/mcp")).headers.get("www-authenticate", "")


async def any_audience(attacker: Attacker) -> bool:
    """A token that was asked for another server, and works at this one."""
    token = await attacker.token(resource=_OTHER_SERVER)
    return bool(token) and await attacker.works(token)


async def clear_store(attacker: Attacker) -> bool:
    return await _readable(attacker, "store")


async def telling_log(attacker: Attacker) -> bool:
    return await _readable(attacker, "log")


async def plain_http(attacker: Attacker) -> bool:
    return bool(await attacker.register("http://evil.example/callback"))


async def begun_without_pkce(attacker: Attacker) -> bool:
    return await attacker.login(code_challenge=None, code_challenge_method=None) is not None


async def begun_for_another(attacker: Attacker) -> bool:
    return await attacker.login(resource=_OTHER_SERVER) is not None


async def no_issuer(attacker: Attacker) -> bool:
    """The answer does not say whose it is (RFC 9207)."""
    async with a_browser() as browser:
        end = await attacker.travel(browser, attacker.request(client_id=await _client_id(attacker)))
    return f"iss={quote(attacker.url, safe='')}" not in end


async def traded_for_another(attacker: Attacker) -> bool:
    login = await attacker.login()
    return login is not None and (await attacker.redeem(login, resource=_OTHER_SERVER)).is_success


async def nothing_below(attacker: Attacker) -> bool:
    answer = await attacker.ask("GET", "/.well-known/oauth-protected-resource/mcp")
    return not answer.is_success


async def any_page(attacker: Attacker) -> bool:
    """A web page of somebody else's may talk to the worker."""
    answer = await attacker.ask("OPTIONS", "/mcp", headers={"origin": "https://evil.example"})
    return answer.is_success or "access-control-allow-origin" in answer.headers


async def _readable(attacker: Attacker, file: str) -> bool:
    """Whether a file contains a token of a login made now, GitHub's or the worker's."""
    before = set(_GITHUB_TOKEN.findall(attacker.written(file)))
    token = await attacker.token()
    written = attacker.written(file)
    return (bool(token) and token in written) or bool(set(_GITHUB_TOKEN.findall(written)) - before)


async def _ends_elsewhere(attacker: Attacker, client_id: str | None) -> bool:
    async with a_browser() as browser:
        begin = attacker.request(client_id=client_id, redirect_uri=ELSEWHERE)
        return (await attacker.travel(browser, begin)).startswith(ELSEWHERE)


async def _client_id(attacker: Attacker, *redirect_uris: str) -> str:
    return str((await attacker.register(*redirect_uris or [HERE])).get("client_id", ""))


HOLES = (
    Hole("a client without addresses gets its code sent anywhere", 1, any_address),
    Hole("without a client id, a login ends anywhere: an open redirector", 2, no_client),
    Hole("nobody is asked before GitHub is", 3, nobody_asked),
    Hole("a login that one browser began ends in another", 3, any_browser),
    Hole("who knows the `state` takes a login over: it is the key in the store", 3, chosen_key),
    Hole("a code is traded with any verifier: PKCE is announced, not checked", 4, no_pkce),
    Hole("a cache may keep the token: no `no-store`", 4, stored_answers),
    Hole("a token cannot be revoked", 4, no_revocation),
    Hole("a token in the address is taken", 5, token_in_address),
    Hole("a 401 does not say where to log in: no `WWW-Authenticate`", 5, no_challenge),
    Hole("a token for another server works here", 5, any_audience),
    Hole("GitHub's tokens stand in the store in clear", 6, clear_store),
    Hole("tokens stand in the log", 6, telling_log),
)

ALSO = (
    Hole("an address on plain http, not on this computer, is registered", 1, plain_http),
    Hole("a login begins without PKCE", 2, begun_without_pkce),
    Hole("a login for another server begins", 2, begun_for_another),
    Hole("the answer to the client does not say whose it is: no `iss`", 3, no_issuer),
    Hole("a code is traded for a token for another server", 4, traded_for_another),
    Hole("the metadata is not below the path", 5, nothing_below),
    Hole("any web page may talk to it", 5, any_page),
)
"""What the exercises close besides the thirteen."""
