"""The syllabus: every exercise with its place, points, prerequisites, bans and hints.

Every command a learner types comes through here first, so the module imports nothing outside the
standard library, and what only an error message needs is imported where the error is raised.
"""

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, takewhile
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
SYLLABUS = "grader/curriculum.toml"
VERSION = 1
FEWEST_MISTAKES = 8
"""How many known mistakes an exercise needs whose entry does not ask for more."""

_ID = re.compile(r"ex\d\d_[a-z][a-z0-9_]*")
_DOTTED_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_FUNCTION = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)?")
_FEWEST_LEVELS, _MOST_LEVELS = 2, 4
_SHORT_LIST = 8
_NEAR = 0.75
"""How alike a name and what was asked for must be, of 1, for the one to be meant by the other."""
_SHORTEST_PART = 4
"""Characters of a name that are enough to mean it."""


class BrokenCourse(Exception):
    """The course's own files are not in order, and no answer is to blame."""


class SyllabusError(BrokenCourse, ValueError):
    """The syllabus contradicts itself or says something the course cannot use."""


class UnknownExercise(LookupError):
    """No exercise goes by the name that was asked for."""


@dataclass(frozen=True)
class Limits:
    """What one answer may use over all of its tests: seconds of its own work, MiB beyond torch."""

    seconds: float
    memory_mb: int

    @property
    def call_seconds(self) -> float:
        """What one call may take: a function that hangs must not cost the tests of the others."""
        return self.seconds / 4


@dataclass(frozen=True)
class Part:
    """A group of exercises; `planned` says what will come while there are none."""

    id: int
    title: str
    planned: str


@dataclass(frozen=True)
class LearningPath:
    """A selection of exercises; `minutes` is what the syllabus gives for all of them."""

    id: str
    title: str
    minutes: int
    exercises: tuple[str, ...]


@dataclass(frozen=True)
class ExercisePaths:
    """Where the files of one exercise are, in one copy of the course."""

    stub: Path
    pristine: Path
    solution: Path
    reference: Path
    test_file: Path
    mistakes: Path
    alternatives: Path
    roundings: Path
    equivalent: Path
    lesson: Path


@dataclass(frozen=True)
class HintLadder:
    """The hints about one function, class or method of an answer, the first of which is a nudge."""

    about: str
    levels: tuple[str, ...]


@dataclass(frozen=True)
class Exercise:
    """One entry of the syllabus. Everything that follows from the id is computed from it.

    `imports` are modules that a worker must import before it is locked in, as afterwards it can
    read no file: those that torch itself imports late, such as what its optimizers need.
    `fewest_mistakes` is how many known mistakes its tests must catch and name.
    """

    id: str
    title: str
    part: int
    points: int
    minutes: int
    prerequisites: tuple[str, ...]
    bans: tuple[str, ...]
    hints: tuple[HintLadder, ...]
    fact: str
    read: tuple[str, ...]
    limits: Limits
    imports: tuple[str, ...] = ()
    fewest_mistakes: int = FEWEST_MISTAKES

    @property
    def short(self) -> str:
        """What a learner types: "ex02"."""
        return self.id.partition("_")[0]

    @property
    def number(self) -> str:
        """The number as file names have it: "02"."""
        return self.short.removeprefix("ex")

    @property
    def name(self) -> str:
        """The name without the number: "rope"."""
        return self.id.partition("_")[2]

    @property
    def answer_file(self) -> str:
        """The file name of an answer, in whichever folder of answers: "ex02_rope.py"."""
        return f"{self.id}.py"

    @property
    def hint_count(self) -> int:
        """How many hints there are, about all functions together."""
        return sum(len(ladder.levels) for ladder in self.hints)

    def hints_about(self, function: str) -> HintLadder | None:
        """The hints about a function, by the name that Python gives it: "Attention.forward".

        A method that has no hints of its own is spoken of in those about its class.
        """
        known = {ladder.about: ladder for ladder in self.hints}
        return known.get(function) or known.get(function.partition(".")[0])

    def paths(self, root: Path) -> ExercisePaths:
        """Where this exercise's files are under `root`, whether or not they exist."""
        return ExercisePaths(
            stub=root / "exercises" / self.answer_file,
            pristine=root / "grader" / "pristine" / self.answer_file,
            solution=root / "solutions" / self.answer_file,
            reference=root / "minimind_ref" / f"{self.name}.py",
            test_file=root / "tests" / f"test_{self.number}_{self.name}.py",
            mistakes=root / "tests" / "mistakes" / self.answer_file,
            alternatives=root / "tests" / "alternatives" / self.answer_file,
            roundings=root / "tests" / "roundings" / self.answer_file,
            equivalent=root / "tests" / "equivalent" / f"{self.id}.toml",
            lesson=root / "lessons" / f"{self.number}_{self.name}.md",
        )


@dataclass(frozen=True)
class Syllabus:
    """The whole syllabus, known to be consistent; exercises are in the order of the course."""

    parts: tuple[Part, ...]
    paths: tuple[LearningPath, ...]
    exercises: tuple[Exercise, ...]

    def find(self, text: str) -> Exercise:
        """The exercise that an id, a number, a name, one of its files or a test id stands for."""
        aliases = {alias: e for e in self.exercises for alias in _aliases(e)}
        found = aliases.get(_plain(text))
        if found is None:
            raise UnknownExercise(_unknown(text, aliases, self.exercises))
        return found

    def on(self, path: LearningPath) -> tuple[Exercise, ...]:
        """The exercises of a learning path, in the order of the course."""
        return tuple(e for e in self.exercises if e.id in path.exercises)

    def longer_than(self, path: LearningPath) -> LearningPath | None:
        """The path to go on with at the end of this one; None at the end of the longest."""
        longer = [other for other in self.paths if other.minutes > path.minutes]
        return min(longer, key=lambda other: other.minutes, default=None)

    def earlier(self, exercise: Exercise) -> tuple[Exercise, ...]:
        """The exercises before one, which its answer may import."""
        return tuple(takewhile(lambda other: other.id != exercise.id, self.exercises))

    def closure(self, exercise: Exercise) -> tuple[Exercise, ...]:
        """Everything `exercise` builds on, directly or not, in the order of the course."""
        needed = set(exercise.prerequisites)
        # One pass is enough: a prerequisite always comes before what needs it.
        for earlier in reversed(self.exercises):
            if earlier.id in needed:
                needed.update(earlier.prerequisites)
        return tuple(e for e in self.exercises if e.id in needed)


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
    minutes = {exercise.id: exercise.minutes for exercise in exercises}
    syllabus = Syllabus(
        parts=tuple(_part(entry) for entry in top.tables("parts", "part")),
        paths=tuple(_path(entry, minutes) for entry in top.tables("paths", "path")),
        exercises=exercises,
    )
    top.done()
    _check_unique(syllabus, file)
    _check_parts(syllabus, file)
    _check_prerequisites(syllabus, file)
    _check_order(syllabus, file)
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

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.take(key, want := "a list of different texts")
        if not isinstance(value, list):
            self.fail(key, value, want)
        texts = [item.strip() for item in value if isinstance(item, str) and item.strip()]
        if len(set(texts)) != len(value):
            self.fail(key, value, want)
        return tuple(texts)

    def table(self, key: str) -> "_Entry":
        value = self.take(key, want := "a table")
        if not isinstance(value, dict):
            self.fail(key, value, want)
        return _Entry(f"{self._where}, field {key}", value)

    def tables(self, key: str, what: str, under: str = "", name: str = "id") -> list["_Entry"]:
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


def _path(entry: _Entry, minutes: Mapping[str, int]) -> LearningPath:
    exercises = entry.texts("exercises")
    path = LearningPath(
        id=entry.text("id"),
        title=entry.text("title"),
        minutes=sum(minutes.get(listed, 0) for listed in exercises),  # an unknown one is refused
        exercises=exercises,
    )
    entry.done()
    return path


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
    limits = Limits(seconds=entry.number("seconds"), memory_mb=entry.whole("memory_mb"))
    entry.done()
    return limits


def _check_unique(syllabus: Syllabus, file: str) -> None:
    exercises = syllabus.exercises
    _refuse_doubles(f"{file}: part", "id", [(str(p.id), str(p.id)) for p in syllabus.parts])
    _refuse_doubles(f"{file}: path", "id", [(p.id, p.id) for p in syllabus.paths])
    _refuse_doubles(f"{file}: exercise", "id", [(e.id, e.id) for e in exercises])
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
    for exercise in syllabus.exercises:
        where = f"{file}: exercise {exercise.id}"
        for needed in exercise.prerequisites:
            if needed not in places:
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


def _check_paths(syllabus: Syllabus, file: str) -> None:
    known = {exercise.id: exercise for exercise in syllabus.exercises}
    for path in syllabus.paths:
        where = f"{file}: path {path.id}"
        for listed in path.exercises:
            if listed not in known:
                _fail(where, "exercises", repr(listed), f"one of {', '.join(known)}")
        in_order = [listed for listed in known if listed in path.exercises]
        if in_order != list(path.exercises):
            _fail(where, "exercises", repr(list(path.exercises)), f"this order: {in_order}")


def _aliases(exercise: Exercise) -> tuple[str, ...]:
    short_number = str(int(exercise.number))
    return (
        exercise.id,
        exercise.short,
        exercise.number,
        exercise.name,
        f"{exercise.number}_{exercise.name}",
        short_number,
        f"ex{short_number}",
    )


def _plain(text: str) -> str:
    """What is left of a path or a test id once the folder, the test and the suffix are gone."""
    file = re.split(r"[/\\]", text.strip().partition("::")[0])[-1].lower()
    return file.removesuffix(".py").removesuffix(".md").removeprefix("test_")


def _unknown(text: str, aliases: dict[str, Exercise], exercises: tuple[Exercise, ...]) -> str:
    import difflib  # only a wrong name pays for it

    from grader.messages.catalog import say

    asked = _plain(text)
    # A number that is slightly off is another exercise's, so it is near to none.
    names = {alias: e for alias, e in aliases.items() if e.name in alias}
    near = difflib.get_close_matches(asked, names, n=5, cutoff=_NEAR)
    near += [e.name for e in exercises if asked in e.name and len(asked) >= _SHORTEST_PART]
    ids = list(dict.fromkeys(aliases[alias].id for alias in near))
    sentences = [say("curriculum.no_exercise", asked=text)]
    if ids:
        nearest = say("curriculum.or").join(ids[:3])
        sentences.append(say("curriculum.did_you_mean", names=nearest))
    if len(exercises) <= _SHORT_LIST:
        known = ", ".join(exercise.id for exercise in exercises)
        sentences.append(say("curriculum.known", names=known))
    return "\n  ".join([*sentences, say("curriculum.next")])
