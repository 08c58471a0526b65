"""However a command ends, it ends in one sentence: full disks, closed pipes, Ctrl-C, odd files."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from grader.classroom.grade import NoSubmission, _laid_out, check_submission, exercise_of
from grader.cli import main
from grader.course.course import Course
from grader.course.files import check_output, replace_file, write_output
from grader.course.syllabus import ROOT
from grader.course.syllabus_file import load
from grader.learner.history import FILE, History, RunRecord
from grader.learner.settings import SETTINGS, chosen_path

SYLLABUS = load(ROOT)
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
AS_ROOT = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="for root every folder can be written"
)


def grader(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "grader", *words],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"GRADER_LANG": "en"},
        **options,
    )


@FULL
@pytest.mark.parametrize("words", [["list"], ["show", "ex01"], ["--help"]], ids=" ".join)
def test_a_disk_that_is_full_is_told_in_a_sentence(words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = grader(*words, stdout=full)
    assert done.stderr == "the output cannot be written: No space left on device\n"
    assert done.returncode == 1


@pytest.mark.parametrize("words", [["list"], ["--help"]], ids=" ".join)
def test_whoever_stops_reading_ends_it_without_a_word(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = grader(*words, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def invoke(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, words, env={"GRADER_LANG": "en"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (OSError(28, "No space left on device", "/a/file"), 1, "/a/file cannot be used: No space"),
        (OSError(28, "No space left on device"), 1, "the output cannot be written: No space"),
        (BrokenPipeError(32, "Broken pipe"), 1, ""),
        (ConnectionResetError("reset"), 1, "ConnectionResetError cannot be used: reset"),
    ],
    ids=["Ctrl-C", "a file", "the output", "a pipe", "something else"],
)
def test_what_any_command_raises_becomes_a_sentence(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setitem(main.commands, "fail", click.Command("fail", callback=fail))
    ended, output = invoke("fail")
    assert ended == code and output.startswith(said) and bool(output) == bool(said)


class TestSubmissions:
    @pytest.mark.parametrize(
        ("name", "id"),
        [
            ("ex01_rmsnorm.py", "ex01_rmsnorm"),
            ("ex01.py", "ex01_rmsnorm"),
            ("EX02_Rope.py", "ex02_rope"),
            ("ex02_rope (1).py", "ex02_rope"),
            ("ex02_rope(12).py", "ex02_rope"),
            ("ex02_rope-2.py", "ex02_rope"),
            ("ex02 copy.py", "ex02_rope"),
            ("ex05_kv_cache_3.py", "ex05_kv_cache"),
        ],
    )
    def test_a_name_stands_for_an_exercise(self, name: str, id: str) -> None:
        assert exercise_of(Path("a", name), SYLLABUS).id == id

    @pytest.mark.parametrize(
        "name", ["rope.py", "test_02_rope.py", "ex02_rope.txt", "ex99.py", "a"]
    )
    def test_another_is_refused_with_the_name_to_take(self, name: str, tmp_path: Path) -> None:
        (tmp_path / name).write_text("")
        code, output = invoke("grade", str(tmp_path / name))
        assert code == 2 and f"{name} is not named after an exercise: rename it" in output
        assert ("ex02_rope.py" in output) == ("rope" in name)

    def test_a_folder_without_an_answer_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "ex01.py").write_text("")
        code, output = invoke("grade", str(tmp_path))
        assert code == 2 and "holds no answer: it has none of ex01_rmsnorm.py, ex02_rope" in output
        (tmp_path / "ex02_rope.py").write_text("")
        check_submission(tmp_path, SYLLABUS)

    def test_exactly_the_file_that_is_named_is_graded(self, tmp_path: Path) -> None:
        """Not the one beside it that has the exercise's own name."""
        (tmp_path / "ex01_rmsnorm.py").write_text("right = True\n")
        (tmp_path / "ex01.py").write_text("right = False\n")
        exercise = SYLLABUS.find("ex01")
        for name, text in (("ex01.py", "right = False\n"), ("ex01_rmsnorm.py", "right = True\n")):
            with _laid_out(tmp_path / name, exercise) as folder:
                assert (folder / exercise.answer_file).read_text() == text

    def test_a_link_is_no_submission(self, tmp_path: Path) -> None:
        (tmp_path / "ex01.py").symlink_to(ROOT / "solutions" / "ex01_rmsnorm.py")
        with pytest.raises(NoSubmission, match="is not a regular file"):
            with _laid_out(tmp_path / "ex01.py", SYLLABUS.find("ex01")):
                pass


class TestOutputs:
    def refused(self, file: Path, *words: str) -> str:
        code, output = invoke(*words, "--json", str(file))
        assert code == 2
        return output

    @pytest.mark.parametrize("words", [["grade", "."], ["report"], ["check"]], ids=" ".join)
    def test_a_place_that_cannot_be_written_is_refused_before_the_work(
        self, words: list[str], tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("kept")
        for place in (tmp_path, tmp_path / "file" / "below"):
            why = "is a directory" if place == tmp_path else "cannot be written"
            assert why in self.refused(place, *words)
        assert (tmp_path / "file").read_text() == "kept"
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    @AS_ROOT
    def test_a_folder_that_cannot_be_written_is_refused(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        with pytest.raises(PermissionError):
            check_output(tmp_path / "new" / "file")

    def test_looking_leaves_nothing_behind(self, tmp_path: Path) -> None:
        check_output(tmp_path / "new" / "file")
        assert not list(tmp_path.iterdir())

    def test_a_device_stays_one_and_a_link_too(self, tmp_path: Path) -> None:
        (tmp_path / "target").write_text("old")
        (tmp_path / "link").symlink_to(tmp_path / "target")
        write_output(tmp_path / "link", b"new")
        assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_text() == "new"
        null = Path(os.devnull)
        check_output(null)
        write_output(null, b"gone")
        assert not null.is_file()

    @FULL
    def test_a_failed_write_leaves_the_old_file_and_says_which(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(self: Path, content: bytes) -> None:
            raise OSError(28, "No space left on device")

        (tmp_path / "file").write_text("old")
        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left") as caught:
            replace_file(tmp_path / "file", b"new")
        assert caught.value.filename == str(tmp_path / "file")
        assert [path.name for path in tmp_path.iterdir()] == ["file"]
        assert (tmp_path / "file").read_text() == "old"


class TestDamage:
    """What lies in `.grader/` may have been written by anybody."""

    RUN = RunRecord("ex01_rmsnorm", "watch", 1.0, 1.0, 1, 1, "5", (("t", "passed"),), (), "")

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            *(("verdicts", text) for text in ("no JSON", "3", "[1]", "[[1, 2]]", "[" * 100_000)),
            *(("mistakes", text) for text in ("", "{", "[3]", "null")),
            *(("at", number) for number in ("yesterday", -1, 1e300)),
            *(("points", text) for text in ("many", "1/0", "-1")),
            ("passed", "all"),
            ("exercise", b"\xff"),
        ],
    )
    def test_a_row_of_history_that_is_no_run_is_left_out_and_told(
        self, column: str, value: object, tmp_path: Path
    ) -> None:
        with closing(History.open(tmp_path)) as history:
            history.record_runs([self.RUN, self.RUN])
            with sqlite3.connect(tmp_path / FILE) as database:
                database.execute(f"UPDATE runs SET {column} = ? WHERE id = 1", [value])
            assert history.runs() == [self.RUN]
            assert history.problem == (
                f"{tmp_path / FILE} has rows that cannot be read; they are skipped and not changed"
            )

    def test_so_is_a_hint(self, tmp_path: Path) -> None:
        with closing(History.open(tmp_path)) as history:
            history.record_hint("ex01_rmsnorm", "RMSNorm", 2)
            with sqlite3.connect(tmp_path / FILE) as database:
                database.execute("INSERT INTO hints (exercise, at, level) VALUES (x'ff', 1, 'x')")
            assert history.hints() == {"ex01_rmsnorm": {"RMSNorm": 2}} and history.problem

    @pytest.mark.parametrize("text", ["[" * 100_000, "3", "{", '{"path": [3]}', "\xff"])
    def test_settings_that_are_none_are_as_at_first(self, text: str, tmp_path: Path) -> None:
        (tmp_path / SETTINGS).parent.mkdir()
        (tmp_path / SETTINGS).write_text(text, encoding="latin-1")
        assert chosen_path(Course(tmp_path, SYLLABUS)) == max(
            SYLLABUS.paths, key=lambda p: p.minutes
        )
