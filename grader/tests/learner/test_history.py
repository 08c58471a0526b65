"""The history: what is recorded comes back, whatever happens to the process or to the course.

Nothing that goes wrong with it may stop a learner: it says so and gives way.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from grader.cli import main
from grader.course.syllabus import ROOT
from grader.course.syllabus_file import load
from grader.learner import history as module
from grader.learner.history import FILE, MIGRATIONS, BackgroundHistory, History, RunRecord
from grader.proof.figures.history import kill_writers
from grader.tests.processes import BACKSTOP

RUN = RunRecord(
    exercise="ex02_rope",
    command="watch",
    when=1.75e9 + 0.123456,
    seconds=0.25,
    passed=1,
    tests=2,
    points="200/13",
    verdicts=(("test_02_rope.py::test_one", "passed"), ("test_02_rope.py::test_two", "value")),
    mistakes=("exponent_without_two",),
    file_hash="ab" * 32,
    failing=("rotate_half", "apply_rotary_pos_emb"),
)
DONE = replace(RUN, passed=2, points="100", mistakes=(), failing=())
OTHER = replace(RUN, exercise="ex01_rmsnorm")
FIRST = load(ROOT).find("ex02").hints[0]

Opened = Callable[[Path], History]


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A folder with the course's syllabus and nothing else."""
    return with_syllabus(tmp_path / "course")


def with_syllabus(root: Path, *renamed: tuple[str, str]) -> Path:
    """The course's syllabus in a new folder, with other names in it."""
    text = (ROOT / "grader" / "curriculum.toml").read_text(encoding="utf-8")
    for old, new in renamed:
        text = text.replace(f'"{old}"', f'"{new}"')
    (root / "grader").mkdir(parents=True)
    (root / "grader" / "curriculum.toml").write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Opens histories, and closes them after the test."""
    histories: list[History] = []

    def open_one(root: Path) -> History:
        histories.append(History.open(root))
        return histories[-1]

    yield open_one
    for history in histories:
        history.close()


def schema_version(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


class TestRecords:
    def test_a_run_comes_back_as_it_was(self, course: Path, opened: Opened) -> None:
        history = opened(course)
        history.record_run(RUN)
        assert history.problem == ""
        assert opened(course).runs() == [RUN]

    def test_runs_come_oldest_first_and_by_exercise(self, course: Path, opened: Opened) -> None:
        history = opened(course)
        for run in (RUN, OTHER, DONE):
            history.record_run(run)
        assert history.runs() == [RUN, OTHER, DONE]
        assert history.runs("ex02_rope") == [RUN, DONE]
        assert history.runs("ex03_attention") == []

    def test_several_runs_are_kept_all_or_none(self, course: Path, opened: Opened) -> None:
        history = opened(course)
        unfit = replace(RUN, points=None)  # type: ignore[arg-type]
        history.record_runs([RUN, unfit])
        assert "NOT NULL" in history.problem
        assert history.runs() == []
        history.record_runs([RUN, DONE])
        assert (history.problem, history.runs()) == ("", [RUN, DONE])

    def test_only_a_run_of_passed_tests_is_done(self) -> None:
        assert DONE.done
        assert not RUN.done
        assert not replace(RUN, passed=0, tests=0).done

    def test_of_the_hints_about_a_function_the_highest_counts(
        self, course: Path, opened: Opened
    ) -> None:
        history = opened(course)
        for level in (1, 3, 2):
            history.record_hint("ex02_rope", "rotate_half", level)
        history.record_hint("ex02_rope", "precompute_freqs_cis", 1)
        history.record_hint("ex01_rmsnorm", "RMSNorm", 1)
        assert history.hints() == {
            "ex02_rope": {"rotate_half": 3, "precompute_freqs_cis": 1},
            "ex01_rmsnorm": {"RMSNorm": 1},
        }

    def test_having_given_up_is_not_forgotten(self, course: Path, opened: Opened) -> None:
        history = opened(course)
        history.record_solution("ex02_rope", gave_up=True)
        history.record_solution("ex02_rope", gave_up=False)
        history.record_solution("ex01_rmsnorm", gave_up=False)
        assert history.solutions() == {"ex02_rope": True, "ex01_rmsnorm": False}

    def test_after_closing_it_says_nothing_and_breaks_nothing(
        self, course: Path, opened: Opened
    ) -> None:
        history = opened(course)
        history.record_run(RUN)
        history.close()
        history.record_run(DONE)
        assert history.runs() == []
        assert opened(course).runs() == [RUN]


class TestRenamedExercises:
    @pytest.fixture
    def after(self, course: Path, tmp_path: Path, opened: Opened) -> Callable[..., History]:
        """The history of a run, a hint and a solution of ex02_rope in a changed course."""
        with closing(History.open(course)) as history:
            history.record_run(RUN)
            history.record_hint("ex02_rope", "rotate_half", 2)
            history.record_solution("ex02_rope", gave_up=True)

        def changed(*renamed: tuple[str, str]) -> History:
            root = with_syllabus(tmp_path / "changed", *renamed)
            assert len(load(root).exercises) == len(load(ROOT).exercises)
            shutil.copytree(course / FILE.parent, root / FILE.parent)
            return opened(root)

        return changed

    def test_another_name_is_followed_by_the_number(self, after: Callable[..., History]) -> None:
        history = after(("ex02_rope", "ex02_rotary"))
        assert history.runs("ex02_rotary") == [replace(RUN, exercise="ex02_rotary")]
        assert history.hints() == {"ex02_rotary": {"rotate_half": 2}}
        assert history.solutions() == {"ex02_rotary": True}

    def test_another_number_is_followed_by_the_name(self, after: Callable[..., History]) -> None:
        history = after(
            ("ex01_rmsnorm", "ex00_rmsnorm"),
            ("ex02_rope", "ex01_rope"),
            ("ex03_attention", "ex02_attention"),
        )
        assert history.runs("ex02_attention") == []
        assert history.runs("ex01_rope") == [replace(RUN, exercise="ex01_rope")]

    def test_one_that_is_gone_is_kept_under_its_old_name(
        self, after: Callable[..., History]
    ) -> None:
        history = after(("ex01_rmsnorm", "ex00_rmsnorm"), ("ex02_rope", "ex01_other"))
        assert history.runs() == history.runs("ex02_rope") == [RUN]
        assert history.runs("ex01_other") == []


class TestSchema:
    NEXT = (*MIGRATIONS, ("ALTER TABLE runs ADD COLUMN device TEXT NOT NULL DEFAULT 'cpu'",))

    @pytest.fixture
    def old(self, course: Path) -> Path:
        """A history of this version, with a run in it."""
        with closing(History.open(course)) as history:
            history.record_run(RUN)
        return course / FILE

    def backups(self, file: Path) -> list[Path]:
        return sorted(set(file.parent.iterdir()) - {file})

    def test_an_older_one_is_migrated_after_a_backup(
        self, old: Path, course: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "MIGRATIONS", self.NEXT)
        history = opened(course)
        assert history.problem == ""
        history.record_run(DONE)
        assert history.runs() == [RUN, DONE]
        assert schema_version(old) == len(self.NEXT)
        (backup,) = self.backups(old)
        assert backup.name == f"history-v{len(MIGRATIONS)}.db"
        assert schema_version(backup) == len(MIGRATIONS)
        with closing(sqlite3.connect(backup)) as connection:
            assert connection.execute("SELECT exercise FROM runs").fetchall() == [("ex02_rope",)]

    def test_what_was_read_before_hints_had_functions_is_kept(
        self, course: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (course / FILE).parent.mkdir()
        with closing(sqlite3.connect(course / FILE)) as connection:
            for statement in MIGRATIONS[0]:
                connection.execute(statement)
            connection.execute("PRAGMA user_version = 1")
            connection.execute("INSERT INTO hints VALUES (1, 'ex02_rope', 0.0, 3)")
            run = "1, 'ex02_rope', 'watch', 0.0, 1.0, 1, 2, '7', '[]', '[]', '00'"
            connection.execute(f"INSERT INTO runs VALUES ({run})")
            connection.commit()
        history = opened(course)
        history.record_hint("ex02_rope", "rotate_half", 1)
        assert history.problem == ""
        assert history.hints() == {"ex02_rope": {"": 3, "rotate_half": 1}}
        (kept,) = history.runs()
        assert (kept.points, kept.failing) == ("7", ())
        assert schema_version(course / FILE) == len(MIGRATIONS)

    def test_a_backup_never_replaces_another(
        self, old: Path, course: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        earlier = old.with_name(f"history-v{len(MIGRATIONS)}.db")
        earlier.write_bytes(b"an earlier backup")
        monkeypatch.setattr(module, "MIGRATIONS", self.NEXT)
        assert opened(course).runs() == [RUN]
        assert earlier.read_bytes() == b"an earlier backup"
        assert len(self.backups(old)) == 2

    def test_a_migration_that_fails_changes_nothing(
        self, old: Path, course: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "MIGRATIONS", (*self.NEXT, ("ALTER TABLE absent ADD x",)))
        history = opened(course)
        assert "no such table" in history.problem
        history.record_run(DONE)
        assert history.runs() == [RUN]
        assert schema_version(old) == len(MIGRATIONS)
        monkeypatch.setattr(module, "MIGRATIONS", MIGRATIONS)
        assert opened(course).runs() == [RUN]

    @pytest.mark.parametrize("kind", [History, BackgroundHistory])
    def test_a_newer_one_is_left_alone(self, kind: type[History], old: Path, course: Path) -> None:
        newer = len(MIGRATIONS) + 7
        with closing(sqlite3.connect(old)) as connection:
            connection.execute(f"PRAGMA user_version = {newer}")
        before = old.read_bytes()
        history = kind.open(course)
        assert f"version {newer}" in history.problem
        assert "grader update" in history.problem
        history.record_run(DONE)
        history.record_hint("ex02_rope", "rotate_half", 1)
        assert (history.runs(), history.hints()) == ([], {})
        assert old.read_bytes() == before
        assert self.backups(old) == []


class TestTrouble:
    """Whatever is wrong is said in a sentence, and nothing is raised or destroyed."""

    def all_of(self, history: History) -> None:
        history.record_run(RUN)
        history.record_hint("ex02_rope", "rotate_half", 1)
        history.record_solution("ex02_rope", gave_up=True)
        assert (history.runs(), history.runs("ex02_rope")) == ([], [])
        assert (history.hints(), history.solutions()) == ({}, {})

    def test_a_file_that_is_no_database_is_kept(self, course: Path, opened: Opened) -> None:
        (course / FILE).parent.mkdir()
        (course / FILE).write_bytes(b"not a database " * 1000)
        history = opened(course)
        assert "is broken; move it away" in history.problem
        self.all_of(history)
        assert (course / FILE).read_bytes() == b"not a database " * 1000

    def test_a_database_broken_within(self, course: Path, opened: Opened) -> None:
        with closing(History.open(course)) as history:
            history.record_runs([RUN] * 200)
        content = (course / FILE).read_bytes()
        (course / FILE).write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
        history = opened(course)
        assert history.runs() == []
        assert "is broken; move it away" in history.problem

    def test_a_folder_in_its_place(self, course: Path, opened: Opened) -> None:
        (course / FILE).mkdir(parents=True)
        history = opened(course)
        assert "cannot be written" in history.problem
        self.all_of(history)

    def test_a_file_in_the_place_of_its_folder(self, course: Path, opened: Opened) -> None:
        (course / FILE.parent).write_text("a file")
        history = opened(course)
        assert "cannot be created" in history.problem
        self.all_of(history)

    def test_a_syllabus_that_cannot_be_read(self, course: Path, opened: Opened) -> None:
        (course / "grader" / "curriculum.toml").write_text("not = [toml")
        history = opened(course)
        history.record_run(RUN)
        assert (history.problem, history.runs()) == ("", [RUN])

    def test_another_grader_that_holds_it(
        self, course: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is told of the record that was not kept, and the next one is kept again."""
        monkeypatch.setattr(module, "_BUSY_SECONDS", 0.05)
        history = opened(course)
        with closing(sqlite3.connect(course / FILE, isolation_level=None)) as stopped:
            stopped.execute("BEGIN EXCLUSIVE")
            history.record_run(RUN)
            assert "another process" in history.problem
        history.record_run(DONE)
        assert (history.problem, history.runs()) == ("", [DONE])


@pytest.mark.skipif(os.name == "nt", reason="permissions and limits of POSIX")
class TestDisks:
    """A process without privileges records runs until it meets a problem, and reads them again."""

    @pytest.fixture
    def shared(self) -> Iterator[Path]:
        """A course folder that other users can reach, unlike pytest's own."""
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            yield with_syllabus(Path(folder) / "course")

    def recorded(self, root: Path, limit: str = "") -> tuple[int, str]:
        """How many runs there are in the end, and what the problem is."""
        program = f"""
            import os, resource, sys
            from pathlib import Path
            from grader.messages.catalog import sentences
            from grader.tests.learner.test_history import RUN, History
            sentences("en")  # whom the course belongs to may be the only one who can read it
            if os.geteuid() == 0:
                os.setuid(65534)
            {limit}
            history = History.open(Path(sys.argv[1]))
            while not history.problem:
                history.record_run(RUN)
            print(len(history.runs()), history.problem)
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program), str(root)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=BACKSTOP,
        )
        assert done.returncode == 0, done.stderr
        runs, _, problem = done.stdout.strip().partition(" ")
        return int(runs), problem

    def test_what_may_not_be_written_can_still_be_read(self, shared: Path) -> None:
        with closing(History.open(shared)) as history:
            history.record_run(RUN)
        (shared / FILE).chmod(0o444)
        (shared / FILE.parent).chmod(0o555)
        runs, problem = self.recorded(shared)
        assert runs == 1
        assert "cannot be written" in problem
        (shared / FILE.parent).chmod(0o755)

    def test_only_the_folder_may_not_be_written(self, shared: Path) -> None:
        with closing(History.open(shared)) as history:
            history.record_run(RUN)
        (shared / FILE).chmod(0o666)
        (shared / FILE.parent).chmod(0o555)
        runs, problem = self.recorded(shared)
        assert runs == 1
        assert "cannot be written" in problem
        (shared / FILE.parent).chmod(0o755)

    def test_a_folder_that_may_not_be_made(self, shared: Path) -> None:
        shared.chmod(0o555)
        runs, problem = self.recorded(shared)
        assert runs == 0
        assert "cannot be created (Permission denied)" in problem
        shared.chmod(0o755)

    def test_a_full_disk_keeps_what_was_there(self, shared: Path) -> None:
        shared.chmod(0o777)
        limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))"
        runs, problem = self.recorded(shared, limit)
        assert runs > 10
        assert "cannot grow" in problem
        assert "make room" in problem
        with closing(History.open(shared)) as history:
            assert history.runs() == [RUN] * runs
            history.record_run(DONE)
            assert history.problem == ""


class TestSeveralAtOnce:
    def test_graders_beside_each_other_lose_nothing(self, course: Path, opened: Opened) -> None:
        """They also begin the history together."""
        program = (
            "import sys; from pathlib import Path\n"
            "from grader.tests.learner.test_history import RUN, History, replace\n"
            "history = History.open(Path(sys.argv[1]))\n"
            "for n in range(40):\n"
            "    history.record_run(replace(RUN, seconds=n, file_hash=sys.argv[2]))\n"
            "sys.exit(history.problem or 0)"
        )
        names = ("one", "two", "three")
        graders = [
            subprocess.Popen([sys.executable, "-c", program, str(course), name], cwd=ROOT)
            for name in names
        ]
        assert [grader.wait(timeout=BACKSTOP) for grader in graders] == [0, 0, 0]
        runs = opened(course).runs()
        for name in names:
            mine = [run.seconds for run in runs if run.file_hash == name]
            assert mine == list(range(40))

    def test_threads_may_share_one(self, course: Path, opened: Opened) -> None:
        history = opened(course)

        def record() -> None:
            for _ in range(10):
                history.record_run(RUN)
                history.runs()

        threads = [threading.Thread(target=record) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (history.problem, len(history.runs())) == ("", 40)

    def test_a_migration_waits_for_another(
        self, course: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Two graders open an older history at once: one migrates, and both go on."""
        with closing(History.open(course)) as history:
            history.record_run(RUN)
        monkeypatch.setattr(module, "MIGRATIONS", TestSchema.NEXT)
        found: list[str] = []

        def open_it() -> None:
            with closing(History.open(course)) as history:
                found.append(history.problem)

        threads = [threading.Thread(target=open_it) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [""] * 4
        assert len(list((course / FILE).parent.glob("history-v*.db"))) == 1

    def test_a_grader_that_is_killed_loses_nothing_that_it_kept(self, tmp_path: Path) -> None:
        killed = kill_writers(tmp_path, 20)
        assert killed.kept > 20
        assert (killed.lost, killed.corrupt, killed.stopped) == (0, 0, 0)


class TestCommands:
    """What the commands record, and the worked answer that waits for a pass."""

    @pytest.fixture
    def grader(self, course: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
        monkeypatch.setattr("grader.course.arguments.ROOT", course)
        (course / "solutions").mkdir()
        (course / "solutions" / "ex02_rope.py").write_text("# the answer is [bold]42[/bold]\n")
        return lambda *words: CliRunner().invoke(main, words, catch_exceptions=False)

    def test_a_hint_is_recorded(
        self, course: Path, grader: Callable[..., Result], opened: Opened
    ) -> None:
        assert grader("hint", "ex02", "--level=2").exit_code == 0
        assert grader("hint", "ex02", "--level=1").exit_code == 0
        assert grader("hint", "ex02", "--about=rotate_half").exit_code == 0
        assert opened(course).hints() == {"ex02_rope": {FIRST.about: 2, "rotate_half": 1}}

    def test_the_function_that_failed_last_is_helped_first(
        self, course: Path, grader: Callable[..., Result], opened: Opened
    ) -> None:
        failing = "rotate_half", "interleaved_to_half"
        opened(course).record_run(replace(RUN, failing=failing))
        assert "ex02_rope · rotate_half · hint 1 of " in grader("hint", "ex02").stdout
        assert "ex02_rope · rotate_half · hint 2 of " in grader("hint", "ex02", "--level=2").stdout
        assert opened(course).runs()[0].failing == failing
        opened(course).record_run(replace(RUN, failing=failing[1:]))
        assert "ex02_rope · interleaved_to_half · hint 1" in grader("hint", "ex02").stdout

    def test_a_hint_is_given_where_nothing_can_be_recorded(
        self, course: Path, grader: Callable[..., Result]
    ) -> None:
        (course / FILE.parent).write_text("a file")
        result = grader("hint", "ex02")
        assert result.exit_code == 0
        assert FIRST.levels[0] in result.stdout
        assert "your history is not being kept" in result.stderr

    @pytest.mark.parametrize("runs", [[], [RUN], [replace(DONE, exercise="ex01_rmsnorm")]])
    def test_the_worked_answer_waits_for_a_pass(
        self, runs: list[RunRecord], course: Path, grader: Callable[..., Result], opened: Opened
    ) -> None:
        for run in runs:
            opened(course).record_run(run)
        result = grader("solution", "ex02")
        assert result.exit_code == 1
        assert "42" not in result.output
        assert "grader hint ex02" in result.stderr
        assert "grader solution ex02 --give-up" in result.stderr
        assert opened(course).solutions() == {}

    def test_after_a_pass_it_is_shown_to_the_letter(
        self, course: Path, grader: Callable[..., Result], opened: Opened
    ) -> None:
        """Even where the answer was broken again since."""
        for run in (DONE, RUN):
            opened(course).record_run(run)
        for words in (("solution", "ex02"), ("solution", "ex02", "--give-up")):
            result = grader(*words)
            assert result.exit_code == 0
            assert result.stdout == "# the answer is [bold]42[/bold]\n"
        assert opened(course).solutions() == {"ex02_rope": False}

    def test_giving_up_is_remembered(
        self, course: Path, grader: Callable[..., Result], opened: Opened
    ) -> None:
        assert "42" in grader("solution", "ex02", "--give-up").stdout
        assert opened(course).solutions() == {"ex02_rope": True}
        assert "42" in grader("solution", "ex02").stdout

    def test_giving_up_works_where_nothing_can_be_remembered(
        self, course: Path, grader: Callable[..., Result]
    ) -> None:
        (course / FILE.parent).write_text("a file")
        assert grader("solution", "ex02").exit_code == 1
        result = grader("solution", "ex02", "--give-up")
        assert "42" in result.stdout
        assert "your history is not being kept" in result.stderr

    def test_an_answer_that_was_not_handed_out(
        self, course: Path, grader: Callable[..., Result]
    ) -> None:
        (course / "solutions" / "ex02_rope.py").unlink()
        result = grader("solution", "ex02", "--give-up")
        assert result.exit_code == 1
        assert "no worked answers; next: grader hint ex02" in result.stderr


def test_the_history_does_not_wait_for_torch() -> None:
    program = (
        "import sys, grader.learner.history, grader.results.record; print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
