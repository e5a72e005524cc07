"""Part 4: the tools live at GitHub, behind OAuth; a 401 becomes a login, and the login becomes tools.

The nine hops of the handshake, all over HTTP. A is this agent, P the proxy with its authorization server,
G is GitHub:

    1 refusal       A → P        POST /mcp, without a token: 401, and where to read on
    2 resource      A → P        GET  /.well-known/oauth-protected-resource: who issues its tokens
    3 issuer        A → P        GET  /.well-known/oauth-authorization-server: that issuer's endpoints
    4 registration  A → P        POST /oauth/register: the agent introduces itself, and gets a client ID
    5 consent       browser → P  GET  /oauth/authorize, with the hash of a secret (PKCE): do you want this?
    6 sign-in       browser → G  GitHub's own login and approval, then back to P: /oauth/callback
    7 code          browser → A  GET  localhost:8765/callback, with a code that works once
    8 token         A → P        POST /oauth/token, with the code and the secret itself: token 1, for P alone
    9 swap          A → P → G    POST /mcp, with token 1; P checks it, and sends token 2, GitHub's, instead

The MCP SDK does hops 1 to 5 and 8, given four things: who we are, where the browser comes back to,
who shows the address to you, and where tokens are kept. They stand in `answer`.
"""

from workshop.agent import Agent, LoopbackListener, McpTools, OAuthClient, run_part

SERVER = "http://localhost:8080/mcp"  # `localhost`, not 127.0.0.1: to OAuth they are two different servers


async def answer(agent: Agent) -> str:
    """Log in, once; then let the loop of part 1 use GitHub's tools."""
    url = agent.endpoint("github-remote", SERVER)
    async with LoopbackListener(port=8765) as listener:  # hop 7 ends here: http://localhost:8765/callback
        login = OAuthClient(  # the SDK's OAuthClientProvider, and so an `auth=` of its HTTP client
            url,
            client_name="MCP workshop agent",  # hop 4: the name on the consent page
            listener=listener,  # hop 4 registers its address; only there may the code go
            approval=agent.approval,  # hop 5: opens the browser, or prints the address
            approval_seconds=agent.timeouts.approval,
            tokens=agent.tokens,  # a file only you can read; the next run needs no browser
            observe=agent.observe,  # tells the screen, never a token
        )
        async with agent.connect(url, auth=login) as client:  # hop 1, and all that follows from it
            return await agent.ask(McpTools(client))  # hop 9, as often as the model asks


if __name__ == "__main__":
    run_part(__file__, answer)
