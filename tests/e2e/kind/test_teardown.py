"""Teardown on a real cluster, after all other tests of this folder."""

import pytest

from tests.e2e.kind.conftest import SECONDS, Course

pytestmark = [pytest.mark.kind, pytest.mark.timeout(4 * SECONDS)]


def test_teardown_leaves_nothing(deployed: Course) -> None:
    done = deployed.ok("teardown")
    assert "Stopped " in done.stdout
    assert not deployed.directory.exists()
    assert deployed.processes() == []
    if deployed.context is None:
        assert deployed.name not in deployed.clusters()
    again = deployed.ok("teardown")
    assert again.stdout == "Nothing was running\n"
