"""How hard the properties look: a fixed quick look in CI, a long random one when asked for.

`WORKSHOP_FUZZ=thorough pytest tests/fuzz --timeout 7200` draws 50 times as many examples, other ones each
time, and prints how to repeat a failure.
"""

import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, configuration, settings

THOROUGH = os.environ.get("WORKSHOP_FUZZ") == "thorough"
# Hypothesis keeps its tables in the working directory otherwise, which is the checkout.
configuration.set_hypothesis_home_dir(Path(tempfile.gettempdir()) / f"workshop-hypothesis-{os.getuid()}")


def looks(examples: int, *, steps: int = 50) -> settings:
    """Settings for a property that is looked at `examples` times in CI."""
    return settings(
        max_examples=examples * (50 if THOROUGH else 1),
        stateful_step_count=steps,
        deadline=None,  # time is never asserted, and two cores are shared
        derandomize=not THOROUGH,
        database=None,
        phases=set(Phase) - {Phase.explain},  # it repeats a failing example more often than a test may last
        print_blob=THOROUGH,
        # A whole sign-in before a mutated request is slow by nature, and the draws of it are few.
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
