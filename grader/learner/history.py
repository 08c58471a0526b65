"""What a learner has done so far, kept in `.grader/history.db`: every run, hint and solution shown.

A history only adds to what the course knows of a learner, so nothing here raises for a disk that
is full or read-only, or for a file that is broken: `History.problem` then says what is the matter,
and everything else goes on. A record is one row, written in a transaction, so that a process killed
at any moment leaves either all of it or nothing.

SQLite keeps a rollback journal here rather than a write-ahead log: that is as safe against being
killed, and it works on network file systems too and can be read where nothing can be written.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, count
from pathlib import Path
from typing import Any

from grader.course.syllabus import Exercise, SyllabusError
from grader.course.syllabus_file import load
from grader.messages.catalog import say
from grader.observation.kind import Kind
from grader.results.record import ExerciseResult

FILE = Path(".grader") / "history.db"

_Row = tuple[Any, ...]

_LATEST = 1e11
"""The seconds of the year 5138: whatever is later is no date."""
_BUSY_SECONDS = 5.0
"""How long to wait for another grader; its writes take milliseconds, unless it was stopped."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE runs (id INTEGER PRIMARY KEY, exercise TEXT NOT NULL, command TEXT NOT NULL,"
        " at REAL NOT NULL, seconds REAL NOT NULL, passed INTEGER NOT NULL, tests INTEGER NOT NULL,"
        " points TEXT NOT NULL, verdicts TEXT NOT NULL, mistakes TEXT NOT NULL,"
        " file_hash TEXT NOT NULL)",
        "CREATE INDEX runs_by_exercise ON runs (exercise)",
        "CREATE TABLE hints (id INTEGER PRIMARY KEY, exercise TEXT NOT NULL, at REAL NOT NULL,"
        " level INTEGER NOT NULL)",
        "CREATE TABLE solutions (id INTEGER PRIMARY KEY, exercise TEXT NOT NULL, at REAL NOT NULL,"
        " gave_up INTEGER NOT NULL)",
    ),
    (
        # What was read before hints had functions was about none in particular.
        "ALTER TABLE hints ADD COLUMN about TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE runs ADD COLUMN failing TEXT NOT NULL DEFAULT '[]'",
    ),
)
"""Entry n makes a database of version n + 1 out of one of version n; an empty file has version 0.

An entry is never changed once it has been handed out: there are histories of its version.
"""


class _NewerHistory(Exception):
    """The database was written by a later version of the course."""


@dataclass(frozen=True)
class RunRecord:
    """One run of one exercise's tests.

    `command` is what ran them ("progress", "watch", "report"), `when` is in seconds since 1970,
    `points` an exact fraction as text. `verdicts` holds (test id, "passed" or the kind of failure),
    `mistakes` the ids of those that were named, `file_hash` the SHA-256 of the learner's file,
    `failing` the functions that the failing tests are about.
    """

    exercise: str
    command: str
    when: float
    seconds: float
    passed: int
    tests: int
    points: str
    verdicts: tuple[tuple[str, str], ...]
    mistakes: tuple[str, ...]
    file_hash: str
    failing: tuple[str, ...] = ()

    @classmethod
    def of(cls, result: ExerciseResult, command: str) -> RunRecord:
        """The run that a result is of, as `command`'s."""
        return cls(
            exercise=result.exercise,
            command=command,
            when=result.when,
            seconds=result.seconds,
            passed=result.passed,
            tests=len(result.tests),
            points=str(result.earned),
            verdicts=tuple((test.test, str(test.verdict)) for test in result.tests),
            mistakes=result.mistakes,
            file_hash=result.file_hash,
            failing=result.failing,
        )

    @property
    def is_graded(self) -> bool:
        """Whether every test has said something about the answer."""
        return all(verdict != Kind.NOT_GRADED for _, verdict in self.verdicts)

    @property
    def done(self) -> bool:
        """Whether every test passed."""
        return 0 < self.tests == self.passed


class History:
    """The history of one course folder; several threads and processes may use it at once.

    `problem` is empty where all is well. Else it says why nothing can be kept, or why the last
    record could not be. Records carry the ids that exercises have now, whatever they were called.
    """

    def __init__(self, file: Path, exercises: Sequence[Exercise] = ()) -> None:
        self.problem = ""
        self._file = file
        self._ids = {e.id: e.id for e in exercises}
        self._by_name = {e.name: e.id for e in exercises}
        self._by_number = {e.short: e.id for e in exercises}
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._may_write = False

    @classmethod
    def open(cls, root: Path) -> History:
        """The history of the course in `root`, begun where there is none."""
        try:
            exercises: Sequence[Exercise] = load(root).exercises
        except SyllabusError:  # whoever needs the syllabus says so
            exercises = ()
        history = cls(root / FILE, exercises)
        try:
            history._begin()
        except _NewerHistory as newer:
            history.problem = say("history.not_kept", why=newer)
            history.close()  # nobody knows how to read it
        except (OSError, sqlite3.Error) as error:
            history.problem = _in_words(error, history._file)
        return history

    def _begin(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._connection = _connect(self._file)
        _migrate(self._connection, self._file)
        self._may_write = True

    def record_run(self, run: RunRecord) -> None:
        """Keep a run; when this returns without a `problem`, it is on the disk."""
        self.record_runs([run])

    def record_runs(self, runs: Iterable[RunRecord]) -> None:
        """Keep several runs in one step: all of them, or none where there is a `problem`.

        One that was not graded is no attempt of the learner's, and is not kept.
        """
        self._write(
            "INSERT INTO runs (exercise, command, at, seconds, passed, tests, points, verdicts,"
            " mistakes, file_hash, failing) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    run.exercise,
                    run.command,
                    run.when,
                    run.seconds,
                    run.passed,
                    run.tests,
                    run.points,
                    json.dumps(run.verdicts),
                    json.dumps(run.mistakes),
                    run.file_hash,
                    json.dumps(run.failing),
                )
                for run in runs
                if run.is_graded
            ],
        )

    def record_hint(self, exercise: str, about: str, level: int) -> None:
        """Keep that a hint about a function was read."""
        self._write(
            "INSERT INTO hints (exercise, at, level, about) VALUES (?, ?, ?, ?)",
            [(exercise, time.time(), level, about)],
        )

    def record_solution(self, exercise: str, gave_up: bool) -> None:
        """Keep that the worked answer was shown, and whether that was before a pass."""
        self._write(
            "INSERT INTO solutions (exercise, at, gave_up) VALUES (?, ?, ?)",
            [(exercise, time.time(), int(gave_up))],
        )

    def runs(self, exercise: str | None = None) -> list[RunRecord]:
        """All runs, or those of one exercise, in the order in which they were recorded."""
        select = (
            "SELECT exercise, command, at, seconds, passed, tests, points, verdicts, mistakes,"
            " file_hash, failing FROM runs"
        )
        if exercise is None:
            rows = self._read(f"{select} ORDER BY id")
        else:
            rows = self._read("SELECT DISTINCT exercise FROM runs")
            stored = [name for (name,) in rows if isinstance(name, str)]
            names = [name for name in stored if self._id_now(name) == self._id_now(exercise)]
            marks = ", ".join("?" * len(names))
            rows = self._read(f"{select} WHERE exercise IN ({marks}) ORDER BY id", *names)
        return list(self._records(rows))

    def hints(self) -> dict[str, dict[str, int]]:
        """The highest level of hint that was read, by exercise and function.

        Those that were read before hints had functions stand under an empty name.
        """
        read: dict[str, dict[str, int]] = {}
        for stored, about, level in self._read("SELECT exercise, about, level FROM hints"):
            if not isinstance(about, str) or not self._is_sound(stored, level):
                continue
            levels = read.setdefault(self._id_now(stored), {})
            levels[about] = max(level, levels.get(about, level))
        return read

    def solutions(self) -> dict[str, bool]:
        """The exercises whose worked answer was shown; True for those given up at some time."""
        shown = self._highest(self._read("SELECT exercise, gave_up FROM solutions"))
        return {exercise: bool(gave_up) for exercise, gave_up in shown.items()}

    def close(self) -> None:
        """Let go of the file; nothing is recorded from here on."""
        with self._lock:
            self._may_write = False
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _id_now(self, stored: str) -> str:
        """The id of an exercise that may have been renamed, or have got another number, since."""
        number, _, name = stored.partition("_")
        return (
            self._ids.get(stored)
            or self._by_name.get(name)
            or self._by_number.get(number)
            or stored
        )

    def _records(self, rows: Iterable[_Row]) -> Iterator[RunRecord]:
        """The runs that can be read; for those that cannot there is a `problem`, once."""
        for row in rows:
            try:
                yield self._record(row)
            except (ValueError, TypeError, ArithmeticError, RecursionError):
                self.problem = self.problem or say("history.damaged", file=self._file)

    def _record(self, row: _Row) -> RunRecord:
        stored, command, at, seconds, passed, tests, points, *rest = row
        verdicts, mistakes, file_hash, failing = rest
        _check_types(str, stored, command, points, verdicts, mistakes, file_hash, failing)
        _check_types(int, passed, tests)
        _check_types(float, at, seconds)
        if not (0 <= at < _LATEST and 0 <= seconds < _LATEST and Fraction(points) >= 0):
            raise ValueError("a number that no run has")
        pairs, ids, functions = map(json.loads, (verdicts, mistakes, failing))
        _check_types(str, *chain.from_iterable(pairs), *ids, *functions)
        return RunRecord(
            exercise=self._id_now(stored),
            command=command,
            when=at,
            seconds=seconds,
            passed=passed,
            tests=tests,
            points=points,
            verdicts=tuple((test, verdict) for test, verdict in pairs),
            mistakes=tuple(ids),
            file_hash=file_hash,
            failing=tuple(functions),
        )

    def _highest(self, rows: Iterable[_Row]) -> dict[str, int]:
        highest: dict[str, int] = {}
        for stored, value in rows:
            if self._is_sound(stored, value):
                id = self._id_now(stored)
                highest[id] = max(value, highest.get(id, value))
        return highest

    def _is_sound(self, stored: object, value: object) -> bool:
        """Whether a row holds an exercise and a number; for one that does not is a `problem`."""
        if isinstance(stored, str) and isinstance(value, int):
            return True
        self.problem = self.problem or say("history.damaged", file=self._file)
        return False

    def _write(self, statement: str, rows: Sequence[_Row]) -> None:
        with self._lock:
            if self._connection is None or not self._may_write:
                return
            try:
                with self._connection:
                    self._connection.execute("BEGIN IMMEDIATE")
                    self._connection.executemany(statement, rows)
            except sqlite3.Error as error:
                self.problem = _in_words(error, self._file)
            else:
                self.problem = ""

    def _read(self, statement: str, *values: str) -> list[_Row]:
        with self._lock:
            if self._connection is None:
                return []
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                self.problem = self.problem or _in_words(error, self._file)
                return []


class BackgroundHistory(History):
    """A history whose writes nobody waits for: a slow or sleeping disk holds up no screen.

    They happen in the order of the calls, in a thread; `close` waits until all are done.
    """

    def __init__(self, file: Path, exercises: Sequence[Exercise] = ()) -> None:
        super().__init__(file, exercises)
        self._writer = ThreadPoolExecutor(max_workers=1)

    def _write(self, statement: str, rows: Sequence[_Row]) -> None:
        if self._may_write:  # else there is no writer any more, or nothing for it to do
            self._writer.submit(super()._write, statement, rows)

    def close(self) -> None:
        """Wait for what is being written, then let go of the file."""
        self._writer.shutdown()
        super().close()


def _check_types(kind: type, *values: object) -> None:
    for value in values:
        if not isinstance(value, kind):
            raise TypeError(f"{type(value).__name__} in place of {kind.__name__}")


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        file, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    # What is not UTF-8 was written by another hand, and must not hide all other rows.
    connection.text_factory = lambda text: text.decode("utf-8", "replace")
    # Full is the default of most builds of SQLite, not of all.
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _migrate(connection: sqlite3.Connection, file: Path) -> None:
    """Bring a database to this version; raises where it cannot be written, or is of a later one."""
    with connection:
        # Of several graders one migrates; the others wait here and find it done.
        connection.execute("BEGIN IMMEDIATE")
        (have,) = connection.execute("PRAGMA user_version").fetchone()
        want = len(MIGRATIONS)
        if have > want:
            raise _NewerHistory(say("history.newer", file=file, have=have, want=want))
        if 0 < have < want:
            _back_up(file, have)
        for statement in chain.from_iterable(MIGRATIONS[have:]):
            connection.execute(statement)
        if have < want:
            connection.execute(f"PRAGMA user_version = {want}")


def _back_up(file: Path, version: int) -> None:
    """Copy a database beside it before it is migrated; never over an earlier copy."""
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)  # of a grader that was killed here
    with closing(_connect(file)) as source, closing(sqlite3.connect(part)) as target:
        source.backup(target)
    names = (file.with_name(f"{file.stem}-v{version}{n and f'-{n}' or ''}.db") for n in count())
    part.rename(next(name for name in names if not name.exists()))


def _in_words(error: OSError | sqlite3.Error, file: Path) -> str:
    """Why nothing is recorded, and what to do about it."""
    # The lower byte is the kind of an error, the rest its details.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CANTOPEN) & 0xFF
    if isinstance(error, OSError):
        why = say("history.no_folder", folder=file.parent, error=error.strerror)
    elif code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        why = say("history.broken", file=file)
    elif code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        why = say("history.full", file=file, error=error)
    elif code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        why = say("history.busy", file=file, seconds=_BUSY_SECONDS)
    elif code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        why = say("history.read_only", file=file, error=error)
    else:
        why = f"{file}: {error}"
    return say("history.not_kept", why=why)
