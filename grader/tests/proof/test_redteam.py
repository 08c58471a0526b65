"""Every attack comes to what its case says, and honest work that is graded next is rewarded.

`REDTEAM=all` tries all of them in every profile and on the naive grader, which takes long.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from grader.course.syllabus import ROOT
from grader.isolation.machine import is_offered
from grader.proof.figures.redteam import _attacked, _rotted
from grader.proof.redteam.attack import RedTeam, Result
from grader.proof.redteam.cases import AIMS, CASES, Case, read_cases
from grader.proof.redteam.naive import Naive, NaiveGrader
from grader.tests.processes import BACKSTOP

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")

ATTACKS = {case.name: case for case in read_cases(ROOT)}
FEWEST_ATTACKS = 85
SAMPLES = {
    "full": (
        *("conftest", "crash-by-abort", "crash-by-null-pointer", "daemon", "deaf-worker"),
        *("exit-in-a-call", "forged-empty-gradient", "fork-bomb", "kills-everything"),
        *("loop-in-c", "memory", "network", "raw-open", "reads-the-solution", "stops-itself"),
        "threads",
    ),
    "process": (
        *("closes-all-descriptors", "conftest", "crash-by-abort", "exit-on-import"),
        *("expected-value-in-memory", "forged-frame-without-token", "forged-verdict-not-graded"),
        *("loop-that-ignores-signals", "odd-folder", "patched-equality", "pickle-in-a-frame"),
        *("own-descriptors", "shadows-torch", "stale-frame", "terminal-codes"),
        "thread-that-stays",
    ),
    "naive": (
        *("atexit-report", "conftest", "exit-on-import", "expected-value-in-memory"),
        *("link-to-the-solution", "loop-that-swallows-exceptions", "network"),
        *("patched-equality", "patched-judge", "reference-in-memory", "shadows-torch"),
    ),
}


def chosen(profile: str) -> list[Case]:
    if profile == "light" or os.environ.get("REDTEAM") == "all":
        return [case for case in ATTACKS.values() if profile in (*case.profiles, "naive")]
    return [ATTACKS[name] for name in SAMPLES[profile]]


def attacks_under(profile: str) -> list[object]:
    absent = pytest.mark.skipif(not is_offered(profile), reason="not offered here")
    return [
        pytest.param(case, profile, marks=absent, id=f"{profile}-{case.name}")
        for case in chosen(profile)
    ]


@pytest.fixture(scope="module")
def team() -> Iterator[RedTeam]:
    started = RedTeam(ROOT)
    yield started
    started.close()


@pytest.mark.parametrize(
    ("case", "profile"),
    [*attacks_under("light"), *attacks_under("full"), *attacks_under("process")],
)
def test_an_attack_wins_nothing_and_leaves_nothing(case: Case, profile: str, team: RedTeam) -> None:
    assert team.attack(case, profile).problems() == []


def test_an_attack_is_let_loose_only_where_it_is_stopped(team: RedTeam) -> None:
    """`kills-everything` in a process that is not locked in ends whatever its user has started."""
    with pytest.raises(ValueError, match="kills-everything is for light, full, not for process"):
        team.attack(ATTACKS["kills-everything"], "process")


@pytest.mark.parametrize(
    "case", [case for case in chosen("naive") if not case.is_too_dangerous], ids=lambda c: c.name
)
def test_it_does_to_a_naive_grader_what_the_case_says(case: Case) -> None:
    naive = NaiveGrader(ROOT).attack(case)
    assert not naive.rotted, f"{case.naive}: {naive.signs}\n{naive.printed}"


def test_the_figures_name_what_came_to_something_else() -> None:
    case = ATTACKS["daemon"]
    grade = SimpleNamespace(earned=case.points)
    right = Result(case, "full", grade, 0.1, 0.1, (), (), True, ())  # type: ignore[arg-type]
    left = replace(right, surviving=("sleep",), complaints=("another verdict",))
    rows = {row.name: row.value for row in _attacked("redteam.full", [right, left])}
    assert rows["redteam.full.daemon: another verdict"] == 1
    assert rows["redteam.full.daemon: left running: sleep"] == 1
    assert not any("daemon" in row.name for row in _attacked("redteam.full", [right]))


def test_the_figures_name_attacks_that_show_nothing_any_more() -> None:
    succeeds, fails = ATTACKS["daemon"], replace(ATTACKS["daemon"], naive="it is too slow")
    as_they_say = [Naive(succeeds, ("it won 100%",), ""), Naive(fails, (), "")]
    assert [row.value for row in _rotted(as_they_say)] == [0]
    number, first, second = _rotted([Naive(succeeds, (), ""), Naive(fails, ("it hung",), "")])
    assert number.value == 2
    assert first.name == "redteam.naive.daemon: it did nothing"
    assert second.name == "redteam.naive.daemon: it hung"


def test_a_naive_grader_can_grade_honest_work(tmp_path: Path) -> None:
    """Or all that the attacks show would be a grader that never works."""
    honest = tmp_path / "honest"
    honest.mkdir()
    (honest / "ex02_rope.py").write_text((ROOT / "solutions" / "ex02_rope.py").read_text())
    case = replace(ATTACKS["exit-on-import"], name="honest", folder=honest)
    assert NaiveGrader(ROOT).attack(case).signs == ("it won 100%",)


def test_the_catalogue_is_complete() -> None:
    folders = {path.name for path in (ROOT / CASES).iterdir() if path.is_dir()}
    assert folders == set(ATTACKS) and len(ATTACKS) >= FEWEST_ATTACKS
    assert {case.aim for case in ATTACKS.values()} == set(AIMS)
    for case in ATTACKS.values():
        assert case.title.endswith("."), case.name
        assert case.naive.strip(), case.name


def collect(folder: Path, home: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", str(folder)],
        cwd=ROOT,
        env=os.environ | {"HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=BACKSTOP,
    )
    return done.stdout + done.stderr


def test_plain_pytest_never_reads_the_attacks(tmp_path: Path) -> None:
    """Their conftest.py leaves a mark where it runs, and does not run with the grader's tests."""
    mark = tmp_path / "redteam-conftest-ran"
    collected = collect(ROOT / "grader" / "tests", tmp_path)
    assert "test_redteam.py" in collected
    assert not mark.exists()
    collect(ATTACKS["conftest"].folder, tmp_path)
    assert mark.exists(), "the trap itself no longer works"
