"""The contract of the resource server's functions: what a configuration must say, and what it makes."""

import socket
from typing import Any

import httpx2
import pytest
from joserfc.jwk import ECKey
from mcp import Client
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

from tests.servers.gateway.harness import started
from tests.variations.resource_servers import keycloak_config
from workshop.core.errors import UsageError
from workshop.servers import resource_server as library

AUTH = {
    "type": "jwt",
    "jwks_uri": "https://idp.example.com/.well-known/jwks.json",
    "issuer": "https://idp.example.com",
    "audience": "https://tools.example.com/mcp",
    "authorization_servers": ["https://idp.example.com"],
    "base_url": "https://tools.example.com",
    "required_scopes": ["mcp:read"],
}
REFS = ["os.path:basename"]
ONE_WITHOUT = [
    (("jwks_uri",), "`jwks_uri` or `public_key`"),
    (("base_url",), "`base_url`"),
    (("audience",), "`audience`"),
    (("authorization_servers", "issuer"), "`authorization_servers` or `issuer`"),
]


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in AUTH.items() if name not in names}


def mk_auth_provider(config: object) -> Any:
    return library.mk_auth_provider(config)


def mk_http_app(refs: list[str], **options: Any) -> Any:
    return library.mk_http_app(refs, **options)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here may open a connection: building asks nobody."""

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr("socket.socket.connect", refused)


@pytest.mark.parametrize("nothing", [None, {}, "", 0])
def test_no_auth_is_none(nothing: object) -> None:
    assert mk_auth_provider(nothing) is None


def test_a_whole_configuration_builds() -> None:
    provider = mk_auth_provider(AUTH)
    issuer = provider.tokens.issuer
    assert (issuer.issuer, issuer.audience) == ("https://idp.example.com", "https://tools.example.com/mcp")
    assert (issuer.required_scopes, provider.base_url) == (("mcp:read",), "https://tools.example.com")


def test_the_type_is_jwt_unless_said_otherwise() -> None:
    assert mk_auth_provider(without("type")) is not None


def test_an_issuer_alone_becomes_the_list() -> None:
    issuer = mk_auth_provider(without("authorization_servers")).tokens.issuer
    assert issuer.authorization_servers == ("https://idp.example.com",)


def test_one_authorization_server_alone_is_the_issuer() -> None:
    assert mk_auth_provider(without("issuer")).tokens.issuer.issuer == "https://idp.example.com"


def test_of_several_authorization_servers_the_issuer_has_to_be_named() -> None:
    several = {"authorization_servers": ["https://idp.example.com", "https://other.example.com"]}
    with pytest.raises(UsageError) as caught:
        mk_auth_provider(without("issuer") | several)
    assert "issuer" in str(caught.value)
    assert mk_auth_provider(AUTH | several).tokens.issuer.authorization_servers == tuple(
        several["authorization_servers"]
    )


@pytest.mark.parametrize(("names", "told"), ONE_WITHOUT, ids=lambda value: value[0])
@pytest.mark.parametrize("empty", [False, True], ids=["left out", "empty"])
def test_what_is_missing_is_named(names: tuple[str, ...], told: str, empty: bool) -> None:  # noqa: FBT001
    config = without(*names) | (dict.fromkeys(names, "") if empty else {})
    with pytest.raises(ValueError, match=f"auth needs {told}") as caught:
        mk_auth_provider(config)
    assert isinstance(caught.value, UsageError)


def test_another_type_is_refused() -> None:
    with pytest.raises(ValueError, match="Unsupported auth type 'magic'"):
        mk_auth_provider({"type": "magic"})


@pytest.mark.parametrize("config", ["oauth", ["jwt"], 1, True])
def test_what_is_no_dict_is_refused(config: object) -> None:
    with pytest.raises(ValueError, match="auth must be a dict") as caught:
        mk_auth_provider(config)
    assert isinstance(caught.value, UsageError)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"audiences": "https://tools.example.com/mcp"}, "audiences"),
        ({"client_secret": "of-no-use-here"}, "client_secret"),
        ({"audience": ["https://tools.example.com/mcp"]}, "audience"),
        ({"required_scopes": "mcp:read"}, "required_scopes"),
        ({"authorization_servers": "https://idp.example.com"}, "authorization_servers"),
        ({"authorization_servers": ["http://idp.example.com"]}, "authorization_servers"),
        ({"base_url": "http://tools.example.com"}, "base_url"),
        ({"base_url": "tools.example.com"}, "base_url"),
        ({"jwks_uri": "http://idp.example.com/keys"}, "jwks_uri"),
        ({"public_key": "-----BEGIN NOTHING-----"}, "public_key"),
        ({"jwks_uri": "", "public_key": "-----BEGIN NOTHING-----"}, "public key"),
    ],
)
def test_a_wrong_or_unknown_setting_is_an_error_that_names_it(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(
        ValueError, match=r"` in `auth` |`auth` has |configuration is wrong|cannot be used"
    ) as caught:
        mk_auth_provider(AUTH | wrong)
    error = caught.value
    assert isinstance(error, UsageError)
    assert told in f"{error.what} {error.why} {error.hint}"
    assert "of-no-use-here" not in f"{error.what} {error.why} {error.hint}"


def test_a_public_key_will_do_instead_of_an_address() -> None:
    key = ECKey.generate_key("P-256").as_pem(private=False).decode()
    assert mk_auth_provider(without("jwks_uri") | {"public_key": key}) is not None


@pytest.mark.parametrize("auth", [None, AUTH], ids=["without auth", "with auth"])
def test_an_app_is_made_at_once(auth: object) -> None:
    app = mk_http_app(REFS, name="paths", auth=auth)
    assert callable(app)
    assert "/mcp" in {route.path for route in app.routes}


def test_bad_auth_surfaces_at_once() -> None:
    with pytest.raises(ValueError, match="Unsupported auth type"):
        mk_http_app(REFS, auth={"type": "nope"})


def test_the_configuration_for_keycloak_builds() -> None:
    config = keycloak_config()
    issuer = mk_auth_provider(config["auth"]).tokens.issuer
    assert issuer.jwks_uri == f"{issuer.issuer}/protocol/openid-connect/certs"
    assert issuer.audience == f"{config['auth']['base_url']}/mcp"


@pytest.mark.parametrize("options", [{"transport": "sse"}, {"path": "mcp"}])
def test_what_is_not_served_is_said(options: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="is not served"):
        mk_http_app(REFS, **options)


@pytest.mark.parametrize(
    ("ref", "told"),
    [
        ("basename", "`basename` is not a reference to a function. Write `module:function`"),
        (":basename", "not a reference"),
        ("os.path:", "not a reference"),
        ("os.path:basenam", "`os.path:basenam` is not a function. Is it `basename`?"),
        ("os.path:sep", "`os.path:sep` is not a function"),
        ("pathlib:Path", "`pathlib:Path` is not a function"),
        ("no_such_module:run", "No module named 'no_such_module'"),
        ("..tools:run", "cannot be imported"),
        ("broken_while_imported:run", "RuntimeError: not today"),
        ("math:sqrt", "a tool's arguments are passed by name"),
        ("os.path:join", "a tool's arguments are passed by name"),
    ],
)
def test_a_reference_that_names_no_tool_is_explained(
    ref: str, told: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_while_imported.py").write_text('raise RuntimeError("not today")')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError) as caught:
        mk_http_app([ref])
    error = caught.value
    assert told in ". ".join(filter(None, (error.what, error.why, error.hint)))


def test_two_functions_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match=r"`os\.path:basename` and `ntpath:basename`"):
        mk_http_app(["os.path:basename", "ntpath:basename"])


def test_without_a_function_there_is_nothing_to_serve() -> None:
    with pytest.raises(UsageError, match="no function to serve"):
        mk_http_app([])


PLAIN = '''
async def double(number: int, more: int = 0) -> dict[str, int]:
    """Twice a number, and more."""
    return {"result": 2 * number + more}

def half(number: int) -> dict[str, float]:
    """Half of a number that is even."""
    if number % 2:
        raise ValueError(f"{number} is odd")
    return {"result": number / 2}

def crash() -> str:
    raise RuntimeError("where the password is")
'''


@pytest.fixture
def plain(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """References to a few functions that know nothing of MCP."""
    (tmp_path / "plain_functions.py").write_text(PLAIN)
    monkeypatch.syspath_prepend(tmp_path)
    return ["plain_functions:double", "plain_functions:half", "plain_functions:crash"]


def mk_mcp(refs: list[str], **options: Any) -> Any:
    return library.mk_mcp_from_refs(refs, name="plain", **options)


async def test_plain_functions_become_tools(plain: list[str]) -> None:
    async with Client(mk_mcp(plain, instructions="Twice and half")) as client:
        double, half, _ = (await client.list_tools()).tools
        assert client.instructions == "Twice and half"
        assert (half.name, half.description) == ("half", "Half of a number that is even.")
        assert double.input_schema["properties"]["number"]["type"] == "integer"
        assert double.input_schema["required"] == ["number"]
        result = await client.call_tool("double", {"number": 21})
    assert result.structured_content == {"result": 42}


async def test_the_model_reads_what_a_function_says_of_its_arguments_and_no_crash(plain: list[str]) -> None:
    async with Client(mk_mcp(plain)) as client:
        odd = await client.call_tool("half", {"number": 3})
        crash = await client.call_tool("crash", {})
    assert odd.is_error
    assert crash.is_error
    assert "3 is odd" in str(odd.content)
    assert "password" not in str(crash.content)


async def test_input_trans_sees_the_arguments_first_of_either_kind_of_function(plain: list[str]) -> None:
    seen: list[dict[str, Any]] = []

    def tenfold(arguments: dict[str, Any]) -> dict[str, Any]:
        seen.append(arguments)
        return {**arguments, "number": 10 * arguments["number"]}

    async with Client(mk_mcp(plain, input_trans=tenfold)) as client:
        (listed, *_) = (await client.list_tools()).tools
        double = await client.call_tool("double", {"number": 2})
        half = await client.call_tool("half", {"number": 1})
    assert set(listed.input_schema["properties"]) == {"number", "more"}
    assert (double.structured_content, half.structured_content) == ({"result": 40}, {"result": 5.0})
    assert seen == [{"number": 2, "more": 0}, {"number": 1}]


@pytest.mark.parametrize("several", [False, True], ids=["one", "a list"])
async def test_middleware_goes_around_every_call(plain: list[str], several: bool) -> None:  # noqa: FBT001
    seen: list[str] = []

    async def counted(context: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        seen.append(context.method)
        return await call_next(context)

    async with Client(mk_mcp(plain, middleware=[counted] if several else counted)) as client:
        await client.call_tool("double", {"number": 1})
    assert "tools/call" in seen


@pytest.mark.parametrize(("stateless", "status"), [(True, 200), (False, 400)])
async def test_the_path_is_a_choice_and_so_is_keeping_no_sessions(stateless: bool, status: int) -> None:  # noqa: FBT001
    app = mk_http_app(REFS, path="/tools", stateless_http=stateless)
    listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}
    transport = httpx2.ASGITransport(app=app)
    async with (
        started(app),
        httpx2.AsyncClient(transport=transport, base_url="http://localhost:8129") as http,
    ):
        assert (await http.post("/mcp", json=listing, headers=headers)).status_code == 404
        assert (await http.post("/tools", json=listing, headers=headers)).status_code == status


def test_a_public_host_without_auth_is_refused() -> None:
    with pytest.raises(UsageError, match=r"Without `auth`, nothing is served at 0\.0\.0\.0"):
        library.serve_http(REFS, host="0.0.0.0", port=8129)


def test_a_host_is_an_address_of_this_machine() -> None:
    with pytest.raises(UsageError, match=r"Without `auth`, nothing is served at 192\.0\.2\.7"):
        library.serve_http(REFS, host="192.0.2.7", port=8129)
    with pytest.raises(UsageError, match=r"Cannot listen at 192\.0\.2\.7"):
        library.serve_http(REFS, host="192.0.2.7", port=8129, auth=AUTH)


def test_a_connection_would_be_seen() -> None:
    """The fixture that forbids connections works, or the tests above prove nothing."""
    with socket.socket() as one, pytest.raises(AssertionError, match="a connection was opened"):
        one.connect(("127.0.0.1", 9))
