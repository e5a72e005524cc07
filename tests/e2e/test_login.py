"""A login that was ended is gone at the gateway too, and the next run asks again."""

import json

import psutil

from tests.environment import IsolatedInstance

ASKED = "approving as practice user"


def run(instance: IsolatedInstance) -> str:
    done = instance.run("part", "4", "run", "--model", "rehearsal", "--approve-as", "learner")
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_after_a_revoke_approval_is_asked_for_again(running: IsolatedInstance) -> None:
    assert ASKED in run(running)
    assert ASKED not in run(running)
    (file,) = (running.directory / "logins").glob("*.json")
    login = file.read_bytes()
    assert running.run("login", "revoke").returncode == 0
    assert running.run("login", "list").stdout == "No login is stored\n"
    file.write_bytes(login)  # whoever had copied the tokens has nothing left
    assert ASKED in run(running)


def test_without_the_gateway_a_login_stays_unless_it_is_to_be_forgotten(expendable: IsolatedInstance) -> None:
    run(expendable)
    gateway = psutil.Process(expendable.states()["github-remote"].pid)
    gateway.kill()
    gateway.wait(60)
    done = expendable.run("login", "revoke", "--json")
    assert done.returncode == 1
    assert "cannot be reached" in json.loads(done.stdout)["data"][0]["told"]
    assert "localhost" in expendable.run("login", "list").stdout
    assert expendable.run("login", "revoke", "--all", "--forget").returncode == 0
    assert ASKED in run(expendable)
