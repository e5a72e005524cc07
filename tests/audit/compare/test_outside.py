"""`workshop compare URL`: a server of one's own as a column, and where its token goes."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.audit.probe.test_login import SECRET, Server, signing
from tests.cli.conftest import Workshop
from tests.environment import IsolatedInstance
from tests.serving import serve
from workshop.agent.approval import ApproveAs
from workshop.agent.events import ignore
from workshop.agent.token_store import TokenStore
from workshop.audit.compare.client import HttpSession
from workshop.audit.compare.comparison import Column, outside
from workshop.audit.compare.rows import ROWS
from workshop.audit.probe.model import Target
from workshop.audit.sign_in import Signing
from workshop.core.errors import UsageError, WorkshopError


def url_of(instance: IsolatedInstance, workload: str = "github-remote") -> str:
    return f"http://localhost:{instance.ports[workload]}/mcp"


async def column(url: str, login: Signing | None) -> Column:
    return await outside(Target.parse(url), login, lambda _: None)


async def test_its_column_has_what_its_login_shows(running: IsolatedInstance, tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    login = Signing(store, ApproveAs("learner"), ignore)
    found = await column(url_of(running), login)
    values = {name: cell.value for name, cell in found.cells.items() if cell.tone != "unseen"}
    assert values == {
        "issuer": "the server itself",
        "challenge": "401, names metadata",
        "iss": "yes",
        "findings": "none",
    }
    assert list(found.cells) == [row.id for row in ROWS]
    assert "the pages were shown to a person" in found.cells["consent"].seen
    assert "it stays with the agent's login" in found.cells["refresh"].seen
    assert "get_me" in found.cells["prefix"].seen
    (stored,) = store.all()
    assert stored.tokens
    assert stored.tokens.access_token not in json.dumps(asdict(found))
    again = await column(url_of(running), login)
    assert "a stored login was used" in again.cells["iss"].seen
    assert again.cells["issuer"] == found.cells["issuer"]


async def test_without_a_login_or_where_none_is_needed_the_column_states_it(
    running: IsolatedInstance,
) -> None:
    found = await column(url_of(running), None)
    assert found.cells["issuer"].seen == "Not observed: no login was made; `--login` makes one"
    assert found.cells["challenge"].value == "401, names metadata"
    login = Signing(TokenStore(Path("nowhere")), ApproveAs("nobody"), ignore)
    found = await column(url_of(running, "workshop"), login)
    assert found.cells["issuer"].seen == "Not observed: the server requires no token"


@pytest.mark.parametrize("names_other", [False, True], ids=["it redirects", "it names another resource"])
async def test_its_token_goes_to_no_other_server(tmp_path: Path, *, names_other: bool) -> None:
    other = Server()
    server = Server(resource=other.url) if names_other else Server(onward=other.url)
    login = signing(tmp_path, other if names_other else server)
    async with serve(server.app(), server.port), serve(other.app(), other.port):
        with pytest.raises(WorkshopError):
            await column(server.url, login)
    assert other.credentials == []
    assert any(SECRET in each for each in server.credentials) is not names_other


async def test_a_session_with_a_token_is_not_begun_at_another_server() -> None:
    other = Server()
    server = Server(onward=other.url)
    async with serve(server.app(), server.port), serve(other.app(), other.port), HttpSession() as http:
        assert (await http.initialize(server.url, SECRET, {})).status == 307
    assert server.credentials == [f"Bearer {SECRET}"]
    assert other.credentials == []


async def test_a_server_without_tls_elsewhere_is_refused_before_a_request(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No login at"):
        await column("http://mcp.example/mcp", signing(tmp_path, Server()))


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (["nothing"], 2, "is not an http or https URL"),
        (["http://localhost:1/mcp"], 3, "http://localhost:1 cannot be reached"),
        (["http://localhost:1/mcp", "--only", "nobody"], 2, "Unknown system `nobody`"),
        (["http://localhost:1/mcp", "--html", "page.txt"], 2, "`page.txt` is not an HTML file"),
        (["http://localhost:1/mcp", "--approve-as", "learner"], 2, "`--approve-as` needs `--login`"),
    ],
)
def test_what_cannot_be_done_is_refused_before_a_system_starts(
    workshop: Workshop, words: list[str], code: int, what: str
) -> None:
    done = workshop("compare", *words, "--json")
    assert done.code == code
    assert what in json.loads(done.out)["error"]["what"]
    assert "Probe toolhive" not in done.err


def test_the_command_puts_it_beside_the_workshops_own(running: IsolatedInstance) -> None:
    words = ("--login", "--approve-as", "learner", "--only", "toolhive", "--html", "compare.html")
    done = running.run("compare", url_of(running), *words, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["command"] == "compare"
    own, ours = document["data"]["systems"]
    assert (own["name"], ours["name"]) == (f"localhost:{running.ports['github-remote']}", "toolhive")
    assert own["cells"]["issuer"]["value"] == ours["cells"]["issuer"]["value"] == "the server itself"
    assert "Your own server" in (running.folder / "compare.html").read_text("utf-8")
    (running.folder / "compare.html").unlink()
