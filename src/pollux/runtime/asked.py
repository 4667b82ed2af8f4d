"""What was asked, written into the first event of what became of it: so that an auditor can decide it again.

    event.data["asked"] = {kind, by {name, role, kind}, params, stopped, forecaster}

A plan is kept whole. Of a forecast its fingerprint is kept: it can be made again from the belief that it names, with
the samples and the seed of the twin's settings.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pollux.autonomy.policy import Principal
from pollux.core.signals import Cause, Finding
from pollux.runtime.events import Intent, Outcome
from pollux.runtime.fingerprint import digest_of
from pollux.runtime.jsonable import jsonable
from pollux.runtime.records import decode, encode


def noted(outcome: Outcome, intent: Intent, forecaster: bool) -> Outcome:
    """The outcome with what was asked in its first event. `forecaster`: whether one was there to be used."""
    if not outcome.events:
        return outcome
    said = {
        "kind": intent.kind,
        "by": {"name": intent.by.name, "role": intent.by.role, "kind": intent.by.kind},
        "params": _written(intent.params),
        "stopped": intent.stopped,
        "forecaster": forecaster,
    }
    first, *rest = outcome.events
    return replace(outcome, events=(replace(first, data={**first.data, "asked": said}), *rest))


def intent_of(said: Mapping[str, Any], at: float) -> Intent:
    """The intent of an event that was decided at `at`, as its twin took it."""
    params = dict(said["params"])
    if params.get("decision") is not None:
        params["decision"] = decode(params["decision"])
    if "finding" in params:
        params["finding"] = Finding(**{**params["finding"], "cause": Cause(params["finding"]["cause"])})
    return Intent(said["kind"], Principal(**said["by"]), params, at, said["stopped"])


def _written(params: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in params.items():
        if name == "decision":
            found[name] = None if value is None else encode(value)
        elif name == "forecast":
            found[name] = {"source": value.source, "digest": digest_of(value)}
        else:
            found[name] = jsonable(vars(value) if isinstance(value, Finding) else value)
    return found
