"""The project's own figures: measured, never guessed, each by one name.

Times are ratios within one run, for machines differ and are shared. Whatever measures yields each
figure as soon as it is known, and in between how far it is.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from grader.course.course import Course
from grader.course.syllabus import Exercise
from grader.course.variants import read_variants
from grader.isolation.launch import start_zygote
from grader.isolation.machine import is_offered
from grader.proof.figures.figure import Figure, Measured, Stage, stages

if TYPE_CHECKING:
    from grader.proof.redteam.attack import Case, Result

_ROUNDS, _COST_ROUNDS = 15, 12
_BANNED_MODULES = ("transformers", "matplotlib", "sympy", "torch._dynamo", "torch._inductor")


class Bench(Protocol):
    """Measures figures of one kind; `quick` with fewer rounds and samples."""

    def __call__(self, root: Path, quick: bool) -> Measured: ...


def latency(root: Path, quick: bool) -> Measured:
    """What `pytest tests/test_02_rope.py` takes over a file with one trivial torch test."""
    test_file = root / "tests" / "test_02_rope.py"
    with tempfile.TemporaryDirectory() as folder:
        floor_file = Path(folder) / "test_floor.py"
        floor_file.write_text(
            "import torch\n\n\ndef test_one():\n    assert torch.ones(1).sum() == 1\n"
        )
        (Path(folder) / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
        python = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        commands = {
            "import torch": [sys.executable, "-c", "import torch"],
            "floor": [*python, str(floor_file)],
            "solution": [*python, "--impl=solutions", str(test_file)],
        }
        times = yield from _interleaved(commands, Path(folder), root, quick)
    for name, seconds in times.items():
        yield Figure(f"latency.{name}.median", statistics.median(seconds), "s")
    ratios = [s / f for s, f in zip(times["solution"], times["floor"], strict=True)]
    yield Figure("latency.solution/floor", statistics.median(ratios), "x", 1.25)
    yield Figure("latency.slow_modules_imported", _slow_modules(root, test_file), "modules", 0)


def _interleaved(
    commands: dict[str, list[str]], folder: Path, root: Path, quick: bool
) -> Generator[Figure | Stage, None, dict[str, list[float]]]:
    """Seconds of each command, one after the other in every round, so that load hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for stage, counts in stages("rounds of commands", _rounds(_ROUNDS, quick)):
        yield stage
        for name, command in commands.items():
            cwd = root if name == "solution" else folder
            started = time.perf_counter()
            subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL)
            if counts:
                times[name].append(time.perf_counter() - started)
    return times


def _rounds(usual: int, quick: bool) -> list[bool]:
    """Whether each round counts: one first warms what is cached, and is all that is quick."""
    return [True] if quick else [False] + [True] * usual


def _slow_modules(root: Path, test_file: Path) -> float:
    program = (
        "import sys, pytest; code = pytest.main(sys.argv[1:]); "
        f"slow = [name for name in {_BANNED_MODULES!r} if name in sys.modules]; "
        "print('SLOW', *slow); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "-q", "--impl=solutions", str(test_file)],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("SLOW"))
    return float(len(line.split()) - 1)


Choices = dict[str, Any]
"""Fields of `RunOptions` by their names."""

MODES: dict[str, Choices] = {
    "open": {},
    "process": {"isolate": True, "profile": "process"},
    "light": {"isolate": True, "profile": "light"},
    "full": {"isolate": True, "profile": "full"},
}
_FLAKE_RUNS, _QUICK_FLAKE_RUNS = 1000, 3
_QUICK_ANSWERS = 1
"""Right answers that are tried in a quick run, of the many that there are."""


def right_answers(course: Course) -> list[tuple[Exercise, Choices]]:
    """Every answer that deserves full marks, as the choices that lead to it."""
    found = []
    for exercise in course.exercises:
        alternatives = read_variants(course.paths(exercise).alternatives)
        answers: list[Choices] = [{"impl": "solutions"}]
        answers += [{"impl": "solutions", "variant": v.id} for v in alternatives]
        found += [(exercise, answer) for answer in answers]
    return found


def isolation(root: Path, quick: bool) -> Measured:
    """What isolation costs, and whether it ever changes a verdict on a right answer."""
    zygote = start_zygote(root)
    from grader.judging.options import RunOptions
    from grader.judging.run import run_tests

    course = Course.load(root)
    usual = RunOptions(course=course, zygote=zygote)

    def run(exercise: Exercise, choices: Choices) -> float:
        return float(run_tests([exercise], replace(usual, **choices))[0].share)

    answers = right_answers(course)
    answers += [(exercise, {"impl": "minimind_ref"}) for exercise in course.exercises]
    answers = random.sample(answers, _QUICK_ANSWERS) if quick else answers
    lost = 0
    tries = [(exercise, {**answer, **mode}) for exercise, answer in answers for mode in _offered()]
    for stage, (exercise, choices) in stages("right answers in all modes", tries):
        yield stage
        lost += run(exercise, choices) < 1
    yield Figure(f"isolation.losing points in {len(tries)} runs of right answers", lost, "", 0)
    yield from _costs(course, run, quick)
    rope = course.syllabus.find("ex02")
    flakes, runs = 0, _QUICK_FLAKE_RUNS if quick else _FLAKE_RUNS
    for stage, seed in stages("runs with another seed", range(runs)):
        yield stage
        flakes += run(rope, {"impl": "solutions", "seed": seed, **MODES["light"]}) < 1
    yield Figure(f"isolation.flakes in {runs} runs", flakes, "runs", 0)
    if zygote is not None:
        zygote.close()
    yield from _cold_start(root, quick)


def _offered() -> list[Choices]:
    """The modes that this machine has."""
    return [options for mode, options in MODES.items() if mode == "open" or is_offered(mode)]


def _costs(course: Course, run: Callable[..., float], quick: bool) -> Measured:
    """Median milliseconds that an exercise takes more than in process, warm, all modes in turn."""
    added: dict[str, list[float]] = {mode: [] for mode in MODES if mode != "open"}
    exercises = course.exercises[:1] if quick else course.exercises
    for stage, counts in stages("rounds in all modes", _rounds(_COST_ROUNDS, quick)):
        yield stage
        for exercise in exercises:
            times = {}
            for mode, choices in MODES.items():
                started = time.perf_counter()
                run(exercise, {"impl": "solutions", **choices})
                times[mode] = (time.perf_counter() - started) * 1000
            if counts:
                for mode, values in added.items():
                    values.append(times[mode] - times["open"])
    for mode, limit in (("process", None), ("light", 15.0), ("full", 30.0)):
        yield Figure(f"isolation.{mode} costs", statistics.median(added[mode]), "ms", limit)


def _cold_start(root: Path, quick: bool) -> Measured:
    test_file = str(root / "tests" / "test_02_rope.py")
    python = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--impl=solutions"]
    commands = {"open": [*python, test_file], "isolated": [*python, "--isolate", test_file]}
    times = yield from _interleaved(commands, root, root, quick)
    ratios = [i / o for i, o in zip(times["isolated"], times["open"], strict=True)]
    yield Figure("isolation.cold start over in process", statistics.median(ratios), "x", 1.3)


_QUICK_ATTACKS = {"light": 3, "full": 1, "process": 1, "naive": 1}
"""How many attacks a quick run draws for each grader."""


def redteam(root: Path, quick: bool) -> Measured:
    """What all attacks come to in every profile, and whether they still are attacks."""
    from grader.proof.redteam.attack import NaiveGrader, RedTeam, read_cases

    cases = read_cases(root)

    def drawn(grader: str, suitable: list[Case]) -> list[Case]:
        return random.sample(suitable, _QUICK_ATTACKS[grader]) if quick else suitable

    yield Figure("redteam.cases", len(cases), "attacks")
    zygote = start_zygote(root)
    team = RedTeam(root, zygote)
    for profile in ("light", "full", "process"):
        if is_offered(profile):
            results = []
            suitable = [case for case in cases if profile in case.profiles]
            for stage, case in stages(f"attacks on {profile}", drawn(profile, suitable)):
                yield stage
                results.append(team.attack(case, profile))
            yield from _attacked(f"redteam.{profile}", results)
    if zygote is not None:
        zygote.close()
    grader = NaiveGrader(root)
    attacks = []
    suitable = [case for case in cases if not case.is_too_dangerous]
    for stage, case in stages("attacks on a naive grader", drawn("naive", suitable)):
        yield stage
        attacks.append(grader.attack(case))
    yield Figure("redteam.naive.cases", len(attacks), "attacks")
    yield Figure("redteam.naive.successful", sum(bool(a.signs) for a in attacks), "attacks")
    yield Figure("redteam.naive.rotted", sum(a.rotted for a in attacks), "attacks", 0)


def _attacked(name: str, results: Sequence[Result]) -> Measured:
    yield Figure(f"{name}.cases", len(results), "attacks")
    yield Figure(f"{name}.points won for values", _total(r.undeserved for r in results), "", 0)
    yield Figure(f"{name}.surviving", _total(len(r.surviving) for r in results), "processes", 0)
    yield Figure(f"{name}.changed", _total(len(r.changed) for r in results), "files", 0)
    unrewarded = _total(not r.honest for r in results)
    yield Figure(f"{name}.honest without full marks", unrewarded, "submissions", 0)
    yield Figure(f"{name}.longer than limit + 1 s", _total(r.is_late for r in results), "runs", 0)
    yield Figure(f"{name}.longest answer", max(r.spent for r in results), "s")
    yield Figure(f"{name}.longest judgement", max(r.judged for r in results), "s")
    otherwise = _total(bool(r.complaints) for r in results)
    yield Figure(f"{name}.another verdict or an invalid report", otherwise, "runs", 0)


def _total(values: Iterable[float | Fraction]) -> float:
    return float(sum(values))


def busy(root: Path, quick: bool) -> Measured:
    """Whether a right answer loses points on a machine that has other things to do."""
    from grader.proof.figures.busy import figures

    yield from figures(root, quick)


def history(root: Path, quick: bool) -> Measured:
    """What kills cost the history, and what `grader` costs where nothing has changed."""
    from grader.proof.figures.history import figures

    yield from figures(root, quick)


def report(root: Path, quick: bool) -> Measured:
    """How large a learner's report is: there is nothing to leave out."""
    from grader.proof.figures.report import figures

    yield from figures(root)


def watch(root: Path, quick: bool) -> Measured:
    """How soon after a save its verdict is on the screen, and what idling costs."""
    from grader.proof.figures.watch import figures

    yield from figures(root, quick)


BENCHES: dict[str, Bench] = {
    "latency": latency,
    "isolation": isolation,
    "redteam": redteam,
    "busy": busy,
    "history": history,
    "report": report,
    "watch": watch,
}
