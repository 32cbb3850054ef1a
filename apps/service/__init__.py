"""The application core that every door shares: the page, the HTTP API and the MCP server stand on it."""
