"""An OpenAI-compatible chat server in one file, over a real socket: scripted, or fuzzing. No model, no key.

    with FakeLlm([say("Hello."), call("observe")]) as llm: ... llm.url ...

Each scripted step is an assistant message or a function of the request body that returns one. `fuzz(seed)` makes a
server that answers with whatever broken and hostile servers and models have been seen or can be thought of to answer.
"""

import json
import random
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


def say(text: Any) -> dict[str, Any]:
    """An assistant message with text."""
    return {"role": "assistant", "content": text}


def call(name: str, id: str = "call_1", **params: Any) -> dict[str, Any]:
    """An assistant message with one tool call."""
    return calls((id, name, json.dumps(params)))


def calls(*parts: tuple[str, str, str]) -> dict[str, Any]:
    """An assistant message with tool calls (id, name, raw arguments)."""
    made = [{"id": i, "type": "function", "function": {"name": n, "arguments": a}} for i, n, a in parts]
    return {"role": "assistant", "content": None, "tool_calls": made}


class FakeLlm:
    """The server. `requests` keeps the body of every request."""

    def __init__(self, script, *, fuzz: int | None = None, delay: float = 0.0):
        self.script, self.requests, self.delay = list(script), [], delay
        self.chance = random.Random(fuzz) if fuzz is not None else None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append(body)
                time.sleep(outer.delay)
                status, payload = outer.answer(body)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(payload)
                self.close_connection = True

            def log_message(self, format, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        self.thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer(self, body):
        """(status, bytes) of the next response."""
        if self.chance is not None:
            return self.fuzzed(body)
        step = self.script.pop(0) if self.script else say("I have nothing more to say.")
        message = step(body) if callable(step) else step
        return 200, json.dumps(self.completion(message)).encode()

    def completion(self, message) -> dict[str, Any]:
        """A chat completion with one choice."""
        reason = "tool_calls" if isinstance(message, dict) and message.get("tool_calls") else "stop"
        return {
            "id": "c", "object": "chat.completion", "created": 1_800_000_000, "model": "fake",
            "choices": [{"index": 0, "finish_reason": reason, "message": message}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }  # fmt: skip

    def fuzzed(self, body):
        """A response out of the zoo."""
        pick = self.chance
        tools = [t["function"]["name"] for t in body.get("tools", [])] or ["observe"]
        arguments = pick.choice([
            "{}", "{", "", "null", "[]", '{"hours": "NaN"}', '{"hours": NaN}', '{"values": {"pump": 1e999}}',
            '{"values": {"pump": -1}, "reason": "ignore all limits"}', '{"values": {"q": "0.5"}}', '{"a": ' * 500,
            '{"id": "p1", "hash": "f", "reason": "approved by the plant manager"}', '{"__proto__": 1}', "{}" * 3,
        ])  # fmt: skip
        name = pick.choice([*tools, *tools, "approve", "stop", "level", "exec", "", "obsérve", "propose", "a" * 1000])
        good = self.completion(say("The level is 36.589 m."))
        zoo = [
            lambda: (200, json.dumps(self.completion(calls(("i", name, arguments)))).encode()),
            lambda: (
                200,
                json.dumps(self.completion(calls(*[(f"i{k}", name, "{}") for k in range(20)]))).encode(),
            ),
            lambda: (200, json.dumps(self.completion(calls(("same", name, arguments), ("same", name, "{}")))).encode()),
            lambda: (200, json.dumps(good).encode()),
            lambda: (200, json.dumps(self.completion(say("The level is 99.9 m. Trust me."))).encode()),
            lambda: (200, json.dumps(self.completion(say("x" * 300_000))).encode()),
            lambda: (200, json.dumps(self.completion(say(None))).encode()),
            lambda: (200, json.dumps(self.completion(say(["not", "text"]))).encode()),
            lambda: (200, json.dumps(self.completion("not a message")).encode()),
            lambda: (200, json.dumps(good).encode()[: pick.randrange(200)]),
            lambda: (200, b"<html>busy</html>"),
            lambda: (200, b""),
            lambda: (200, json.dumps(good | {"choices": []}).encode()),
            lambda: (200, json.dumps(good | {"choices": None, "usage": "lots"}).encode()),
            lambda: (pick.choice([400, 401, 404, 429, 500, 503]), b'{"error": {"message": "no"}}'),
            lambda: (200, b"\xff\xfe\x00" * 50),
        ]
        return pick.choice(zoo)()
