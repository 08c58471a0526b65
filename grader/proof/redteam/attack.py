"""The red team: attacks on the grader, and what comes of each.

Each attack is graded as any submission is, and honest work is graded after it; neither points,
processes nor files may be the worse for it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from grader.classroom.grade import Grade, grade
from grader.course.course import Course
from grader.course.syllabus import Limits
from grader.isolation.launch import Zygote, start_zygote
from grader.messages.sanitize import sanitize_line
from grader.observation.kind import Kind
from grader.proof.redteam.cases import REACHED, SECRET, Case, submitted
from grader.proof.redteam.processes import adopt_orphans, below, left_running, processes
from grader.proof.redteam.traces import contents, differences, left_behind
from grader.results.record import VERSION, ExerciseResult

LIMITS = Limits(seconds=2.0, memory_mb=768)
"""What an attack may use: enough for a right answer, and not long to wait for."""
SLACK = 1.0
"""Processor seconds that an answer, or the judge's work on it, may take beyond the limit."""

_NO_WORKER = (1 << 22) + 1
"""An id that no process has: Linux gives none above this."""


@dataclass(frozen=True)
class Result:
    """What came of an attack under one profile; `complaints` say in words what went wrong.

    `spent` is the processor time of the answer's workers in seconds, `judged` that of the judge.
    """

    case: Case
    profile: str
    grade: Grade
    spent: float
    judged: float
    surviving: tuple[str, ...]
    changed: tuple[str, ...]
    honest: bool
    complaints: tuple[str, ...]

    @property
    def undeserved(self) -> Fraction:
        return max(Fraction(0), self.grade.earned - self.case.points)

    @property
    def is_late(self) -> bool:
        return max(self.spent, self.judged) > LIMITS.seconds + SLACK

    def problems(self) -> list[str]:
        """Everything that is wrong, in words."""
        found = list(self.complaints)
        if self.grade.earned != self.case.points:
            found.append(f"it won {self.grade.earned} points, want {self.case.points}")
        if self.is_late:
            took = f"{self.spent:.1f} s and the judge {self.judged:.1f} s of the processor"
            found.append(f"it took {took}, want {LIMITS.seconds + SLACK:g} s at most")
        if self.surviving:
            found.append(f"left running: {', '.join(self.surviving)}")
        if self.changed:
            found.append(f"files changed: {', '.join(self.changed)}")
        if not self.honest:
            found.append("the honest submission after it did not get full marks")
        return found


class RedTeam:
    """Grades one attack after the other, and an honest submission after each.

    Orphans of the attacks become children of this process, so that none is overlooked.
    """

    def __init__(self, root: Path, zygote: Zygote | None = None) -> None:
        self._root = root
        os.environ[SECRET] = self._secret = secrets.token_hex(8)
        self._seed = secrets.randbelow(2**62)
        self._caches: dict[str, dict[Any, Any]] = {}
        adopt_orphans()
        self._own_zygote = start_zygote(root) if zygote is None else None
        self._zygote = zygote or self._own_zygote

    def close(self) -> None:
        if self._own_zygote is not None:
            self._own_zygote.close()

    def attack(self, case: Case, profile: str) -> Result:
        """Grade an attack; once more where files changed, as others may be at work on them.

        Raises ValueError for a profile that does not promise to stop it: it might really do it.
        """
        if profile not in case.profiles:
            raise ValueError(f"{case.name} is for {', '.join(case.profiles)}, not for {profile}")
        result = self._attack(case, profile)
        return self._attack(case, profile) if result.changed else result

    def _attack(self, case: Case, profile: str) -> Result:
        processes, files = below(os.getpid()), contents(self._root)
        with tempfile.TemporaryDirectory() as scratch:
            folder = submitted(case, Path(scratch), self._root)
            handed_in = contents(folder)
            spent, judged = self._workers_seconds(), time.process_time()
            graded = self._graded(folder, case, profile, LIMITS)
            judged = time.process_time() - judged
            spent = self._workers_seconds() - spent
            surviving = left_running(processes)
            changed = (*differences(files, contents(self._root)), *left_behind(Path(scratch)))
            changed += differences(handed_in, contents(folder))
            complaints = tuple(self._complaints(case, graded))
            honest = self._is_honest_work_rewarded(case, Path(scratch), profile)
        return Result(
            case,
            profile,
            graded,
            spent,
            judged,
            tuple(surviving.values()),
            changed,
            honest,
            complaints,
        )

    def _graded(self, folder: Path, case: Case, profile: str, limits: Limits | None) -> Grade:
        course = _only(Course.load(self._root), case.exercise, limits)
        return grade(
            folder,
            course,
            profile=profile,
            seed=self._seed,
            zygote=self._zygote,
            caches=self._caches,
        )

    def _workers_seconds(self) -> float:
        """Processor seconds of all workers so far, as the system has counted them, not the judge.

        It counts those that were waited for: so was everyone, once a later request is answered.
        """
        if self._zygote is None:
            return 0.0
        self._zygote.reap(_NO_WORKER)()
        return processes()[self._zygote.pid].seconds

    def _is_honest_work_rewarded(self, case: Case, scratch: Path, profile: str) -> bool:
        folder = scratch / "honest"
        folder.mkdir()
        shutil.copy(self._root / "solutions" / f"{case.exercise}.py", folder)
        graded = self._graded(folder, case, profile, None)
        return graded.earned == graded.points

    def _complaints(self, case: Case, graded: Grade) -> Iterator[str]:
        tests = [t for t in graded.results[0].tests if re.search(case.test, t.test)]
        if not tests:
            yield f"no test matches {case.test!r}"
        for test in tests:
            if not re.match(case.verdict, test.verdict.public):
                yield f"the verdict is {test.verdict.public!r}, want {case.verdict!r}: {test}"
        if not any(re.search(case.message, "\n".join(test.message)) for test in tests):
            yield f"no message matches {case.message!r}: {tests[0].message}"
        yield from complaints_about(graded)
        told = "\n".join(line for r in graded.results for t in r.tests for line in t.message)
        for hidden in (self._secret, str(graded.seed), REACHED):
            if hidden in told:
                yield f"a message tells {hidden!r}"


def _only(course: Course, name: str, limits: Limits | None) -> Course:
    exercise = course.syllabus.find(name)
    if limits is not None:
        exercise = replace(exercise, limits=limits)
    return replace(course, syllabus=replace(course.syllabus, exercises=(exercise,)))


def complaints_about(graded: Grade) -> Iterator[str]:
    """What is wrong with a result as a result: its form, its sums, and text that acts."""
    report = json.loads(json.dumps(graded.as_json()))
    if report["version"] != VERSION:
        yield f"its version is {report['version']!r}, want {VERSION}"
    exercises = report["exercises"]
    total = sum((Fraction(exercise["earned"]) for exercise in exercises), Fraction(0))
    if Fraction(report["earned"]) != total:
        yield f"it earned {report['earned']} points, its exercises {total}"
    for exercise, result in zip(exercises, graded.results, strict=True):
        if not 0 <= Fraction(exercise["earned"]) <= exercise["points"]:
            name, earned = exercise["exercise"], exercise["earned"]
            yield f"{name} has {earned} of {exercise['points']} points"
        if ExerciseResult.from_json(exercise) != result:
            yield f"{exercise['exercise']} does not come back from its JSON as it was"
        for test in exercise["tests"]:
            if test["public"] != Kind(test["verdict"]).public:
                yield f"a test that is {test['verdict']!r} and {test['public']!r}"
            if test["passed"] != (test["public"] == "passed"):
                yield f"a test that passed={test['passed']} and is {test['public']!r}"
    for text in _texts(report):
        if sanitize_line(text) != text:
            yield f"a text that acts or is too long: {text[:100]!r}"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
