"""Exercise 4.1: four questions about a recorded run."""

import json
import sys
from pathlib import Path
from typing import Any


def answers(steps: list[dict[str, Any]]) -> dict[str, Any]:
    """The answers to the four questions about the steps of a recording.

    A step is one request. Among others, it has `number`, `kind` (such as "token", or "upstream-mcp" for one
    that GitHub received), `claims` (the `header` and `payload` of the agent's token where it first appears,
    otherwise None), and `comparisons`, a list; each of these has `left_name`, `left`, `right_name`, `right`,
    and `holds`: whether it is as it must be.
    """
    # ↓ The claims name issuer and audience; a comparison that does not hold is the mistake.
    claims = next(step["claims"]["payload"] for step in steps if step["claims"])
    right = [step for step in steps if all(comparison["holds"] for comparison in step["comparisons"])]
    return {
        "issuer": claims["iss"],
        "audience": claims["aud"],
        "swapped": len([step for step in right if step["kind"] == "upstream-mcp"]),
        "wrong": next((step["number"] for step in steps if step not in right), None),
    }
    # ↑


if __name__ == "__main__":
    print(answers(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["steps"]))
