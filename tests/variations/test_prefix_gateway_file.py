"""The gateway's file: which mistakes are named, and which changes come into force."""

import json
import runpy
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.servers.gateway.harness import ec_pem
from tests.variations.prefix_gateway import FOLDER
from workshop.core.errors import UsageError
from workshop.servers.variation.service import load

GATEWAY = {
    "url": "https://gateway.example.com",
    "issuer": "https://id.example.com",
    "jwks_uri": "https://id.example.com/keys",
    "signing_key_file": "key.pem",
}


def registration(**changes: Any) -> dict[str, Any]:
    return {"prefix": "github_", "url": "https://example.com/mcp", **changes}


@pytest.mark.parametrize(
    ("registrations", "told"),
    [
        ([], "`registrations` in `FILE` must be a list with an entry"),
        ([registration(prefix="GitHub_")], "`registrations.1.prefix` in `FILE` does not match"),
        ([registration(prefix="_github")], "`registrations.1.prefix` in `FILE` does not match"),
        ([registration(prefix="")], "`registrations.1.prefix` in `FILE` does not match"),
        (
            [registration(), registration(prefix="github_extra_")],
            "`registrations` in `FILE` has the prefix 'github_extra_', which starts with 'github_'",
        ),
        (
            [registration(), registration()],
            "`registrations` in `FILE` has the prefix 'github_', which starts with 'github_'",
        ),
        ([registration(url="http://example.com/mcp")], "`registrations.1.url` in `FILE` must be https"),
        ([registration(url="file:///etc/passwd")], "must be an absolute http or https URL"),
        ([registration(filters=["get_me"])], "`registrations.1.filters` in `FILE` is unknown"),
        ([registration(filter="get_me")], "`registrations.1.filter` in `FILE` must be a list"),
        ([registration(only=["get_me"])], "`registrations.1.only` in `FILE` must be a JSON object"),
        ([registration(only={"get_me": "mentor"})], "`registrations.1.only.get_me` in `FILE` must be a list"),
        ([registration(url=None)], "`registrations.1` in `FILE` needs either `url` or `command`"),
        ([registration(command=["x"])], "`registrations.1` in `FILE` needs either `url` or `command`"),
        ([registration(headers={"Authorization": "x"})], "cannot have Authorization: the gateway sets it"),
        (
            [registration(credential_file="/nowhere/pat")],
            "`registrations.1.credential_file` in `FILE` cannot be read: /nowhere/pat: No such file",
        ),
    ],
    ids=range(16),
)
def test_a_registration_that_is_wrong_is_named(
    registrations: list[dict[str, Any]], told: str, tmp_path: Path
) -> None:
    module = runpy.run_path(str(FOLDER / "registrations.py"))
    (tmp_path / "key.pem").write_bytes(ec_pem())
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**GATEWAY, "registrations": registrations}))
    with pytest.raises(UsageError) as caught:
        load(module["GatewayConfig"], path)
    assert told.replace("FILE", str(path)) in caught.value.what


def test_a_changed_file_replaces_the_registrations_and_a_mistake_in_it_does_not(tmp_path: Path) -> None:
    module = runpy.run_path(str(FOLDER / "registrations.py"))
    (tmp_path / "key.pem").write_bytes(ec_pem())
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**GATEWAY, "registrations": [registration()]}))
    registered = module["Registered"](load(module["GatewayConfig"], path), path)
    (before,) = registered()
    notes = {"prefix": "notes_", "command": ["notes"]}
    path.write_text(json.dumps({**GATEWAY, "registrations": [registration(), notes]}))
    registered.reload()
    same, added = registered()
    assert (same, added.target) == (before, ("notes", ""))
    assert registered.since(added) >= registered.since(same)
    path.write_text(json.dumps({**GATEWAY, "registrations": [{**notes, "headers": {"X-A": "b"}}]}))
    registered.reload()
    assert registered() == (same, added)


async def test_a_server_that_has_just_started_has_as_long_for_its_list_as_a_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registrations = SimpleNamespace(**runpy.run_path(str(FOLDER / "registrations.py")))
    monkeypatch.setitem(sys.modules, "registrations", registrations)
    server: Any = runpy.run_path(str(FOLDER / "upstreams.py"))["UpstreamServer"]
    given: list[float] = []

    class Watched(server):  # type: ignore[misc]
        @asynccontextmanager
        async def _session(self, _credential: str, seconds: float) -> AsyncIterator[object]:
            async def list_tools(cursor: str | None) -> object:
                return SimpleNamespace(tools=[], next_cursor=cursor)

            given.append(seconds)
            yield SimpleNamespace(list_tools=list_tools)

    for url in ("https://example.com/mcp", None):
        assert await Watched(SimpleNamespace(url=url)).tools("a credential") == []
    served, started = given
    assert started <= served < 30, "the agent waits 30"


def test_a_wrong_configuration_ends_the_gateway_with_our_error(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    (tmp_path / "key.pem").write_bytes(ec_pem())
    path.write_text(json.dumps({**GATEWAY, "registrations": [{}]}))
    argv = [sys.executable, str(FOLDER / "server.py"), "--config", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 2
    assert f"Error: `registrations.1.prefix` in `{path}` is missing" in done.stderr
    assert "Hint: *Use it for real* in the README of the variation describes every key" in done.stderr
    assert "Traceback" not in done.stderr
