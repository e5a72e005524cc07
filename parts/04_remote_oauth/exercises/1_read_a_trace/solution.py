"""Exercise 4.1: four questions about a recorded run."""

import json
import sys
from pathlib import Path
from typing import Any


def answers(hops: list[dict[str, Any]]) -> dict[str, Any]:
    """The answers to the four questions about the hops of a recording.

    A hop has, among others: `number`, `kind` (such as "token", or "upstream-mcp" for a request that GitHub
    received), `claims` (None, or the token's `header` and `payload`), and `comparisons`, a list; each has
    `left_name`, `left`, `right_name`, `right`, and `holds`: whether it is as it must be.
    """
    # ↓ The claims name issuer and audience; a comparison that does not hold is the mistake.
    claims = next(hop["claims"]["payload"] for hop in hops if hop["claims"])
    right = [hop for hop in hops if all(comparison["holds"] for comparison in hop["comparisons"])]
    return {
        "issuer": claims["iss"],
        "audience": claims["aud"],
        "swapped": len([hop for hop in right if hop["kind"] == "upstream-mcp"]),
        "wrong": next((hop["number"] for hop in hops if hop not in right), None),
    }
    # ↑


if __name__ == "__main__":
    print(answers(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["steps"]))
