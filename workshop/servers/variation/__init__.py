"""What the servers of variations share: configuration, start, metrics, and the caller for the MCP SDK."""
