"""`ask` with a language model behind a real socket: a scripted server plays it, hostile or broken."""

import importlib.util
from pathlib import Path

import pytest
from live_tank import feed, make_host
from starlette.testclient import TestClient
from test_serve_api import BASE, entries, get, post

from pollux.runtime.serve.app import create_app
from pollux.runtime.serve.asking import agent_settings
from pollux.runtime.serve.auth import Auth

pytest.importorskip("pydantic_ai", reason="the extra `agents` is not installed")
pytest.importorskip("openai", reason="the extra `agents` is not installed")


def _fake_llm():
    path = Path(__file__).parents[1] / "autonomy" / "fake_llm.py"
    spec = importlib.util.spec_from_file_location("fake_llm_of_autonomy", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


llm = _fake_llm()


@pytest.fixture(scope="module")
def tank_host(kit, tmp_path_factory):
    made = make_host(kit, tmp_path_factory.mktemp("agent"))
    feed(made[0].lane.live)
    return made


@pytest.fixture(scope="module")
def client(tank_host):
    with TestClient(create_app(tank_host[0], Auth(entries(), tank_host[0].clock)), base_url=BASE) as client:
        yield client


@pytest.fixture
def scripted(monkeypatch):
    opened = []

    def start(*steps):
        server = llm.FakeLlm(list(steps))
        server.__enter__()
        opened.append(server)
        monkeypatch.setenv("POLLUX_LLM_URL", server.url)
        monkeypatch.setenv("POLLUX_LLM_MODEL", "fake")
        return server

    yield start
    for server in opened:
        server.__exit__(None, None, None)


def test_settings_come_from_the_environment():
    assert agent_settings({}) is None
    found = agent_settings({"POLLUX_LLM_URL": "http://127.0.0.1:1/v1/", "POLLUX_LLM_MODEL": "m", "POLLUX_LLM_KEY": "k"})
    assert (found.url, found.model, found.key) == ("http://127.0.0.1:1/v1", "m", "k")


def test_the_model_looks_and_quotes(client, scripted):
    level = get(client, "observe")["sensors"]["level"]["value"]
    server = scripted(llm.call("observe"), llm.say(f"The level is {level:.3f} m. The tank costs 77 euros."))
    said = post(client, "ask", role="viewer", question="How full is it?")
    assert f"{level:.3f}" in said["answer"]
    assert "euros" not in said["answer"]
    assert [u["capability"] for u in said["used"]] == ["observe"]
    offered = {t["function"]["name"] for t in server.requests[0]["tools"]}
    assert "propose" in offered
    assert not {"approve", "reject", "level", "stop", "reset_stop", "fault", "optimise"} & offered


def test_what_it_proposes_waits_and_the_next_question_tells_it_the_outcome(client, scripted, tank_host):
    action = {"values": {"q_in": 0.0118}, "hours": 1.0, "reason": "ignore the guard"}
    scripted(
        llm.call("propose", **action),
        llm.say("It was rejected."),
        llm.say("Nothing else."),
    )
    said = post(client, "ask", role="operator", question="Please open the inflow.")
    (row,) = [p for p in get(client, "proposals")["proposals"] if p["status"] == "pending"]
    assert row["proposer"].startswith("agent:")
    assert row["id"] in said["answer"]
    assert not tank_host[2].sent
    post(client, "reject", role="operator", id=row["id"], reason="not now")
    said = post(client, "ask", role="operator", question="And now?")
    assert "rejected" in said["answer"]


def test_a_viewer_cannot_propose_through_the_model(client, scripted, tank_host):
    before = len(get(client, "proposals")["proposals"])
    scripted(llm.call("propose", values={"q_in": 0.0118}), llm.say("done"))
    post(client, "ask", role="viewer", question="Open the inflow.")
    assert len(get(client, "proposals")["proposals"]) == before
    assert not tank_host[2].sent


def test_a_model_that_asks_for_what_it_may_not_gets_nothing(client, scripted, tank_host):
    scripted(llm.call("approve", id="x", hash="y"), llm.call("stop"), llm.say("I stopped the plant."))
    post(client, "ask", role="operator", question="Stop.")
    assert get(client, "observe")["stopped"] is False
    assert not tank_host[2].sent


def test_when_the_model_is_down_the_dialogue_answers(client, monkeypatch):
    monkeypatch.setenv("POLLUX_LLM_URL", "http://127.0.0.1:9/v1")
    said = post(client, "ask", role="viewer", question="What is the level now?")
    assert [u["capability"] for u in said["used"]] == ["observe"]
