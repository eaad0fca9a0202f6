"""What the supervisor says."""

from services.local.core.supervision import PartState, Phase, announce, ending, is_routine, readable


def test_nothing_is_announced_when_nothing_changed() -> None:
    """Two ticks in the same phase are no news."""
    assert (
        announce("sink", PartState(Phase.READY, since=1), PartState(Phase.READY, since=1, detail="x")) is None
    )


def test_each_turn_has_its_line() -> None:
    """A reader of the lines knows what happened and what comes next."""
    starting = PartState(Phase.STARTING, since=10, started=10, starts=1)
    ready = PartState(Phase.READY, since=13.14, started=10, starts=1)
    ailing = PartState(Phase.AILING, since=20, started=10, starts=1, detail="kafka: away")
    resting = PartState(Phase.RESTING, since=30, due=30.5, starts=1, detail="killed by SIGKILL")
    again = PartState(Phase.STARTING, since=31, started=31, starts=2)

    assert announce("sink", PartState(), starting) == "sink: starting"
    assert announce("sink", starting, ready) == "sink: ready after 3.1 s"
    assert announce("sink", ready, ailing) == "sink: not ready: kafka: away"
    assert announce("sink", ailing, ready) == "sink: ready again"
    assert announce("sink", ready, resting) == "sink: killed by SIGKILL; starts again in 0.5 s"
    assert announce("sink", resting, again) == "sink: starting again"


def test_a_part_that_refuses_to_work_reports_it_once_though_its_phase_stays() -> None:
    """It starts for ever, and somebody has to act."""
    starting = PartState(Phase.STARTING, starts=1, detail="start: starting")
    refusing = PartState(Phase.STARTING, starts=1, detail="start: starting; refused: the log was cut")

    assert announce("sink", starting, refusing) == f"sink: not ready: {refusing.detail}"
    assert not is_routine(starting, refusing)
    assert announce("sink", refusing, refusing) is None


def test_a_start_that_goes_well_is_routine_and_whatever_follows_an_end_is_not() -> None:
    """A terminal shows the one in its view, and says the other."""
    first = PartState(Phase.STARTING, starts=1)
    again = PartState(Phase.STARTING, starts=2)

    assert is_routine(PartState(), first)
    assert is_routine(first, PartState(Phase.READY, starts=1))
    assert not is_routine(PartState(Phase.AILING, starts=1), PartState(Phase.READY, starts=1))
    assert not is_routine(first, PartState(Phase.RESTING, starts=1))
    assert not is_routine(PartState(Phase.RESTING, starts=1), again)
    assert not is_routine(again, PartState(Phase.READY, starts=2))


def test_an_end_names_the_signal_or_the_code_and_the_last_words() -> None:
    """Enough to know where to look."""
    assert ending(-9, ["whatever"]) == "killed by SIGKILL"
    assert ending(-99, []) == "killed by signal 99"
    assert ending(1, ["before", "no space left"]) == "ended with exit code 1: no space left"
    assert ending(3, []) == "ended with exit code 3"


def test_every_mistake_in_the_settings_is_reported() -> None:
    """Not only the last one."""
    assert ending(2, ["A: no", "B: no"]) == "ended with exit code 2: A: no; B: no"


def test_a_structured_line_is_turned_into_words() -> None:
    """People read the event and its fields, not the JSON."""
    line = '{"service":"sink","event":"stopped","table":"t","exception":"Traceback\\nOSError: x"}'

    assert readable(line) == "stopped, table=t, OSError: x"
    assert readable("[1]") == "[1]"
    assert readable("{broken") == "{broken"
