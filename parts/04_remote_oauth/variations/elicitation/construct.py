"""Set the gateway up, step by step, or take that back: `python construct.py --config FILE [--cleanup]`.

How a step is taken and undone, wherever it was interrupted, is in `workshop.servers.variation.construction`.
"""

import json
import sys
from pathlib import Path
from typing import Any

from workshop.servers.variation.construction import Construction, Step

Json = dict[str, Any]
IDENTITY, PROVIDER, GATEWAY, TARGET = "mcp-workload", "github-provider", "elicitation-gateway", "GitHubTarget"
DESCRIPTION = Path(__file__).with_name("github.openapi.json")
REGION = "local"
ARN = f"arn:workshop:{REGION}"


def steps(config: Json) -> tuple[Step, ...]:
    """In the order in which each needs the ones before."""
    callback = f"{config['url']}/oauth/callback"
    resource = f"{config['url']}/mcp"
    description = json.loads(DESCRIPTION.read_text("utf-8"))
    description["servers"] = [{"url": config["github"]}]
    app = {
        "display_name": "GitHub",
        "client_id": config["client_id"],
        "client_secret_file": config["client_secret_file"],
        "authorization_endpoint": f"{config['github']}/login/oauth/authorize",
        "token_endpoint": f"{config['github']}/login/oauth/access_token",
        "callback_url": callback,
    }
    target = {
        "gateway": GATEWAY,
        "provider": PROVIDER,
        "identity": IDENTITY,
        "scopes": ["repo", "user"],
        "description": description,
    }

    return (
        Step(
            "workload-identity",
            IDENTITY,
            {"allowed_return_urls": [callback]},
            {"identity_arn": f"{ARN}:workload-identity/{{id}}", "identity_name": IDENTITY},
        ),
        Step(
            "oauth2-provider",
            PROVIDER,
            app,
            {
                "provider_arn": f"{ARN}:oauth2-provider/{{id}}",
                "provider_name": PROVIDER,
                "oauth_callback_url": callback,
            },
        ),
        Step(
            "gateway",
            GATEWAY,
            {"issuer": config["issuer"], "audience": resource},
            {"gateway_id": "{id}", "gateway_name": GATEWAY, "gateway_url": resource, "region": REGION},
        ),
        Step("target", TARGET, target, {"target_id": "{id}", "target_name": TARGET}),
    )


main = Construction(
    settings=frozenset({"url", "github", "issuer", "client_id", "client_secret_file"}),
    steps=steps,
    hint="`workshop part 4 run --variation elicitation` starts it",
).main

if __name__ == "__main__":
    sys.exit(main())
