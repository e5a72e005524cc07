"""A shell's choices for `up` do not reach the tests, and a person's choices for the tests do."""

import subprocess
import sys

import pytest

from tests.conftest import clear_choices

CHOICES = {"WORKSHOP_CHART_CRDS": "a.tgz", "WORKSHOP_NODE_IMAGE": "node:1", "WORKSHOP_MODEL": "m"}
OTHERS = {"PATH": "/bin", "WORKSHOP_E2E_CONTEXT": "lab", "WORKSHOP_VMCP": "/bin/vmcp"}


@pytest.mark.parametrize(
    ("selected", "left"), [("not kind", OTHERS), ("", OTHERS), ("kind", CHOICES | OTHERS)]
)
def test_what_a_shell_has_set_for_up_is_cleared(selected: str, left: dict[str, str]) -> None:
    environment = CHOICES | OTHERS
    clear_choices(environment, selected)
    assert environment == left


def test_a_program_that_a_test_starts_keeps_what_it_compiles() -> None:
    """Whatever the shell has set: otherwise each start compiles all that it imports."""
    program = "import sys; print(sys.dont_write_bytecode)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
