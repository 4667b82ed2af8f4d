"""The table itself, and what no input may do to it: random JSON is answered, refused, and never a crash."""

import asyncio
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from live_tank import feed, make_host
from starlette.testclient import TestClient
from test_serve_api import BASE, TOKENS, entries

from pollux.autonomy.policy import ROLES
from pollux.core.errors import PolluxError
from pollux.core.time import ManualClock
from pollux.runtime.cli import cli
from pollux.runtime.hub import Hub
from pollux.runtime.serve.app import create_app
from pollux.runtime.serve.auth import Auth
from pollux.runtime.serve.border import Listen
from pollux.runtime.serve.capabilities import CAPABILITIES
from pollux.runtime.serve.docs import path_of
from pollux.runtime.serve.problems import Problem, problem_of
from pollux.runtime.serve.strict import Params, parse

COMMANDS = sorted(n for n, c in CAPABILITIES.items() if c.kind == "command" and n not in ("ask", "stop"))
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def client(kit, tmp_path_factory):
    host, _, pump, *_ = make_host(kit, tmp_path_factory.mktemp("capabilities"))
    feed(host.lane.live)
    auth = Auth(entries(), host.clock)
    with TestClient(create_app(host, auth, listen=Listen()), base_url=BASE, raise_server_exceptions=True) as client:
        client.pump = pump
        yield client


def test_every_row_is_complete_and_strict():
    for name, c in CAPABILITIES.items():
        assert name == c.name
        assert c.role in ROLES
        assert c.summary.endswith(".")
        assert issubclass(c.params, Params)
        config = c.params.model_config
        assert config.get("strict")
        assert config.get("extra") == "forbid"
        assert config.get("allow_inf_nan") is False


def test_whatever_changes_something_needs_more_than_a_viewer():
    looking = {c.name for c in CAPABILITIES.values() if c.role == "viewer"}
    assert {c.name for c in CAPABILITIES.values() if c.kind == "command"} & looking == {"what_if", "ask"}
    assert {"approve", "reject", "level", "reset_stop", "fault"} <= {c.name for c in CAPABILITIES.values() if c.people}


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from(COMMANDS), data=st.data())
def test_random_bodies_are_answered_or_refused(client, name, data):
    fields = list(CAPABILITIES[name].params.model_fields)
    body = data.draw(values | st.fixed_dictionaries({}, optional=dict.fromkeys([*fields, "extra"], values)))
    answer = client.post(
        path_of(CAPABILITIES[name]).format(twin="tank"),
        headers={"authorization": f"Bearer {TOKENS['engineer']}", "content-type": "application/json"},
        content=json.dumps(body),
    )
    assert answer.status_code in (200, 400, 403, 422), answer.text
    if answer.status_code != 200:
        assert answer.json()["error"]["message"]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode) | values.map(lambda v: json.dumps(v).encode()))
def test_any_bytes_are_parsed_strictly_or_refused(raw):
    found = None
    try:
        value = parse(raw)
    except Problem as problem:
        found = problem
    if found is not None:
        assert found.status in (400, 413)
        assert found.message
    else:
        assert json.loads(json.dumps(value)) == value


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(max_size=60))
def test_any_twin_name_and_any_cookie_is_refused_politely(client, text):
    headers = {"authorization": f"Bearer {TOKENS['viewer']}"}
    answer = client.get(f"/api/v1/twins/{quote(text, safe='')}/observe", headers=headers)
    assert answer.status_code in (404, 422)
    assert Auth(entries(), ManualClock(0.0)).by_cookie(text) is None


def test_no_error_of_pollux_becomes_a_server_error():
    def tree(kind):
        return [kind, *(k for child in kind.__subclasses__() for k in tree(child))]

    for kind in tree(PolluxError):
        if kind.__init__ is PolluxError.__init__ or kind.__name__ == "MessageError":
            problem = problem_of(kind("the rule is broken; do that"))
            assert 400 <= problem.status < 504
            assert (problem.message, problem.way_out) == ("the rule is broken", "do that")


def test_a_slow_listener_never_delays_another_and_holds_one_text_a_topic():
    async def main():
        hub = Hub()
        slow, fast = hub.subscribe(), hub.subscribe()
        seen = []
        for k in range(1000):
            hub.publish("frame", f"frame {k}")
            seen.append(await fast.get())
        assert seen == [f"frame {k}" for k in range(1000)]
        hub.publish("forecast", "forecast 1")
        assert slow.dropped == 999
        assert [await slow.get(), await slow.get()] == ["frame 999", "forecast 1"]
        hub.leave(slow)
        assert len(hub) == 1

    asyncio.run(main())


def test_every_capability_and_every_command_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "reference" / "capabilities.md").read_text(encoding="utf-8")
    for c in CAPABILITIES.values():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{c.name}` |")]
        assert f"| {'GET' if c.kind == 'query' else 'POST'} | {c.role}{', people only' if c.people else ''} |" in row
        assert all(f"`{name}`" in row for name in c.params.model_fields)
        assert c.summary in row
    for command in cli.registered_commands:
        capability = (command.name or "").replace("-", "_")
        assert capability in CAPABILITIES or f"pollux {command.name}" in page
