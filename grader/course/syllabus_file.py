"""Reads the syllabus, `grader/curriculum.toml`, and refuses one that contradicts itself.

Every command waits for this, so it imports nothing outside the standard library.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from grader.course.syllabus import (
    FEWEST_MISTAKES,
    ROOT,
    Capstone,
    Exercise,
    Experiment,
    HintLadder,
    LearningPath,
    Limits,
    Part,
    Syllabus,
    SyllabusError,
)

SYLLABUS = "grader/curriculum.toml"
VERSION = 1
_ID = re.compile(r"ex\d\d_[a-z][a-z0-9_]*")
_DOTTED_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_FUNCTION = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)?")
_FEWEST_LEVELS, _MOST_LEVELS = 2, 4


def load(root: Path = ROOT) -> Syllabus:
    """Read and validate the syllabus of the course in `root`, once per process."""
    return _load(root.resolve())


@cache
def _load(root: Path) -> Syllabus:
    file = root / SYLLABUS
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as missing:
        raise SyllabusError(f"{file}: got no such file, want the syllabus") from missing
    except UnicodeDecodeError as broken:
        raise SyllabusError(f"{file}: got {broken}, want text in UTF-8") from broken
    return parse(text, str(file))


def parse(text: str, file: str = SYLLABUS) -> Syllabus:
    """Build the syllabus from the text of a syllabus; `file` is what errors call it."""
    try:
        top = _Entry(file, tomllib.loads(text))
    except tomllib.TOMLDecodeError as broken:
        raise SyllabusError(f"{file}: got text that is not TOML: {broken}") from broken
    _check_version(top)
    exercises = tuple(_exercise(entry) for entry in top.tables("exercises", "exercise"))
    experiments = _experiments(top)
    minutes = {exercise.id: exercise.minutes for exercise in exercises}
    minutes |= {experiment.id: experiment.minutes for experiment in experiments}
    capstone = _capstone(top.table("capstone")) if top.has("capstone") else None
    syllabus = Syllabus(
        parts=tuple(_part(entry) for entry in top.tables("parts", "part")),
        paths=tuple(_path(entry, minutes, capstone) for entry in top.tables("paths", "path")),
        exercises=exercises,
        experiments=experiments,
        capstone=capstone,
    )
    top.done()
    _check_unique(syllabus, file)
    _check_parts(syllabus, file)
    _check_prerequisites(syllabus, file)
    _check_order(syllabus, file)
    _check_experiments(syllabus, file)
    _check_paths(syllabus, file)
    return syllabus


class _Entry:
    """One table of the file, read key by key, so that a key nobody reads shows up as a typo."""

    def __init__(self, where: str, table: dict[str, object]) -> None:
        self._where = where
        self._unread = dict(table)
        self._known: list[str] = []

    def fail(self, field: str, got: object, want: str) -> NoReturn:
        _fail(self._where, field, repr(got), want)

    def has(self, key: str) -> bool:
        self._known.append(key)
        return key in self._unread

    def take(self, key: str, want: str) -> object:
        self._known.append(key)
        if key not in self._unread:
            _fail(self._where, key, "nothing", want)
        return self._unread.pop(key)

    def text(self, key: str) -> str:
        value = self.take(key, want := "some text")
        if isinstance(value, str) and value.strip():
            return value.strip()
        self.fail(key, value, want)

    def whole(self, key: str) -> int:
        value = self.take(key, want := "a positive whole number")
        # To Python, true is a whole number too.
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        self.fail(key, value, want)

    def number(self, key: str) -> float:
        value = self.take(key, want := "a positive number")
        if isinstance(value, int | float) and value is not True and 0 < value < math.inf:
            return value
        self.fail(key, value, want)

    def flag(self, key: str) -> bool:
        value = self.take(key, want := "true or false")
        if isinstance(value, bool):
            return value
        self.fail(key, value, want)

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.take(key, want := "a list of different texts")
        if not isinstance(value, list):
            self.fail(key, value, want)
        texts = [item.strip() for item in value if isinstance(item, str) and item.strip()]
        if len(set(texts)) != len(value):
            self.fail(key, value, want)
        return tuple(texts)

    def table(self, key: str) -> _Entry:
        value = self.take(key, want := "a table")
        if not isinstance(value, dict):
            self.fail(key, value, want)
        return _Entry(f"{self._where}, field {key}", value)

    def tables(self, key: str, what: str, under: str = "", name: str = "id") -> list[_Entry]:
        """The tables of a list, each called by what stands under `name` in it."""
        value = self.take(key, want := f"one [[{under}{key}]] table or more")
        if not isinstance(value, list) or not value:
            self.fail(key, value, want)
        entries = []
        for place, item in enumerate(value, start=1):
            if not isinstance(item, dict):
                self.fail(key, item, want)
            # An entry without a usable name can only be called by its place in the file.
            entries.append(_Entry(f"{self._where}: {what} {item.get(name, f'#{place}')}", item))
        return entries

    def done(self) -> None:
        if self._unread:
            known = ", ".join(sorted(self._known))
            _fail(self._where, next(iter(self._unread)), "an unknown key", f"one of {known}")


def _fail(where: str, field: str, got: str, want: str) -> NoReturn:
    raise SyllabusError(f"{where}, field {field}: got {got}, want {want}")


def _check_version(top: _Entry) -> None:
    version = top.whole("version")
    if version != VERSION:
        top.fail("version", version, f"{VERSION}, the only one this grader reads")


def _part(entry: _Entry) -> Part:
    part = Part(
        id=entry.whole("id"),
        title=entry.text("title"),
        planned=entry.text("planned") if entry.has("planned") else "",
    )
    entry.done()
    return part


def _capstone(entry: _Entry) -> Capstone:
    capstone = Capstone(
        title=entry.text("title"),
        minutes=entry.whole("minutes"),
        prerequisites=entry.texts("prerequisites"),
        lesson=entry.text("lesson"),
    )
    entry.done()
    return capstone


def _path(entry: _Entry, minutes: Mapping[str, int], capstone: Capstone | None) -> LearningPath:
    exercises = entry.texts("exercises")
    experiments = entry.texts("experiments") if entry.has("experiments") else ()
    has_capstone = entry.has("capstone") and entry.flag("capstone")
    if has_capstone and capstone is None:
        entry.fail("capstone", True, "a table [capstone] in the file")
    listed = (*experiments, *exercises)
    path = LearningPath(
        id=entry.text("id"),
        title=entry.text("title"),
        # An unknown name is refused later.
        minutes=sum(minutes.get(name, 0) for name in listed)
        + (capstone.minutes if has_capstone and capstone else 0),
        exercises=exercises,
        experiments=experiments,
        has_capstone=has_capstone,
    )
    entry.done()
    return path


def _experiments(top: _Entry) -> tuple[Experiment, ...]:
    if not top.has("experiments"):
        return ()
    found = []
    for entry in top.tables("experiments", "experiment"):
        found.append(
            Experiment(
                id=entry.text("id"),
                title=entry.text("title"),
                minutes=entry.whole("minutes"),
                exercise=entry.text("exercise"),
            )
        )
        entry.done()
    return tuple(found)


def _exercise(entry: _Entry) -> Exercise:
    exercise = Exercise(
        id=_exercise_id(entry),
        title=entry.text("title"),
        part=entry.whole("part"),
        points=entry.whole("points"),
        minutes=entry.whole("minutes"),
        prerequisites=entry.texts("prerequisites"),
        bans=_bans(entry),
        hints=_hints(entry),
        fact=entry.text("fact"),
        read=entry.texts("read"),
        limits=_limits(entry.table("limits")),
        imports=entry.texts("imports") if entry.has("imports") else (),
        fewest_mistakes=(
            entry.whole("fewest_mistakes") if entry.has("fewest_mistakes") else FEWEST_MISTAKES
        ),
    )
    entry.done()
    return exercise


def _exercise_id(entry: _Entry) -> str:
    found = entry.text("id")
    if not _ID.fullmatch(found):
        entry.fail("id", found, "two digits and a name in lower case, such as ex02_rope")
    return found


def _bans(entry: _Entry) -> tuple[str, ...]:
    bans = entry.texts("bans")
    for ban in bans:
        if not _DOTTED_NAME.fullmatch(ban):
            entry.fail("bans", ban, "a dotted name, such as torch.softmax")
    return bans


def _hints(entry: _Entry) -> tuple[HintLadder, ...]:
    found: list[HintLadder] = []
    for table in entry.tables("hints", "hints about", under="exercises.", name="about"):
        ladder = HintLadder(about=table.text("about"), levels=table.texts("levels"))
        table.done()
        if not _FUNCTION.fullmatch(ladder.about):
            table.fail("about", ladder.about, "a function, a class or a method, as Class.method")
        if ladder.about in [earlier.about for earlier in found]:
            table.fail("about", ladder.about, "another function than the hints before are about")
        if not _FEWEST_LEVELS <= len(ladder.levels) <= _MOST_LEVELS:
            levels = f"{_FEWEST_LEVELS} to {_MOST_LEVELS} hints, from a nudge to nearly the answer"
            table.fail("levels", list(ladder.levels), levels)
        found.append(ladder)
    return tuple(found)


def _limits(entry: _Entry) -> Limits:
    limits = Limits(
        seconds=entry.number("seconds"),
        memory_mb=entry.whole("memory_mb"),
        files_mb=entry.whole("files_mb") if entry.has("files_mb") else 0,
    )
    entry.done()
    return limits


def _check_unique(syllabus: Syllabus, file: str) -> None:
    exercises = syllabus.exercises
    _refuse_doubles(f"{file}: part", "id", [(str(p.id), str(p.id)) for p in syllabus.parts])
    _refuse_doubles(f"{file}: path", "id", [(p.id, p.id) for p in syllabus.paths])
    _refuse_doubles(f"{file}: exercise", "id", [(e.id, e.id) for e in exercises])
    experiments = syllabus.experiments
    _refuse_doubles(f"{file}: experiment", "id", [(e.id, e.id) for e in experiments])
    # "ex02" and "rope" must each mean one exercise, and the reference has one file per name.
    _refuse_doubles(f"{file}: exercise", "number", [(e.id, e.number) for e in exercises])
    _refuse_doubles(f"{file}: exercise", "name", [(e.id, e.name) for e in exercises])


def _refuse_doubles(what: str, field: str, owned: list[tuple[str, str]]) -> None:
    owners: dict[str, str] = {}
    for owner, value in owned:
        if value in owners:
            _fail(f"{what} {owner}", field, repr(value), f"another than {owners[value]} has")
        owners[value] = owner


def _check_parts(syllabus: Syllabus, file: str) -> None:
    parts = {part.id: part for part in syllabus.parts}
    for exercise in syllabus.exercises:
        where = f"{file}: exercise {exercise.id}"
        if exercise.part not in parts:
            _fail(where, "part", str(exercise.part), f"one of {', '.join(map(str, parts))}")
        if parts[exercise.part].planned:
            _fail(where, "part", str(exercise.part), "a part without `planned`")


def _check_prerequisites(syllabus: Syllabus, file: str) -> None:
    places = {exercise.id: place for place, exercise in enumerate(syllabus.exercises)}
    entries = {f"exercise {exercise.id}": exercise.prerequisites for exercise in syllabus.exercises}
    if syllabus.capstone is not None:
        entries["capstone"] = syllabus.capstone.prerequisites
    for entry, prerequisites in entries.items():
        for needed in prerequisites:
            if needed not in places:
                where = f"{file}: {entry}"
                _fail(where, "prerequisites", repr(needed), f"one of {', '.join(places)}")
    for exercise in syllabus.exercises:
        where = f"{file}: exercise {exercise.id}"
        for needed in exercise.prerequisites:
            if places[needed] >= places[exercise.id]:
                _fail(where, "prerequisites", repr(needed), _why_not_later(syllabus))


def _why_not_later(syllabus: Syllabus) -> str:
    import graphlib  # only a wrong syllabus pays for it

    graph = {exercise.id: exercise.prerequisites for exercise in syllabus.exercises}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as cycle:
        return f"no cycle, and this is one: {' -> '.join(cycle.args[1])}"
    return "an exercise that comes earlier"


def _check_order(syllabus: Syllabus, file: str) -> None:
    for earlier, later in pairwise(syllabus.exercises):
        where = f"{file}: exercise {later.id}"
        if later.number < earlier.number:
            _fail(where, "number", later.number, f"more than {earlier.number}, which stands first")
        if later.part < earlier.part:
            _fail(where, "part", str(later.part), f"{earlier.part} or more, as {earlier.id} has")


def _check_experiments(syllabus: Syllabus, file: str) -> None:
    known = [exercise.id for exercise in syllabus.exercises]
    for experiment in syllabus.experiments:
        if experiment.exercise not in known:
            where = f"{file}: experiment {experiment.id}"
            _fail(where, "exercise", repr(experiment.exercise), f"one of {', '.join(known)}")


def _check_paths(syllabus: Syllabus, file: str) -> None:
    known = {exercise.id: exercise for exercise in syllabus.exercises}
    experiments = [experiment.id for experiment in syllabus.experiments]
    for path in syllabus.paths:
        where = f"{file}: path {path.id}"
        for listed in path.experiments:
            if listed not in experiments:
                want = f"one of {', '.join(experiments)}"
                _fail(where, "experiments", repr(listed), want)
        for listed in path.exercises:
            if listed not in known:
                _fail(where, "exercises", repr(listed), f"one of {', '.join(known)}")
        in_order = [listed for listed in known if listed in path.exercises]
        if in_order != list(path.exercises):
            _fail(where, "exercises", repr(list(path.exercises)), f"this order: {in_order}")
