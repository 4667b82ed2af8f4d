"""Pushing over WebSocket beyond the conformance suite: who may, whose name the readings carry, what is answered."""

import asyncio
import json

import pytest
import websockets
from conformance import TIME, Basket, WebSocketRig, raised, running

from pollux.runtime.serve.tokens import token_of


def socket(rig, token, **headers):
    given = {"authorization": f"Bearer {token}"} if token else {}
    url = f"ws://127.0.0.1:{rig.port}/api/v1/push"
    return websockets.connect(url, additional_headers={**given, **headers}, proxy=None)


def test_each_message_is_answered_and_an_error_does_not_end_it(tmp_path):
    async def scenario():
        async with raised(WebSocketRig, tmp_path) as rig:
            sink = Basket()
            async with running(rig, sink), socket(rig, token_of(tmp_path, "agent")) as link:

                async def ask(body):
                    await link.send(body)
                    return json.loads(await link.recv())

                good = {"readings": [{"tag": "a", "t": TIME, "v": 1.5}]}
                assert await ask(json.dumps(good)) == {"accepted": 1, "refused": []}
                assert await ask(json.dumps(good).encode()) == {"accepted": 1, "refused": []}
                for bad, rule in (("{", "json.syntax"), ('{"a": NaN}', "json.finite"), ('{"rows": []}', "params")):
                    assert (await ask(bad))["error"]["rule"] == rule
                many = await ask('{"readings": [{"tag": "a", "t": 1}, {"tag": "a", "t": 2, "v": 3}]}')
                assert (many["accepted"], many["refused"][0]["reason"]) == (1, "malformed")
                sink.failures = 1
                assert (await ask(json.dumps(good)))["error"]["rule"] == "store"
                assert (await ask(json.dumps(good)))["accepted"] == 1
            assert {(m.source, m.via) for m in sink.messages} == {("agent", "plant")}

    asyncio.run(scenario())


def test_messages_sent_ahead_are_answered_in_order(tmp_path):
    async def scenario():
        async with raised(WebSocketRig, tmp_path) as rig:
            sink = Basket()
            async with running(rig, sink), socket(rig, token_of(tmp_path, "agent")) as link:
                for i in range(200):
                    readings = [{"tag": "a", "t": TIME + k, "v": float(i)} for k in range(i % 7)]
                    await link.send(json.dumps({"readings": readings}))
                answers = [json.loads(await link.recv()) for _ in range(200)]
            assert [a["accepted"] for a in answers] == [i % 7 for i in range(200)]
            assert sink.values == [float(i) for i in range(200) if i % 7]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("token", "headers"),
    [(None, {}), ("wrong", {}), ("agent", {"origin": "http://evil.example"}), ("agent", {"host": "evil.example"})],
)
def test_who_may_not_is_turned_away(tmp_path, token, headers):
    async def scenario():
        async with raised(WebSocketRig, tmp_path) as rig, running(rig, Basket()):
            known = token_of(tmp_path, "agent") if token == "agent" else token
            with pytest.raises(websockets.InvalidStatus):
                await socket(rig, known, **headers)

    asyncio.run(scenario())
