"""Solutions are changed in every way that is promised, and what survives is reported or listed."""

from pathlib import Path

import pytest

from grader.course.course import Course
from grader.course.syllabus import ROOT
from grader.course.syllabus_file import load
from grader.proof import jobs
from grader.proof.jobs import Fact, Job, TestFact
from grader.proof.mutation_score import (
    BrokenList,
    MutationScore,
    mutant_jobs,
    mutants_of,
    read_equivalents,
    score,
)
from grader.proof.text_mutants import TextMutant, text_mutants
from grader.proof.verdict import course_problems

EXERCISE = load(ROOT).find("ex02")
NONE = "y((i for i in x if False))"


def changes(body: str) -> dict[str, str]:
    """What the mutants of a function with this body change, and what they are then."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    mutants = text_mutants(f"def f(x, y):\n{lines}")
    return {
        mutant.id.removeprefix("f: "): mutant.text.partition("\n")[2].strip() for mutant in mutants
    }


class TestOperators:
    @pytest.mark.parametrize(
        ("body", "kind", "becomes"),
        [
            ("return x + y", "operator", ["return x - y"]),
            ("return x @ y", "operator", ["return x * y"]),
            ("return -x", "operator", ["return x"]),
            ("return not x", "operator", ["return x"]),
            ("return x and y", "operator", ["return x or y"]),
            ("return x < y", "comparison", ["return x <= y", "return x >= y"]),
            ("return x is y", "comparison", ["return x is not y"]),
            ("return x == y != 3", "comparison", ["return x != y != 3", "return x == y == 3"]),
            ("return 7", "constant", ["return 8", "return 6"]),
            ("return x.sum(-1)", "constant", ["return x.sum(0)", "return x.sum(-2)"]),
            ("return 0.5", "constant", ["return 1.5", "return -0.5"]),
            ("return True", "constant", ["return False"]),
            ("x.zero_()\ny()", "statement", ["pass\n    y()", "x.zero_()\n    pass"]),
            ("return x", "statement", ["return None"]),
            ("x += y", "statement", ["pass"]),
            ("raise ValueError('no 3')", "statement", ["pass"]),
            ("return x.to(y)", "call", ["return x"]),
            ("return x.detach()", "call", ["return x"]),
            ("return torch.relu(x)", "call", ["return x"]),
            ("return helper(x, 1)", "call", ["return x"]),
            ("return super().__init__()", "call", []),
            ("return self.scaled()", "call", []),
            ("return x.sum(-1, keepdim=True)", "keyword", ["return x.sum(-1)"]),
            ("return f(x, y)", "exchange", ["return f(y, x)"]),
            ("return (x, *y)", "exchange", []),
            ("return [x, y]", "exchange", ["return [y, x]"]),
            ("return x - y", "exchange", ["return y - x"]),
            ("return x + y", "exchange", []),
            ("return x[y:2]", "slice", ["return x[:2]", "return x[y:]"]),
            ("return x[::2]", "slice", ["return x[:]"]),
            ("if x:\n    y()", "condition", ["if True:\n        y()", "if False:\n        y()"]),
            ("y(x if x else 3)", "condition", ["y(x if True else 3)", "y(x if False else 3)"]),
            ("y(i for i in x if i)", "condition", ["y((i for i in x if True))", NONE]),
            ("with torch.no_grad():\n    y()", "context", ["if True:\n        y()"]),
            ("for i in x:\n    break", "statement", ["pass", "for i in x:\n        continue"]),
        ],
    )  # fmt: skip
    def test_what_an_operator_makes(self, body: str, kind: str, becomes: list[str]) -> None:
        made = [text for name, text in changes(body).items() if name.startswith(f"{kind}: ")]
        assert made == becomes

    def test_words_that_no_test_may_look_at_stay(self) -> None:
        text = (
            'def f(x: int = y) -> 3:\n    """Of 7."""\n    raise ValueError(f"{x + 1} is no 5")\n'
        )
        assert [mutant.id for mutant in text_mutants(text)] == [
            "f: statement: raise ValueError(f'{x + 1} is no 5') -> pass"
        ]

    def test_every_mutant_can_be_compiled_and_is_another_text(self) -> None:
        solution = (ROOT / "solutions" / EXERCISE.answer_file).read_text(encoding="utf-8")
        mutants = text_mutants(solution)
        assert len(mutants) > 100
        assert len({mutant.text for mutant in mutants}) == len(mutants)
        for mutant in mutants[::10]:
            compile(mutant.text, "mutant", "exec")

    @pytest.mark.parametrize(
        "body",
        [
            "return torch.promote_types(x, y)",
            "return x.transpose(1, 2)",
            "return x[0::2]",
            "return x.to(y.device)",
            "return torch.zeros(x, device=y)",
            "return list(zip(x, y, strict=True))",
        ],
    )
    def test_what_every_exercise_shares_is_known_by_rule(self, body: str) -> None:
        assert any(mutant.equivalent for mutant in text_mutants(f"def f(x, y):\n    {body}\n"))

    def test_a_dropped_cast_is_no_matter_of_devices(self) -> None:
        (mutant,) = text_mutants("x.to(y.device, z.dtype)\n")[1:2]
        assert mutant.text == "x\n"
        assert not mutant.equivalent


class TestIds:
    BEFORE = (
        "def f(x):\n    return x + 1\n\n\nclass A:\n    def g(self, x):\n        return x + 1\n"
    )

    def test_they_stay_where_other_lines_move(self) -> None:
        moved = self.BEFORE.replace("return", "# why\n        y = 5\n        return", 2)
        moved = "import torch\n\n" + moved.replace(
            "def f(x):\n    # why\n        y = 5\n        ", "def f(x):\n    "
        )
        before = {mutant.id for mutant in text_mutants(self.BEFORE)}
        assert before < {mutant.id for mutant in text_mutants(moved)}

    def test_they_name_the_function(self) -> None:
        functions = {mutant.id.partition(":")[0] for mutant in text_mutants(self.BEFORE)}
        assert functions == {"f", "A.g"}

    def test_two_of_one_kind_are_counted(self) -> None:
        names = [mutant.id for mutant in text_mutants("def f(x):\n    return x[1] + x[1]\n")]
        assert "f: constant: 1 -> 2" in names
        assert "f: constant: 1 -> 2 (2)" in names
        assert len(set(names)) == len(names)


@pytest.fixture
def course(small_course: Path) -> Course:
    """A course whose solution of ex02 is one line."""
    solution = EXERCISE.paths(small_course).solution
    solution.write_text("def f(x, y):\n    return x + y\n", encoding="utf-8")
    return Course(small_course, load(ROOT))


SUM, NOTHING = "f: operator: x + y -> x - y", "f: statement: return x + y -> return None"


def concluded(
    course: Course, *alive: str, tried: tuple[str, ...] = (SUM, NOTHING)
) -> MutationScore:
    """The score where some mutants pass the only test."""
    results = []
    for name in tried:
        job = Job(EXERCISE.id, "mutant", name)
        test = TestFact("t", name in alive, "" if name in alive else "value", "", {})
        results.append((job, [Fact(job, 0, 1, False, 1.0, (test,))]))
    return score(EXERCISE, course, results, 3.0)


def listed(course: Course, *mutants: str, reason: str = "x is always 0") -> Path:
    path = course.paths(EXERCISE).equivalent
    path.parent.mkdir(parents=True, exist_ok=True)
    names = ", ".join(f"'{name}'" for name in mutants)
    path.write_text(f'[[equivalent]]\nmutants = [{names}]\nreason = "{reason}"\n', encoding="utf-8")
    return path


class TestScore:
    def test_all_are_killed(self, course: Course) -> None:
        result = concluded(course)
        assert (result.mutants, result.killed, result.equivalent) == (2, 2, 0)
        assert result.ok

    def test_a_survivor_is_reported_with_what_it_does(self, course: Course) -> None:
        result = concluded(course, SUM)
        assert (result.killed, result.survivors) == (1, (SUM,))
        assert result.problems == (
            f"no test kills '{SUM}': return x - y; write one, or list it with the reason in "
            "tests/equivalent/ex02_rope.toml",
        )

    def test_one_that_is_listed_is_equivalent(self, course: Course) -> None:
        listed(course, SUM)
        result = concluded(course, SUM)
        assert (result.killed, result.equivalent, result.survivors) == (1, 1, ())
        assert result.ok

    def test_one_that_is_listed_and_killed_is_stale(self, course: Course) -> None:
        listed(course, SUM)
        (problem,) = concluded(course).problems
        assert problem == f"ex02_rope.toml lists '{SUM}', which a test kills"

    def test_one_that_is_listed_and_does_not_exist_is_stale(self, course: Course) -> None:
        listed(course, "f: operator: x * y -> x / y")
        (problem,) = concluded(course).problems
        assert problem.endswith("which is no mutant of the solution")

    def test_one_that_is_listed_and_not_in_the_sample_is_not_judged(self, course: Course) -> None:
        listed(course, SUM)
        assert concluded(course, tried=(NOTHING,)).ok

    def test_what_a_rule_knows_is_not_listed(self, course: Course) -> None:
        text = "def f(x, y):\n    return torch.promote_types(x, y)\n"
        course.paths(EXERCISE).solution.write_text(text, encoding="utf-8")
        (known,) = (mutant.id for mutant in mutants_of(EXERCISE, course) if mutant.equivalent)
        assert concluded(course, known, tried=(known,)).equivalent == 1
        listed(course, known)
        (problem,) = concluded(course, known, tried=(known,)).problems
        assert problem.endswith("which a rule knows: the order of its arguments does not matter")

    def test_one_that_could_not_be_tried(self, course: Course) -> None:
        job = Job(EXERCISE.id, "mutant", SUM)
        result = score(EXERCISE, course, [(job, "JobFailed: busy")], 1.0)
        assert result.problems == (f"{SUM} could not be tried: JobFailed: busy",)

    @pytest.mark.parametrize("reason", ["", "  "])
    def test_a_reason_is_wanted(self, reason: str, course: Course) -> None:
        with pytest.raises(BrokenList, match="entry 1: it needs mutants and a reason"):
            read_equivalents(listed(course, SUM, reason=reason))

    def test_no_mutant_is_listed_twice(self, course: Course) -> None:
        with pytest.raises(BrokenList, match="listed twice"):
            read_equivalents(listed(course, SUM, SUM))

    def test_a_list_of_no_exercise(self, course: Course) -> None:
        listed(course, SUM).rename(course.root / "tests" / "equivalent" / "ex77_new.toml")
        told = course_problems(course)
        assert "tests/equivalent/ex77_new.toml belongs to no exercise of the syllabus" in told


class TestSample:
    def test_without_one_all_are_tried(self, course: Course) -> None:
        jobs = mutant_jobs([EXERCISE], course)
        assert [job.name for job in jobs] == [mutant.id for mutant in mutants_of(EXERCISE, course)]

    def test_it_depends_on_its_seed_alone(self) -> None:
        course = Course(ROOT, load(ROOT))
        two = course.exercises[:2]
        first, again = (mutant_jobs(two, course, 30, "a") for _ in range(2))
        assert first == again
        assert len(first) == 30
        assert set(first) != set(mutant_jobs(two, course, 30, "b"))
        # Results are put together exercise by exercise.
        assert [j.exercise for j in first] == sorted(j.exercise for j in first)


def test_lists_of_the_course_name_mutants_that_there_are() -> None:
    course = Course(ROOT, load(ROOT))
    for exercise in course.exercises:
        if not course.paths(exercise).equivalent.exists():
            continue
        known = {mutant.id: mutant for mutant in mutants_of(exercise, course)}
        for name in read_equivalents(course.paths(exercise).equivalent):
            assert isinstance(known.get(name), TextMutant), f"{exercise.id} has no mutant {name!r}"


TESTS = '''
def test_sum(check):
    """Half a turn."""
    check(lambda rope: rope.rotate_half(ONE))


def test_never_reached(check):
    """Half a turn."""
    check(lambda rope: rope.rotate_half(ONE))
'''.replace("ONE", '__import__("torch").ones(2, 4)')


def test_a_mutant_is_run_up_to_the_first_test_that_fails(
    small_course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    EXERCISE.paths(small_course).test_file.write_text(TESTS, encoding="utf-8")
    monkeypatch.setattr(jobs._Pool, "course", Course.load(small_course), raising=False)
    monkeypatch.setattr(jobs._Pool, "caches", {}, raising=False)
    monkeypatch.setattr(jobs._Pool, "zygote", None, raising=False)
    name = "rotate_half: operator: -second -> second"
    (fact,) = jobs.run_job(Job(EXERCISE.id, "mutant", name))
    assert [(test.passed, test.test) for test in fact.tests] == [
        (False, "test_02_rope.py::test_sum")
    ]
