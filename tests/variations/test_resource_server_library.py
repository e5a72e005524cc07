"""The resource server as a library of another project: its import path, its functions, its types."""

import json
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from mcp import Client

from tests.servers.gateway.harness import started
from tests.variations.test_resource_server import AUTH
from workshop.core.errors import UsageError
from workshop.servers.resource_server import (
    mk_auth_provider,
    mk_http_app,
    mk_mcp_from_refs,
    mk_mcp_server,
)

PROJECT = '''
from collections.abc import Mapping

from starlette.applications import Starlette

from workshop.servers.resource_server import (
    AuthProvider,
    mk_auth_provider,
    mk_http_app,
    mk_mcp_from_refs,
    mk_mcp_server,
)


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


AUTH: Mapping[str, object] = {
    "jwks_uri": "https://idp.example.com/keys",
    "issuer": "https://idp.example.com",
    "audience": "https://tools.example.com/mcp",
    "base_url": "https://tools.example.com",
}
provider: AuthProvider | None = mk_auth_provider(dict(AUTH))
app: Starlette = mk_mcp_server([add, "os.path:basename"], name="Mine", auth=provider).http_app()
same: Starlette = mk_mcp_from_refs(["os.path:basename", add], auth=dict(AUTH)).http_app(path="/tools")
third: Starlette = mk_http_app([add], auth=dict(AUTH), stateless_http=True)
'''


def double(number: int) -> int:
    """Twice a number."""
    return 2 * number


async def test_functions_and_texts_may_be_mixed_and_one_function_needs_no_list() -> None:
    async with Client(mk_mcp_server(double)) as client:
        assert (await client.call_tool("double", {"number": 4})).structured_content == {"result": 8}
    for made in (mk_mcp_server([double, "os.path:basename"]), mk_mcp_from_refs(["os.path:basename", double])):
        async with Client(made) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
        assert names == {"double", "basename"}


def test_what_is_neither_a_function_nor_a_text_is_refused() -> None:
    with pytest.raises(UsageError, match="is not a function") as caught:
        mk_mcp_server([3])  # type: ignore[list-item]
    assert caught.value.hint == "Pass a function, or the text `module:function`"
    triple = lambda number: 3 * number  # noqa: E731 - its name is what matters
    triple.__name__ = "double"
    with pytest.raises(UsageError, match="would be tools of one name"):
        mk_mcp_from_refs([double, triple])


@pytest.mark.parametrize("as_provider", [False, True], ids=["a dict", "a provider"])
async def test_auth_is_accepted_by_both_and_refuses_callers_without_a_token(as_provider: bool) -> None:  # noqa: FBT001
    auth = mk_auth_provider(AUTH) if as_provider else AUTH
    apps = (
        mk_mcp_server(double, auth=auth).http_app(),
        mk_mcp_from_refs(["os.path:basename"], auth=auth).http_app(),
        mk_http_app([double], auth=auth),
    )
    for app in apps:
        transport = httpx2.ASGITransport(app=app)
        async with (
            started(app),
            httpx2.AsyncClient(transport=transport, base_url="https://tools.example.com") as http,
        ):
            answer = await http.post("/mcp", json={})
            assert answer.status_code == 401
            assert "https://tools.example.com/.well-known/oauth-protected-resource/mcp" in str(answer.headers)


def test_a_mistake_in_auth_surfaces_in_both() -> None:
    for make in (mk_mcp_server, mk_mcp_from_refs):
        with pytest.raises(ValueError, match="auth needs `audience`"):
            make([double], auth={**AUTH, "audience": ""})


def project(folder: Path) -> Path:
    path = folder / "my_server.py"
    path.write_text(PROJECT)
    return path


def test_another_project_imports_it_from_its_own_folder(tmp_path: Path) -> None:
    code = "import json, my_server; print(json.dumps([route.path for route in my_server.same.routes]))"
    project(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "/tools" in json.loads(done.stdout)


def test_another_projects_use_of_it_passes_strict_mypy(tmp_path: Path) -> None:
    """In one run with a wrong use beside it, because mypy reads the types of all dependencies first."""
    path = project(tmp_path)
    wrong = tmp_path / "wrong.py"
    wrong.write_text(PROJECT + '\nmk_http_app([add], port="8000")\n')
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", path.name, wrong.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    error, *_, found = done.stdout.splitlines()
    assert error.startswith("wrong.py:")
    assert 'Unexpected keyword argument "port"' in error
    assert found == "Found 1 error in 1 file (checked 2 source files)"
