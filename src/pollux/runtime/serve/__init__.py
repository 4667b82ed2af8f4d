"""The faces of the runtime: REST, live stream, MCP and the page, all generated from one table of capabilities."""
