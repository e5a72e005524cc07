"""Keys and secrets are rotated by putting the new one first: nobody has to sign in again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.servers.gateway.harness import Clock, SignedIn, Site, configured, ec_pem, settings, site
from tests.servers.gateway.reading import decoded, form_in, origin_of


@asynccontextmanager
async def with_keys(
    folder: Path, practice: str, *, keys: tuple[str, ...], secrets: tuple[str, ...] = ("hmac",), clock: Clock
) -> AsyncIterator[Site]:
    """The same gateway and store, started with these files."""
    values: dict[str, Any] = settings(folder, upstream=practice)
    values["auth"]["signing_key_files"] = [str(folder / name) for name in keys]
    values["auth"]["hmac_files"] = [str(folder / name) for name in secrets]
    async with site(configured(folder, values), clock=clock) as gateway:
        yield gateway


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("old.pem", "new.pem"):
        (tmp_path / name).write_bytes(ec_pem())
    (tmp_path / "new-hmac").write_bytes(b"n" * 48)
    return tmp_path


async def status(gateway: Site, person: SignedIn) -> int:
    return (await gateway.call(person.bearer)).status_code


async def test_swapped_keys_sign_with_the_new_one_and_verify_with_both_until_expiry(
    folder: Path, practice: str
) -> None:
    clock = Clock()
    async with with_keys(folder, practice, keys=("old.pem", "new.pem"), clock=clock) as gateway:
        jwks = (await gateway.http.get("/.well-known/jwks.json")).json()["keys"]
        old = await gateway.sign_in()
    async with with_keys(folder, practice, keys=("new.pem", "old.pem"), clock=clock) as gateway:
        swapped = (await gateway.http.get("/.well-known/jwks.json")).json()["keys"]
        assert swapped == jwks[::-1]
        assert decoded(old.access_token)[0]["kid"] == swapped[1]["kid"]
        refreshed = await gateway.refresh(old.client_id, old.refresh_token)
        new = SignedIn(old.client_id, refreshed.json())
        assert decoded(new.access_token)[0]["kid"] == swapped[0]["kid"]
        clock.now += 3590
        assert [await status(gateway, old), await status(gateway, new)] == [200, 200]
        clock.now += 40
        assert await status(gateway, old) == 401
    async with with_keys(folder, practice, keys=("new.pem",), clock=clock) as gateway:
        refreshed = await gateway.refresh(old.client_id, new.refresh_token)
        assert await status(gateway, SignedIn(old.client_id, refreshed.json())) == 200


async def test_a_key_that_was_taken_out_verifies_nothing(folder: Path, practice: str) -> None:
    clock = Clock()
    async with with_keys(folder, practice, keys=("old.pem",), clock=clock) as gateway:
        old = await gateway.sign_in()
    async with with_keys(folder, practice, keys=("new.pem",), clock=clock) as gateway:
        assert await status(gateway, old) == 401


async def test_after_the_hmac_secret_was_rotated_sign_ins_in_progress_go_on(
    folder: Path, practice: str
) -> None:
    clock, keys = Clock(), ("old.pem",)
    async with with_keys(folder, practice, keys=keys, clock=clock) as gateway:
        person = await gateway.sign_in()
        page = await gateway.authorize(person.client_id)
        cookies = gateway.browser.cookies
    async with with_keys(folder, practice, keys=keys, secrets=("new-hmac", "hmac"), clock=clock) as gateway:
        gateway.browser.cookies = cookies
        assert await status(gateway, person) == 200
        action, fields = form_in(page)
        sent = {**fields, "decision": "approve"}
        approved = await gateway.browser.post(action, data=sent, headers=origin_of(action))
        assert approved.headers["location"].startswith(practice)


async def test_a_refresh_repeated_across_a_rotation_of_the_hmac_secret_gets_the_same_successor(
    folder: Path, practice: str
) -> None:
    clock, keys = Clock(), ("old.pem",)
    async with with_keys(folder, practice, keys=keys, clock=clock) as gateway:
        person = await gateway.sign_in()
        first = (await gateway.refresh(person.client_id, person.refresh_token)).json()["refresh_token"]
    async with with_keys(folder, practice, keys=keys, secrets=("new-hmac", "hmac"), clock=clock) as gateway:
        clock.now += 19
        repeated = await gateway.refresh(person.client_id, person.refresh_token)
        assert repeated.json()["refresh_token"] == first
        # The successor is good, and its own successor is made with the new secret.
        second = (await gateway.refresh(person.client_id, first)).json()["refresh_token"]
    async with with_keys(folder, practice, keys=keys, secrets=("new-hmac",), clock=clock) as gateway:
        # Sealed with the secret that is gone: the upstream token cannot be read, and it is said so.
        answer = await gateway.refresh(person.client_id, second)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
