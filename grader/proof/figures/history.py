"""The figures of the history: what kills cost it, and what a run that repeats nothing costs.

Its writers import it too, and start often, so it must not import torch.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from grader.course.syllabus import ROOT
from grader.course.syllabus_file import load
from grader.learner.history import FILE, History, RunRecord
from grader.proof.figures.figure import Figure, Measured, Stage, stages

_KILLS, _QUICK_KILLS = 200, 6
_WRITERS = 2
_KILLS_PER_DATABASE = 10
_LONGEST_DELAY = 0.05
"""Seconds between a writer's start and its end: within it are opening, migrating and writing."""
_ROUNDS, _QUICK_ROUNDS = 6, 1
_QUICK_SOLVED = 2
"""Exercises, drawn, that a learner has solved; without `quick` all."""
_FIRST_RUN, _UNCHANGED = 1.0, 1.2
"""Times `import torch`: what each exercise may take at first, and all together once kept."""
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "redteam")
_COPIED = ("grader", "minimind_ref", "solutions", "tests", "conftest.py", "pyproject.toml")
_STUBS = Path("grader", "pristine")


@dataclass
class Killed:
    """What killing writers came to.

    `kept` are the records whose `record_run` had returned, and `lost` those of them that are not
    there as they were written; `corrupt` the databases that SQLite finds a fault in; `amid` the
    times that a transaction was cut off; `stopped` the writers that had ended by themselves.
    """

    kills: int = 0
    kept: int = 0
    lost: int = 0
    corrupt: int = 0
    amid: int = 0
    stopped: int = 0


def kill_writers(folder: Path, kills: int) -> Killed:
    """Kill graders that write to one history, two at a time, and look at what is left."""
    killed = Killed()
    root, kept = folder, set[RunRecord]()
    while killed.kills < kills:
        if killed.kills % _KILLS_PER_DATABASE == 0:
            root, kept = folder / str(killed.kills), set()
        kept |= _kill_two(root, killed)
        killed.amid += (root / f"{FILE}-journal").exists()
        with closing(History.open(root)) as history:
            killed.lost += len(kept - set(history.runs()))
        with closing(sqlite3.connect(root / FILE)) as connection:
            (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
            killed.corrupt += verdict != "ok"
    return killed


def _kill_two(root: Path, killed: Killed) -> set[RunRecord]:
    """The records that two writers had kept before they were killed, one after the other."""
    names = [f"ex{killed.kills + number:02}_kill" for number in range(_WRITERS)]
    program = "import sys; from grader.proof.figures.history import write; write(*sys.argv[1:])"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(root), name],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for name in names
    ]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.readline()  # now it opens the history
    kept: set[RunRecord] = set()
    for name, writer in zip(names, writers, strict=True):
        time.sleep(random.uniform(0, _LONGEST_DELAY))
        killed.stopped += writer.poll() is not None
        writer.kill()
        killed.kills += 1
        said, _ = writer.communicate()
        # What a kill cut off is no number yet.
        kept |= {_run(name, int(line)) for line in said.split(b"\n")[:-1]}
    killed.kept += len(kept)
    return kept


def write(root: str, exercise: str) -> None:
    """Record one run after another for ever, and say the number of each that is kept."""
    print(flush=True)
    with closing(History.open(Path(root))) as history:
        for number in count():
            history.record_run(_run(exercise, number))
            if history.problem:
                sys.exit(history.problem)
            print(number, flush=True)


def _run(exercise: str, number: int) -> RunRecord:
    verdicts = tuple((f"test_kill.py::test_{n}", "passed") for n in range(number % 30))
    return RunRecord(
        exercise, "progress", 1e9, number / 8, len(verdicts), 30, "200/13", verdicts, (), "0" * 64
    )


def figures(root: Path, quick: bool) -> Measured:
    """All figures of the history."""
    with tempfile.TemporaryDirectory() as folder:
        yield Stage("killing writers", 0, 1)
        killed = kill_writers(Path(folder), _QUICK_KILLS if quick else _KILLS)
    yield Figure("history.kills during writes", killed.kills, "kills")
    yield Figure("history.kills that cut off a transaction", killed.amid, "kills")
    yield Figure("history.records kept before", killed.kept, "records")
    yield Figure("history.records lost", killed.lost, "records", 0)
    yield Figure("history.databases corrupt", killed.corrupt, "databases", 0)
    yield Figure("history.writers stopped by themselves", killed.stopped, "writers", 0)
    with tempfile.TemporaryDirectory() as folder:
        solved = drawn(root, quick)
        yield from _progress(solved_course(root, Path(folder), solved), len(solved), quick)


def _progress(course: Path, solved: int, quick: bool) -> Measured:
    """What `grader` costs where exercises are solved, at first and where nothing has changed."""
    rounds = _QUICK_ROUNDS if quick else _ROUNDS
    commands = {
        "import torch": ["-c", "import torch"],
        "first run": ["-m", "grader"],
        "unchanged": ["-m", "grader"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    in_vain = 0
    for stage, round_number in stages("rounds of all exercises", range(rounds)):
        yield stage
        shutil.rmtree(course / FILE.parent, ignore_errors=True)
        for name, command in commands.items():
            seconds = _seconds(command, course)
            if round_number or rounds == 1:  # the first round warms the file cache
                times[name].append(seconds)
        with closing(History.open(course)) as history:
            runs = history.runs()
        if sum(run.done for run in runs) < solved:
            raise RuntimeError(f"not every solution passes: {runs}")
        in_vain += len(runs) - solved
    yield Figure("history.solved exercises", solved, "exercises")
    for name, seconds_of_all in times.items():
        yield Figure(f"history.{name}.median", statistics.median(seconds_of_all), "s")
    # Of few exercises the start of everything, torch above all, takes most of the time.
    first = None if quick else _FIRST_RUN * solved
    for name, limit in (("first run", first), ("unchanged", _UNCHANGED)):
        ratios = [t / floor for t, floor in zip(times[name], times["import torch"], strict=True)]
        yield Figure(f"history.{name}/import torch", statistics.median(ratios), "x", limit)
    yield Figure("history.runs of what had not changed", in_vain, "runs", 0)


def drawn(root: Path, quick: bool) -> list[str]:
    """The exercises that a learner has solved: all, or few where it must be quick."""
    names = [exercise.id for exercise in load(root).exercises]
    return random.sample(names, _QUICK_SOLVED) if quick else names


def solved_course(root: Path, folder: Path, solved: Sequence[str]) -> Path:
    """A copy of the course in which these answers of the learner's are the solutions."""
    for name in _COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name, ignore=_LEFT_OUT)
        else:
            shutil.copy(root / name, folder / name)
    shutil.copytree(folder / _STUBS, folder / "exercises")
    for name in solved:
        shutil.copy(folder / "solutions" / f"{name}.py", folder / "exercises")
    return folder


def _seconds(arguments: list[str], folder: Path) -> float:
    started = time.perf_counter()
    command = [sys.executable, *arguments]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started
