"""Which functions the failing tests of a run are about."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from grader.course.syllabus import ROOT
from grader.course.syllabus_file import load
from grader.judging.comparison import Finding
from grader.judging.localization import failing_functions
from grader.judging.outcome import Outcome
from grader.judging.trial import Run
from grader.observation.calls import Call
from grader.observation.kind import Kind
from grader.observation.record import Frame, Interruption, Observation
from grader.tests.pytest_run import ANSWERS, PytestRun

ROPE, CACHE = load(ROOT).find("ex02"), load(ROOT).find("ex05")
PASSED, WRONG = None, Finding(Kind.VALUE, ("it differs",))


def outcome(tests: Mapping[tuple[str, ...], Finding | None], exercise: Any = CACHE) -> Outcome:
    """A run of tests, each of which has called some functions and passed or failed."""
    runs, seen = [], {}
    for number, (calls, finding) in enumerate(tests.items()):
        runs.append(Run(f"t{number}", passed=finding is None, finding=finding))
        observation = Observation(calls=tuple(map(Call, calls)))
        seen[f"t{number}"] = SimpleNamespace(seen=observation, want=None)
    trial: Any = SimpleNamespace(diagnosis=SimpleNamespace(last=seen.get))
    return Outcome(exercise, trial, tuple(runs), 0.0)


def broken(*functions: str, kind: Kind = Kind.EXCEPTION, file: str = "ex05_kv_cache.py") -> Finding:
    """What is found of an error that came out of nested functions, the innermost last."""
    frames = tuple(Frame(f"/course/exercises/{file}", 1, name, "") for name in functions)
    return Finding(kind, (), interruption=Interruption(kind, frames=frames))


class TestWhereSomethingBroke:
    @pytest.mark.parametrize(
        ("functions", "about"),
        [
            (("Attention.forward",), "Attention.forward"),
            (("Attention.__init__",), "Attention"),
            (("Attention.forward", "_scores"), "Attention.forward"),
            (("Attention.forward", "Attention._project"), "Attention.forward"),
            (("StaticCache.append", "StaticCache.reset"), "StaticCache.reset"),
            (("Attention.forward.<locals>.inner",), "Attention.forward"),
            (("StaticCache._grown",), "StaticCache"),
            (("StaticCache.append", "StaticCache.__init__"), "StaticCache"),
            (("StaticCache.append", "<lambda>"), "StaticCache.append"),
        ],
    )
    def test_it_is_the_innermost_function_that_there_are_hints_about(
        self, functions: tuple[str, ...], about: str
    ) -> None:
        run = outcome({("StaticCache", "StaticCache.append"): broken(*functions)})
        assert failing_functions(run) == (about,)

    def test_a_prerequisites_functions_are_not_this_exercises(self) -> None:
        found = broken("StaticCache.append", file="ex02_rope.py")
        run = outcome({("Attention", "Attention.forward"): found})
        assert failing_functions(run) == ("Attention.forward",)

    def test_a_name_that_is_missing(self) -> None:
        interruption = Interruption(Kind.MISSING, message="rotate_half")
        run = outcome({(): Finding(Kind.MISSING, (), interruption=interruption)}, ROPE)
        assert failing_functions(run) == ("rotate_half",)

    @pytest.mark.parametrize("kind", [kind for kind in Kind if kind.nothing_ran])
    def test_what_no_function_has_done_is_about_none(self, kind: Kind) -> None:
        assert failing_functions(outcome({("StaticCache",): broken(kind=kind)})) == ()

    def test_a_file_that_cannot_be_imported_is_about_none(self) -> None:
        interruption = Interruption(Kind.SYNTAX, at_load=True)
        assert (
            failing_functions(outcome({("Attention",): Finding(Kind.SYNTAX, (), interruption)}))
            == ()
        )


class TestWhatIsWrongAndBreaksNothing:
    def test_it_is_the_function_called_last(self) -> None:
        tables_then_turn = "precompute_freqs_cis", "apply_rotary_pos_emb"
        assert failing_functions(outcome({tables_then_turn: WRONG}, ROPE)) == tables_then_turn[1:]

    def test_a_function_whose_own_tests_pass_is_not_suspected(self) -> None:
        tests = {
            ("precompute_pos_cis", "apply_rotary_complex"): PASSED,
            ("interleaved_to_half", "apply_rotary_complex"): WRONG,
        }
        assert failing_functions(outcome(tests, ROPE)) == ("interleaved_to_half",)

    def test_a_function_that_fails_now_and_then_is_suspected_before_one_that_seldom_does(
        self,
    ) -> None:
        tests = {
            ("precompute_freqs_cis",): PASSED,
            ("precompute_freqs_cis", "rotate_half"): PASSED,
            ("rotate_half", "precompute_freqs_cis"): WRONG,
        }
        assert failing_functions(outcome(tests, ROPE)) == ("rotate_half",)

    def test_a_test_that_runs_into_a_stub_says_nothing_of_what_else_it_called(self) -> None:
        """Else `apply` would look better than it is: of what it returned only one was seen."""
        stub = broken("apply", "rotate_half", kind=Kind.NOT_IMPLEMENTED, file="ex02_rope.py")
        tests = {
            ("rotate_half", "apply_rotary_pos_emb"): stub,
            ("apply_rotary_pos_emb", "apply_rotary_pos_emb", "rotate_half"): stub,
            ("precompute_freqs_cis",): PASSED,
            ("apply_rotary_pos_emb", "precompute_freqs_cis"): WRONG,
        }
        assert failing_functions(outcome(tests, ROPE)) == ("rotate_half", "apply_rotary_pos_emb")

    def test_several_come_in_the_order_of_the_file(self) -> None:
        names = tuple(ladder.about for ladder in ROPE.hints)
        backwards = {(name,): WRONG for name in reversed(names)}
        assert failing_functions(outcome(backwards, ROPE)) == names

    def test_of_a_worker_that_was_killed_it_is_what_the_reference_calls(self) -> None:
        run = outcome({(): Finding(Kind.CRASHED, (), interruption=Interruption(Kind.CRASHED))})
        form = SimpleNamespace(calls=(Call("StaticCache"), Call("StaticCache.append")))
        (evidence,) = [run.trial.diagnosis.last("t0")]
        evidence.want = SimpleNamespace(form=form)
        assert failing_functions(run) == ("StaticCache.append",)

    def test_nothing_fails(self) -> None:
        assert failing_functions(outcome({("Attention",): PASSED})) == ()


class TestRuns:
    """Of whole runs, in this process and in another."""

    UNWRITTEN = (
        "apply_rotary_pos_emb",
        "precompute_pos_cis",
        "apply_rotary_complex",
        "interleaved_to_half",
    )

    @pytest.mark.parametrize("mode", [(), ("--isolate",)], ids=["in process", "isolated"])
    @pytest.mark.parametrize(
        ("answer", "failing"),
        [
            ("known_mistake", ("rotate_half", "apply_rotary_pos_emb")),
            ("two_mistakes", ("apply_rotary_pos_emb", "interleaved_to_half")),
            ("partly_implemented", UNWRITTEN),
            ("right", ()),
        ],
    )
    def test_what_is_wrong_is_found_and_nothing_else(
        self,
        answer: str,
        failing: tuple[str, ...],
        mode: tuple[str, ...],
        run_pytest: Callable[..., PytestRun],
    ) -> None:
        run = run_pytest(f"--impl={ANSWERS / answer}", *mode)
        assert run.trial is not None
        whole = Outcome(ROPE, run.trial, tuple(run.trial.runs.values()), 0.0)
        assert failing_functions(whole) == failing


def test_the_same_file_may_be_called_by_a_variant(tmp_path: Path) -> None:
    """The course check puts a mistake's name behind that of the file."""
    found = broken("StaticCache.reset", file="ex05_kv_cache.py#some_mistake")
    assert failing_functions(outcome({("StaticCache",): found})) == ("StaticCache.reset",)
