"""`pollux mcp`: the capabilities as MCP tools over stdin and stdout, as a client of the running server.

It uses the agent's token: whoever speaks through it may look, propose and stop, never approve.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pollux.runtime.cli.connection import Connection, Refused, connect
from pollux.runtime.serve.capability import Capability
from pollux.runtime.serve.problems import Problem


def serve_stdio(url: str | None, token: str | None, state: Path | None) -> None:
    """Serve until stdin closes. Raises `InputError` when no server can be found."""
    link = connect(url, token, state, kind="agent")
    asyncio.run(_serve(link))


async def _serve(link: Connection) -> None:
    from mcp.server.stdio import stdio_server

    from pollux.runtime.serve import mcp
    from pollux.runtime.serve.capabilities import CAPABILITIES

    async def caller(c: Capability, twin: str, arguments: Mapping[str, Any], request: Any) -> Any:
        params = mcp.checked(c, arguments).model_dump()
        try:
            return await asyncio.to_thread(link.run, c, twin, params)
        except Refused as refused:
            raise Problem(refused.status, refused.rule, str(refused), refused.way_out) from None

    server = mcp.build(CAPABILITIES, caller)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())
