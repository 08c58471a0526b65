"""The project's own figures: measured, never guessed, each by one name.

Times are ratios within one run, for machines differ and are shared.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from grader.curriculum import Curriculum, Exercise, load
from grader.doctor import is_offered
from grader.figures import Figure
from grader.isolation.launching import start_zygote
from grader.variants import read_variants

if TYPE_CHECKING:
    from grader.redteam import Result

_ROUNDS = 15
_BANNED_MODULES = ("transformers", "matplotlib", "sympy", "torch._dynamo", "torch._inductor")


def latency(root: Path) -> Iterator[Figure]:
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
        times = _interleaved(commands, Path(folder), root)
    for name, seconds in times.items():
        yield Figure(f"latency.{name}.median", statistics.median(seconds), "s")
    ratios = [s / f for s, f in zip(times["solution"], times["floor"], strict=True)]
    yield Figure("latency.solution/floor", statistics.median(ratios), "x", 1.25)
    yield Figure("latency.slow_modules_imported", _slow_modules(root, test_file), "modules", 0)


def _interleaved(
    commands: dict[str, list[str]], folder: Path, root: Path
) -> dict[str, list[float]]:
    """Seconds of each command, one after the other in every round, so that load hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for round_number in range(_ROUNDS + 1):
        for name, command in commands.items():
            cwd = root if name == "solution" else folder
            started = time.perf_counter()
            subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL)
            if round_number:  # the first round warms the file cache
                times[name].append(time.perf_counter() - started)
    return times


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


_MODES: dict[str, list[str]] = {
    "open": [],
    "process": ["--isolate", "--sandbox=process"],
    "light": ["--isolate", "--sandbox=light"],
    "full": ["--isolate", "--sandbox=full"],
}
_FLAKE_RUNS = 1000
_COST_ROUNDS = 12


def isolation(root: Path) -> Iterator[Figure]:
    """What isolation costs, and whether it ever changes a verdict on a right answer."""
    zygote = start_zygote(root)
    from grader.pytest_runs import Observer, run_tests

    curriculum = load(root)

    def run(exercise: Exercise, *options: str) -> float:
        observer = Observer(zygote=zygote)
        return float(run_tests(root, [exercise], options, observer)[0].share)

    yield Figure(
        "isolation.right answers losing points", _differences(curriculum, root, run), "", 0
    )
    yield from _costs(curriculum, run)
    rope = curriculum.find("ex02")
    seeds = range(_FLAKE_RUNS)
    flakes = sum(
        run(rope, "--impl=solutions", *_MODES["light"], f"--seed={seed}") < 1 for seed in seeds
    )
    yield Figure(f"isolation.flakes in {_FLAKE_RUNS} runs", flakes, "runs", 0)
    if zygote is not None:
        zygote.close()
    yield from _cold_start(root)


def _differences(curriculum: Curriculum, root: Path, run: Callable[..., float]) -> float:
    """How many (right answer, mode) pairs do not get full marks."""
    lost = 0
    for exercise in curriculum.exercises:
        alternatives = read_variants(exercise.paths(root).alternatives)
        answers = [["--impl=solutions"], ["--impl=minimind_ref"]]
        answers += [["--impl=solutions", f"--variant={v.id}"] for v in alternatives]
        for answer in answers:
            for mode in _MODES.values():
                lost += run(exercise, *answer, *mode) < 1
    return float(lost)


def _costs(curriculum: Curriculum, run: Callable[..., float]) -> Iterator[Figure]:
    """Median milliseconds that an exercise takes more than in process, warm, all modes in turn."""
    added: dict[str, list[float]] = {mode: [] for mode in _MODES if mode != "open"}
    for round_number in range(_COST_ROUNDS):
        for exercise in curriculum.exercises:
            times = {}
            for mode, options in _MODES.items():
                started = time.perf_counter()
                run(exercise, "--impl=solutions", *options)
                times[mode] = (time.perf_counter() - started) * 1000
            if round_number:  # the first round warms the zygote
                for mode, values in added.items():
                    values.append(times[mode] - times["open"])
    for mode, limit in (("process", None), ("light", 15.0), ("full", 30.0)):
        yield Figure(f"isolation.{mode} costs", statistics.median(added[mode]), "ms", limit)


def _cold_start(root: Path) -> Iterator[Figure]:
    test_file = str(root / "tests" / "test_02_rope.py")
    python = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--impl=solutions"]
    commands = {"open": [*python, test_file], "isolated": [*python, "--isolate", test_file]}
    times = _interleaved(commands, root, root)
    ratios = [i / o for i, o in zip(times["isolated"], times["open"], strict=True)]
    yield Figure("isolation.cold start over in process", statistics.median(ratios), "x", 1.3)


def redteam(root: Path) -> Iterator[Figure]:
    """What all attacks come to in every profile, and whether they still are attacks."""
    from grader.redteam import NaiveGrader, RedTeam, read_cases

    cases = read_cases(root)
    yield Figure("redteam.cases", len(cases), "attacks")
    for profile in ("light", "full", "process"):
        if is_offered(profile):
            team = RedTeam(root)
            results = [team.attack(case, profile) for case in cases if profile in case.profiles]
            team.close()
            yield from _attacked(f"redteam.{profile}", results)
    grader = NaiveGrader(root)
    attacks = [grader.attack(case) for case in cases if not case.is_too_dangerous]
    yield Figure("redteam.naive.cases", len(attacks), "attacks")
    yield Figure("redteam.naive.successful", sum(bool(a.signs) for a in attacks), "attacks")
    yield Figure("redteam.naive.rotted", sum(a.rotted for a in attacks), "attacks", 0)


def _attacked(name: str, results: Sequence[Result]) -> Iterator[Figure]:
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


def history(root: Path) -> Iterator[Figure]:
    """What kills cost the history, and what `grader` costs where nothing has changed."""
    from grader.bench_history import figures

    yield from figures(root)


def report(root: Path) -> Iterator[Figure]:
    """How large a learner's report is."""
    from grader.bench_report import figures

    yield from figures(root)


def watch(root: Path) -> Iterator[Figure]:
    """How soon after a save its verdict is on the screen, and what idling costs."""
    from grader.bench_watch import figures

    yield from figures(root)


FIGURES: dict[str, Callable[[Path], Iterator[Figure]]] = {
    "latency": latency,
    "isolation": isolation,
    "redteam": redteam,
    "history": history,
    "report": report,
    "watch": watch,
}
