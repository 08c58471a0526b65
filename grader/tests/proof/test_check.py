"""The course check fails where the course is broken, and says where.

Each test breaks one thing in a copy of the course that is small enough to be tried in a second.
"""

import math
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from grader.course.course import Course
from grader.course.syllabus import ROOT
from grader.course.syllabus_file import load
from grader.judging.trial import Run
from grader.proof import jobs as check
from grader.proof.jobs import Fact, Job, TestFact, _drawn, _facts, jobs_of, run_job
from grader.proof.verdict import ProofResult, conclude, course_problems
from grader.tests.processes import children, eventually, is_running

EXERCISE = load(ROOT).find("ex02")
TESTS = '''
"""Two facts of ex02."""


def test_half_turn(check, rng):
    """rotate_half turns (a, b) into (-b, a)."""
    check(lambda rope, x: rope.rotate_half(x), rng.normal(3, 5, 8))


def test_weights(check, rng):
    """interleaved_to_half puts each head's even rows first."""
    check(lambda rope, w: rope.interleaved_to_half(w, 3), rng.normal(24, 5))
'''
MISTAKES = '''
import torch


class no_minus:
    """the minus is missing"""

    def rotate_half(x):
        return x.roll(x.shape[-1] // 2, -1)


class odd_rows_first:
    """the odd rows come first"""

    def interleaved_to_half(weight, n_heads):
        heads = weight.reshape(n_heads, -1, weight.shape[-1])
        return torch.cat((heads[:, 1::2], heads[:, 0::2]), dim=1).flatten(0, 1)
'''
ALTERNATIVES = '''
import torch


class by_index:
    """rows by their numbers"""

    def interleaved_to_half(weight, n_heads):
        rows = torch.arange(len(weight)).reshape(n_heads, -1, 2)
        return weight[rows.movedim(2, 1).flatten()]
'''

Tried = Callable[..., ProofResult]


@pytest.fixture
def course(small_course: Path) -> Path:
    """A course of two tests, two mistakes and an alternative."""
    write(EXERCISE.paths(small_course).test_file, TESTS)
    write(EXERCISE.paths(small_course).mistakes, MISTAKES)
    write(EXERCISE.paths(small_course).alternatives, ALTERNATIVES)
    return small_course


@pytest.fixture
def tried(course: Path, zygote: Any, monkeypatch: pytest.MonkeyPatch) -> Tried:
    """Try some kinds of jobs on the course, in this process."""
    kept = {"course": Course.load(course), "zygote": zygote, "caches": {}}
    for name, value in kept.items():
        monkeypatch.setattr(check._Pool, name, value, raising=False)

    def conclusion(*kinds: str) -> ProofResult:
        jobs = [job for job in jobs_of(EXERCISE, seeds=1) if job.kind in kinds]
        assert {job.kind for job in jobs} == set(kinds)
        return conclude(
            EXERCISE, Course(course, load(ROOT)), [(job, list(run_job(job))) for job in jobs]
        )

    return conclusion


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def append(path: Path, text: str) -> None:
    write(path, path.read_text(encoding="utf-8") + text)


def about(conclusion: ProofResult, words: str) -> list[str]:
    return [problem for problem in conclusion.problems if words in problem]


NOT_ABOUT_RUNS = ("are wanted", "has no docstring", "is missing")


class TestWhatIsTried:
    def test_a_whole_course_has_nothing_to_complain_of(self, tried: Tried) -> None:
        conclusion = tried("stub", "all right", "all wrong")
        runs = [p for p in conclusion.problems if not any(word in p for word in NOT_ABOUT_RUNS)]
        assert runs == []
        assert (conclusion.tests, conclusion.mistakes, conclusion.named) == (2, 2, 2)
        assert (conclusion.alternatives, conclusion.rejected) == (1, 0)
        assert conclusion.redundant == ()
        assert conclusion.largest_null_share == 0

    def test_a_mistake_that_passes(self, tried: Tried, course: Path) -> None:
        append(
            EXERCISE.paths(course).mistakes,
            '\n\nclass harmless:\n    """it is right"""\n\n    def spare(): pass\n',
        )
        conclusion = tried("all wrong")
        assert about(conclusion, "mistake harmless") == [
            "ex02_rope mistake harmless (seed 0, 1 threads, in process) passes every test",
            "ex02_rope mistake harmless (seed 0, 1 threads, isolated) passes every test",
        ]
        assert conclusion.named == 2

    def test_two_mistakes_of_equal_behaviour(self, tried: Tried, course: Path) -> None:
        append(
            EXERCISE.paths(course).mistakes,
            '\n\nclass same_again:\n    """the same"""\n\n    def rotate_half(x):\n'
            "        first, second = x.chunk(2, -1)\n"
            "        return torch.cat((second, first), -1)\n",
        )
        conclusion = tried("all wrong")
        for name in ("no_minus", "same_again"):
            (problem, _) = about(conclusion, f"mistake {name}")
            assert problem.endswith("is diagnosed as no_minus, same_again")
        assert conclusion.named == 1

    def test_an_alternative_that_is_rejected(self, tried: Tried, course: Path) -> None:
        append(
            EXERCISE.paths(course).alternatives,
            '\n\nclass wrong:\n    """it is not right"""\n\n    def rotate_half(x):\n'
            "        return x\n",
        )
        conclusion = tried("all right")
        assert conclusion.rejected == 1
        problems = about(conclusion, "fails test_02_rope.py::test_half_turn")
        assert len(problems) == 2
        assert all("alternative wrong" in p and "got" in p for p in problems)

    def test_a_solution_that_fails(self, tried: Tried, course: Path) -> None:
        append(EXERCISE.paths(course).solution, "\n\ndef rotate_half(x):\n    return x\n")
        conclusion = tried("all right")
        assert len(about(conclusion, "right solutions (seed 0, 2 threads, isolated) fails")) == 1
        assert not about(conclusion, "right minimind_ref")

    def test_a_stub_that_passes_a_test(self, tried: Tried, course: Path) -> None:
        append(
            EXERCISE.paths(course).test_file,
            '\n\ndef test_nothing(check):\n    """Three is three."""\n    check(lambda rope: 3)\n',
        )
        problems = about(tried("stub"), "the stub")
        assert problems == ["the stub passes test_02_rope.py::test_nothing"] * 2

    def test_a_stub_that_fails_otherwise_than_by_being_one(
        self, tried: Tried, course: Path
    ) -> None:
        append(EXERCISE.paths(course).pristine, "\n\ndef rotate_half(x):\n    pass\n")
        problem, _ = about(tried("stub"), "the stub")
        assert problem.startswith(
            "the stub fails test_02_rope.py::test_half_turn by type, not by being a stub: "
            "rotate_half returned None"
        )

    def test_a_test_that_no_mistake_needs(self, tried: Tried, course: Path) -> None:
        append(
            EXERCISE.paths(course).test_file,
            TESTS.partition('"""\n\n\n')[2]
            .partition("def test_weights")[0]
            .replace("test_half_turn", "test_half_turn_again"),
        )
        conclusion = tried("all right", "all wrong")
        assert len(conclusion.redundant) == 1
        (problem,) = about(conclusion, "needed by no mistake")
        assert problem.startswith("1 of 3 tests are needed by no mistake and no null answer")
        assert conclusion.redundant[0] in problem

    def test_a_null_answer_that_wins_points(self, tried: Tried, course: Path) -> None:
        append(
            EXERCISE.paths(course).test_file,
            '\n\ndef test_shape(check, rng):\n    """The shape stays."""\n'
            "    check(lambda rope, x: list(rope.rotate_half(x).shape), rng.normal(3, 8))\n",
        )
        conclusion = tried("all wrong")
        (problem,) = about(conclusion, "the null answer 'zeros'")
        assert problem.endswith("wins 33% of the points: test_02_rope.py::test_shape")

    def test_an_answer_that_is_judged_otherwise_in_the_other_mode(
        self, tried: Tried, course: Path
    ) -> None:
        append(
            EXERCISE.paths(course).alternatives,
            '\n\nclass knows_where_it_runs:\n    """it looks"""\n\n    def rotate_half(x):\n'
            "        import sys\n"
            "        first, second = x.chunk(2, -1)\n"
            "        sign = -1 if 'pytest' in sys.modules else 1\n"
            "        return torch.cat((sign * second, first), -1)\n",
        )
        (problem,) = about(tried("all right"), "judged otherwise")
        assert "alternative knows_where_it_runs (seed 0, 1 threads, isolated)" in problem

    @pytest.mark.parametrize(
        ("relative", "kind", "words"),
        [
            (3e-6, "all wrong", "too close to right"),
            (3e-7, "all right", "of the allowed error of test_02_rope.py::test_half_turn"),
        ],
    )
    def test_a_margin_that_is_too_thin(
        self, relative: float, kind: str, words: str, tried: Tried, course: Path
    ) -> None:
        paths = EXERCISE.paths(course)
        append(
            paths.mistakes if kind == "all wrong" else paths.alternatives,
            f'\n\nclass nearly:\n    """nearly"""\n\n    def rotate_half(x):\n'
            f"        first, second = x.chunk(2, -1)\n"
            f"        return torch.cat((-second, first), -1) * (1 + {relative})\n",
        )
        assert about(tried(kind), words)

    def test_a_job_that_breaks_is_told(self, course: Path) -> None:
        job = Job(EXERCISE.id, "mistake", "no_minus")
        conclusion = conclude(EXERCISE, Course(course, load(ROOT)), [(job, "ValueError: boom")])
        assert "ex02_rope mistake no_minus could not be tried: ValueError: boom" in (
            conclusion.problems
        )
        assert not conclusion.ok


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_check_that_is_killed_leaves_no_process(how: signal.Signals) -> None:
    command = [sys.executable, "-m", "grader", "check", "ex02", "--seeds=1000"]
    checking = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)

    # A pool's process that has a zygote of its own is at work.
    assert eventually(lambda: any(map(children, children(checking.pid))))
    pool = children(checking.pid)
    below = [*pool, *(zygote for worker in pool for zygote in children(worker))]
    checking.send_signal(how)
    checking.wait()
    assert eventually(lambda: not any(map(is_running, below)))


class TestWhatIsThere:
    """What needs no run: files, docstrings and the number of known answers."""

    def problems(self, course: Path) -> tuple[str, ...]:
        return conclude(EXERCISE, Course(course, load(ROOT)), []).problems

    def test_too_few_mistakes_and_alternatives(self, course: Path) -> None:
        assert "ex02_rope has 2 mistakes, at least 8 are wanted" in self.problems(course)
        assert "ex02_rope has 1 alternatives, at least 3 are wanted" in self.problems(course)

    def test_an_exercise_says_itself_how_many_mistakes_it_wants(self, course: Path) -> None:
        wanted = replace(EXERCISE, fewest_mistakes=2)
        problems = conclude(wanted, Course(course, load(ROOT)), []).problems
        assert not any("mistakes" in problem for problem in problems)

    @pytest.mark.parametrize("name", ["lessons/02_rope.md", "minimind_ref/rope.py"])
    def test_a_missing_file(self, name: str, course: Path) -> None:
        assert f"{name} is missing" not in self.problems(course)
        (course / name).unlink()
        assert f"{name} is missing" in self.problems(course)

    def test_a_test_without_a_sentence(self, course: Path) -> None:
        file = EXERCISE.paths(course).test_file
        append(file, "\n\ndef test_silent(check): pass\n")
        append(file, '\n\ndef test_breathless(check):\n    """No full stop"""\n')
        told = self.problems(course)
        assert "test_02_rope.py::test_silent has no docstring: the learner reads it" in told
        assert "test_02_rope.py::test_breathless: its docstring needs a full stop" in told

    def test_an_undetectable_mistake_is_listed_and_not_counted(self, course: Path) -> None:
        append(
            EXERCISE.paths(course).mistakes,
            '\n\nclass unseen:\n    """unseen"""\n\n    UNDETECTABLE = "the proof"\n    x = 1\n',
        )
        conclusion = conclude(EXERCISE, Course(course, load(ROOT)), [])
        assert conclusion.undetectable == (("unseen", "the proof"),)
        assert conclusion.mistakes == 2

    @pytest.mark.parametrize(
        "name", ["solutions/ex77_new.py", "tests/mistakes/ex77_new.py", "tests/test_77_new.py"]
    )
    def test_a_file_of_no_exercise(self, name: str, course: Path) -> None:
        write(course / name, "")
        told = course_problems(Course(course, load(ROOT)))
        assert f"{name} belongs to no exercise of the syllabus" in told


class TestMarginsOfFacts:
    """The arithmetic of margins, on facts made by hand."""

    def fact(self, kind: str, used: float, precision: str = "float32", seed: int = 0) -> Fact:
        failed = kind == "mistake"
        test = TestFact("t", not failed, "value" * failed, "", {(precision, "x"): used})
        job = Job(EXERCISE.id, kind, "it", (seed,))
        return Fact(job, seed, 1, False, 1.0, (test,), named=("it",) * failed)

    def problems(self, course: Path, *facts: Fact) -> list[str]:
        conclusion = conclude(
            EXERCISE, Course(course, load(ROOT)), [(fact.job, [fact]) for fact in facts]
        )
        return about(conclusion, "allowed error")

    @pytest.mark.parametrize(
        ("kind", "precision", "enough", "not_enough"),
        [
            ("right", "float32", 0.33, 0.34),
            ("right", "bfloat16", 0.5, 0.51),
            ("mistake", "float32", 10.0, 9.9),
            ("mistake", "float16", 2.0, 1.9),
        ],
    )
    def test_limits(
        self, kind: str, precision: str, enough: float, not_enough: float, course: Path
    ) -> None:
        assert not self.problems(course, self.fact(kind, enough, precision))
        assert len(self.problems(course, self.fact(kind, not_enough, precision))) == 1

    def test_the_worst_seed_counts(self, course: Path) -> None:
        facts = [self.fact("right", used, seed=seed) for seed, used in enumerate((0.1, 0.9, 0.2))]
        (problem,) = self.problems(course, *facts)
        assert "(seed 1, 1 threads, in process) uses 90%" in problem

    @pytest.mark.parametrize(
        ("precision", "enough", "not_enough"), [("float32", 0.5, 0.51), ("float16", 0.75, 0.76)]
    )
    def test_of_many_seeds_the_later_ones_may_use_more(
        self, precision: str, enough: float, not_enough: float, course: Path
    ) -> None:
        assert len(self.problems(course, self.fact("right", enough, precision, seed=19))) == 1
        assert not self.problems(course, self.fact("right", enough, precision, seed=20))
        assert len(self.problems(course, self.fact("right", not_enough, precision, seed=20))) == 1

    def test_a_mistake_that_shows_otherwise_than_in_numbers_has_all_margin(
        self, course: Path
    ) -> None:
        job = Job(EXERCISE.id, "mistake", "it")
        test = TestFact("t", False, "shape", "", {})
        fact = Fact(job, 0, 1, False, 0.0, (test,), named=("it",))
        conclusion = conclude(EXERCISE, Course(course, load(ROOT)), [(job, [fact])])
        assert conclusion.mistake_margins[0].used == math.inf


@pytest.mark.parametrize(("file", "differ"), [("run.pt", 0), ("run.pth", 1)])
def test_both_modes_say_the_same_of_a_file_wherever_it_lies(
    file: str, differ: int, tmp_path: Path
) -> None:
    def fact(line: str, isolated: bool) -> Fact:
        test = TestFact("t", False, "exception", line, {})
        return Fact(Job(EXERCISE.id, "mistake", "it"), 0, 1, isolated, 0.0, (test,), named=("it",))

    facts = [fact("no file '/tmp/a1/run.pt'", False), fact(f"no file '/tmp/b2/{file}'", True)]
    course = Course(tmp_path, load(ROOT))
    problems = conclude(EXERCISE, course, [(facts[0].job, facts)]).problems
    assert sum("judged otherwise" in problem for problem in problems) == differ


class TestWhatNullAnswersEarn:
    """A test that keeps null answers from earning points is needed, by the points it is worth."""

    @pytest.mark.parametrize(
        ("weights", "redundant"),
        [
            ((1, 1, 38), ("u",)),  # without u, the null answer earns 1 of 39
            ((1, 38, 1), ()),  # without u, it earns half
        ],
    )
    def test_the_weights_count(
        self, weights: tuple[int, int, int], redundant: tuple[str, ...], course: Path
    ) -> None:
        def fact(kind: str, passed: dict[str, bool]) -> Fact:
            tests = [
                TestFact(name, passed[name], "" if passed[name] else "value", "", {}, weight)
                for name, weight in zip("tuv", weights, strict=True)
            ]
            job = Job(EXERCISE.id, kind, "it")
            return Fact(job, 0, 1, False, 0.0, tuple(tests), named=("it",))

        facts = [
            fact("right", {"t": True, "u": True, "v": True}),
            fact("mistake", {"t": False, "u": True, "v": True}),
            fact("mistake", {"t": True, "u": True, "v": False}),
            fact("null", {"t": True, "u": False, "v": False}),
        ]
        results = [(fact.job, [fact]) for fact in facts]
        conclusion = conclude(EXERCISE, Course(course, load(ROOT)), results)
        assert conclusion.redundant == redundant

    def test_a_fact_has_the_weight_of_its_test(self) -> None:
        (fact,) = _facts([Run("t", passed=True, weight=38)])
        assert fact.weight == 38


def test_a_sample_tries_so_many_mistakes_and_always_the_same() -> None:
    everything = Job("ex02", "all wrong")
    few = replace(everything, sample=3, drawn_by="monday")
    mistakes = [f"mistake {number}" for number in range(50)]
    assert _drawn(mistakes, everything) == mistakes
    drawn = _drawn(mistakes, few)
    assert len(set(drawn)) == 3 and set(drawn) <= set(mistakes)
    assert _drawn(mistakes, few) == drawn
    assert _drawn(mistakes, replace(few, drawn_by="tuesday")) != drawn
    assert sorted(_drawn(mistakes[:2], few)) == mistakes[:2]
    assert {job.sample for job in jobs_of(EXERCISE, 1, 3, "monday")} == {None, 3}
