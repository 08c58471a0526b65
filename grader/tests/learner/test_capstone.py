"""The capstone: a model of the learner's own parts, trained, interrupted, resumed, talked to."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from grader.cli import main
from grader.course.answers import choose, read_source
from grader.course.course import Course
from grader.course.syllabus import ROOT
from grader.course.variants import read_variants
from grader.learner.capstone import recipe as recipes
from grader.learner.capstone.assemble import Unfit, load_parts, reference_parts
from grader.learner.capstone.checks import checked
from grader.learner.capstone.data import Corpus, batches
from grader.learner.capstone.record import Record, Step
from grader.learner.capstone.screen import curve
from grader.learner.capstone.train import Speaker
from grader.learner.history import History, RunRecord
from grader.messages.sanitize import sanitize_line

TINY = recipes.TINY


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course whose exercises are the solutions."""
    root = tmp_path_factory.mktemp("course")
    for folder in ("grader/pristine", "solutions"):
        shutil.copytree(ROOT / folder, root / folder)
    shutil.copytree(root / "solutions", root / "exercises")
    shutil.copy(ROOT / "grader" / "curriculum.toml", root / "grader" / "curriculum.toml")
    (root / "minimind_ref").mkdir()
    shutil.copy(ROOT / "minimind_ref" / "config.py", root / "minimind_ref" / "config.py")
    return root


@pytest.fixture
def course(solved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it in which the capstone is tiny."""
    root = tmp_path / "course"
    shutil.copytree(solved, root)
    monkeypatch.setattr("grader.course.arguments.ROOT", root)
    monkeypatch.setattr(recipes, "USUAL", TINY)
    torch.set_num_threads(1)
    return root


@pytest.fixture
def grader(course: Path) -> Callable[..., Result]:
    def run(*words: str, **more: str) -> Result:
        return CliRunner().invoke(main, words, catch_exceptions=False, **more)

    return run


def losses(root: Path) -> list[float]:
    return [step.loss for step in Record(root).steps()]


def interrupt_at(step: int, monkeypatch: pytest.MonkeyPatch, number: int = signal.SIGINT) -> None:
    """Send a signal as soon as so many steps are made."""
    from grader.learner.capstone.screen import Screen

    shown = Screen.stepped

    def stepped(self: Screen, steps: Sequence[Step], recipe: recipes.Recipe) -> None:
        shown(self, steps, recipe)
        if len(steps) == step:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Screen, "stepped", stepped)


class TestTraining:
    def test_it_trains_saves_and_writes(self, grader: Callable[..., Result], course: Path) -> None:
        done = grader("capstone")
        run = Record(course).run()
        assert run is not None and run.finished and run.step == TINY.steps
        assert done.exit_code == 1 and f"target of {TINY.target}" in done.stderr
        assert "ex01, ex02, ex05" in done.stdout and "score of 2 texts" in done.stdout
        assert len(losses(course)) == TINY.steps and losses(course)[-1] < losses(course)[0]
        assert run.before.score is not None and run.after.count == TINY.samples
        saved = torch.load(Record(course).checkpoint, weights_only=True)
        assert saved  # by the learner's save_checkpoint

    def test_it_stops_at_the_target(
        self,
        grader: Callable[..., Result],
        course: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(recipes, "USUAL", replace(TINY, target=100.0))
        done = grader("capstone")
        assert done.exit_code == 0
        assert len(losses(course)) == TINY.window

    def test_once_it_is_finished_it_is_shown_and_not_done_again(
        self, grader: Callable[..., Result], course: Path
    ) -> None:
        grader("capstone")
        before = Record(course).checkpoint.read_bytes()
        again = grader("capstone")
        assert again.exit_code == 0 and "grader chat" in again.stdout
        assert Record(course).checkpoint.read_bytes() == before

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_interrupted_it_goes_on_where_it_was(
        self,
        grader: Callable[..., Result],
        course: Path,
        monkeypatch: pytest.MonkeyPatch,
        number: int,
    ) -> None:
        if sys.platform == "win32":
            pytest.skip("signals cannot be sent like this")
        grader("capstone")
        whole, text = losses(course), Record(course).run().after
        with monkeypatch.context() as patch:
            interrupt_at(3, patch, number)
            stopped = grader("capstone", "--restart")
        assert stopped.exit_code == 130 and "stopped after step 3 of 8" in stopped.stdout
        assert losses(course) == whole[:3]
        grader("capstone")
        assert losses(course) == whole
        assert Record(course).run().after == text

    def test_killed_between_two_checkpoints_it_goes_on_from_the_first(
        self,
        grader: Callable[..., Result],
        course: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        grader("capstone")
        whole = losses(course)
        from grader.learner.capstone.screen import Screen

        class Killed(BaseException):
            pass

        def killed(self: Screen, steps: Sequence[Step], recipe: recipes.Recipe) -> None:
            if len(steps) == 5:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(Screen, "stepped", killed)
            with pytest.raises(Killed):
                grader("capstone", "--restart")
        assert Record(course).run().step == 4
        grader("capstone")
        assert losses(course) == whole

    def test_restart_keeps_the_old_one(self, grader: Callable[..., Result], course: Path) -> None:
        grader("capstone")
        old = Record(course).checkpoint.read_bytes()
        again = grader("capstone", "--restart")
        (backup,) = (course / ".grader" / "backups").iterdir()
        assert str(backup) in again.stdout
        assert (backup / "checkpoint.pt").read_bytes() == old
        assert Record(course).run().finished

    def test_another_persons_parts_do_not_go_on_with_it(
        self, grader: Callable[..., Result]
    ) -> None:
        grader("capstone")
        other = grader("capstone", "--impl=solutions", "--steps=9")
        assert other.exit_code == 1 and "--restart" in other.stderr


class TestParts:
    def test_all_that_are_not_begun_are_named_before_anything_starts(
        self, grader: Callable[..., Result], course: Path
    ) -> None:
        shutil.copy(course / "grader/pristine/ex07_feed_forward.py", course / "exercises")
        (course / "exercises/ex15_loss.py").unlink()
        done = grader("capstone")
        assert done.exit_code == 1
        assert done.stderr.splitlines() == [
            "ex07_feed_forward is not written yet, and the model is made of it",
            "ex15_loss is not written yet, and the model is made of it",
            "  next: grader watch ex07",
        ]
        assert not Record(course).folder.exists()

    @pytest.mark.parametrize(
        ("exercise", "old", "new", "said"),
        [
            (
                "ex07_feed_forward",
                "def forward(",
                "def forward(self, x):\n        raise NotImplementedError\n\n    def _old(",
                "ex07_feed_forward is not ready: forward is not written yet",
            ),
            (
                "ex15_loss",
                "import torch",
                "import torch\n1 / 0",
                "ex15_loss is not ready: line 29 raises ZeroDivisionError: division by zero",
            ),
            ("ex13_tokenizer", "import", "imp ort", "is not valid Python"),
            ("ex19_sampling", "import torch", "import torch\nraise SystemExit(0)", "SystemExit"),
        ],
    )
    def test_one_that_cannot_be_used_is_named(
        self,
        grader: Callable[..., Result],
        course: Path,
        exercise: str,
        old: str,
        new: str,
        said: str,
    ) -> None:
        file = course / "exercises" / f"{exercise}.py"
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace(old, new, 1), encoding="utf-8")
        done = grader("capstone")
        assert done.exit_code == 1
        assert f"\n{exercise} is not ready: " in done.stderr
        where = text[: text.index(old)].count("\n") + 2
        assert said.replace("line 29", f"line {where}") in done.stderr
        assert f"next: pytest tests/test_{exercise[2:]}.py" in done.stderr
        assert not Record(course).folder.exists()

    @pytest.mark.parametrize(
        ("exercise", "mistake"),
        [
            ("ex01_rmsnorm", "eps_outside_the_root"),
            ("ex02_rope", "neighbouring_pairs"),
            ("ex05_kv_cache", "norms_over_all_heads"),
            ("ex05_kv_cache", "head_dim_from_hidden_size"),
            ("ex07_feed_forward", "gate_and_up_swapped"),
            ("ex10_block", "post_norm"),
            ("ex11_model", "no_final_norm"),
            ("ex13_tokenizer", "pairs_counted_once_in_a_word"),
            ("ex14_dataset", "padding_is_a_label"),
            ("ex15_loss", "not_shifted"),
            ("ex16_optimizer", "eps_before_the_correction_and_decay_of_the_new_p"),
            ("ex17_train_step", "summed_over_the_window"),
            ("ex18_checkpoint", "bfloat16_on_disk"),
            ("ex19_sampling", "temperature_ignored"),
            ("ex20_generate", "stops_with_the_first_row"),
        ],
    )
    def test_a_wrong_one_is_named_though_all_others_build_on_it(
        self, exercise: str, mistake: str
    ) -> None:
        course = Course.load()
        found = course.syllabus.find(exercise)
        solution = read_source(course.paths(found).solution)
        known = {v.id: v for v in read_variants(course.paths(found).mistakes)}
        wrong = {found.id: known[mistake].applied_to(solution)}
        with pytest.raises(Unfit) as unfit:
            parts = load_parts(choose("solutions", course, own=True), course, wrong)
            list(checked(parts, reference_parts(course), course))
        assert unfit.value.exercise == found

    @pytest.mark.parametrize("impl", ["solutions", "minimind_ref"])
    def test_right_ones_agree(self, impl: str) -> None:
        course = Course.load()
        reference = reference_parts(course)
        parts = reference
        if impl == "solutions":
            parts = load_parts(choose(impl, course, own=True), course)
        names = {exercise.id for exercise in checked(parts, reference, course)}
        assert names == set(course.syllabus.capstone.prerequisites)

    def test_tests_that_do_not_pass_are_told_and_it_starts_anyway(
        self, grader: Callable[..., Result], course: Path
    ) -> None:
        file = (course / "exercises/ex16_optimizer.py").read_bytes()
        digest = hashlib.sha256(file).hexdigest()
        run = RunRecord(
            "ex16_optimizer", "watch", 1e9, 1.0, 3, 14, "0", (("test_one", "value"),), (), digest
        )
        with closing(History.open(course)) as history:
            history.record_run(run)
        done = grader("capstone")
        assert "ex16 (3 of 14)" in done.stderr
        assert "ex15 (not run since its last change)" in done.stderr
        assert Record(course).run().finished


class TestFile:
    def test_any_text_can_be_read_and_has_no_score(
        self, grader: Callable[..., Result], course: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "text.txt"
        file.write_text("The cat sat on the mat. <|im_end|> 猫坐在垫子上。\n" * 40, "utf-8")
        done = grader("capstone", "--corpus", str(file))
        run = Record(course).run()
        assert done.exit_code == 0 and "score" not in done.stdout
        assert run.finished and run.after.score is None and len(losses(course)) == TINY.steps
        shown, read = run.after.shown[0], file.read_text("utf-8").replace("<|im_end|>", "")
        assert shown.text.startswith(shown.prompt) and shown.prompt in read
        # Without --corpus it is this training that goes on.
        assert "your model" in grader("capstone").stdout

    @pytest.mark.parametrize(
        ("content", "said"),
        [(b"", "is empty"), (b"ab\xff", "byte 2"), (b"too short", "too short")],
    )
    def test_one_that_cannot_be_read_is_refused(
        self,
        grader: Callable[..., Result],
        course: Path,
        tmp_path: Path,
        content: bytes,
        said: str,
    ) -> None:
        file = tmp_path / "text.txt"
        file.write_bytes(content)
        done = grader("capstone", "--corpus", str(file))
        assert done.exit_code == 1 and said in done.stderr

    def test_a_training_of_another_text_is_not_overwritten(
        self, grader: Callable[..., Result], course: Path, tmp_path: Path
    ) -> None:
        grader("capstone")
        file = tmp_path / "text.txt"
        file.write_text("Any text. " * 100, "utf-8")
        done = grader("capstone", "--corpus", str(file))
        assert done.exit_code == 1 and "grader capstone --restart" in done.stderr
        assert not Record(course).run().file


class TestChat:
    def test_it_completes_what_is_given(self, grader: Callable[..., Result]) -> None:
        grader("capstone")
        once = grader("chat", "3 +", "4 =")
        assert once.exit_code == 0 and once.stdout.startswith("3 + 4 =")
        assert grader("chat", "3 +", "4 =").stdout == once.stdout
        assert grader("chat", "3 +", "4 =", "--seed", "5").stdout != once.stdout

    def test_it_reads_lines_until_an_empty_one(self, grader: Callable[..., Result]) -> None:
        grader("capstone")
        done = grader("chat", input="Tom had\n小红有\n\nMia\n")
        assert "Try: Tom had" in done.stdout
        assert "\nTom had" in done.stdout and "\n小红有" in done.stdout
        assert "Mia" not in done.stdout.partition("chat.")[2]

    def test_characters_come_one_by_one(self, course: Path, grader: Callable[..., Result]) -> None:
        grader("capstone")
        here = Course.load(course)
        parts = load_parts(choose("exercises", here, own=True), here)
        record = Record(course)
        speaker = Speaker(parts, record.run(), record, here)
        pieces = speaker.stream("Tom", 1.0, 3)
        assert isinstance(next(pieces), str)
        pieces.close()  # whoever has read enough may leave
        assert len(list(speaker.stream("Tom", 1.0, 3))) > 1

    def test_without_a_model_it_says_so(self, grader: Callable[..., Result]) -> None:
        done = grader("chat")
        assert done.exit_code == 1 and "next: grader capstone" in done.stderr

    def test_a_part_that_has_been_broken_since_is_named(
        self, grader: Callable[..., Result], course: Path
    ) -> None:
        grader("capstone")
        (course / "exercises/ex20_generate.py").write_text("def generate(*a, **k): 1 / 0\n")
        done = grader("chat", "Tom")
        assert done.exit_code == 1
        assert "ex20_generate is not ready: line 1 raises ZeroDivisionError" in done.stderr


@pytest.mark.parametrize(("chosen", "policy"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_waiting_threads_sleep_unless_somebody_chose_otherwise(
    chosen: str | None, policy: str
) -> None:
    """Beside one busy process, threads that spin make a step four times as long."""
    program = (
        "import os, sys\n"
        "class Importing:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch':\n"
        "            os.write(2, os.environ.get('OMP_WAIT_POLICY', 'none').encode())\n"
        "            os._exit(0)\n"
        "sys.meta_path.insert(0, Importing())\n"
        "from grader.cli import main\n"
        "main(['capstone', '--impl=solutions', '--steps=1'])"
    )
    given = {"OMP_WAIT_POLICY": chosen} if chosen else {}
    usual = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**usual, **given},
        capture_output=True,
        text=True,
    )
    assert done.stderr == policy


class TestSyllabus:
    def test_it_comes_after_the_last_exercise(
        self, grader: Callable[..., Result], course: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from grader.learner.progress import Progress

        monkeypatch.setattr("grader.learner.progress.measure", lambda *_: Progress((), 0))
        assert "next: grader capstone, A model of your own" in grader("next").stdout
        assert "lessons/21_capstone.md" in grader("next").stdout
        grader("capstone")
        assert "grader capstone" not in grader("next").stdout

    def test_it_is_listed(self, grader: Callable[..., Result]) -> None:
        assert "A model of your own" in grader("list").stdout

    def test_its_minutes_are_those_of_the_longest_path_alone(self) -> None:
        syllabus = Course.load().syllabus
        minutes = {e.id: e.minutes for e in (*syllabus.exercises, *syllabus.experiments)}
        for path in syllabus.paths:
            more = syllabus.capstone.minutes if path.id == "full" else 0
            listed = (*path.experiments, *path.exercises)
            assert path.minutes == sum(minutes[id] for id in listed) + more


class TestBatches:
    def test_rows_of_like_length_come_together_and_each_once_an_epoch(self) -> None:
        chance = random.Random(3)
        rows = [[number] * chance.randint(5, 90) for number in range(205)]
        parts = load_parts(choose("solutions", Course.load(), own=True), Course.load())
        recipe = replace(TINY, batch=4)
        epoch = list(islice(batches(parts, rows, Corpus(("",)), recipe, 0), 52))
        read = [int(row[1]) for ids, _ in epoch for row in ids]
        assert sorted(read) == list(range(205)) and read[:8] != list(range(8))
        shown = sum(ids.numel() for ids, _ in epoch)
        assert shown < 1.15 * sum(len(row) + 2 for row in rows)
        later = islice(batches(parts, rows, Corpus(("",)), recipe, 17), 35)
        pairs = zip(epoch[17:], later, strict=True)
        assert all(torch.equal(one, other) for (one, _), (other, _) in pairs)


class TestCurve:
    def test_a_line_that_falls(self) -> None:
        lines = curve([float(n) for n in range(80, 0, -1)], 20, 4)
        assert len(lines) == 4 and max(map(len, lines)) == 20
        assert lines[0][0] != "\u2800" and lines[0][-1] != lines[3][-1]
        first = [next(i for i, dot in enumerate(line) if dot != "\u2800") for line in lines]
        assert first == sorted(first)

    def test_one_value_and_equal_ones(self) -> None:
        assert curve([1.0], 10, 2) == ["\u2801", ""]
        assert curve([2.0] * 40, 10, 2)[1] == ""


class TestReport:
    def test_it_has_a_page_with_curve_samples_and_score(
        self, grader: Callable[..., Result], course: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
        from grader.learner.progress import Progress

        monkeypatch.setattr("grader.learner.report.write.measure", lambda *_: Progress((), 0))
        page = course / "report.html"
        grader("report", "--html", str(page))
        assert 'id="capstone"' not in page.read_text("utf-8")
        with monkeypatch.context() as patch:
            interrupt_at(3, patch)
            grader("capstone")
        grader("report", "--html", str(page))
        assert "it has made 3 steps" in page.read_text("utf-8")
        grader("capstone")
        grader("report", "--html", str(page))
        text = page.read_text("utf-8")
        run = Record(course).run()
        assert run is not None and f"{TINY.steps} steps" in text and "<svg" in text
        assert f"{round(100 * run.after.score)} % after it" in text
        from markupsafe import escape

        for sample in (*run.before.shown, *run.after.shown):
            first = sanitize_line(sample.text.splitlines()[0])
            assert str(escape(first)) in text
