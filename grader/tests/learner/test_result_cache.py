"""Kept results: what has not changed is not run again, and what has changed in any way is."""

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from grader.course.course import Course
from grader.course.syllabus import ROOT, Syllabus
from grader.course.syllabus_file import load
from grader.course.variants import read_variants
from grader.learner.history import FILE, History, RunRecord
from grader.learner.progress import measure
from grader.learner.result_cache import FOLDER, VERSION, ResultCache
from grader.observation.kind import Kind
from grader.proof.figures.history import solved_course
from grader.results.record import ExerciseResult, NamedMistake, TestResult
from grader.tests.processes import BACKSTOP
from grader.tests.schemas import validator

SYLLABUS = load(ROOT)
EXERCISE = SYLLABUS.find("ex05")
RESULT = ExerciseResult(
    exercise=EXERCISE.id,
    points=EXERCISE.points,
    seed=7,
    profile="light",
    when=1.75e9 + 0.5,
    seconds=0.25,
    tests=(
        TestResult("test_05_kv_cache.py::test_one", "One · holds", 2, Kind.PASSED),
        TestResult(
            "test_05_kv_cache.py::test_two",
            "Two holds",
            1,
            Kind.VALUE,
            ("  got 1, want 2",),
            (NamedMistake("a_mistake", "it is a; it should be b"),),
        ),
    ),
    file_hash="ab" * 32,
    lines=("ex05_kv_cache · Two holds", "  value: got 1, want 2"),
    details=("  q: float32 [2, 3]",),
    failing=("Attention.forward", "StaticCache.append"),
)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    every = [exercise.id for exercise in SYLLABUS.exercises]
    return solved_course(ROOT, tmp_path_factory.mktemp("original"), every)


@pytest.fixture
def course(original: Path, tmp_path: Path) -> Path:
    """A copy of the course in which every answer is the solution."""
    return shutil.copytree(original, tmp_path / "course")


def kept(course: Path, syllabus: Syllabus = SYLLABUS) -> ResultCache:
    return ResultCache(Course(course, syllabus), syllabus.exercises)


def append(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\n# changed\n")


class TestScore:
    def test_its_line_in_the_history(self) -> None:
        record = RunRecord.of(RESULT, "report")
        assert (record.exercise, record.command, record.when) == (
            EXERCISE.id,
            "report",
            RESULT.when,
        )
        assert (record.passed, record.tests, record.points) == (1, 2, "100")
        assert record.verdicts == (
            ("test_05_kv_cache.py::test_one", "passed"),
            ("test_05_kv_cache.py::test_two", "value"),
        )
        assert (record.mistakes, record.file_hash) == (RESULT.mistakes, RESULT.file_hash)
        assert record.failing == RESULT.failing


class TestKeeping:
    def test_a_result_comes_back_as_it_was(self, course: Path) -> None:
        assert kept(course).find(EXERCISE) is None
        kept(course).keep({EXERCISE: RESULT})
        assert kept(course).find(EXERCISE) == RESULT

    def test_it_is_the_same_wherever_the_course_lies(self, course: Path, tmp_path: Path) -> None:
        kept(course).keep({EXERCISE: RESULT})
        moved = course.rename(tmp_path / "moved")
        assert kept(moved).find(EXERCISE) == RESULT

    @pytest.mark.parametrize(
        "changed",
        [
            "exercises/ex05_kv_cache.py",
            "solutions/ex05_kv_cache.py",
            "solutions/ex04_gqa.py",
            "solutions/ex02_rope.py",
            "tests/test_05_kv_cache.py",
            "tests/mistakes/ex05_kv_cache.py",
            "tests/roundings/ex05_kv_cache.py",
            "tests/support.py",
            "minimind_ref/kv_cache.py",
            "minimind_ref/config.py",
            "grader/messages/texts/en.toml",
            "grader/judging/comparison.py",
            "conftest.py",
            "pyproject.toml",
        ],
    )
    def test_what_it_rests_on_has_changed(self, changed: str, course: Path) -> None:
        kept(course).keep({EXERCISE: RESULT})
        append(course / changed)
        assert kept(course).find(EXERCISE) is None

    @pytest.mark.parametrize(
        "changed",
        [
            "exercises/ex04_gqa.py",
            "exercises/ex08_moe_gate.py",
            "solutions/ex08_moe_gate.py",
            "tests/test_04_gqa.py",
            "tests/alternatives/ex05_kv_cache.py",
            "grader/pristine/ex05_kv_cache.py",
            "grader/messages/texts/zh.toml",
            "grader/tests/conftest.py",
        ],
    )
    def test_what_it_does_not_rest_on_may_change(self, changed: str, course: Path) -> None:
        kept(course).keep({EXERCISE: RESULT})
        append(course / changed)
        assert kept(course).find(EXERCISE) == RESULT

    def test_a_file_that_is_gone_or_comes_up(self, course: Path) -> None:
        kept(course).keep({EXERCISE: RESULT})
        (course / "tests" / "roundings" / "ex05_kv_cache.py").unlink()
        assert kept(course).find(EXERCISE) is None
        kept(course).keep({EXERCISE: RESULT})
        (course / "minimind_ref" / "another.py").write_text("")
        assert kept(course).find(EXERCISE) is None

    def test_another_syllabus_entry(self, course: Path) -> None:
        kept(course).keep({EXERCISE: RESULT})
        stricter = replace(EXERCISE, bans=("torch.softmax",))
        changed = tuple(stricter if e is EXERCISE else e for e in SYLLABUS.exercises)
        assert kept(course, replace(SYLLABUS, exercises=changed)).find(stricter) is None

    def test_another_language(self, course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What was said of the failures is kept too."""
        for text in ("en", "zh"):  # so that the language alone differs
            (course / "grader" / "messages" / "texts" / f"{text}.toml").write_text("")
        kept(course).keep({EXERCISE: RESULT})
        monkeypatch.setenv("GRADER_LANG", "zh")
        assert kept(course).find(EXERCISE) is None
        monkeypatch.setenv("GRADER_LANG", "en")
        assert kept(course).find(EXERCISE) == RESULT

    def test_another_torch(self, course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        kept(course).keep({EXERCISE: RESULT})
        other = course / "torch"
        other.mkdir()
        (other / "version.py").write_text("__version__ = '9.9'")
        spec = type("Spec", (), {"origin": str(other / "__init__.py")})
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
        assert kept(course).find(EXERCISE) is None

    def test_what_was_saved_during_the_run_counts_as_a_change(self, course: Path) -> None:
        results = kept(course)
        append(course / "exercises" / "ex05_kv_cache.py")
        results.keep({EXERCISE: RESULT})
        assert kept(course).find(EXERCISE) is None
        assert not (course / FOLDER).exists()

    @pytest.mark.parametrize("verdict", [kind for kind in Kind if kind.by_chance])
    def test_what_the_machine_may_have_caused_is_run_again(
        self, verdict: Kind, course: Path
    ) -> None:
        tests = (*RESULT.tests, TestResult("t", "s", 1, verdict))
        kept(course).keep({EXERCISE: replace(RESULT, tests=tests)})
        assert kept(course).find(EXERCISE) is None

    @pytest.mark.parametrize(
        "content", ["", "not JSON", "5", "[]", "{}", '{"version": 99}', "\x00"]
    )
    def test_a_file_that_was_tampered_with_is_no_result(self, content: str, course: Path) -> None:
        kept(course).keep({EXERCISE: RESULT})
        file = course / FOLDER / f"{EXERCISE.id}.json"
        file.write_text(content)
        assert kept(course).find(EXERCISE) is None

    def test_a_field_too_few_or_too_many_is_no_result(self, course: Path) -> None:
        kept(course).keep({EXERCISE: RESULT})
        file = course / FOLDER / f"{EXERCISE.id}.json"
        whole = json.loads(file.read_text())
        result = whole["result"]
        for broken in (
            result | {"other": 1},
            result | {"lines": [1]},
            result | {"details": "text"},
            {k: v for k, v in result.items() if k != "seed"},
            {k: v for k, v in result.items() if k != "lines"},
            None,
        ):
            file.write_text(json.dumps(whole | {"result": broken}))
            assert kept(course).find(EXERCISE) is None
        file.write_text(json.dumps(whole))
        assert kept(course).find(EXERCISE) == RESULT

    def test_what_is_kept_keeps_to_the_schema(self, course: Path) -> None:
        kept(course).keep({EXERCISE: RESULT})
        content = json.loads((course / FOLDER / f"{EXERCISE.id}.json").read_text())
        assert (content["version"], set(content)) == (VERSION, {"version", "key", "result"})
        validator("result")(content["result"])

    @pytest.mark.parametrize("version", [1, 2, VERSION + 1])
    def test_a_file_of_another_version_is_run_again(self, version: int, course: Path) -> None:
        """In the form of before, and even under a key that is right."""
        kept(course).keep({EXERCISE: RESULT})
        file = course / FOLDER / f"{EXERCISE.id}.json"
        content = json.loads(file.read_text())
        old = {
            "version": version,
            "key": content["key"],
            "when": 1.75e9,
            "seed": 7,
            "seconds": 0.25,
            "tests": [{"test": "t", "sentence": "s", "weight": 1, "verdict": "passed"}],
            "mistakes": [],
            "file_hash": "",
            "lines": [],
            "details": [],
            "failing": [],
        }
        for text in (old, content | {"version": version}):
            file.write_text(json.dumps(text))
            assert kept(course).find(EXERCISE) is None
        kept(course).keep({EXERCISE: RESULT})
        assert kept(course).find(EXERCISE) == RESULT

    def test_nothing_is_kept_where_nothing_can_be_written(self, course: Path) -> None:
        (course / FOLDER.parent).write_text("a file")
        kept(course).keep({EXERCISE: RESULT})
        assert kept(course).find(EXERCISE) is None


class TestProgress:
    """`grader` itself, with two exercises begun: one done, one with a known mistake."""

    PROGRAM = (
        "import sys\n"
        "from grader.cli import main\n"
        "try:\n"
        "    main([])\n"
        "finally:\n"
        "    print('torch' in sys.modules, 'pytest' in sys.modules)\n"
    )

    @pytest.fixture
    def begun(self, course: Path) -> Path:
        for exercise in SYLLABUS.exercises:
            shutil.copy(exercise.paths(course).pristine, exercise.paths(course).stub)
        self.answer(course, "ex01")
        self.answer(course, "ex02", "exponent_without_two")
        return course

    def answer(self, course: Path, short: str, mistake: str = "") -> None:
        paths = SYLLABUS.find(short).paths(course)
        text = paths.solution.read_text(encoding="utf-8")
        for variant in read_variants(paths.mistakes):
            if variant.id == mistake:
                text += f"\n\n{variant.definitions}"
        paths.stub.write_text(text, encoding="utf-8")

    @pytest.fixture
    def grader(self, begun: Path) -> Callable[[], tuple[str, str]]:
        def run() -> tuple[str, str]:
            done = subprocess.run(
                [sys.executable, "-c", self.PROGRAM],
                cwd=begun,
                capture_output=True,
                text=True,
                timeout=BACKSTOP,
                check=True,
            )
            *lines, imported = done.stdout.splitlines()
            return "\n".join(lines) + done.stderr, imported

        return run

    def test_only_what_has_changed_is_run_again(
        self, begun: Path, grader: Callable[[], tuple[str, str]]
    ) -> None:
        first, imported = grader()
        assert imported == "True True"
        assert "  next: grader hint ex02\n" in first
        with closing(History.open(begun)) as history:
            one, two = history.runs()
        assert (one.exercise, one.done, one.points, one.command) == (
            "ex01_rmsnorm",
            True,
            "50",
            "progress",
        )
        assert (two.exercise, two.done) == ("ex02_rope", False)
        assert two.mistakes == ("exponent_without_two",)
        assert {verdict for _, verdict in two.verdicts} == {"passed", "value"}
        assert 0 < one.seconds < 100

        kept_files = sorted((begun / FOLDER).iterdir())
        assert [file.stem for file in kept_files] == ["ex01_rmsnorm", "ex02_rope"]
        for file in kept_files:
            validator("result")(json.loads(file.read_text())["result"])

        assert grader() == (first, "False False")

        self.answer(begun, "ex02")
        mended, imported = grader()
        assert imported == "True True"
        assert mended != first
        with closing(History.open(begun)) as history:
            assert [run.exercise for run in history.runs()] == [
                "ex01_rmsnorm",
                "ex02_rope",
                "ex02_rope",
            ]
            last = history.runs()[-1]
        assert (last.done, last.mistakes) == (True, ())

    def test_the_history_says_what_ran_it(
        self, begun: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one = SYLLABUS.find("ex01")
        monkeypatch.setattr("grader.learner.progress._graded", lambda *_: {one: RESULT})
        measure(Course(begun, SYLLABUS), [one], "report")
        with closing(History.open(begun)) as history:
            assert history.runs() == [RunRecord.of(RESULT, "report")]

    def test_progress_is_shown_where_nothing_can_be_kept(
        self, begun: Path, grader: Callable[[], tuple[str, str]]
    ) -> None:
        (begun / FILE.parent).write_text("a file")
        self.answer(begun, "ex02")
        said, imported = grader()
        begun_ones = SYLLABUS.find("ex01"), SYLLABUS.find("ex02")
        assert f"{sum(exercise.points for exercise in begun_ones)} of " in said
        assert said.count("your history is not being kept") == 1
        assert "Traceback" not in said
