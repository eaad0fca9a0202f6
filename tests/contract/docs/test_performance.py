"""The page about performance is made from the run that is committed beside it."""

from bench import gallery
from bench.files import PAGE, RECORD, ROOT, committed
from bench.page import page
from bench.stages import compared
from bench.targets import Target


def test_the_page_is_made_from_the_run() -> None:
    """`python -m bench.files` rewrites it."""
    run = committed()

    assert run is not None
    assert (ROOT / PAGE).read_text() == page(run)


def test_the_run_is_a_full_one() -> None:
    """Quick runs say too little for a page."""
    run = committed()

    assert run is not None
    assert not run.quick


def test_every_picture_of_the_run_is_there_and_no_other() -> None:
    """Drawn by the same call."""
    run = committed()

    assert run is not None
    names = {f"{picture.name}.svg" for picture in gallery.pictures(run)}
    assert {path.name for path in (ROOT / RECORD).glob("*.svg")} == names


def test_figures_of_the_run_are_what_its_samples_make() -> None:
    """None was edited by hand."""
    run = committed()

    assert run is not None
    for figure in run.figures:
        is_least = figure.target.startswith("at least")
        bound = {"least": figure.bound} if is_least else {"most": figure.bound}
        target = Target(figure.target, **bound, of_ratio=figure.bound_of == "ratio")
        again = compared(
            figure.stage,
            figure.figure,
            figure.unit,
            figure.samples,
            figure.baseline_samples,
            target=target,
        )
        assert (again.value, again.baseline, again.ratio) == (figure.value, figure.baseline, figure.ratio)
        assert again.met == figure.met
