"""What a run of an exercise's tests leaves to say to the learner, as lines, for every screen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from grader.judging.outcome import Outcome, failures_of
from grader.judging.summary import block
from grader.messages.catalog import say


def complaints(outcome: Outcome, root: Path, *, verbose: bool = False) -> Iterator[str]:
    """What stands in the way of a pass; nothing where all tests pass.

    With `verbose` at length, with the inputs that tests failed on and the seed.
    """
    if failures := list(failures_of(outcome, root)):
        nothing_passed = not any(run.passed for run in outcome.runs)
        yield from block(failures, outcome.trial, nothing_passed=nothing_passed, verbose=verbose)
    for run in outcome.runs:
        if not run.passed and run.finding is None:
            yield f"{outcome.exercise.id} · {run.sentence}"
            yield say("watch.no_blame", test=run.test)
