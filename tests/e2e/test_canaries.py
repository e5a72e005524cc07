"""Known secrets go in, everything runs, and each of them is then looked for wherever it does not belong."""

import json
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil

from tests.environment import IsolatedInstance

API_KEY = "canary-of-the-model-endpoint-5f1c"
CLIENT_SECRET = "canary-of-the-oauth-app-93ab"
_HOMES = ("secrets", "logins")
_SHORTEST = 16
_PRACTICE_TOKEN = re.compile(r"practice_[a-z0-9-]+_[a-z2-7]+_[0-9a-f]{32}")


class _Echo(BaseHTTPRequestHandler):
    """A model endpoint that fails and repeats the caller's credentials, as some do."""

    heard: list[str]

    def do_POST(self) -> None:
        sent = self.headers.get("Authorization", "")
        self.heard.append(sent)
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        text = {"error": {"message": f"No such model. You sent {sent}", "code": sent}}
        body = json.dumps(text).encode()
        self.send_response(400, f"Refused {sent}")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """It says nothing: what it would say is what must not be said."""


@contextmanager
def echoing_model() -> Iterator[tuple[str, list[str]]]:
    heard: list[str] = []
    handler = type("Handler", (_Echo,), {"heard": heard})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def secrets_of(instance: IsolatedInstance) -> dict[str, str]:
    """Every secret there is now, by the file or the record that is its home."""
    found = {"the API key": API_KEY, "the client secret of .env": CLIENT_SECRET}
    for path in (instance.directory / "secrets").rglob("*"):
        if path.is_file():
            for number, line in enumerate(path.read_text("utf-8").splitlines()):
                if len(line) >= _SHORTEST and "-----" not in line:
                    found[f"{path.relative_to(instance.directory)} {number}"] = line
    for path in (instance.directory / "logins").glob("*.json"):
        tokens = json.loads(path.read_text("utf-8"))["tokens"]
        found |= {f"{path.name} {kind}": tokens[kind] for kind in ("access_token", "refresh_token")}
    return found


def state_of(instance: IsolatedInstance) -> dict[str, str]:
    """Every file of the state, but those that are the home of a secret; SQLite's bytes as they are."""
    files = [path for path in instance.directory.rglob("*") if path.is_file()]
    outside = [path for path in files if path.relative_to(instance.directory).parts[0] not in _HOMES]
    return {
        str(path.relative_to(instance.directory)): path.read_bytes().decode("latin-1") for path in outside
    }


def process_texts(instance: IsolatedInstance) -> dict[str, str]:
    """What any user of this machine, or of this account, can read of the processes."""
    found: dict[str, str] = {}
    for process in instance.processes():
        found[f"{process.pid} arguments"] = "\0".join(process.cmdline())
        try:
            found[f"{process.pid} environment"] = "\0".join(f"{k}={v}" for k, v in process.environ().items())
        except psutil.AccessDenied:  # macOS may not tell
            continue
    return found


def leaks(secrets: dict[str, str], places: dict[str, str]) -> list[str]:
    """Which secret is in which place; a place is searched for upstream tokens by their shape, too."""
    found = [
        f"{name} is in {place}" for place, text in places.items() for name, s in secrets.items() if s in text
    ]
    return found + [
        f"an upstream token is in {p}" for p, text in places.items() if _PRACTICE_TOKEN.search(text)
    ]


def test_no_secret_of_a_rehearsal_is_anywhere_but_at_home(instance: IsolatedInstance) -> None:
    with echoing_model() as (url, heard):
        (instance.folder / ".env").write_text(
            f"OPENAI_API_KEY={API_KEY}\nOPENAI_BASE_URL={url}\nWORKSHOP_MODEL=m\n"
            f"GITHUB_OAUTH_CLIENT_ID=canary-client-id\nGITHUB_OAUTH_CLIENT_SECRET={CLIENT_SECRET}\n"
        )
        rehearsal = instance.run("rehearse", "--keep", *instance.port_options, timeout=120)
        assert rehearsal.returncode == 0, rehearsal.stderr
        before = secrets_of(instance)
        part_4 = instance.run("part", "4", "run", "--model", "rehearsal", "--approve-as", "mentor")
        refused = instance.run("part", "1", "run")
        as_json = instance.run("status", "--json")
    assert heard
    assert all(API_KEY in sent for sent in heard), "the key is sent where it belongs"
    assert refused.returncode == 1
    assert "You sent" in refused.stderr, "the endpoint's own words are shown, without the key"
    runs = {"rehearse": rehearsal, "part 4": part_4, "part 1": refused, "status": as_json}
    told = {f"output of {name}": run.stdout + run.stderr for name, run in runs.items()}
    places = told | state_of(instance) | process_texts(instance)
    assert len(instance.processes()) == 4
    assert any(place.endswith("log.txt") and text for place, text in places.items())
    secrets = {**before, **secrets_of(instance)}
    assert len(secrets) >= 7
    assert leaks(secrets, places) == []
    must_keep_hashes_only(instance)
    assert leaks({"probe": API_KEY}, {"here": f"x{API_KEY}"}) == ["probe is in here"], "the search can find"


def must_keep_hashes_only(instance: IsolatedInstance) -> None:
    """The store was really searched: it has the grant, and its WAL, if any, was among the files."""
    store = instance.directory / "workloads" / "github-remote" / "store.sqlite"
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as database:
        assert database.execute("SELECT count(*) FROM grants").fetchone()[0] >= 1
        assert database.execute("SELECT count(*) FROM refresh_tokens").fetchone()[0] >= 1


def test_the_secret_of_a_real_oauth_app_stays_in_its_file_until_teardown(
    instance: IsolatedInstance,
) -> None:
    (instance.folder / ".env").write_text(
        f"GITHUB_OAUTH_CLIENT_ID=canary-client-id\nGITHUB_OAUTH_CLIENT_SECRET={CLIENT_SECRET}\n"
    )
    up = instance.run("up", "--upstream", "github", *instance.port_options)
    assert up.returncode == 0, up.stderr
    status = instance.run("status")
    told = {"output": up.stdout + up.stderr + status.stdout + status.stderr}
    homes = [path for path in (instance.directory / "secrets").rglob("*") if path.is_file()]
    assert any(path.read_text("utf-8") == CLIENT_SECRET for path in homes), "it went where it belongs"
    assert all(path.stat().st_mode & 0o077 == 0 for path in homes)
    assert leaks(secrets_of(instance), told | state_of(instance) | process_texts(instance)) == []
    assert instance.run("teardown").returncode == 0
    left = [path for path in instance.home.rglob("*") if path.is_file() and path.stat().st_size]
    assert left == [], "every home of a secret is gone"
