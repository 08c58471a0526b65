"""What a mistake changes: which functions, how much; and which functions nobody has written yet."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from grader.course.syllabus import ROOT, Exercise
from grader.course.syllabus_file import load
from grader.course.variants import Variant, load_variant, read_variants
from grader.judging.changes import is_in_stub, reaches, size, unwritten
from grader.judging.comparison import judge
from grader.judging.diagnosis import Diagnosis, Evidence
from grader.judging.expectation import Precision, ReferenceRun
from grader.judging.outcome import Outcome, result_of
from grader.judging.trial import Run
from grader.observation.answer import Answer, Source, load_answer
from grader.observation.observe import observe
from grader.observation.record import Request

SOLUTION = '''
FACTOR = 2


def _twice(x):
    """Two times x."""
    return x * FACTOR


def inner(x: int) -> int:
    return _twice(x)


def outer(x, scale=1):
    return inner(x) * scale


class _Table:
    def look(self):
        return 3


def find():
    return _Table().look()


class Layer:
    def __init__(self):
        self.size = 1

    def _half(self, x):
        return x / 2

    def forward(self, x):
        return self._half(x)
'''


class TestReaches:
    """What a call cannot come to does not change it."""

    @pytest.mark.parametrize(
        ("asked", "definitions", "reached"),
        [
            ("inner", "def inner(x): ...", True),
            ("outer", "def _twice(x): ...", True),
            ("outer", "FACTOR = 3", True),
            ("outer", "FACTOR: int = 3", True),
            ("inner", "def outer(x, scale=1): ...", False),
            ("find", "class _Table: ...", True),
            ("inner", "class _Table: ...", False),
            ("Layer", "class Layer: ...", True),
            ("Layer", "def inner(x): ...", False),
            ("inner", "import math\ndef _new(x): ...", False),
            ("inner", "def _new(x): ...\ndef inner(x): return _new(x)", True),
            ("inner", "Layer.size = 3", True),
            ("inner", "print('as it is imported')", True),
            ("unknown", "def outer(x, scale=1): ...", True),
        ],
    )
    def test_from_what_is_asked_for(self, asked: str, definitions: str, reached: bool) -> None:
        assert reaches(frozenset({asked}), definitions, SOLUTION) is reached

    def test_from_any_of_them(self) -> None:
        asked = frozenset({"find", "inner"})
        assert reaches(asked, "FACTOR = 3", SOLUTION)
        assert not reaches(asked, "class Layer: ...", SOLUTION)

    def test_a_solution_that_cannot_be_read_says_nothing(self) -> None:
        assert reaches(frozenset({"inner"}), "def outer(x): ...", "def (")


class TestUnwritten:
    def test_functions_and_methods_that_only_raise(self) -> None:
        text = """
def done(x):
    return x

def stub(x):
    '''What it does.'''
    raise NotImplementedError

class Layer:
    def __init__(self):
        super().__init__()
        raise NotImplementedError("soon")
    def forward(self, x):
        if x is None:
            raise NotImplementedError
        return x
"""
        assert unwritten(text) == {"stub", "Layer.__init__"}

    def test_a_line_forgotten_below_the_code_is_no_stub(self) -> None:
        assert unwritten("def f(x):\n    return x\n    raise NotImplementedError\n") == set()

    def test_a_file_that_is_no_python_has_none(self) -> None:
        assert unwritten("def (") == set()


class TestIsInStub:
    @pytest.mark.parametrize(
        "definitions, stubs, expected",
        [
            ("def outer(x): return x", {"outer"}, True),
            ("def outer(x): return x", {"inner"}, False),
            ("def _twice(x): return x", {"inner"}, True),
            ("def _twice(x): return x", {"outer"}, False),
            ("FACTOR = 3", {"inner"}, True),
            ("class _Table(_Table):\n    def look(self): return 1", {"find"}, True),
            ("class _Table(_Table):\n    def look(self): return 1", {"outer"}, False),
            ("class Layer(Layer):\n    def _half(self, x): return x", {"Layer.forward"}, True),
            ("class Layer(Layer):\n    def _half(self, x): return x", {"Layer.__init__"}, False),
            ("def outer(x): ...\ndef inner(x): ...", {"outer"}, False),
        ],
    )
    def test_a_helper_works_for_those_that_use_it(
        self, definitions: str, stubs: set[str], expected: bool
    ) -> None:
        assert is_in_stub(definitions, SOLUTION, frozenset(stubs)) is expected

    @pytest.mark.parametrize("exercise", load(ROOT).exercises, ids=lambda e: e.id)
    def test_all_known_mistakes_are_in_the_stubs(self, exercise: Exercise) -> None:
        paths = exercise.paths(ROOT)
        solution = paths.solution.read_text(encoding="utf-8")
        stubs = unwritten(paths.pristine.read_text(encoding="utf-8"))
        for mistake in read_variants(paths.mistakes):
            assert is_in_stub(mistake.definitions, solution, stubs), mistake.id
            assert size(mistake.definitions, solution) > 0, mistake.id


class TestSize:
    def test_counts_what_differs_and_not_how_it_is_annotated(self) -> None:
        assert size("def inner(x):\n    return _twice(x)", SOLUTION) == 0
        assert size("def inner(x):\n    return _twice(-x)", SOLUTION) == 1
        assert size("def outer(x, scale=2):\n    return inner(x) * scale", SOLUTION) == 2


MISTAKES = (
    Variant(
        "long", "inner triples in two steps", "def inner(x):\n    y = x + x\n    return y + x\n"
    ),
    Variant("short", "outer adds x", "def outer(x, scale=1):\n    return inner(x) * scale + x\n"),
)


def diagnosis(answer: str, stubs: set[str] = frozenset()) -> Diagnosis:
    """What is known after one failed test of `outer` on an answer."""

    def module(text: str, package: str):
        return load_answer(Answer(package, Source("ex", f"/{package}/ex.py", text)))

    base = Answer("_base", Source("ex", "/base/ex.py", SOLUTION))
    found = Diagnosis(lambda: MISTAKES, lambda v: load_variant(v, base), unwritten=frozenset(stubs))
    request = Request(lambda ex, x: ex.outer(x), {"x": torch.tensor([1.0, 2.0])})
    expecting = ReferenceRun(module(SOLUTION, "_right"), request, torch.ones_like)
    want = expecting.complete(Precision(torch.float32, False, ()), None)
    seen, _ = observe(module(answer, "_mine"), request, frozenset({"/_mine/ex.py"}))
    found.add(Evidence("t", request, seen, want, judge(seen, want)))
    return found


class TestTwoThatExplainAFailure:
    ANSWER = "def outer(x): return 3 * x"

    def test_the_smaller_change_comes_first_and_neither_is_definite(self) -> None:
        found = diagnosis(self.ANSWER)
        assert [mistake.id for mistake in found.named("t")] == ["short", "long"]
        assert found.definite("t") is None

    def test_one_in_a_function_that_is_not_written_is_left_out(self) -> None:
        found = diagnosis(self.ANSWER, {"outer"})
        assert [mistake.id for mistake in found.named("t")] == ["long"]
        definite = found.definite("t")
        assert definite is not None and definite.id == "long"

    @pytest.mark.parametrize("stubs, recorded", [(set(), ()), ({"outer"}, ("long",))])
    def test_only_a_definite_one_is_recorded(
        self, stubs: set[str], recorded: tuple[str, ...]
    ) -> None:
        found = diagnosis(self.ANSWER, stubs)
        last = found.last("t")
        assert last is not None
        run = Run("t", finding=last.finding)
        trial: Any = SimpleNamespace(diagnosis=found)
        outcome = Outcome(load(ROOT).find("ex01"), trial, (run,), 1.0)
        result = result_of(outcome, ROOT, when=0.0, file_hash="")
        assert result.mistakes == recorded
        (test,) = result.tests
        assert [mistake.id for mistake in test.mistakes] == [v.id for v in found.named("t")]

    def test_where_both_are_in_stubs_both_stay(self) -> None:
        assert len(diagnosis(self.ANSWER, {"inner", "outer"}).named("t")) == 2
