"""One vocabulary of verdicts, and what each module asks of it."""

import subprocess
import sys

import pytest

from grader.observation.kind import Kind

NO_OUTPUTS = set(Kind) - {
    *(Kind.PASSED, Kind.TYPE, Kind.PLAIN_VALUE, Kind.SHAPE, Kind.DTYPE, Kind.NOT_FINITE),
    *(Kind.VALUE, Kind.GRADIENT, Kind.MODIFIED, Kind.DISTURBED, Kind.BANNED, Kind.COST),
    Kind.PROPERTY,
}


def those(name: str) -> set[Kind]:
    return {kind for kind in Kind if getattr(kind, name)}


def test_a_kind_is_its_text() -> None:
    assert Kind("out of memory") is Kind.OUT_OF_MEMORY
    assert f"{Kind.NOT_GRADED}" == "not graded" == Kind.NOT_GRADED
    assert {Kind.VALUE: 1}["value"] == 1  # as histories have it


def test_a_worker_never_reports_a_comparison_or_what_the_judge_alone_can_know() -> None:
    reported = those("worker_may_report")
    assert reported < NO_OUTPUTS
    assert NO_OUTPUTS - reported == {
        *(Kind.NO_FILE, Kind.FORBIDDEN_IMPORT, Kind.OUT_OF_TIME, Kind.CRASHED, Kind.PROTOCOL),
        Kind.NOT_GRADED,
    }


def test_what_was_found_by_comparing_is_no_chance_and_speaks_for_mistakes() -> None:
    for name in ("by_chance", "fits_any_mistake", "nothing_ran", "about_the_file"):
        assert those(name) < NO_OUTPUTS
    assert those("nothing_ran") < those("fits_any_mistake")
    assert Kind.EXCEPTION not in those("fits_any_mistake")  # an error may be a mistake's mark


def test_what_was_not_graded_is_run_again_and_is_no_evidence() -> None:
    kind = Kind.NOT_GRADED
    assert kind.by_chance and kind.nothing_ran and kind.fits_any_mistake
    assert not kind.worker_may_report


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_public_word_that_is_no_other_verdict(kind: Kind) -> None:
    """Only what passed is called that; what is wrong with outputs has failed."""
    assert kind.public
    assert (kind.public == "passed") == (kind is Kind.PASSED)
    if kind not in NO_OUTPUTS and kind not in (Kind.PASSED, Kind.BANNED):
        assert kind.public == "failed"
    if kind in NO_OUTPUTS:
        assert kind.public != "failed"


def test_the_vocabulary_is_there_without_torch() -> None:
    program = "import sys, grader.observation.kind; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
