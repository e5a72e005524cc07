"""The practice GitHub as a witness: which credentials did it really receive?"""

from pathlib import Path

from workshop.agent.token_store import TokenStore
from workshop.core.errors import CheckError
from workshop.core.instance import Instance
from workshop.core.interrupts import interrupts
from workshop.lab.base import PRACTICE_GITHUB
from workshop.servers.practice.credentials import fingerprint
from workshop.servers.practice.recorder import RecordedRequest, read_requests

API = ("/mcp", "/user", "/repos")
"""Where the practice GitHub wants its own token."""
_OWN = "practice token"
_DEFECT = "This is ToolHive issue #6681 in another coat: see part 4's README"


def require_token_swap(instance: Instance, proxy: str = "github-remote") -> str:
    """What the witness of this instance saw, in a few words; raises CheckError as `token_swap` does."""
    endpoints = instance.endpoints
    return token_swap(endpoints[PRACTICE_GITHUB], endpoints[proxy], instance.directory / "logins")


def token_swap(github: str, server: str, logins: Path, api: tuple[str, ...] = ("/mcp",)) -> str:
    """What the practice GitHub at `github` saw of the agent's login at `server`, in a few words.

    Raises CheckError unless every request below `api` carried its own token, and none the agent's.
    """
    requests = interrupts.run(read_requests(github))
    login = TokenStore(logins).find(server)
    if login is None or login.tokens is None:
        raise CheckError("The agent has no stored login to compare with")
    ours = fingerprint(login.tokens.access_token)
    calls = [request for request in requests if request.path.startswith(api)]
    if not calls:
        raise CheckError(f"The practice GitHub saw no request for {', '.join(api)}")
    for request in calls:
        if _kind(request) != _OWN:
            raise CheckError(
                f"The practice GitHub received `{_kind(request)}`, not its own token", hint=_DEFECT
            )
    if any(ours in str(request.headers) for request in requests):
        raise CheckError("The agent's own token reached the practice GitHub", hint=_DEFECT)
    return f"GitHub saw its own token {len(calls)} times, the agent's never"


def _kind(request: RecordedRequest) -> str:
    return str((request.authorization or {}).get("kind", "no credential"))
