"""The MCP server: tools for other people's clients, over stdio or HTTP, on the application core of all interfaces."""
