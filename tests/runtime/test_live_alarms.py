"""The alarm book: one alarm per cause and subject, chatter, shelving, flood; as laws over random histories."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from pollux.core.signals import Cause, Finding
from pollux.runtime.alarms import AlarmBook, acknowledge, follow, shelve


def finding(subject="pump", priority=2, t=0.0):
    return Finding("w", t, f"f{t}", "", Cause.PROCESS, subject, f"{subject} is odd", priority, {"x": t})


def test_chatter_is_one_alarm():
    book = AlarmBook(clear_after=60.0)
    for k in range(100):
        book = follow(book, [finding(t=10.0 * k)] if k % 2 else [], 10.0 * k)
    assert book.made == 1
    assert len(book.alarms) == 1


def test_an_alarm_clears_comes_back_as_a_new_one_and_the_old_one_stays_listed():
    book = follow(AlarmBook(clear_after=60.0), [finding()], 0.0)
    book = follow(book, [], 59.0)
    assert book.open()
    book = follow(book, [], 60.0)
    assert not book.open()
    assert book.changes == (("cleared", "a1"),)
    book = follow(book, [finding()], 61.0)
    assert [a.id for a in book.open()] == ["a2"]
    assert len(book.alarms) == 2


def test_getting_worse_asks_for_attention_again():
    book = follow(AlarmBook(), [finding(priority=3)], 0.0)
    book = acknowledge(book, "a1", "ann", "seen")
    book = follow(book, [finding(priority=3)], 1.0)
    assert book.find("a1").state == "acknowledged"
    book = follow(book, [finding(priority=1)], 2.0)
    assert (book.find("a1").state, book.find("a1").priority) == ("active", 1)


def test_a_shelved_alarm_is_silent_and_returns():
    book = shelve(follow(AlarmBook(), [finding()], 0.0), "a1", 100.0, "ann")
    book = follow(book, [finding()], 99.0)
    assert not book.find("a1").loud
    book = follow(book, [finding()], 100.0)
    assert book.find("a1").state == "active"
    assert book.changes == (("returned", "a1"),)


def test_a_flood_is_bounded_counted_and_over_when_it_is_over():
    book = AlarmBook(open_limit=10, keep=5, clear_after=0.0)
    many = [finding(f"s{i}") for i in range(1000)]
    book = follow(book, many, 0.0)
    assert len(book.open()) == 11
    assert book.suppressed == 990
    assert book.open()[0].subject == "flood"
    assert book.open()[0].priority == 1
    book = follow(book, [], 1.0)
    assert not book.open()
    assert len(book.alarms) == 5


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sets(st.sampled_from("abcdefgh")), max_size=40))
def test_after_any_history_what_is_found_is_open_and_once(history):
    book = AlarmBook(clear_after=0.0, open_limit=5, keep=3)
    for k, names in enumerate(history):
        book = follow(book, [finding(n, t=float(k)) for n in sorted(names)], float(k))
        listed = [a.subject for a in book.open() if a.subject != "flood"]
        assert len(listed) == len(set(listed)) <= 5
        assert set(listed) <= names
        assert len(names) - len(listed) == book.suppressed
        assert len(book.alarms) <= 5 + 1 + 3 + 1
        assert replace(book, changes=()) == book
