"""The application core that every interface shares: the page, the HTTP API and the MCP server stand on it."""
