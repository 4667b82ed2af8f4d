"""Development server of the dashboard: the built files plus a simulated API, deterministic; never shipped.

    python web/mock/server.py --port 8851 [--tick 0.5] [--twins 200]

Sign in with the token `mock` or `mock-viewer` (or open /?token=mock).
Tests steer it by POST /mock/{quiet|stale|refuse|slow|broken|reset}; `slow` and `broken` are about recalls.
"""

import argparse
import asyncio
import contextlib
import random
from pathlib import Path

import uvicorn
from plant import T0
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect
from waterworks import Refused, Site

from pollux.runtime.clock import SystemClock
from pollux.runtime.roster import Cards, Roster, View

STATIC = Path(__file__).parents[2] / "src/pollux/runtime/serve/static"
CSP = "default-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
COOKIE = "pollux_session"
ROLES = {"mock": "engineer", "mock-viewer": "viewer"}


EVIL = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 100 100" '
    'onload="window.hurt=1">'
    '<script>window.hurt=2</script><foreignObject><img src="x" onerror="window.hurt=3"/></foreignObject>'
    '<a xlink:href="javascript:window.hurt=4"><rect class="lost" width="9" height="9"/></a>'
    '<image href="http://192.0.2.1/a.png"/>'
    '<rect id="kept" width="10" height="10" style="fill:red" fill="url(http://192.0.2.1/b.svg#g)" '
    'onclick="window.hurt=5"/>'
    '<use href="http://192.0.2.1/c.svg#d"/><style>@import "http://192.0.2.1/d.css";</style>'
    '<text x="10" y="50" data-signal="level">old</text></svg>'
)


def hostile() -> Site:
    """A twin whose author or device tries to inject markup through every text it controls."""
    site = Site("hostile", "<img src=x onerror=window.hurt=6>", True)
    site.schematic = EVIL
    site.alarms[0]["summary"] = "<script>window.hurt=7</script><b>bold</b>"
    site.proposals[0]["reason"] = "<img src=x onerror=window.hurt=8>"
    return site


def pumps(count: int, t: float) -> list[dict]:
    """A fleet to scroll through."""
    cards, r = [], random.Random(0)
    for k in range(count):
        health = min(1.0, max(0.3, r.gauss(0.86, 0.12)))
        status = "act" if health < 0.55 else "watch" if health < 0.68 else "good"
        figures = [
            ("Life left", 40 + 320 * health, "day"),
            ("Flow", r.gauss(115, 16), "m^3/h"),
            ("Vibration", 5 - 3.6 * health, "mm/s"),
        ]
        cards.append(
            {
                "name": f"pump-{k + 100}",
                "title": f"Pump P-{k + 100}",
                "kind": "centrifugal pump",
                "status": status,
                "health": health,
                "t": t,
                "data_age": r.random() * 2,
                "alarms": {"act": 2, "watch": 1, "good": 0}[status],
                "level": r.choice([0, 1, 1, 2]),
                "figures": [{"label": a, "value": b, "unit": c} for a, b, c in figures],
            }
        )
    return cards


class Mock:
    """All state of one server."""

    def __init__(self, count: int, tick: float) -> None:
        self.tick = tick
        self.pumps = pumps(count, T0)
        self.roster = Roster(lambda: [Cards(self.fleet())], SystemClock())
        self.reset()

    def reset(self) -> None:
        """Everything as at the start; sockets stay open."""
        self.sites = {
            s.name: s
            for s in (Site("westfield", "Westfield water", True), Site("quarry", "Quarry water", False), hostile())
        }
        self.quiet = self.refuse = self.broken = False
        self.prompt = getattr(self, "prompt", asyncio.Event())
        """Recalls are answered while it is set."""
        self.prompt.set()
        self.sockets: set[WebSocket] = getattr(self, "sockets", set())

    def fleet(self) -> list[dict]:
        """All rows of the fleet page."""
        return [s.card() for s in self.sites.values()] + self.pumps

    async def run(self) -> None:
        """The ticks, and who hears of them."""
        n = 0
        while True:
            await asyncio.sleep(self.tick)
            n += 1
            if self.quiet:
                continue
            for s in self.sites.values():
                s.tick()
            for ws in list(self.sockets):
                name = ws.query_params.get("twin")
                with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                    if name is None:
                        if n % max(1, round(1 / self.tick)) == 0:
                            await ws.send_json({"type": "fleet", **self.roster.summary()})
                    else:
                        await ws.send_json(self.sites[name].frame())


def build(count: int = 200, tick: float = 0.5) -> Starlette:
    """The application."""
    mock = Mock(count, tick)

    def signed_in(cookies: dict) -> bool:
        return cookies.get(COOKIE) in ROLES.values()

    def denied() -> JSONResponse:
        return JSONResponse(
            {"error": {"rule": "auth-required", "message": "Sign in first.", "way_out": "Use the access token."}}, 401
        )

    async def login(request: Request) -> Response:
        role = ROLES.get((await request.json()).get("token"))
        if role is None:
            return JSONResponse(
                {
                    "error": {
                        "rule": "auth-token",
                        "message": "This token is not known.",
                        "way_out": "Copy it from the terminal where Pollux runs.",
                    }
                },
                401,
            )
        out = JSONResponse({"role": role})
        out.set_cookie(COOKIE, role, httponly=True, samesite="strict")
        return out

    async def index(request: Request) -> Response:
        role = ROLES.get(request.query_params.get("token", ""))
        if role is not None:
            out: Response = RedirectResponse("/", 303)
            out.set_cookie(COOKIE, role, httponly=True, samesite="strict")
            return out
        return Response((STATIC / "index.html").read_bytes(), media_type="text/html")

    async def twins(request: Request) -> Response:
        if not signed_in(request.cookies):
            return denied()
        q = request.query_params
        view = View(q.get("q", ""), q.get("status", ""), q.get("sort", "worst"))
        return JSONResponse(mock.roster.page(view, int(q.get("offset", 0)), int(q.get("limit", 1000))))

    async def capability(request: Request) -> Response:
        if not signed_in(request.cookies):
            return denied()
        name, what, q = request.path_params["twin"], request.path_params["capability"], request.query_params
        site = mock.sites.get(name)
        if site is None:
            return JSONResponse(
                {
                    "error": {
                        "rule": "unknown-twin",
                        "message": f"There is no twin {name!r}.",
                        "way_out": "Choose one from the fleet.",
                    }
                },
                404,
            )
        try:
            if request.method == "POST":
                return JSONResponse(site.command(what, await request.json()))
            if what == "describe":
                return JSONResponse(site.describe())
            if what == "observe":
                return JSONResponse(site.frame())
            if what == "history":
                names = q.get("signals", "").split(",")
                return JSONResponse(site.history(names, float(q["start"]), float(q["end"]), int(q.get("points", 500))))
            if what == "diagnose":
                return JSONResponse(site.diagnose())
            if what == "recall":
                await mock.prompt.wait()
                if mock.broken:
                    return JSONResponse(None, 500)
                return JSONResponse(site.recall(float(q["at"]), "event_time" in q))
            if what == "forecast":
                return JSONResponse(site.forecast())
            if what == "alarms":
                return JSONResponse({"alarms": site.alarms})
            if what == "explain":
                return JSONResponse(site.explain(q["id"]))
            if what == "audit":
                return JSONResponse({"records": site.audit[-int(q.get("n", 100)) :], "verified": True})
        except Refused as e:
            return JSONResponse(e.body, 409)
        return JSONResponse({"error": {"rule": "unknown", "message": f"No {what!r}.", "way_out": ""}}, 404)

    async def live(ws: WebSocket) -> None:
        name = ws.query_params.get("twin")
        if mock.refuse or not signed_in(ws.cookies) or (name is not None and name not in mock.sites):
            await ws.close(4401)
            return
        await ws.accept()
        await ws.send_json({"type": "hello", "role": ws.cookies[COOKIE]})
        mock.sockets.add(ws)
        try:
            while True:
                await ws.receive_text()
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            mock.sockets.discard(ws)

    async def steer(request: Request) -> Response:
        verb = request.path_params["verb"]
        if verb == "reset":
            mock.reset()
        elif verb in {"quiet", "broken"}:
            setattr(mock, verb, True)
        elif verb == "slow":
            mock.prompt.clear()
        elif verb == "stale":
            for s in mock.sites.values():
                s.stale_since = s.t
        elif verb == "refuse":
            mock.refuse = True
            for ws in list(mock.sockets):
                with contextlib.suppress(RuntimeError):
                    await ws.close()
        return JSONResponse({"ok": verb})

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette):
        task = asyncio.create_task(mock.run())
        yield
        task.cancel()

    app = Starlette(
        routes=[
            Route("/", index),
            Route("/api/v1/login", login, methods=["POST"]),
            Route("/api/v1/twins", twins),
            Route("/api/v1/twins/{twin}/{capability}", capability, methods=["GET", "POST"]),
            WebSocketRoute("/api/v1/live", live),
            Route("/mock/{verb}", steer, methods=["POST"]),
            Mount("/", StaticFiles(directory=STATIC)),
        ],
        lifespan=lifespan,
    )

    async def with_headers(scope, receive, send):
        async def send_more(message):
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"content-security-policy", CSP.encode()),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        await app(scope, receive, send_more if scope["type"] == "http" else send)

    return with_headers  # type: ignore[return-value]


def main() -> None:
    """Serves until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8851)
    parser.add_argument("--tick", type=float, default=0.5)
    parser.add_argument("--twins", type=int, default=200)
    args = parser.parse_args()
    uvicorn.run(build(args.twins, args.tick), host="127.0.0.1", port=args.port, log_level="warning")


if __name__ == "__main__":
    main()
