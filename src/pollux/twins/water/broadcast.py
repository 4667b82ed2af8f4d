"""The plant on MQTT:

publishes readings, takes commands and faults, acknowledges. Thin: all behaviour is in `plant.py`.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiomqtt

from .plant import FAULTS, START, STEP, Plant
from .station import Station

PASSWORD = "POLLUX_MQTT_PASSWORD"
RETRY_S = 2.0
LONGEST_PAYLOAD = 4096


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m pollux.twins.water.plant", description=__doc__)
    parser.add_argument("--broker", default="mqtt://127.0.0.1:1883", help=f"user in the URL, password in ${PASSWORD}")
    parser.add_argument("--site", default="water")
    parser.add_argument(
        "--speed", type=float, default=600.0, help="simulated seconds per second; 0: as fast as possible"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--start",
        help="first event time, ISO 8601 (default 2026-01-05T00:00Z; a number is seconds since 1970)",
    )
    parser.add_argument("--memory", type=Path, help="file that keeps the tank between runs (.pollux/plant-SITE.json)")
    parser.add_argument("--steps", type=int, help="stop after so many steps")
    parser.add_argument("--fault", action="append", default=[], metavar="KIND:WHERE:SIZE[:HOUR[:HOURS]]",
                        help=f"fault at simulated HOUR for HOURS; kinds: {', '.join(FAULTS)}")  # fmt: skip
    return parser.parse_args(argv)


def _time(text: str) -> float:
    """Event time, on the step's grid, of an ISO 8601 date (UTC if it names no zone) or of seconds since 1970."""
    try:
        t = float(text)
    except ValueError:
        date = datetime.fromisoformat(text)
        t = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    return STEP * round(t / STEP)


def schedule(specs: Sequence[str], start: float) -> list[tuple[float, str, str, float, float | None]]:
    """Turn `KIND:WHERE:SIZE[:HOUR[:HOURS]]` into (t, kind, where, size, duration), in order of time."""
    out = []
    for spec in specs:
        kind, where, size, hour, hours = [*spec.split(":"), "", "", "", "", ""][:5]
        if kind not in FAULTS:
            raise SystemExit(f"--fault {spec!r}: no such kind; one of {', '.join(FAULTS)}")
        t = start + 3600 * float(hour or 0)
        out.append((t, kind, where, float(size or 0), 3600 * float(hours) if hours else None))
    return sorted(out, key=lambda f: f[0])


def obey(plant: Plant, site: str, topic: str, payload: bytes) -> dict[str, Any] | None:
    """Carry out one message. Returns the acknowledgement of a command, None for a fault or for nonsense."""
    try:
        if len(payload) > LONGEST_PAYLOAD:
            raise ValueError(f"payload of {len(payload)} bytes; at most {LONGEST_PAYLOAD}")
        message = json.loads(payload)
        if not isinstance(message, dict):
            raise ValueError("payload is not a JSON object")
        if topic == f"pollux/{site}/fault":
            duration = message.get("duration")
            plant.fault(
                str(message["kind"]),
                str(message.get("where") or ""),
                float(message.get("size") or 0.0),
                None if duration is None else float(duration),
            )
            return None
        return plant.command(topic.rsplit("/", 1)[-1], message)
    except (ValueError, KeyError, TypeError) as error:
        print(f"plant: ignored {topic}: {type(error).__name__}: {error}", file=sys.stderr)
        return None


def memory_of(args: argparse.Namespace) -> Path | None:
    """Where the tank's level is kept between runs: where nobody has a `.pollux` folder, nowhere."""
    if args.memory is not None:
        return args.memory
    folder = Path(".pollux")
    return folder / f"plant-{args.site}.json" if folder.is_dir() else None


def remember(plant: Plant, file: Path | None) -> None:
    """Keep what a restart needs; a plant that cannot write goes on without."""
    if file is None:
        return
    state = {"t": plant.t, "level": plant.level(), "running": plant.station.running, "seed": plant.seed}
    with contextlib.suppress(OSError):
        new = file.with_suffix(".new")
        new.write_text(json.dumps(state), "utf-8")
        new.replace(file)


def recall(start: float, file: Path | None) -> tuple[float | None, bool]:
    """Tank level and pump at the last run's end, if that was less than a day before `start`; else (None, True)."""
    try:
        state = json.loads(file.read_text("utf-8")) if file is not None else {}
        if isinstance(state, dict) and abs(start - float(state["t"])) <= 86400.0:
            return float(state["level"]), bool(state["running"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None, True


async def _listen(client: aiomqtt.Client, plant: Plant, site: str) -> None:
    async for message in client.messages:
        payload = message.payload if isinstance(message.payload, bytes) else b""
        answer = obey(plant, site, message.topic.value, payload)
        if answer is not None:
            await client.publish(f"pollux/{site}/ack", json.dumps(answer), qos=1)


async def _publish(client: aiomqtt.Client, plant: Plant, args: argparse.Namespace, faults: list) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while args.steps is None or plant.t < plant.start + args.steps * STEP:
        while faults and faults[0][0] <= plant.t:
            _, kind, where, size, duration = faults.pop(0)
            plant.fault(kind, where, size, duration)
        readings = plant.step()
        remember(plant, memory_of(args))
        t = readings.pop("t")
        del readings["station_mode"]  # for evaluation; no twin is wired to it
        await client.publish(f"pollux/{args.site}", json.dumps({"t": t, "values": readings}), qos=1)
        if args.speed > 0:
            due += STEP / args.speed
            pause = due - loop.time()
            if pause < -5.0:  # the machine slept or the broker was away: go on from here instead of racing
                due = loop.time()
            await asyncio.sleep(max(pause, 0.0))
        else:
            await asyncio.sleep(0)


async def serve(plant: Plant, args: argparse.Namespace) -> None:
    """Run until the steps are done; a lost broker is retried for ever and the plant waits meanwhile."""
    url = urlsplit(args.broker)
    faults = schedule(args.fault, plant.start)
    while True:
        try:
            async with aiomqtt.Client(
                url.hostname or "127.0.0.1",
                url.port or 1883,
                username=url.username,
                password=os.environ.get(PASSWORD),
                identifier=f"plant-{args.site}",
            ) as client:
                await client.subscribe(f"pollux/{args.site}/command/#", qos=1)
                await client.subscribe(f"pollux/{args.site}/fault", qos=1)
                print(f"plant: {args.site} connected to {url.hostname}:{url.port or 1883}", file=sys.stderr)
                listener = asyncio.create_task(_listen(client, plant, args.site))
                try:
                    await _publish(client, plant, args, faults)
                finally:
                    listener.cancel()
                    with contextlib.suppress(asyncio.CancelledError, aiomqtt.MqttError):
                        await listener
                return
        except aiomqtt.MqttError as error:
            print(
                f"plant: broker {args.broker} not reachable ({error}); again in {RETRY_S:g} s",
                file=sys.stderr,
            )
            await asyncio.sleep(RETRY_S)


def main(argv: Sequence[str] | None = None) -> None:
    """Start the plant from the command line."""
    args = arguments(argv)
    start = _time(args.start) if args.start else START
    level, running = recall(start, memory_of(args)) if args.start else (None, True)
    plant = Plant(seed=args.seed, start=start, level0=level, station=Station(running=running))
    with plant, contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(plant, args))
