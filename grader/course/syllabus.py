"""The syllabus: every exercise with its place, points, prerequisites, bans and hints.

Every command a learner types comes through here first, so the module imports nothing outside the
standard library, and what only an error message needs is imported where the error is raised.
`syllabus_file` reads it.
"""

import re
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FEWEST_MISTAKES = 8
"""How many known mistakes an exercise needs whose entry does not ask for more."""

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
    """What one answer may use over all of its tests: seconds of its own work, MiB beyond torch.

    `files_mb` are the MiB of files that it may have at once; with 0 it may write none.
    """

    seconds: float
    memory_mb: int
    files_mb: int = 0

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
class Experiment:
    """Something to watch: what happens if a part is left out. `exercise` is where it is built."""

    id: str
    title: str
    minutes: int
    exercise: str


@dataclass(frozen=True)
class Capstone:
    """What all exercises lead to: a model of the learner's own parts. It carries no points.

    `prerequisites` are the exercises whose answers it is made of.
    """

    title: str
    minutes: int
    prerequisites: tuple[str, ...]
    lesson: str


@dataclass(frozen=True)
class LearningPath:
    """A selection of exercises, and experiments to watch before them, in this order.

    `minutes` is what the syllabus gives for all of them. With `has_capstone`, the capstone comes
    after them; its minutes are included.
    """

    id: str
    title: str
    minutes: int
    exercises: tuple[str, ...]
    experiments: tuple[str, ...] = ()
    has_capstone: bool = False


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
    experiments: tuple[Experiment, ...] = ()
    capstone: Capstone | None = None

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

    def experiments_on(self, path: LearningPath) -> tuple[Experiment, ...]:
        """The experiments of a learning path, in its order."""
        known = {experiment.id: experiment for experiment in self.experiments}
        return tuple(known[listed] for listed in path.experiments)

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
