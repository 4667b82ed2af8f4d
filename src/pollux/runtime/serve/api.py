"""REST: every route below `/api/v1` is made from the table of capabilities; here is no logic but the translation."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

import pollux
from pollux.autonomy.policy import Principal
from pollux.runtime.jsonable import jsonable
from pollux.runtime.lane import dumps
from pollux.runtime.ports import Host
from pollux.runtime.serve.auth import COOKIE, SESSION, Auth, need
from pollux.runtime.serve.border import Listen, check_json
from pollux.runtime.serve.capabilities import CAPABILITIES, Table, run
from pollux.runtime.serve.capability import Capability
from pollux.runtime.serve.docs import docs_page, openapi
from pollux.runtime.serve.problems import Problem
from pollux.runtime.serve.strict import Params, model, model_of_strings, parse

Endpoint = Callable[[Request], Awaitable[Response]]
API = "/api/v1"


class Login(Params):
    """What signs a browser in."""

    token: str


class Push(Params):
    """Readings as the messages of the wire, in one list."""

    readings: list[dict[str, Any]]


def identify(request: HTTPConnection, auth: Auth) -> Principal:
    """Who is asking, by bearer token or session cookie. Raises `Problem` 401 or 429."""
    address = request.client.host if request.client else ""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return auth.by_token(token.strip(), address)
    who = auth.by_cookie(request.cookies.get(COOKIE, ""))
    if who is None:
        raise Problem(
            401, "auth.needed", "This needs a token", "Open the address that `pollux run` printed, or send it as Bearer"
        )
    return who


def routes(host: Host, auth: Auth, listen: Listen, table: Table = CAPABILITIES) -> list[BaseRoute]:
    """All HTTP routes except the page and MCP."""
    described = openapi(table)

    async def health(request: Request) -> Response:
        return JSONResponse({"status": host.phase})

    async def login(request: Request) -> Response:
        check_json(request.headers)
        token = model(Login, parse(await request.body())).token
        who = auth.by_token(token, request.client.host if request.client else "")
        return signed_in(JSONResponse({"name": who.name, "role": who.role}), auth, who, listen)

    async def logout(request: Request) -> Response:
        response = JSONResponse({})
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return response

    async def session(request: Request) -> Response:
        who = identify(request, auth)
        return JSONResponse({"name": who.name, "role": who.role, "kind": who.kind, "version": pollux.__version__})

    async def push(request: Request) -> Response:
        who = identify(request, auth)
        need(who, "operator", "pushing readings")
        check_json(request.headers)
        return strict(await host.push(model(Push, parse(await request.body())).readings, who.name))

    async def spec(request: Request) -> Response:
        identify(request, auth)
        return JSONResponse(described)

    async def docs(request: Request) -> Response:
        identify(request, auth)
        return Response(docs_page(table), media_type="text/html")

    found: list[BaseRoute] = [
        Route("/health", health, methods=["GET"]),
        Route(f"{API}/login", login, methods=["POST"]),
        Route(f"{API}/logout", logout, methods=["POST"]),
        Route(f"{API}/session", session, methods=["GET"]),
        Route(f"{API}/push", push, methods=["POST"]),
        Route(f"{API}/openapi.json", spec, methods=["GET"]),
        Route(f"{API}/docs", docs, methods=["GET"]),
    ]
    for capability in table.values():
        path = f"{API}/{capability.name}" if capability.scope == "fleet" else f"{API}/twins/{{twin}}/{capability.name}"
        method = "GET" if capability.kind == "query" else "POST"
        found.append(Route(path, endpoint(host, auth, table, capability), methods=[method]))
    return found


def endpoint(host: Host, auth: Auth, table: Table, capability: Capability) -> Endpoint:
    """The route of one capability."""

    async def query(request: Request) -> Response:
        who = identify(request, auth)
        need(who, capability.role, f"`{capability.name}`")
        params = model_of_strings(capability.params, request.query_params.multi_items())
        return strict(await run(host, table, capability, who, params, request.path_params.get("twin", "")))

    async def command(request: Request) -> Response:
        who = identify(request, auth)
        need(who, capability.role, f"`{capability.name}`")
        check_json(request.headers)
        params = model(capability.params, parse(await request.body() or b"{}"))
        return strict(await run(host, table, capability, who, params, request.path_params.get("twin", "")))

    return query if capability.kind == "query" else command


def signed_in(response: Response, auth: Auth, who: Principal, listen: Listen) -> Response:
    """Set the session cookie: out of reach of scripts and of other sites."""
    response.set_cookie(
        COOKIE, auth.cookie_for(who), max_age=int(SESSION), path="/", httponly=True, samesite="strict",
        secure=listen.scheme == "https",
    )  # fmt: skip
    return response


def enter(request: Request, auth: Auth, listen: Listen) -> Response | None:
    """`/?token=...` sets the cookie and goes to the page without the token in its address; None without a token.

    A wrong token (an old link) leads to the page too, which asks to sign in; it counts as a guess.
    """
    token = request.query_params.get("token")
    if token is None:
        return None
    to_page = RedirectResponse("/", 303)
    try:
        who = auth.by_token(token, request.client.host if request.client else "")
    except Problem as problem:
        if problem.status != 401:
            raise
        return to_page
    return signed_in(to_page, auth, who, listen)


def strict(value: Any) -> Response:
    """A JSON answer without NaN."""
    return Response(dumps(jsonable(value)), media_type="application/json")
