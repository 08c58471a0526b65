"""What a run of an exercise's tests leaves to say to the learner, as lines, for every screen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from grader.judging.failure_text import TestFailure
from grader.judging.run import Outcome
from grader.judging.summary import block
from grader.messages.catalog import say


def complaints(outcome: Outcome, root: Path, seed: int, *, verbose: bool = False) -> Iterator[str]:
    """What stands in the way of a pass; nothing where all tests pass.

    With `verbose` at length, with the inputs that tests failed on and the seed.
    """
    if failures := list(_failures(outcome, root, seed)):
        nothing_passed = not any(run.passed for run in outcome.runs)
        yield from block(failures, outcome.trial, nothing_passed=nothing_passed, verbose=verbose)
    for run in outcome.runs:
        if not run.passed and run.finding is None:
            yield f"{outcome.exercise.id} · {run.sentence}"
            yield say("watch.no_blame", test=run.test)


def _failures(outcome: Outcome, root: Path, seed: int) -> Iterator[TestFailure]:
    for run in outcome.runs:
        if run.finding is not None and not run.passed:
            yield TestFailure(
                outcome.exercise.id,
                run.test,
                run.sentence,
                run.finding,
                seconds=outcome.exercise.limits.call_seconds,
                root=root,
                seed=seed,
            )
