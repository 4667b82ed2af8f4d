"""The fleet as a table, against a plain sort and filter in Python."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pollux.core.errors import InputError
from pollux.core.time import ManualClock
from pollux.runtime.roster import PACE, SORTS, STATUSES, Cards, Roster, View


def card(k: int, status: str = "good", health: float = 1.0, **others) -> dict:
    figures = [{"label": "Flow", "value": float(k), "unit": "m^3/h"}]
    return {
        "name": f"pump-{k}", "title": f"Pump {k}", "kind": "centrifugal pump", "status": status, "health": health,
        "t": 0.0, "data_age": 0.0, "alarms": 0, "level": 0, "figures": figures, **others,
    }  # fmt: skip


CARDS = st.lists(
    st.builds(
        card,
        st.integers(0, 10**6),
        st.sampled_from(STATUSES),
        st.sampled_from([0.0, 0.25, 0.5, 1.0]),
        alarms=st.integers(0, 3),
        level=st.integers(0, 4),
        data_age=st.sampled_from([0.0, 1.5, 90.0]),
    ),
    max_size=30,
    unique_by=lambda c: c["name"],
)


def plain(cards: list[dict], view: View) -> list[str]:
    """Names in the order of the view, slowly."""

    def number(c):
        return int(c["name"].split("-")[1])

    def worst(c):
        return STATUSES.index(c["status"]), c["health"], number(c)

    def seen(c):
        text = f"{c['name']} {c['title']} {c['kind']} {c['status']}".lower()
        return all(w in text for w in view.q.lower().split()) and view.status in ("", c["status"])

    kept = sorted(filter(seen, cards), key=worst)
    by, down = view.sort.removeprefix("-"), view.sort.startswith("-")
    if by in ("worst", "status", "title"):
        return [c["name"] for c in sorted(kept, key=number if by == "title" else worst, reverse=down)]
    return [c["name"] for c in sorted(kept, key=lambda c: -c[by] if down else c[by])]


@given(
    CARDS,
    st.sampled_from([*SORTS, *(f"-{s}" for s in SORTS)]),
    st.sampled_from(["", *STATUSES]),
    st.sampled_from(["", "1", "pump act", "CENTRIFUGAL 2", "goo"]),
)
@settings(max_examples=300, deadline=None)
def test_a_view_is_the_plain_sort_and_filter(cards, sort, status, q):
    view = View(q, status, sort)
    page = Roster(lambda: [Cards(cards)], ManualClock()).page(view, 0, 5000)
    assert [c["name"] for c in page["twins"]] == plain(cards, view)
    assert page["matched"] == len(page["twins"])
    assert page["total"] == len(cards) == sum(page["counts"].values())


@given(CARDS, st.integers(0, 30))
@settings(deadline=None)
def test_several_sheets_are_one_table(cards, at):
    whole = Roster(lambda: [Cards(cards)], ManualClock()).page(View(), 0, 5000)
    assert Roster(lambda: [Cards(cards[:at]), Cards(cards[at:])], ManualClock()).page(View(), 0, 5000) == whole


@given(CARDS, st.integers(0, 35), st.integers(1, 10))
@settings(deadline=None)
def test_pages_are_pieces_of_the_whole(cards, offset, limit):
    roster = Roster(lambda: [Cards(cards)], ManualClock())
    whole = roster.page(View(), 0, 5000)["twins"]
    assert roster.page(View(), offset, limit)["twins"] == whole[offset : offset + limit]


def test_rows_are_made_at_most_once_a_second_however_many_look():
    clock, made = ManualClock(), []

    def source():
        made.append(clock.now())
        return [Cards([card(len(made))])]

    roster = Roster(source, clock)
    for _ in range(5):
        assert roster.page(View(), 0, 10)["twins"][0]["name"] == "pump-1"
        assert roster.page(View(q="pump"), 0, 10)["matched"] == 1
    clock.advance(PACE)
    assert roster.page(View(), 0, 10)["twins"][0]["name"] == "pump-2"
    assert made == [0.0, PACE]


def test_rows_that_take_long_are_made_less_often():
    clock, made = ManualClock(), []

    def source():
        made.append(clock.now())
        clock.advance(2.0)
        return [Cards([card(1)])]

    roster = Roster(source, clock)
    for _ in range(30):
        roster.summary()
        clock.advance(0.5)
    assert made == [0.0, 8.0, 16.0], "no more than a quarter of the time is spent on making rows"


def test_twins_that_come_and_go_are_found_under_their_own_names():
    clock, cards = ManualClock(), [card(1), card(10)]
    roster = Roster(lambda: [Cards(list(cards))], clock)
    assert roster.page(View(sort="title"), 0, 9)["matched"] == 2
    cards.insert(1, card(9))
    clock.advance(PACE)
    names = [c["name"] for c in roster.page(View(sort="title"), 0, 9)["twins"]]
    assert names == ["pump-1", "pump-9", "pump-10"], "titles are ordered by their numbers"


def test_figures_that_half_of_the_twins_share_have_a_column():
    cards = [card(k) for k in range(5000)]
    cards[0]["figures"].append({"label": "Only here", "value": 1.0, "unit": ""})
    assert Roster(lambda: [Cards(cards)], ManualClock()).page(View(), 0, 1)["figures"] == ["Flow"]


@pytest.mark.parametrize("wrong", [{"sort": "colour"}, {"sort": "--title"}, {"status": "fine"}])
def test_a_view_that_does_not_exist_is_refused_with_the_choices(wrong):
    with pytest.raises(InputError, match="is one of"):
        View(**wrong)
