"""REST over the table: every route by every role, strict input, the JSON shapes of the contract."""

import json

import pytest
from live_tank import STEP, T0, feed, make_host
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from pollux.autonomy.policy import ROLES, Principal
from pollux.runtime.serve.app import create_app
from pollux.runtime.serve.auth import COOKIE, Auth
from pollux.runtime.serve.border import Listen
from pollux.runtime.serve.capabilities import CAPABILITIES
from pollux.runtime.serve.docs import path_of
from pollux.runtime.serve.tokens import Entry, digest

BASE = "http://127.0.0.1:8850"
TOKENS = {role: f"{role}-token-of-the-tests-0123456789" for role in ROLES}
AGENT = "agent-token-of-the-tests-0123456789"
BODIES = {
    "what_if": {"values": {"q_in": 0.012}, "hours": 1.0},
    "propose": {"values": {"q_in": 0.012}, "hours": 1.0, "reason": "test"},
    "approve": {"id": "nothing", "hash": "0"},
    "reject": {"id": "nothing"},
    "acknowledge": {"id": "a1"},
    "shelve": {"id": "a1", "minutes": 5.0},
    "level": {"level": 2, "reason": "test"},
    "reset_stop": {"reason": "test"},
    "fault": {"kind": "clear"},
    "ask": {"question": "How full is the tank?"},
}
QUERIES = {"explain": "?id=a1"}


def entries():
    people = [Entry(Principal(f"{r}-person", r, "person"), digest(t), t) for r, t in TOKENS.items()]
    return (*people, Entry(Principal("bot", "operator", "agent"), digest(AGENT), AGENT))


@pytest.fixture(scope="session")
def trained():
    """The dialogue of the tank, once one was trained: it takes ten seconds on a busy machine."""
    return {}


@pytest.fixture
def tank_host(kit, tmp_path, trained):
    made = make_host(kit, tmp_path)
    lane = made[0].lane
    feed(lane.live)
    lane.dialogue = trained.get("tank")
    yield made
    trained["tank"] = lane.dialogue


@pytest.fixture
def client(tank_host):
    host = tank_host[0]
    auth = Auth(entries(), host.clock)
    with TestClient(create_app(host, auth, listen=Listen()), base_url=BASE) as client:
        yield client


def bearer(role):
    return {"authorization": f"Bearer {TOKENS[role]}", "host": "127.0.0.1:8850"}


def call(client, name, role=None, twin="tank", headers=None):
    c = CAPABILITIES[name]
    path = path_of(c).format(twin=twin) + QUERIES.get(name, "")
    headers = {**(headers or {}), **(bearer(role) if role else {})}
    if c.kind == "query":
        return client.get(path, headers=headers)
    return client.post(path, headers=headers, json=BODIES.get(name, {}))


def get(client, name, **params):
    path = path_of(CAPABILITIES[name]).format(twin="tank")
    answer = client.get(path, headers=bearer("admin"), params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def post(client, name, role="admin", **body):
    answer = client.post(path_of(CAPABILITIES[name]).format(twin="tank"), headers=bearer(role), json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


# ---------------------------------------------------------------- who may what (G10)


@pytest.mark.parametrize("name", sorted(CAPABILITIES))
@pytest.mark.parametrize("role", [None, *ROLES])
def test_every_capability_by_every_role(client, name, role):
    answer = call(client, name, role)
    if role is None:
        assert answer.status_code == 401
    elif ROLES.index(role) < ROLES.index(CAPABILITIES[name].role):
        assert answer.status_code == 403
        assert answer.json()["error"]["rule"] == "auth.role"
    else:
        assert answer.status_code in (200, 422), answer.text
    if answer.status_code != 200:
        assert set(answer.json()["error"]) == {"rule", "message", "way_out"}


def test_every_route_is_covered_and_only_health_login_and_the_page_are_open(client):
    app = client.app.app
    paths = {(getattr(r, "path", ""), tuple(sorted(getattr(r, "methods", None) or ()))) for r in app.routes}
    for path, methods in sorted(paths):
        probe = path.replace("{twin}", "tank").replace("{path:path}", "nothing-here.js")
        for method in methods or ("GET",):
            answer = client.request(method, probe, follow_redirects=False)
            opens = probe in ("/health", "/", "/nothing-here.js", "/api/v1/logout")
            expected = {404} if probe == "/nothing-here.js" else {200}
            if probe == "/api/v1/login":
                assert answer.status_code == 415  # open, but useless without a token
            elif opens:
                assert answer.status_code in expected, (method, probe)
            elif probe in ("/api/v1/live", "/api/v1/push") and not methods:
                assert answer.status_code == 404  # a WebSocket, tested below and in `test_connect_push`
            else:
                assert answer.status_code == 401, (method, probe, answer.status_code)


def test_health_says_only_the_phase(client):
    assert client.get("/health").json() == {"status": "live"}


def test_a_person_only_capability_is_refused_to_an_agent(client):
    answer = call(client, "approve", headers={"authorization": f"Bearer {AGENT}"})
    assert answer.status_code == 403
    assert "Only a person" in answer.json()["error"]["message"]


# ---------------------------------------------------------------- signing in


def test_the_token_in_the_address_becomes_a_cookie_and_leaves_the_address(client):
    answer = client.get("/", params={"token": TOKENS["operator"]}, follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKENS["operator"] not in cookie
    assert client.get("/api/v1/session").json()["role"] == "operator"
    client.post("/api/v1/logout")
    assert client.get("/api/v1/session").status_code == 401


def test_an_old_link_leads_to_the_page_without_a_session_and_counts_as_a_guess(client):
    for _ in range(10):
        answer = client.get("/", params={"token": "of last year"}, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert "set-cookie" not in answer.headers
    assert client.get("/", params={"token": "of last year"}).status_code == 429


def test_login_with_json_and_a_forged_or_late_cookie_is_nobody(client, tank_host):
    assert client.post("/api/v1/login", json={"token": TOKENS["viewer"]}).json()["role"] == "viewer"
    good = client.cookies[COOKIE]
    client.cookies.clear()
    body, _, mac = good.partition(".")
    for forged in (f"{body}.{'0' * 64}", f"{body[:-2]}AA.{mac}", "nonsense", ".", f"{good}x"):
        assert client.get("/api/v1/session", headers={"cookie": f"{COOKIE}={forged}"}).status_code == 401
    assert client.get("/api/v1/session", headers={"cookie": f"{COOKIE}={good}"}).status_code == 200
    tank_host[0].clock.advance(13 * 3600.0)
    assert client.get("/api/v1/session", headers={"cookie": f"{COOKIE}={good}"}).status_code == 401


def test_guesses_are_limited_and_forgiven_after_a_minute(client, tank_host):
    for _ in range(10):
        assert client.post("/api/v1/login", json={"token": "wrong"}).status_code == 401
    assert client.post("/api/v1/login", json={"token": "wrong"}).status_code == 429
    assert client.get("/api/v1/twins", headers=bearer("admin")).status_code == 429
    tank_host[0].clock.advance(61.0)
    assert client.get("/api/v1/twins", headers=bearer("admin")).status_code == 200


# ---------------------------------------------------------------- the border


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8850", "127.0.0.1.evil.example", ""])
def test_a_foreign_host_name_is_refused(client, host):
    answer = client.get("/health", headers={"host": host})
    assert answer.status_code == 421
    assert answer.json()["error"]["rule"] == "border.host"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "https://127.0.0.1:8850"])
def test_a_foreign_page_is_refused_even_with_a_session(client, origin):
    client.post("/api/v1/login", json={"token": TOKENS["admin"]})
    answer = client.post("/api/v1/twins/tank/stop", json={"reason": "x"}, headers={"origin": origin})
    assert answer.status_code == 403
    assert answer.json()["error"]["rule"] == "border.origin"
    assert client.get("/api/v1/twins/tank/observe").json()["stopped"] is False


def test_a_form_cannot_command(client):
    client.post("/api/v1/login", json={"token": TOKENS["admin"]})
    for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data"):
        answer = client.post("/api/v1/twins/tank/stop", content="{}", headers={"content-type": kind})
        assert answer.status_code == 415


def test_every_answer_has_the_security_headers(client):
    for path in ("/health", "/", "/api/v1/twins", "/nothing"):
        headers = client.get(path).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


@pytest.mark.parametrize(
    "path", ["/../pyproject.toml", "/%2e%2e/%2e%2e/tokens.json", "/assets/../../tokens.json", "//etc/passwd"]
)
def test_paths_outside_the_page_do_not_exist(client, path):
    assert client.get(path).status_code == 404


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("raw", "status", "rule"),
    [
        (b'{"values": {"q_in": NaN}}', 400, "json.finite"),
        (b'{"values": {"q_in": Infinity}}', 400, "json.finite"),
        (b'{"values": {"q_in": -Infinity}}', 400, "json.finite"),
        (b'{"values": {"q_in": 1e999}}', 422, "params"),
        (b'{"values": {"q_in": "0.01"}}', 422, "params"),
        (b'{"values": {"q_in": true}}', 422, "params"),
        (b'{"values": {"q_in": null}}', 422, "params"),
        (b'{"values": {}}', 422, "params"),
        (b'{"values": {"nonsense": 1.0}}', 422, "input"),
        (b'{"values": {"q_in": 0.01}, "extra": 1}', 422, "params"),
        (b'{"values": {"q_in": 0.01}, "hours": -1}', 422, "params"),
        (b'{"values": {"q_in": 0.01}, "hours": 5000}', 422, "input"),
        (b'{"values": {"q_in": 0.01}, "values": {"q_in": 9}}', 400, "json.twice"),
        (b"", 422, "params"),
        (b"[]", 422, "params"),
        (b"{", 400, "json.syntax"),
        (b"\xff\xfe", 400, "json.utf8"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, 400, "json.depth"),
        (b"[" * 20000 + b"]" * 20000, 400, "json.depth"),
        (b'{"hours": ' + b"1" * 5000 + b"}", 400, "json.number"),
        (b'{"reason": "' + b"x" * 70_000 + b'"}', 413, "border.size"),
    ],
)
def test_bad_bodies_are_refused_with_rule_value_and_way_out(client, raw, status, rule):
    headers = bearer("admin") | {"content-type": "application/json"}
    answer = client.post("/api/v1/twins/tank/what_if", content=raw, headers=headers)
    assert (answer.status_code, answer.json()["error"]["rule"]) == (status, rule)
    assert answer.json()["error"]["message"]
    assert "Traceback" not in answer.text


def test_a_body_without_length_is_limited_too(client):
    def chunks():
        for _ in range(100):
            yield b" " * 4096

    headers = bearer("admin") | {"content-type": "application/json"}
    assert client.post("/api/v1/twins/tank/propose", content=chunks(), headers=headers).status_code == 413


@pytest.mark.parametrize(
    "query", ["points=1e3", "points=0", "start=nan", "end=inf", "start=5&start=6", "what=1", "signals=a"]
)
def test_bad_queries_are_refused(client, query):
    answer = client.get(f"/api/v1/twins/tank/history?{query}", headers=bearer("admin"))
    assert answer.status_code == 422
    assert answer.json()["error"]["message"]


def test_an_unknown_twin_route_and_method(client):
    answer = client.get("/api/v1/twins/pond/observe", headers=bearer("admin"))
    assert answer.status_code == 422
    assert "['tank']" in answer.json()["error"]["way_out"]
    assert client.get("/api/v1/twins/tank/nothing", headers=bearer("admin")).status_code == 404
    assert client.get("/api/v1/twins/tank/propose", headers=bearer("admin")).status_code == 404
    assert client.post("/api/v1/twins/tank/observe", headers=bearer("admin"), json={}).status_code == 405


def test_a_crash_inside_is_a_500_without_its_text(client, tank_host):
    def boom(*_):
        raise RuntimeError("secret detail")

    tank_host[0].lane.live.ring.span = boom
    answer = client.get("/api/v1/twins/tank/history", headers=bearer("admin"))
    assert answer.status_code == 500
    assert answer.json()["error"]["rule"] == "internal"
    assert "secret" not in answer.text


# ---------------------------------------------------------------- the shapes of the contract


def test_queries_have_the_shapes_of_the_contract(client):
    (card,) = client.get("/api/v1/twins", headers=bearer("viewer")).json()["twins"]
    assert {"name", "title", "kind", "status", "health", "t", "data_age", "alarms", "level", "figures"} <= set(card)
    described = get(client, "describe")
    assert [s["name"] for s in described["inputs"]] == ["q_in", "heat"]
    assert described["tracked"] == ["k"]
    assert described["site"]["faults"][0]["kind"] == "sensor_bias"
    history = get(client, "history", signals="level,k", points=5)
    assert 2 <= len(history["t"]) <= 5
    assert set(history["signals"]["level"]) == {"measured", "mean", "low", "high"}
    assert history["t"][-1] == T0 + 11 * STEP
    forecast = get(client, "forecast", hours=1)
    assert len(forecast["times"]) == 13
    assert len(forecast["sensors"]["level"]) == len(forecast["levels"]) == 3
    assert {c["margin"] for c in forecast["crossings"]} == {"dry", "hot"}
    assert set(get(client, "diagnose")["sensors"]["temp"]) == {"health", "age", "nis"}
    assert get(client, "alarms", all=1)["alarms"] == []
    assert get(client, "proposals") == {"proposals": []}


def test_the_fleet_is_asked_for_by_page(client):
    def twins(**params):
        return client.get("/api/v1/twins", headers=bearer("viewer"), params=params)

    page = twins(q="TANK good", sort="-health", offset=0, limit=50).json()
    assert ([c["name"] for c in page["twins"]], page["matched"], page["total"]) == (["tank"], 1, 1)
    assert page["figures"] == ["h", "T"]
    assert twins(offset=1).json()["twins"] == []
    assert twins(q="nothing of the kind").json()["matched"] == 0
    assert twins(status="act").json()["counts"] == {"act": 0, "watch": 0, "good": 1}
    for wrong in ({"sort": "colour"}, {"status": "fine"}, {"limit": 0}, {"limit": 10**6}, {"offset": -1}):
        assert twins(**wrong).status_code == 422, wrong
    assert "data_age" in twins(sort="colour").json()["error"]["message"]


def test_what_if_compares_with_the_same_samples(client):
    both = post(client, "what_if", values={"q_in": 0.0}, hours=2.0)
    acting, idle = both["acting"]["states"]["h"][1], both["not_acting"]["states"]["h"][1]
    assert acting[0] == idle[0]
    assert acting[-1] < idle[-1]
    assert both["acting"]["plan"]["q_in"][0] == 0.0


def test_propose_look_explain_approve(client, tank_host):
    row = post(client, "propose", **BODIES["propose"])
    assert row["status"] == "pending"
    assert len(row["hash"]) == 64
    said = get(client, "explain", id=row["id"])
    assert "Traceback" not in said["text"]
    assert [c["kind"] for c in said["chain"]] == ["proposal", "decision", "belief"]
    wrong = client.post(
        "/api/v1/twins/tank/approve", headers=bearer("operator"), json={"id": row["id"], "hash": "f" * 64}
    )
    assert wrong.status_code == 422
    assert post(client, "approve", role="operator", id=row["id"], hash=row["hash"])["status"] == "executed"
    again = client.post(
        "/api/v1/twins/tank/approve", headers=bearer("operator"), json={"id": row["id"], "hash": row["hash"]}
    )
    assert again.status_code == 422
    assert len(tank_host[2].sent) == 1
    assert [r["kind"] for r in get(client, "audit", n=10)["records"]][-1] == "command"


def test_faults_reach_the_demo_plant_only_as_it_knows_them(client, tank_host):
    post(client, "fault", role="engineer", kind="sensor_bias", where="level", size=0.1)
    assert tank_host[3].faults == [("sensor_bias", "level", 0.1, None)]
    bad = client.post("/api/v1/twins/tank/fault", headers=bearer("engineer"), json={"kind": "earthquake"})
    assert bad.status_code == 422
    assert "sensor_bias" in bad.json()["error"]["message"]


def test_pushed_readings_reach_the_host(client, tank_host):
    body = {"readings": [{"tag": "level", "t": T0, "v": 1.0}]}
    assert client.post("/api/v1/push", headers=bearer("viewer"), json=body).status_code == 403
    assert client.post("/api/v1/push", headers=bearer("operator"), json=body).json()["accepted"] == 1
    assert tank_host[0].pushed == body["readings"]


def test_a_twin_that_waits_for_data_says_so(client, tank_host):
    tank_host[0].lane.live._state = None
    answer = client.get("/api/v1/twins/tank/observe", headers=bearer("viewer"))
    assert answer.status_code == 422
    assert "not seen a reading" in answer.json()["error"]["message"]
    assert client.get("/api/v1/twins", headers=bearer("viewer")).json()["twins"][0]["t"] is None


def test_openapi_and_docs_come_from_the_table_without_another_host(client):
    spec = client.get("/api/v1/openapi.json", headers=bearer("viewer")).json()
    assert set(spec["paths"]) == {path_of(c) for c in CAPABILITIES.values()}
    page = client.get("/api/v1/docs", headers=bearer("viewer")).text
    assert all(f"<code>{path_of(c)}</code>" in page for c in CAPABILITIES.values())
    assert "<script" not in page
    assert "http" not in page.replace("HTTP", "")


# ---------------------------------------------------------------- the live stream


def test_the_stream_says_hello_and_sends_frames(client, tank_host):
    with client.websocket_connect("/api/v1/live?twin=tank", headers=bearer("viewer")) as socket:
        assert socket.receive_json()["type"] == "hello"
        frame = socket.receive_json()
        assert (frame["type"], frame["twin"]) == ("frame", "tank")
        assert json.dumps(frame, allow_nan=False)


def test_the_fleet_stream_says_how_the_fleet_is_doing(client):
    with client.websocket_connect("/api/v1/live", headers=bearer("viewer")) as socket:
        socket.receive_json()
        assert socket.receive_json() == {"type": "fleet", "total": 1, "counts": {"act": 0, "watch": 0, "good": 1}}


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": ""},
        {"origin": "http://evil.example"},
        {"host": "evil.example"},
        {"authorization": "Bearer wrong-wrong-wrong"},
    ],
)
def test_the_stream_is_closed_to_strangers(client, headers):
    with pytest.raises(WebSocketDisconnect) as closed:
        client.websocket_connect("/api/v1/live?twin=tank", headers=bearer("admin") | headers).__enter__()
    assert closed.value.code == 1008
