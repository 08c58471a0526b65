"""Which functions of an answer its failing tests are about: where a learner has to look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from grader.observation.kind import Kind

if TYPE_CHECKING:  # kept results are read where torch is not imported
    from grader.course.syllabus import Exercise
    from grader.judging.diagnosis import Evidence
    from grader.judging.outcome import Outcome
    from grader.judging.trial import Run
    from grader.observation.record import Interruption


def failing_functions(outcome: Outcome) -> tuple[str, ...]:
    """The functions that the failing tests of a run are about, in the order of the file.

    They have the names that the exercise's hints call them by. A test is about the function that
    it broke in. A wrong value breaks nothing: then it is about that one of the functions it called
    which fails the largest part of the tests that call it, and of equals about the last called.
    """
    failed = [run for run in outcome.runs if not run.passed and _is_about_a_function(run)]
    broken = {run.test: name for run in failed if (name := _broke_in(run, outcome.exercise))}
    called = {
        run.test: _called(outcome.trial.diagnosis.last(run.test), outcome.exercise)
        for run in outcome.runs
        if run.test not in broken
    }
    wrong = [called[run.test] for run in failed if run.test not in broken]
    asking = Counter(name for names in called.values() for name in names)
    failing = Counter(name for names in wrong for name in names)
    about = set(broken.values())
    about |= {max(names, key=lambda n: failing[n] / asking[n]) for names in wrong if names}
    return tuple(ladder.about for ladder in outcome.exercise.hints if ladder.about in about)


def _is_about_a_function(run: Run) -> bool:
    interruption = run.finding.interruption if run.finding else None
    return interruption is None or not (interruption.at_load or interruption.kind.nothing_ran)


def _broke_in(run: Run, exercise: Exercise) -> str | None:
    """The function that is missing, or the innermost one that an error came out of."""
    interruption = run.finding.interruption if run.finding else None
    if interruption is None:
        return None
    is_missing = interruption.kind is Kind.MISSING
    names = [interruption.message] if is_missing else [*_frames(interruption, exercise)]
    known = {ladder.about for ladder in exercise.hints}
    classes = [name.partition(".")[0] for name in names]  # a private method has no hints
    return next((name for name in (*names, *classes) if name in known), None)


def _frames(interruption: Interruption, exercise: Exercise) -> Iterator[str]:
    """The functions of this exercise's file that were running, from the inside out."""
    for frame in reversed(interruption.frames):
        if Path(frame.path).stem == exercise.id:
            yield frame.function.partition(".<locals>")[0].removesuffix(".__init__")


def _called(evidence: Evidence | None, exercise: Exercise) -> tuple[str, ...]:
    """What the last run of a test called, the last first.

    Nothing is known of the calls in a worker that was killed: those of the reference stand in.
    """
    if evidence is None:
        return ()
    calls = evidence.seen.calls or (evidence.want.form.calls if evidence.want else ())
    ladders = (exercise.hints_about(call.name) for call in reversed(calls))
    return tuple(dict.fromkeys(ladder.about for ladder in ladders if ladder))
