"""What a remote server answers that HTTP does not have, or that was not asked for, ends at the gateway."""

import gzip
from pathlib import Path

import pytest

from tests.servers.gateway.harness import configured, settings, site
from tests.servers.gateway.mcp_upstream import CALL
from tests.serving import raw


async def relayed(folder: Path, head: bytes, body: bytes = b"{}") -> tuple[int, str]:
    """The status and the error with which the gateway answers for this answer of its remote server."""
    async with raw(head, body) as url:
        values = settings(folder) | {"remote_url": f"{url}/mcp", "auth": None}
        async with site(configured(folder, values)) as gateway:
            got = await gateway.http.post("/mcp", json=CALL)
    return got.status_code, got.json()["error"]


@pytest.mark.parametrize("status", ["000", "099", "101", "600", "999", "1000", "20", "200x", "-1"])
async def test_a_status_that_http_does_not_have_is_a_bad_gateway(tmp_path: Path, status: str) -> None:
    for framing in ("Content-Length: 2", "Upgrade: x", "Transfer-Encoding: chunked"):
        assert await relayed(tmp_path, f"{status} X\r\n{framing}".encode()) == (502, "bad_gateway"), framing


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "gzip\r\nContent-Encoding: identity"])
async def test_a_compressed_answer_is_refused_because_identity_was_asked_for(
    tmp_path: Path, coding: str
) -> None:
    head = f"200 OK\r\nContent-Type: application/json\r\nContent-Encoding: {coding}".encode()
    assert await relayed(tmp_path, head, gzip.compress(b"{}")) == (502, "bad_gateway")


async def test_an_answer_that_calls_itself_identity_is_passed_on(tmp_path: Path) -> None:
    head = b"200 OK\r\nContent-Type: application/json\r\nContent-Encoding: Identity"
    assert await relayed(tmp_path, head, b'{"error": "as it came"}') == (200, "as it came")
