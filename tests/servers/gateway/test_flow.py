"""The whole sign-in, as a client and a browser go through it."""

from tests.servers.gateway.harness import Site


async def test_a_person_signs_in_and_the_client_reaches_the_remote_server(gateway: Site) -> None:
    signed_in = await gateway.sign_in()
    answer = await gateway.call(signed_in.bearer)
    assert answer.status_code == 200, answer.text
    assert "result" in answer.json()
