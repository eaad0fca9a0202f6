"""When open pages have to look again."""

from datetime import UTC, datetime, timedelta

from services.query.live_updates import ANYWAY, OVERLAP, PositionsLook, WatchState, changed_tenants

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_nothing_is_asked_while_the_sink_stalls() -> None:
    """But now and then, for what is stored past the sink."""
    known = WatchState.first(PositionsLook(AT, "a"))
    assert known.is_enough(PositionsLook(AT + timedelta(seconds=1), "a"))
    assert not known.is_enough(PositionsLook(AT + timedelta(seconds=1), "b"))
    assert not known.is_enough(PositionsLook(AT + ANYWAY, "a"))


def test_rows_that_were_being_inserted_are_looked_for_again() -> None:
    """They are stamped when the insert begins, and seen when it is done."""
    assert WatchState("a", AT).since() == AT - OVERLAP


def test_the_question_names_tenants_by_parameters() -> None:
    """All three tables that pages show are asked, each for these tenants alone."""
    statement = changed_tenants({"b", "a"}, AT)
    assert statement.sql.count("tenant IN {tenants:Array(String)}") == 3
    assert statement.parameters == {"tenants": ["a", "b"], "since": "2026-11-22 12:00:00.000000"}
