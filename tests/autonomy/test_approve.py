"""Approvals as a state machine: only what waits can be approved, once, by a person, with the right hash, in time."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from pollux.autonomy.approve import CLOSED, OPEN, OWN, Approvals, approve, close, expire, reject, submit
from pollux.autonomy.digest import digest
from pollux.autonomy.policy import Principal
from pollux.core.errors import AccessError, InputError
from pollux.core.signals import Decision

ANN = Principal("ann", "operator", "person")
PEOPLE = [
    ANN,
    Principal("ben", "admin", "person"),
    Principal("eve", "viewer", "person"),
    Principal("bot", "admin", "agent"),
    Principal("mpc", "admin", "service"),
    Principal("x", "root", "person"),
]


def decision(k, t, life=100.0):
    return Decision(
        "tank", t, f"d{k}", "b", f"user:u{k}", {"q": float(k)}, np.array([t]), np.array([[float(k)]]), t + life, ""
    )


class Approving(RuleBasedStateMachine):
    """A model that remembers in plain sets what may happen."""

    def __init__(self):
        super().__init__()
        self.store, self.now, self.k = Approvals(), 1000.0, 0
        self.waits: dict[str, tuple[str, float]] = {}
        self.granted: list[str] = []

    entries = Bundle("entries")

    def tidy(self):
        self.waits = {id: w for id, w in self.waits.items() if self.now < w[1]}

    @rule(target=entries, life=st.floats(1.0, 500.0))
    def submit(self, life):
        self.k += 1
        d = decision(self.k, self.now, life)
        self.tidy()
        if len(self.waits) >= OPEN:
            with pytest.raises(InputError, match="At most"):
                submit(self.store, d, digest(d), ANN, self.now)
            return "none"
        self.store, entry = submit(self.store, d, digest(d), ANN, self.now)
        self.waits[entry.id] = (entry.digest, entry.expires)
        return entry.id

    @rule(id=entries, other=entries, who=st.sampled_from(PEOPLE), forge=st.sampled_from(["", "swap", "cut", "zero"]))
    def approve(self, id, other, who, forge):
        self.tidy()
        entry = self.store.find(id)
        right = entry.digest if entry else "?"
        swapped = self.store.find(other)
        said = {"": right, "swap": swapped.digest if swapped else "!", "cut": right[:-1], "zero": "0" * 64}[forge]
        allowed = who.kind == "person" and who.role in ("operator", "engineer", "admin")
        if allowed and id in self.waits and said == self.waits[id][0]:
            self.store, word = approve(self.store, id, said, who, "ok", self.now)
            assert (word.digest, word.by) == (right, who)
            assert self.now < word.expires <= entry.expires
            self.granted.append(id)
            del self.waits[id]
        else:
            before = self.store
            with pytest.raises(AccessError if not allowed else InputError):
                approve(self.store, id, said, who, "ok", self.now)
            assert self.store == before

    @rule(id=entries, who=st.sampled_from(PEOPLE))
    def reject(self, id, who):
        self.tidy()
        allowed = who.kind == "person" and who.role in ("operator", "engineer", "admin")
        if allowed and id in self.waits:
            self.store, entry = reject(self.store, id, who, "no", self.now)
            assert entry.status == "rejected"
            del self.waits[id]
        else:
            with pytest.raises(AccessError if not allowed else InputError):
                reject(self.store, id, who, "no", self.now)

    @rule(dt=st.floats(0.0, 200.0))
    def wait(self, dt):
        self.now += dt
        self.store = expire(self.store, self.now)

    @invariant()
    def what_waits_is_what_the_model_says(self):
        open_ = {p.id for p in expire(self.store, self.now).open}
        assert open_ == {id for id, w in self.waits.items() if self.now < w[1]}
        assert len(self.granted) == len(set(self.granted))
        assert sum(p.status != "pending" for p in self.store.items) <= CLOSED


Approving.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestApproving = Approving.TestCase


def test_the_same_action_waits_once():
    d = decision(1, 0.0)
    store, first = submit(Approvals(), d, digest(d), ANN, 1.0)
    store, again = submit(store, d, digest(d), ANN, 2.0)
    assert again is first
    assert len(store.items) == 1


def test_one_proposer_cannot_shut_out_the_others():
    store = Approvals()
    for k in range(OWN):
        d = replace(decision(k, 0.0), proposer="agent:bot")
        store, _ = submit(store, d, digest(d), PEOPLE[3], 1.0)
    d = replace(decision(OWN, 0.0), proposer="agent:bot")
    with pytest.raises(InputError, match="At most 8 actions of one proposer"):
        submit(store, d, digest(d), PEOPLE[3], 1.0)
    submit(store, decision(1, 0.0), digest(decision(1, 0.0)), ANN, 1.0)


def test_a_newer_plan_of_the_same_service_takes_the_place_of_the_older():
    MPC = PEOPLE[4]
    older, newer = (replace(decision(k, float(k)), proposer="mpc") for k in (1, 2))
    other = replace(decision(3, 3.0), proposer="mpc", values={"v": 1.0})
    store, first = submit(Approvals(), older, digest(older), MPC, 1.0)
    store, _ = submit(store, decision(4, 1.5), digest(decision(4, 1.5)), ANN, 1.5)
    store, second = submit(store, newer, digest(newer), MPC, 2.0)
    store, third = submit(store, other, digest(other), MPC, 3.0)
    assert [p.id for p in store.open] == ["tank:p2", second.id, third.id]
    assert (store.find(first.id).status, store.find(first.id).rule) == ("expired", "superseded by tank:p3")
    with pytest.raises(InputError, match="expired"):
        approve(store, first.id, first.digest, ANN, "", 3.0)


def test_two_persons_where_asked():
    d = replace(decision(1, 0.0), proposer="user:ann")
    store, entry = submit(Approvals(), d, digest(d), ANN, 1.0)
    with pytest.raises(AccessError, match="second person"):
        approve(store, entry.id, entry.digest, ANN, "", 2.0, two_person=True)
    approve(store, entry.id, entry.digest, PEOPLE[1], "", 2.0, two_person=True)


def test_messages_name_rule_value_and_way_out():
    d = decision(1, 0.0)
    store, entry = submit(Approvals(), d, digest(d), ANN, 1.0)
    with pytest.raises(InputError, match=r"no action 'p9' to approve; list the proposals"):
        approve(store, "p9", entry.digest, ANN, "", 2.0)
    with pytest.raises(InputError, match="look at the proposal again"):
        approve(store, entry.id, "0" * 64, ANN, "", 2.0)
    with pytest.raises(AccessError, match="'bot' is an agent; ask an operator"):
        approve(store, entry.id, entry.digest, PEOPLE[3], "", 2.0)
    done = close(store, entry.id, "executed")
    with pytest.raises(InputError, match="is executed and cannot be used again"):
        approve(done, entry.id, entry.digest, ANN, "", 2.0)
