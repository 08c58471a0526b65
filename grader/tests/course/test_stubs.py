"""The files of exercises/ follow from their solutions, and an edited one is never lost."""

import errno
import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from grader.course.course import Course
from grader.course.stub_markers import MarkerError
from grader.course.stubs import (
    MissingFile,
    StubResult,
    check_stubs,
    is_untouched,
    reset,
    undo_reset,
    write_stubs,
)
from grader.course.syllabus import Exercise
from grader.course.syllabus_file import parse

SOLUTION = '''def double(x: float) -> float:
    """Double x.

    Without a loop.
    """
    # BEGIN SOLUTION
    return 2 * x
    # END SOLUTION
'''

STUB = '''def double(x: float) -> float:
    """Double x.

    Without a loop.
    """
    # your code here
    raise NotImplementedError
'''

ENTRY = """
[[exercises]]
id = "{id}"
title = "T"
part = 1
points = 1
minutes = 1
prerequisites = []
bans = []
fact = "F"
read = []
limits = {{ seconds = 1, memory_mb = 1 }}
hints = [{{ about = "double", levels = ["1", "2"] }}]
"""
SYLLABUS = """
version = 1
[[parts]]
id = 1
title = "P"
[[paths]]
id = "p"
title = "P"
exercises = []
"""
NOON = datetime(2024, 5, 6, 12, 0, 7, tzinfo=UTC)
EDITED = b"def double(x):\n    return 2 * x  # my work\n"


class Sample:
    """A course of two exercises in a temporary folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        text = SYLLABUS + ENTRY.format(id="ex01_a") + ENTRY.format(id="ex02_b")
        self.course = Course(root, parse(text))
        self.exercise: Exercise = self.course.exercises[0]
        self.paths = self.exercise.paths(root)
        for exercise in self.course.exercises:
            self.solve(exercise, SOLUTION)

    def solve(self, exercise: Exercise, source: str) -> None:
        solution = exercise.paths(self.root).solution
        solution.parent.mkdir(exist_ok=True)
        solution.write_bytes(source.encode("utf-8"))

    def write(self, **options: bool) -> StubResult:
        return write_stubs(self.course, ["ex01"], now=lambda: NOON, **options)[0]

    def edit(self, content: bytes = EDITED) -> None:
        self.paths.stub.write_bytes(content)

    def change_solution(self) -> bytes:
        """Give the exercise another stub; returns that stub."""
        self.solve(self.exercise, SOLUTION.replace("Double x.", "Twice x — 2·x."))
        return STUB.replace("Double x.", "Twice x — 2·x.").encode("utf-8")

    def backups(self) -> list[str]:
        return sorted(file.name for file in (self.root / ".grader/backups").glob("*"))

    def messages(self, **options: bool) -> list[str]:
        return [
            f"{drift.path.relative_to(self.root).as_posix()}: {drift.message}"
            for drift in check_stubs(self.course, **options)
        ]


@pytest.fixture
def course(tmp_path: Path) -> Sample:
    """The course before its stubs are written."""
    return Sample(tmp_path)


@pytest.fixture
def written(course: Sample) -> Sample:
    """The course with all stubs written and untouched."""
    write_stubs(course.course)
    return course


def test_stubs_are_created_with_their_pristine_copies(course: Sample) -> None:
    """A first run writes both files of every exercise, in UTF-8 with plain newlines."""
    results = write_stubs(course.course)
    assert [(result.id, result.state) for result in results] == [
        ("ex01_a", "created"),
        ("ex02_b", "created"),
    ]
    assert results[0].path == course.paths.stub
    assert course.paths.stub.read_bytes() == STUB.encode("utf-8")
    assert course.paths.pristine.read_bytes() == STUB.encode("utf-8")


def test_only_the_named_stubs_are_written(course: Sample) -> None:
    """Ids may be given as a learner types them."""
    results = write_stubs(course.course, ["2"])
    assert [result.id for result in results] == ["ex02_b"]
    assert not course.paths.stub.exists()
    assert not course.paths.pristine.exists()


def test_a_second_run_changes_nothing(written: Sample) -> None:
    """Files that are right are left alone, so that their times stay."""
    for file in (written.paths.stub, written.paths.pristine):
        os.utime(file, (1, 1))
    assert written.write().state == "unchanged"
    assert [f.stat().st_mtime for f in (written.paths.stub, written.paths.pristine)] == [1, 1]


def test_an_untouched_stub_follows_its_solution(written: Sample) -> None:
    """A stub nobody edited is updated without a backup."""
    stub = written.change_solution()
    assert written.write().state == "updated"
    assert written.paths.stub.read_bytes() == stub
    assert written.paths.pristine.read_bytes() == stub
    assert written.backups() == []


@pytest.mark.parametrize("changes", [True, False])
def test_an_edited_stub_is_kept(written: Sample, changes: bool) -> None:
    """Without `force`, a learner's work stays, whether or not the solution has changed."""
    written.edit()
    stub = written.change_solution() if changes else STUB.encode("utf-8")
    for _ in range(2):
        assert written.write().state == "kept: edited"
        assert written.paths.stub.read_bytes() == EDITED
        assert written.paths.pristine.read_bytes() == stub
    assert written.backups() == []


def test_an_edited_stub_is_backed_up_before_it_is_replaced(written: Sample) -> None:
    """With `force`, the work is in the backup that the result names, byte for byte."""
    edited = b"\xef\xbb\xbf# mine\r\nx = '\xff'"
    written.edit(edited)
    result = written.write(force=True)
    assert result.state == "backed up"
    assert result.backup == written.root / ".grader/backups/ex01_a.20240506T120007Z.py"
    assert result.backup.read_bytes() == edited
    assert written.paths.stub.read_bytes() == STUB.encode("utf-8")


def test_without_a_pristine_copy_a_differing_stub_counts_as_edited(written: Sample) -> None:
    """Where nothing proves a file untouched, it is kept."""
    written.paths.pristine.unlink()
    written.change_solution()
    assert written.write().state == "kept: edited"
    assert written.paths.stub.read_bytes() == STUB.encode("utf-8")


def test_an_interrupted_update_is_not_taken_for_an_edit(
    written: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that dies between its two files leaves a state that the next run understands."""
    stub = written.change_solution()
    replace = Path.replace
    with monkeypatch.context() as patch:
        calls: list[Path] = []

        def die_at_the_second(self: Path, target: Path) -> Path:
            calls.append(self)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return replace(self, target)

        patch.setattr(Path, "replace", die_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            written.write()
    assert written.write().state in ("unchanged", "updated")
    assert is_untouched(written.exercise, written.course)
    assert written.paths.stub.read_bytes() == stub


@pytest.mark.parametrize("step", ["write_bytes", "replace"])
def test_a_failed_write_leaves_the_old_file_and_no_other(
    written: Sample, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A full disk or a locked file costs neither the stub nor a stray temporary file."""
    before = sorted(written.paths.stub.parent.iterdir())
    written.change_solution()

    def fail(self: Path, *_: object) -> None:
        if step == "write_bytes":
            self.touch()
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(Path, step, fail)
    with pytest.raises(OSError, match="disk full"):
        written.write()
    assert sorted(written.paths.stub.parent.iterdir()) == before
    assert written.paths.stub.read_bytes() == STUB.encode("utf-8")


def test_one_wrong_marker_stops_every_file_from_being_written(course: Sample) -> None:
    """All stubs are made before the first is written."""
    course.solve(course.course.exercises[1], "# BEGIN SOLUTION\n")
    with pytest.raises(MarkerError, match=r"^solutions/ex02_b\.py:1: "):
        write_stubs(course.course)
    assert not course.paths.stub.exists()


def test_a_missing_solution_is_named(course: Sample) -> None:
    """Where solutions were not handed out, the error says what to do instead."""
    course.paths.solution.unlink()
    with pytest.raises(MissingFile, match="(?s)ex01_a: got no .*next: grader reset ex01"):
        course.write()


def test_windows_line_ends_are_no_edit(written: Sample) -> None:
    """A checkout with CRLF, or an editor's byte order mark, leaves a stub untouched."""
    crlf = STUB.replace("\n", "\r\n").encode("utf-8")
    for stub, pristine in ((crlf, STUB.encode()), (STUB.encode(), crlf), (crlf, crlf)):
        for mark in (b"", b"\xef\xbb\xbf"):
            written.edit(mark + stub)
            written.paths.pristine.write_bytes(pristine)
            assert is_untouched(written.exercise, written.course)
            assert written.write().state == "unchanged"
            assert written.messages(authoring=True) == []
            assert reset(written.exercise, written.course) is None
    written.edit(crlf)
    written.paths.pristine.write_bytes(crlf)
    written.change_solution()
    assert written.write().state == "updated"


def test_untouched_means_equal_to_the_pristine_copy(written: Sample) -> None:
    """An edit, a missing file and a missing copy all end it."""
    assert is_untouched(written.exercise, written.course)
    written.edit(STUB.encode() + b"# mine\n")
    assert not is_untouched(written.exercise, written.course)
    written.paths.stub.unlink()
    assert not is_untouched(written.exercise, written.course)
    written.edit(STUB.encode())
    written.paths.pristine.unlink()
    assert not is_untouched(written.exercise, written.course)


def test_a_reset_keeps_the_work_and_needs_no_solution(written: Sample) -> None:
    """On a learner's clone the stub comes from the pristine copy."""
    written.paths.solution.unlink()
    written.edit()
    backup = reset(written.exercise, written.course, now=lambda: NOON)
    assert backup == written.root / ".grader/backups/ex01_a.20240506T120007Z.py"
    assert backup.read_bytes() == EDITED
    assert written.paths.stub.read_bytes() == STUB.encode("utf-8")


def test_a_reset_of_an_untouched_or_missing_file_keeps_nothing(written: Sample) -> None:
    """There is nothing to lose, so no backup is made."""
    assert reset(written.exercise, written.course) is None
    written.paths.stub.unlink()
    assert reset(written.exercise, written.course) is None
    assert written.paths.stub.read_bytes() == STUB.encode("utf-8")
    assert written.backups() == []


def test_a_reset_without_a_pristine_copy_touches_nothing(written: Sample) -> None:
    """No stub to put back: the work stays where it is."""
    written.paths.pristine.unlink()
    written.edit()
    with pytest.raises(MissingFile, match="ex01_a: .*ex01_a.py is missing"):
        reset(written.exercise, written.course)
    assert written.paths.stub.read_bytes() == EDITED


@pytest.mark.parametrize("turns", [2, 12])
def test_no_backup_is_ever_overwritten(written: Sample, turns: int) -> None:
    """Backups of the same second are numbered, and the last of them is the newest."""
    for turn in range(turns):
        written.edit(b"turn = %d\n" % turn)
        reset(written.exercise, written.course, now=lambda: NOON)
    suffixes = ["", *(f"-{n}" for n in range(1, turns))]
    assert written.backups() == sorted(f"ex01_a.20240506T120007Z{s}.py" for s in suffixes)
    undo_reset(written.exercise, written.course)
    assert written.paths.stub.read_bytes() == b"turn = %d\n" % (turns - 1)


def test_backups_are_named_in_universal_time(written: Sample) -> None:
    """Their order does not depend on where the learner travels."""
    east = NOON.astimezone(timezone(timedelta(hours=9)))
    written.edit()
    backup = reset(written.exercise, written.course, now=lambda: east)
    assert backup is not None
    assert backup.name == "ex01_a.20240506T120007Z.py"


def test_undoing_a_reset_brings_the_work_back(written: Sample) -> None:
    """Byte for byte, from the newest backup of this exercise, whatever else lies there."""
    written.edit(b"older = 1\n")
    reset(written.exercise, written.course, now=lambda: NOON)
    written.edit(b"\xef\xbb\xbfnewer = 1\r\n")
    newest = reset(written.exercise, written.course, now=lambda: NOON + timedelta(days=1))
    for other in ("ex01_a.99990101T000000Z.txt", "ex01_a.copy.py", "ex02_b.99990101T000000Z.py"):
        (written.root / ".grader/backups" / other).write_bytes(b"not this\n")
    undone = undo_reset(written.exercise, written.course)
    assert (undone.restored, undone.backup) == (newest, None)
    assert written.paths.stub.read_bytes() == b"\xef\xbb\xbfnewer = 1\r\n"


def test_undoing_twice_comes_back_to_the_newer_work(written: Sample) -> None:
    """What stands in the way of an undo is backed up itself, so an undo can be undone."""
    written.edit(b"first = 1\n")
    reset(written.exercise, written.course, now=lambda: NOON)
    written.edit(b"second = 2\n")
    undone = undo_reset(written.exercise, written.course, now=lambda: NOON + timedelta(hours=1))
    assert written.paths.stub.read_bytes() == b"first = 1\n"
    assert undone.backup is not None
    assert undone.backup.read_bytes() == b"second = 2\n"
    undo_reset(written.exercise, written.course, now=lambda: NOON + timedelta(hours=2))
    assert written.paths.stub.read_bytes() == b"second = 2\n"


def test_work_that_is_in_the_newest_backup_is_not_kept_twice(written: Sample) -> None:
    """Reset, undo, reset leaves one backup."""
    written.edit()
    first = reset(written.exercise, written.course)
    undo_reset(written.exercise, written.course)
    assert reset(written.exercise, written.course) == first
    assert len(written.backups()) == 1


def test_an_undo_works_where_the_file_was_deleted(written: Sample) -> None:
    """A learner who removed the stub gets the backup all the same."""
    written.edit()
    reset(written.exercise, written.course)
    written.paths.stub.unlink()
    undo_reset(written.exercise, written.course)
    assert written.paths.stub.read_bytes() == EDITED


def test_an_undo_without_a_backup_touches_nothing(written: Sample) -> None:
    """There is nothing to bring back, and the error names the command that makes backups."""
    written.edit()
    with pytest.raises(MissingFile, match="(?s)ex01_a: there is no backup.*grader reset ex01"):
        undo_reset(written.exercise, written.course)
    assert written.paths.stub.read_bytes() == EDITED


def test_a_course_just_written_has_no_drift(written: Sample) -> None:
    """What `write_stubs` writes is what `check_stubs` expects."""
    assert written.messages() == []
    assert written.messages(authoring=True) == []


def test_a_learner_s_edit_is_drift_only_to_the_authors(written: Sample) -> None:
    """A learner's clone passes with its work in it; the authors' folder may not ship an edit."""
    written.edit()
    assert written.messages() == []
    (message,) = written.messages(authoring=True)
    assert message.startswith("exercises/ex01_a.py: differs from its pristine copy")


def test_a_changed_solution_is_drift(written: Sample) -> None:
    """The report shows the first lines that differ, and the command that mends them."""
    written.change_solution()
    (drift,) = check_stubs(written.course)
    assert (drift.id, drift.path) == ("ex01_a", written.paths.pristine)
    assert "next: grader stubs" in drift.message
    assert '-    """Double x.' in drift.excerpt.split("\n")
    assert "more lines" not in drift.excerpt
    assert '+    """Twice x — 2·x.' in drift.excerpt.split("\n")


def test_a_long_difference_is_cut(written: Sample) -> None:
    """An excerpt stays short and says how much it leaves out."""
    written.solve(written.exercise, SOLUTION + "x = 1\n" * 50)
    (drift,) = check_stubs(written.course)
    assert len(drift.excerpt.split("\n")) == 13
    assert drift.excerpt.endswith(" more lines")


def test_missing_files_are_drift(written: Sample) -> None:
    """A pristine copy or a stub that is not there is reported with the command that makes it."""
    written.paths.pristine.unlink()
    (message,) = written.messages(authoring=True)
    assert written.messages() == [message]
    assert message == "grader/pristine/ex01_a.py: got no pristine copy; next: grader stubs"
    write_stubs(written.course)
    written.paths.stub.unlink()
    (message,) = written.messages()
    assert message == "exercises/ex01_a.py: got no stub; next: grader reset ex01"


def test_solutions_that_were_not_handed_out_are_no_drift(written: Sample) -> None:
    """A learner's clone may lack any of them; the authors' folder may not."""
    written.paths.solution.unlink()
    assert written.messages() == []
    (message,) = written.messages(authoring=True)
    assert message.startswith("solutions/ex01_a.py: got no solution")


def test_wrong_markers_are_drift(written: Sample) -> None:
    """The check reports them beside everything else instead of stopping at the first."""
    written.solve(written.exercise, "# BEGIN SOLUTION\n")
    written.course.exercises[1].paths(written.root).stub.unlink()
    first, second = written.messages()
    assert first.startswith("solutions/ex01_a.py: solutions/ex01_a.py:1: got `# BEGIN SOLUTION`")
    assert second.startswith("exercises/ex02_b.py: got no stub")


def test_stubs_the_syllabus_does_not_list_are_drift(written: Sample) -> None:
    """A renamed exercise leaves no file behind, while helper modules are another check's task."""
    for file in ("exercises/ex03_c.py", "grader/pristine/ex04_d.py", "exercises/extra.py"):
        (written.root / file).write_text("x = 1\n", encoding="utf-8")
    assert written.messages() == [
        "exercises/ex03_c.py: got a stub that the syllabus does not list",
        "grader/pristine/ex04_d.py: got a stub that the syllabus does not list",
    ]
