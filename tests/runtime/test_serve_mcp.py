"""A real MCP client over streamable HTTP and over stdio: it looks, proposes, and cannot make anything happen."""

import asyncio
import contextlib
import sys

import httpx
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from served import served

from pollux.runtime.cli.connection import Connection, Refused
from pollux.runtime.serve.capabilities import CAPABILITIES


@pytest.fixture(scope="module")
def server(kit, tmp_path_factory):
    with served(kit, tmp_path_factory.mktemp("mcp")) as running:
        yield running


@contextlib.asynccontextmanager
async def over_http(server, token, mode="auto"):
    async with (
        httpx2.AsyncClient(headers={"authorization": f"Bearer {token}"}, timeout=30) as http,
        Client(streamable_http_client(f"{server.url}mcp", http_client=http), mode=mode) as client,
    ):
        yield client


def over_stdio(server):
    command = ["-m", "pollux", "mcp", "--state", str(server.folder)]
    return Client(StdioServerParameters(command=sys.executable, args=command), read_timeout_seconds=60)


def person(server):
    return Connection(server.url, server.token())


async def propose(client, value=0.012):
    answer = await client.call_tool(
        "propose", {"twin": "tank", "values": {"q_in": value}, "hours": 1.0, "reason": "the level is low"}
    )
    assert not answer.is_error, answer.content
    return answer.structured_content


@pytest.mark.parametrize("how", ["http", "http-legacy", "stdio"])
def test_an_agent_looks_forecasts_proposes_and_cannot_execute(server, how):
    async def main():
        client = {
            "http": lambda: over_http(server, server.token("agent")),
            "http-legacy": lambda: over_http(server, server.token("agent"), mode="legacy"),
            "stdio": lambda: over_stdio(server),
        }[how]()
        sent = len(server.pump.sent)
        async with client as client:
            tools = {t.name: t for t in (await client.list_tools()).tools}
            assert set(tools) == {c.name for c in CAPABILITIES.values() if not c.people}
            assert tools["forecast"].input_schema["required"] == ["twin"]
            assert not {"approve", "level", "reset_stop"} & set(tools)
            cards = await client.call_tool("twins", {})
            assert cards.structured_content["twins"][0]["name"] == "tank"
            forecast = await client.call_tool("forecast", {"twin": "tank", "hours": 1.0})
            assert len(forecast.structured_content["times"]) == 13
            row = await propose(client)
            assert row["status"] == "pending"
            assert row["proposer"] == "agent:agent"
            for tool, arguments in (
                ("approve", {"id": row["id"], "hash": row["hash"]}),
                ("level", {"level": 4, "reason": "trust me"}),
                ("reset_stop", {"reason": "trust me"}),
            ):
                refused = await client.call_tool(tool, {"twin": "tank", **arguments})
                assert refused.is_error
                assert "Only a person" in refused.content[0].text
            assert len(server.pump.sent) == sent
            assert (await client.call_tool("proposals", {"twin": "tank"})).structured_content["proposals"]
        return row

    row = asyncio.run(main())
    rejected = person(server).run(CAPABILITIES["reject"], "tank", {"id": row["id"], "reason": "next test"})
    assert rejected["status"] == "rejected"


def test_an_approval_is_for_one_action_once(server):
    async def two():
        async with over_http(server, server.token("agent")) as client:
            return await propose(client, 0.0121), await propose(client, 0.0122)

    first, second = asyncio.run(two())
    link, sent = person(server), len(server.pump.sent)
    approve = CAPABILITIES["approve"]
    with pytest.raises(Refused, match="another action"):
        link.run(approve, "tank", {"id": second["id"], "hash": first["hash"]})
    assert link.run(approve, "tank", {"id": first["id"], "hash": first["hash"]})["status"] == "executed"
    for id in (first["id"], second["id"]):
        with pytest.raises(Refused):
            link.run(approve, "tank", {"id": id, "hash": first["hash"]})
    assert [c.values for c in server.pump.sent[sent:]] == [{"q_in": 0.0121}]
    moved = link.run(approve, "tank", {"id": second["id"], "hash": second["hash"]})
    assert (moved["status"], moved["rule"]) == ("refused", "belief.superseded")
    assert len(server.pump.sent) == sent + 1


def test_an_administrators_token_does_not_make_an_agent_a_person(server):
    async def main():
        async with over_http(server, server.token("person")) as client:
            row = await propose(client)
            return row, await client.call_tool("approve", {"twin": "tank", "id": row["id"], "hash": row["hash"]})

    row, refused = asyncio.run(main())
    assert row["proposer"] == "agent:admin"
    assert refused.is_error


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("forecast", {}, "There is no twin"),
        ("forecast", {"twin": "pond"}, "There is no twin 'pond'"),
        ("forecast", {"twin": "tank", "hours": -1}, "greater than 0"),
        ("forecast", {"twin": "tank", "hours": "1"}, "valid number"),
        ("forecast", {"twin": 5}, "a name is expected"),
        ("propose", {"twin": "tank", "values": {"q_in": True}}, "valid number"),
        ("propose", {"twin": "tank", "values": {"q_in": 1.0}, "hidden": 1}, "not permitted"),
        ("nonsense", {}, "no tool"),
    ],
)
def test_bad_calls_are_explained_to_the_model(server, tool, arguments, message):
    async def main():
        async with over_http(server, server.token("agent")) as client:
            return await client.call_tool(tool, arguments)

    answer = asyncio.run(main())
    assert answer.is_error
    assert message in answer.content[0].text


def test_strangers_do_not_get_in(server):
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    for headers in ({}, {"authorization": "Bearer wrong"}, {"host": "evil.example"}, {"origin": "http://evil.example"}):
        if "authorization" not in headers and headers:
            headers["authorization"] = f"Bearer {server.token('agent')}"
        answer = httpx.post(f"{server.url}mcp", json=call, headers=headers)
        assert answer.status_code in (401, 403, 421)
        assert set(answer.json()["error"]) == {"rule", "message", "way_out"}
