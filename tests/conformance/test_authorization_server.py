"""The gateway's authorization server, judged by the conformance suite's `authorization` mode."""

import asyncio
import re

import httpx2
import pytest

from tests.clients.packages import Npm
from workshop.agent.practice_browser import approve_login
from workshop.core.ports import free_port

AUTHORIZATION_REQUEST = re.compile(r"^http://localhost:\d+/\S+\?response_type=code\S+$", re.MULTILINE)


@pytest.mark.timeout(400)
async def test_the_authorization_server_grants_a_code_as_the_specification_says(
    npm: Npm, issuer: str
) -> None:
    # metadata, Client ID Metadata Documents, the grant
    assert "Total: 3 passed, 0 failed" in await report_of(npm, issuer)


async def report_of(npm: Npm, issuer: str) -> str:
    """What the suite reports of an authorization server, whose pages are approved as a practice user."""
    port = free_port()
    client_id = await register(issuer, f"http://127.0.0.1:{port}/callback")
    arguments = ("--url", issuer, "--client-id", client_id, "-p", str(port), "--resource", f"{issuer}/")
    async with npm.start("conformance", "authorization", *arguments) as process:
        assert process.stdout
        report = ""
        async with asyncio.timeout(200):
            while "Callback server started" not in report:
                line = await process.stdout.readline()
                assert line, report
                report += line.decode()
            asked = AUTHORIZATION_REQUEST.search(report)
            assert asked, report
            await approve_login(asked.group(), "learner")
            report += (await process.stdout.read()).decode()
        assert await process.wait() == 0, report
    return report


async def register(issuer: str, redirect_uri: str) -> str:
    async with httpx2.AsyncClient() as http:
        metadata = (await http.get(f"{issuer}/.well-known/oauth-authorization-server")).json()
        wanted = {
            "redirect_uris": [redirect_uri],
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
        }
        answer = await http.post(metadata["registration_endpoint"], json=wanted)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["client_id"])
