"""A newer course comes in, by real git, and nothing that a learner made is lost."""

import bz2
import gzip
import io
import lzma
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from grader.cli import main
from grader.course.course import Course
from grader.course.stubs import BACKUPS, undo_reset
from grader.learner.update import merge as update_module
from grader.learner.update.fetch import UpdateError
from grader.learner.update.merge import MANIFEST, Update, merged, update

STUB = '''"""Two functions."""


def first(x):
    """Return x."""
    # your code here
    raise NotImplementedError


def second(x):
    """Return twice x."""
    # your code here
    raise NotImplementedError
'''
EDITED = STUB.replace(
    "    # your code here\n    raise NotImplementedError\n\n\ndef second",
    "    mine = x  # the learner's\n    return mine\n\n\ndef second",
)
NEW_STUB = STUB.replace("Return twice x.", "Return x + x.")
CONFLICTING = STUB.replace("    raise NotImplementedError", "    raise TypeError", 1)
SYLLABUS = """version = 1
[[parts]]
id = 1
title = "All"
[[paths]]
id = "full"
title = "All"
exercises = ["ex01_one"]
[[exercises]]
id = "ex01_one"
title = "One"
part = 1
points = 10
minutes = 10
prerequisites = []
bans = []
fact = "A fact."
read = ["A paper"]
limits = { seconds = 1, memory_mb = 1 }
hints = [{ about = "one", levels = ["a", "b"] }]
"""
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    done = subprocess.run(
        ["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())


def stub(course: Path, id: str, text: str) -> None:
    write(course, {f"exercises/{id}.py": text, f"grader/pristine/{id}.py": text})


def commit(course: Path, message: str = "course") -> str:
    git(course, "add", "--all")
    git(course, "commit", "--quiet", "--message", message)
    return git(course, "rev-parse", "HEAD")


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    """The course's repository, with two exercises and a lesson."""
    course = tmp_path / "upstream"
    course.mkdir()
    git(course, "init", "--quiet", "--initial-branch=main")
    write(
        course,
        {
            ".gitignore": ".grader/\n.venv/\n",
            "grader/curriculum.toml": SYLLABUS,
            "lessons/01_one.md": "Read this.\n",
            "constraints.txt": "torch==1\n",
        },
    )
    stub(course, "ex01_one", STUB)
    stub(course, "ex02_two", STUB)
    commit(course)
    return course


@pytest.fixture
def clone(upstream: Path, tmp_path: Path) -> Path:
    """A learner's clone of it."""
    git(tmp_path, "clone", "--quiet", str(upstream), "clone")
    return tmp_path / "clone"


def read(folder: Path, name: str) -> str:
    return (folder / name).read_bytes().decode()


def exercises(done: Update) -> dict[str, str]:
    return {change.exercise: change.kind for change in done.changes if change.exercise}


def backups(course: Path) -> set[str]:
    return {path.read_bytes().decode() for path in (course / BACKUPS).rglob("*") if path.is_file()}


class TestExercises:
    def test_an_untouched_stub_becomes_the_new_one(self, upstream: Path, clone: Path) -> None:
        stub(upstream, "ex01_one", NEW_STUB)
        commit(upstream)
        assert exercises(update(clone, None)) == {"ex01_one": "updated"}
        assert read(clone, "exercises/ex01_one.py") == NEW_STUB
        assert read(clone, "grader/pristine/ex01_one.py") == NEW_STUB

    def test_edits_are_merged_with_what_is_new_in_the_stub(
        self, upstream: Path, clone: Path
    ) -> None:
        write(clone, {"exercises/ex01_one.py": EDITED})
        stub(upstream, "ex01_one", NEW_STUB)
        commit(upstream)
        done = update(clone, None)
        assert exercises(done) == {"ex01_one": "merged"}
        both = read(clone, "exercises/ex01_one.py")
        assert both == EDITED.replace("Return twice x.", "Return x + x.")
        assert read(clone, "grader/pristine/ex01_one.py") == NEW_STUB
        assert done.backups["exercises/ex01_one.py"].read_text() == EDITED

    def test_what_was_merged_can_be_brought_back_by_reset(
        self, upstream: Path, clone: Path
    ) -> None:
        write(clone, {"exercises/ex01_one.py": EDITED})
        stub(upstream, "ex01_one", NEW_STUB)
        commit(upstream)
        update(clone, None)
        course = Course.load(clone)
        undo_reset(course.syllabus.find("ex01"), course)
        assert read(clone, "exercises/ex01_one.py") == EDITED

    def test_where_both_changed_a_line_the_new_stub_lies_beside(
        self, upstream: Path, clone: Path
    ) -> None:
        write(clone, {"exercises/ex01_one.py": EDITED})
        stub(upstream, "ex01_one", CONFLICTING)
        commit(upstream)
        assert exercises(update(clone, None)) == {"ex01_one": "beside"}
        assert read(clone, "exercises/ex01_one.py") == EDITED
        assert read(clone, "exercises/ex01_one.py.new") == CONFLICTING
        git(clone, "update-ref", "HEAD", "HEAD~1")  # or there would be nothing to look at
        (again,) = (change for change in update(clone, None).changes if change.exercise)
        assert (again.kind, again.other) == ("kept", "exercises/ex01_one.py.new")

    def test_a_file_that_lies_beside_already_is_backed_up(
        self, upstream: Path, clone: Path
    ) -> None:
        write(clone, {"exercises/ex01_one.py": EDITED, "exercises/ex01_one.py.new": "my notes"})
        stub(upstream, "ex01_one", CONFLICTING)
        commit(upstream)
        update(clone, None)
        assert read(clone, "exercises/ex01_one.py.new") == CONFLICTING
        assert "my notes" in backups(clone)

    def test_edits_of_a_stub_that_did_not_change_are_left_alone(
        self, upstream: Path, clone: Path
    ) -> None:
        write(clone, {"exercises/ex01_one.py": EDITED})
        before = (clone / "exercises" / "ex01_one.py").stat()
        stub(upstream, "ex02_two", NEW_STUB)
        commit(upstream)
        assert exercises(update(clone, None)) == {"ex01_one": "kept", "ex02_two": "updated"}
        after = (clone / "exercises" / "ex01_one.py").stat()
        assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
        assert not (clone / BACKUPS).exists()

    def test_a_new_exercise_comes_in(self, upstream: Path, clone: Path) -> None:
        stub(upstream, "ex03_three", STUB)
        commit(upstream)
        assert exercises(update(clone, None)) == {"ex03_three": "new"}
        assert read(clone, "exercises/ex03_three.py") == STUB

    def test_one_that_is_gone_goes_only_without_edits(self, upstream: Path, clone: Path) -> None:
        for number in range(3, 9):
            stub(upstream, f"ex{number:02}_more", STUB)
        commit(upstream)
        update(clone, None)
        write(clone, {"exercises/ex01_one.py": EDITED})
        for id in ("ex01_one", "ex02_two"):
            git(upstream, "rm", "-q", f"exercises/{id}.py", f"grader/pristine/{id}.py")
        commit(upstream)
        assert exercises(update(clone, None)) == {"ex01_one": "left", "ex02_two": "removed"}
        assert read(clone, "exercises/ex01_one.py") == EDITED
        assert not (clone / "exercises" / "ex02_two.py").exists()

    def test_one_with_another_name_takes_the_edits_along(self, upstream: Path, clone: Path) -> None:
        write(clone, {"exercises/ex01_one.py": EDITED})
        for folder in ("exercises", "grader/pristine"):
            git(upstream, "mv", f"{folder}/ex01_one.py", f"{folder}/ex01_first.py")
            git(upstream, "mv", f"{folder}/ex02_two.py", f"{folder}/ex02_second.py")
        stub(upstream, "ex01_first", NEW_STUB)
        commit(upstream)
        done = update(clone, None)
        assert exercises(done) == {"ex01_first": "renamed", "ex02_second": "updated"}
        assert "the learner's" in read(clone, "exercises/ex01_first.py")
        assert "Return x + x." in read(clone, "exercises/ex01_first.py")
        names = {path.name for path in (clone / "exercises").iterdir()}
        assert names == {"ex01_first.py", "ex02_second.py"}
        assert EDITED in backups(clone)

    def test_another_exercise_with_its_number_leaves_the_edits_where_they_are(
        self, upstream: Path, clone: Path
    ) -> None:
        write(clone, {"exercises/ex01_one.py": EDITED})
        git(upstream, "rm", "-q", "exercises/ex01_one.py", "grader/pristine/ex01_one.py")
        stub(upstream, "ex01_other", "def other():\n    raise NotImplementedError\n")
        commit(upstream)
        assert exercises(update(clone, None)) == {"ex01_other": "split"}
        assert read(clone, "exercises/ex01_one.py") == EDITED
        assert "def other" in read(clone, "exercises/ex01_other.py")

    def test_line_endings_and_a_byte_order_mark_stay_the_learner_s(
        self, upstream: Path, clone: Path
    ) -> None:
        write(clone, {"exercises/ex01_one.py": "\ufeff" + EDITED.replace("\n", "\r\n")})
        stub(upstream, "ex01_one", NEW_STUB)
        commit(upstream)
        assert exercises(update(clone, None)) == {"ex01_one": "merged"}
        both = read(clone, "exercises/ex01_one.py")
        assert both.startswith("\ufeff") and both.count("\r\n") == both.count("\n")

    def test_a_link_to_the_learner_s_own_file_stays_one(
        self, upstream: Path, clone: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "mine.py").write_text(EDITED)
        (clone / "exercises" / "ex01_one.py").unlink()
        (clone / "exercises" / "ex01_one.py").symlink_to(tmp_path / "mine.py")
        stub(upstream, "ex01_one", NEW_STUB)
        commit(upstream)
        update(clone, None)
        assert "Return x + x." in (tmp_path / "mine.py").read_text()
        assert (clone / "exercises" / "ex01_one.py").is_symlink()

    def test_without_git_the_new_stub_lies_beside(
        self, upstream: Path, clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.rmtree(clone / ".git")
        write(clone, {"exercises/ex01_one.py": EDITED})
        stub(upstream, "ex01_one", NEW_STUB)
        shutil.rmtree(upstream / ".git")
        monkeypatch.setenv("PATH", str(tmp_path))
        assert exercises(update(clone, str(upstream))) == {"ex01_one": "beside"}
        assert read(clone, "exercises/ex01_one.py") == EDITED

    def test_a_merge_that_is_no_python_is_none(self) -> None:
        base = "if a:\n    b\n\n\n\n\n\nc\n"
        mine, new = base.replace("c", "mine"), base.replace("if a:", "if a")
        assert merged(mine.encode(), base.encode(), base.encode()) == mine.encode()
        assert merged(mine.encode(), base.encode(), new.encode()) is None


@st.composite
def edits(draw: st.DrawFn) -> str:
    """The stub with some lines taken out, changed or put in."""
    lines = STUB.splitlines()
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(lines) - 1))
        lines[place : place + draw(st.integers(0, 2))] = draw(
            st.lists(st.sampled_from(["mine = 1", "# mine", "", "    x = 2"]), max_size=3)
        )
    return "\n".join(lines) + "\n"


@settings(max_examples=60, deadline=None)
@given(edits(), edits())
def test_no_line_of_the_learner_s_is_lost_in_a_merge(mine: str, new: str) -> None:
    both = merged(mine.encode(), STUB.encode(), new.encode())
    if both is not None:
        kept = both.decode().splitlines()
        added = [line for line in mine.splitlines() if line not in STUB.splitlines()]
        assert all(kept.count(line) >= 1 for line in added)


class TestOtherFiles:
    def test_those_handed_out_are_replaced_and_those_changed_are_backed_up(
        self, upstream: Path, clone: Path
    ) -> None:
        write(upstream, {"lessons/01_one.md": "Better.\n", "notes.md": "Theirs.\n"})
        commit(upstream)
        write(clone, {"notes.md": "The learner's.\n", "diary.md": "Dear diary\n"})
        done = update(clone, None, now=lambda: NOW)
        assert read(clone, "lessons/01_one.md") == "Better.\n"
        assert read(clone, "notes.md") == "Theirs.\n"
        assert read(clone, "diary.md") == "Dear diary\n"
        kept = clone / BACKUPS / "update.20260102T030405Z" / "notes.md"
        assert done.backups == {"notes.md": kept}
        assert kept.read_text() == "The learner's.\n"

    def test_a_changed_lesson_is_backed_up(self, upstream: Path, clone: Path) -> None:
        write(clone, {"lessons/01_one.md": "Read this.\nMy remark.\n"})
        write(upstream, {"lessons/01_one.md": "Better.\n"})
        commit(upstream)
        update(clone, None)
        assert "Read this.\nMy remark.\n" in backups(clone)

    def test_one_that_is_gone_goes_unless_it_was_changed(self, upstream: Path, clone: Path) -> None:
        write(upstream, {"a.md": "a", "b.md": "b"})
        commit(upstream)
        update(clone, None)
        write(clone, {"b.md": "mine"})
        git(upstream, "rm", "-q", "a.md", "b.md")
        commit(upstream)
        update(clone, None)
        assert not (clone / "a.md").exists()
        assert read(clone, "b.md") == "mine"

    def test_an_executable_file_stays_one(self, upstream: Path, clone: Path) -> None:
        write(upstream, {".ci/run": "#!/bin/sh\n"})
        (upstream / ".ci" / "run").chmod(0o755)
        commit(upstream)
        update(clone, None)
        assert os.access(clone / ".ci" / "run", os.X_OK)

    def test_a_folder_in_the_way_stops_it_before_anything_is_written(
        self, upstream: Path, clone: Path
    ) -> None:
        write(upstream, {"lessons/01_one.md": "Better.\n", "place": "a file"})
        commit(upstream)
        write(clone, {"place/mine.txt": "a folder"})
        with pytest.raises(UpdateError, match="place is in the way of the course's place"):
            update(clone, None)
        assert read(clone, "lessons/01_one.md") == "Read this.\n"


def zipped(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def tarred(files: dict[str, bytes], **member: Any) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for field, value in member.items():
                setattr(info, field, value)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def encrypted() -> bytes:
    packed = bytearray(zipped({"a": b"text"}))
    for header, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        packed[packed.index(header) + flags] |= 1
    return bytes(packed)


def announced(size: int) -> bytes:
    """A tar whose names come after a header of that size, which reading keeps in memory."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, size
    return gzip.compress(info.tobuf(tarfile.USTAR_FORMAT) + bytes(size), 1)


MANY_FILES = {str(n): b"" for n in range(200)}
ZEROS = bytes(3_000_000)
BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "cannot be unpacked"),
    "half a zip": (lambda: zipped({"a": os.urandom(5_000)})[:2_000], "cannot be unpacked"),
    "a damaged zip": (
        lambda: zipped({"a": bytes(5_000)}).replace(b"\xed\xc1", b"\xff\xff"),
        "cannot be unpacked",
    ),
    "an encrypted zip": (encrypted, "is encrypted"),
    "half a tar.gz": (
        lambda: gzip.compress(tarred({"a": os.urandom(50_000)}))[:20_000],
        "cannot be unpacked",
    ),
    "a damaged gzip": (lambda: b"\x1f\x8b" + os.urandom(1_000), "cannot be unpacked"),
    "a damaged xz": (lambda: b"\xfd7zXZ" + os.urandom(1_000), "cannot be unpacked"),
    "a zip bomb": (lambda: zipped({"a": ZEROS}), "no course is that large"),
    "a tar bomb": (lambda: gzip.compress(tarred({"a": ZEROS})), "no course is that large"),
    "a bomb that is no file": (
        lambda: bz2.compress(tarred({"a": ZEROS}, type=b"Z")),
        "no course is that large",
    ),
    "a bomb in a header": (lambda: announced(3_000_000), "no course is that large"),
    "many files in a zip": (lambda: zipped(MANY_FILES), "no course is that large"),
    "many files in a tar": (lambda: lzma.compress(tarred(MANY_FILES)), "no course is that large"),
    "a zip that reaches out": (lambda: zipped({"../x": b""}), "outside its folder"),
    "a file below a file": (lambda: zipped({"a": b"", "a/b": b""}), "cannot be unpacked"),
    "a name that is too long": (
        lambda: tarred({"a" * 300: b""}),
        "cannot be unpacked|does not contain a course",
    ),
}


class TestSources:
    """Where the newer course comes from, when it is not the remote of the clone."""

    @pytest.fixture
    def newer(self, upstream: Path, clone: Path) -> Path:
        """The upstream folder with a new lesson, committed; the clone has edits."""
        write(clone, {"exercises/ex01_one.py": EDITED})
        stub(upstream, "ex01_one", NEW_STUB)
        write(upstream, {"lessons/01_one.md": "Better.\n"})
        commit(upstream)
        return upstream

    def assert_updated(self, course: Path, done: Update) -> None:
        assert exercises(done) == {"ex01_one": "merged"}
        assert read(course, "lessons/01_one.md") == "Better.\n"
        assert EDITED in backups(course)

    def test_a_branch(self, newer: Path, clone: Path) -> None:
        git(newer, "branch", "next")
        git(newer, "reset", "--quiet", "--hard", "HEAD~1")
        assert not update(clone, None).changes
        self.assert_updated(clone, update(clone, "origin", branch="next"))

    def test_another_repository(self, newer: Path, clone: Path, tmp_path: Path) -> None:
        git(tmp_path, "clone", "--quiet", "--bare", str(newer), "bare.git")
        git(clone, "remote", "remove", "origin")
        self.assert_updated(clone, update(clone, str(tmp_path / "bare.git")))

    def test_a_plain_folder(self, newer: Path, clone: Path, tmp_path: Path) -> None:
        shutil.copytree(newer, tmp_path / "plain", ignore=shutil.ignore_patterns(".git"))
        write(tmp_path / "plain", {".venv/lib.py": "no", "a/__pycache__/x.pyc": "no"})
        self.assert_updated(clone, update(clone, str(tmp_path / "plain")))
        assert not (clone / ".venv").exists() and not (clone / "a").exists()

    @pytest.mark.parametrize("form", ["zip", "tar.gz"])
    def test_an_archive_with_a_folder_around_it(
        self, form: str, newer: Path, clone: Path, tmp_path: Path
    ) -> None:
        archive = tmp_path / f"course.{form}"
        git(
            newer,
            "archive",
            f"--format={form}",
            "--prefix=course-main/",
            "-o",
            str(archive),
            "HEAD",
        )
        self.assert_updated(clone, update(clone, str(archive)))

    def test_a_folder_that_is_no_clone_takes_them_too(self, newer: Path, clone: Path) -> None:
        shutil.rmtree(clone / ".git")
        self.assert_updated(clone, update(clone, str(newer)))

    def test_a_folder_that_is_no_clone_must_be_told(self, newer: Path, clone: Path) -> None:
        shutil.rmtree(clone / ".git")
        with pytest.raises(UpdateError, match="is not a git clone, so say where"):
            update(clone, None)

    def test_what_the_last_update_handed_out_is_known_without_git(
        self, newer: Path, clone: Path
    ) -> None:
        shutil.rmtree(clone / ".git")
        update(clone, str(newer))
        assert (clone / MANIFEST).exists()
        write(newer, {"lessons/01_one.md": "Best.\n"})
        commit(newer)
        assert update(clone, str(newer)).backups == {}
        assert read(clone, "lessons/01_one.md") == "Best.\n"

    def test_one_that_is_no_course_is_refused(self, clone: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(UpdateError, match="does not contain a course"):
            update(clone, str(tmp_path / "empty"))
        (tmp_path / "text.zip").write_text("not a zip")
        with pytest.raises(UpdateError, match="cannot be unpacked"):
            update(clone, str(tmp_path / "text.zip"))

    def test_an_archive_that_reaches_out_of_its_folder_is_refused(
        self, clone: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "x").write_text("x")
        with tarfile.open(tmp_path / "evil.tar", "w") as archive:
            archive.add(tmp_path / "x", arcname="../../escaped")
        with pytest.raises(UpdateError, match="outside its folder"):
            update(clone, str(tmp_path / "evil.tar"))

    @pytest.mark.parametrize("dry_run", [False, True])
    def test_a_course_without_stubs_is_refused(
        self, dry_run: bool, clone: Path, tmp_path: Path
    ) -> None:
        write(tmp_path / "other", {"grader/curriculum.toml": SYLLABUS})
        with pytest.raises(UpdateError, match="has no stubs.*nothing has been changed"):
            update(clone, str(tmp_path / "other"), dry_run=dry_run)
        assert read(clone, "exercises/ex02_two.py") == STUB and not (clone / ".grader").exists()

    @pytest.mark.parametrize("dry_run", [False, True])
    def test_so_is_one_that_lacks_more_than_a_quarter_of_the_exercises(
        self, dry_run: bool, upstream: Path, clone: Path
    ) -> None:
        git(upstream, "rm", "-q", "exercises/ex02_two.py", "grader/pristine/ex02_two.py")
        commit(upstream)
        with pytest.raises(UpdateError, match=r"lacks 1 of your 2 exercises \(ex02_two\)"):
            update(clone, None, dry_run=dry_run)
        assert read(clone, "exercises/ex02_two.py") == STUB and not (clone / ".grader").exists()

    @pytest.mark.parametrize("kind", BROKEN)
    def test_an_archive_that_is_broken_is_told_in_a_sentence(
        self, kind: str, clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("grader.learner.update.fetch._MOST_BYTES", 1_000_000)
        monkeypatch.setattr("grader.learner.update.fetch._MOST_FILES", 100)
        make, why = BROKEN[kind]
        (tmp_path / "broken").write_bytes(make())
        with pytest.raises(UpdateError, match=why):
            update(clone, str(tmp_path / "broken"))

    def test_a_remote_that_does_not_answer_is_said_in_git_s_words(self, clone: Path) -> None:
        git(clone, "remote", "set-url", "origin", "/nowhere/at/all")
        with pytest.raises(UpdateError, match="git fetch failed; your files are as they were"):
            update(clone, None)


class TestBranch:
    def test_it_moves_forward_and_only_the_edits_are_changes(
        self, upstream: Path, clone: Path
    ) -> None:
        write(clone, {"exercises/ex01_one.py": EDITED})
        stub(upstream, "ex01_one", NEW_STUB)
        write(upstream, {"new.md": "new"})
        newest = commit(upstream)
        assert update(clone, None).branch_moved is True
        assert git(clone, "rev-parse", "HEAD") == newest
        assert git(clone, "status", "--porcelain") == "M exercises/ex01_one.py"

    def test_commits_of_the_learner_s_stay_where_they_are(
        self, upstream: Path, clone: Path
    ) -> None:
        write(clone, {"exercises/ex01_one.py": EDITED})
        mine = commit(clone, "my answer")
        stub(upstream, "ex01_one", NEW_STUB)
        write(upstream, {"lessons/01_one.md": "Better.\n"})
        commit(upstream)
        done = update(clone, None)
        assert (done.branch_moved, exercises(done)) == (False, {"ex01_one": "merged"})
        assert git(clone, "rev-parse", "HEAD") == mine
        assert "the learner's" in read(clone, "exercises/ex01_one.py")
        write(upstream, {"lessons/01_one.md": "Best.\n"})
        commit(upstream)
        assert update(clone, None).backups == {}

    def test_staged_changes_stay_staged(self, upstream: Path, clone: Path) -> None:
        write(clone, {"exercises/ex01_one.py": EDITED})
        git(clone, "add", "--all")
        write(clone, {"exercises/ex01_one.py": STUB})
        write(upstream, {"lessons/01_one.md": "Better.\n"})
        commit(upstream)
        assert update(clone, None).branch_moved is False
        assert git(clone, "show", ":exercises/ex01_one.py") + "\n" == EDITED

    def test_what_is_there_already_is_left_alone(self, upstream: Path, clone: Path) -> None:
        write(clone, {"lessons/01_one.md": "my own lesson\n"})
        assert update(clone, None).changes == ()
        assert read(clone, "lessons/01_one.md") == "my own lesson\n"


class TestInterruption:
    @pytest.mark.parametrize("written", range(6))
    def test_a_run_that_was_cut_off_is_simply_repeated(
        self, written: int, upstream: Path, clone: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(clone, {"exercises/ex01_one.py": EDITED})
        stub(upstream, "ex01_one", NEW_STUB)
        stub(upstream, "ex02_two", NEW_STUB)
        write(upstream, {"lessons/01_one.md": "Better.\n"})
        commit(upstream)
        real, calls = update_module.replace_file, []

        def cut_off(*arguments: object, **options: object) -> None:
            calls.append(arguments)
            if len(calls) > written:
                raise KeyboardInterrupt
            real(*arguments, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(update_module, "replace_file", cut_off)
        try:
            update(clone, None)
        except KeyboardInterrupt:
            pass
        monkeypatch.setattr(update_module, "replace_file", real)
        update(clone, None)
        assert read(clone, "exercises/ex01_one.py") == EDITED.replace("twice x.", "x + x.")
        assert read(clone, "exercises/ex02_two.py") == NEW_STUB
        assert read(clone, "grader/pristine/ex01_one.py") == NEW_STUB
        assert read(clone, "lessons/01_one.md") == "Better.\n"
        assert EDITED in backups(clone)

    def test_a_full_disk_is_said_and_nothing_is_lost(
        self, upstream: Path, clone: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(clone, {"exercises/ex01_one.py": EDITED})
        stub(upstream, "ex01_one", NEW_STUB)
        commit(upstream)

        def full(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(update_module, "replace_file", full)
        with pytest.raises(UpdateError, match="No space left .*\n  nothing of yours is"):
            update(clone, None)
        assert read(clone, "exercises/ex01_one.py") == EDITED


class TestCommand:
    def run(self, clone: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
        monkeypatch.setattr("grader.course.arguments.ROOT", clone)
        result = CliRunner().invoke(main, ["update", *words], catch_exceptions=False)
        return [str(result.exit_code), *result.output.splitlines()]

    def test_it_tells_what_became_of_each_edited_exercise(
        self, upstream: Path, clone: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(clone, {"exercises/ex01_one.py": EDITED, "exercises/ex02_two.py": EDITED})
        stub(upstream, "ex01_one", NEW_STUB)
        stub(upstream, "ex02_two", CONFLICTING)
        write(upstream, {"constraints.txt": "torch==2\n"})
        commit(upstream)
        code, *lines = self.run(clone, monkeypatch)
        assert code == "0"
        assert "  ex01_one         merged: your edits, and the changes in the new stub" in lines
        assert any("which is in exercises/ex02_two.py.new" in line for line in lines)
        assert any(
            "version is kept: exercises/ex01_one.py is in .grader/backups/" in li for li in lines
        )
        assert any("next: pip install -c constraints.txt -e ." in line for line in lines)

    def test_a_dry_run_changes_nothing(
        self, upstream: Path, clone: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stub(upstream, "ex01_one", NEW_STUB)
        commit(upstream)
        lines = self.run(clone, monkeypatch, "--dry-run")
        assert lines[-1] == "nothing has been changed (--dry-run)"
        assert any("ex01_one" in line for line in lines)
        assert git(clone, "status", "--porcelain") == ""
        assert not (clone / ".grader").exists()

    def test_nothing_new_and_nowhere_to_look_are_said(
        self, clone: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        code, *lines = self.run(clone, monkeypatch)
        assert code == "0" and "nothing to do: origin main" in lines[-1]
        code, *lines = self.run(clone, monkeypatch, "/nowhere")
        assert code == "1" and any("git fetch failed" in line for line in lines)
