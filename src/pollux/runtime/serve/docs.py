"""OpenAPI and a page of documentation, both from the table; self-hosted, without a script."""

from html import escape
from typing import Any

import pollux
from pollux.runtime.serve.capability import Capability

Table = Any


def openapi(table: Table) -> dict[str, Any]:
    """OpenAPI 3.1 of all capabilities."""
    paths: dict[str, Any] = {}
    for c in table.values():
        paths[path_of(c)] = {"get" if c.kind == "query" else "post": _operation(c)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Pollux", "version": pollux.__version__, "summary": "Digital twins, live"},
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "pollux_session"},
            },
            "schemas": {
                "Error": {
                    "type": "object",
                    "properties": {
                        "error": {
                            "type": "object",
                            "properties": {k: {"type": "string"} for k in ("rule", "message", "way_out")},
                            "required": ["rule", "message", "way_out"],
                        }
                    },
                    "required": ["error"],
                }
            },
        },
        "security": [{"bearer": []}, {"session": []}],
    }


def path_of(c: Capability) -> str:
    """The path of a capability."""
    return f"/api/v1/{c.name}" if c.scope == "fleet" else f"/api/v1/twins/{{twin}}/{c.name}"


def docs_page(table: Table) -> str:
    """The documentation as one plain page."""
    rows = "".join(
        f"<tr><td>{'GET' if c.kind == 'query' else 'POST'}</td><td><code>{escape(path_of(c))}</code></td>"
        f"<td>{escape(c.role)}</td><td>{escape(c.summary)}</td><td>{_fields(c)}</td>"
        f"<td><code>{escape(c.returns)}</code></td></tr>"
        for c in table.values()
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Pollux API</title>"
        "<h1>Pollux API</h1><p>Queries are GET, commands POST with a JSON body. "
        "<code>Authorization: Bearer &lt;token&gt;</code>. Machine-readable: <a href=openapi.json>openapi.json</a>. "
        "Live frames: WebSocket <code>/api/v1/live?twin=NAME</code>. Model Context Protocol: <code>/mcp</code>.</p>"
        "<table border=1 cellpadding=4><thead><tr><th>Method<th>Path<th>Role<th>What<th>Takes<th>Gives</tr></thead>"
        f"<tbody>{rows}</tbody></table></html>"
    )


def _operation(c: Capability) -> dict[str, Any]:
    schema = c.params.model_json_schema()
    found: dict[str, Any] = {
        "operationId": c.name,
        "summary": c.summary,
        "x-role": c.role,
        "parameters": [],
        "responses": {
            "200": {"description": c.returns, "content": {"application/json": {"schema": {}}}},
            "4XX": {
                "description": "Refused",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }
    if c.scope == "twin":
        found["parameters"].append({"name": "twin", "in": "path", "required": True, "schema": {"type": "string"}})
    if c.kind == "query":
        needed = schema.get("required", [])
        found["parameters"] += [
            {"name": n, "in": "query", "required": n in needed, "schema": s}
            for n, s in schema.get("properties", {}).items()
        ]
    else:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return found


def _fields(c: Capability) -> str:
    return "<br>".join(
        f"<code>{escape(n)}</code>{'' if f.is_required() else ' (optional)'} {escape(f.description or '')}"
        for n, f in c.params.model_fields.items()
    )
