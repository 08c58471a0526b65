"""One copy of the course: where it lies, and what it consists of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from grader.course.syllabus import ROOT, Exercise, ExercisePaths, Syllabus
from grader.course.syllabus_file import load


@dataclass(frozen=True)
class Course:
    """A folder with the course in it, and the syllabus that was read there.

    Functions that need the course's own files take this; what works on any folder, such as a
    history or an update, takes the folder alone.
    """

    root: Path
    syllabus: Syllabus

    @classmethod
    def load(cls, root: Path = ROOT) -> Course:
        """The course in a folder. Raises SyllabusError where its syllabus cannot be used."""
        return cls(root, load(root))

    @property
    def exercises(self) -> tuple[Exercise, ...]:
        """All exercises, in the order of the course."""
        return self.syllabus.exercises

    def paths(self, exercise: Exercise) -> ExercisePaths:
        """Where an exercise's files are, whether or not they exist."""
        return exercise.paths(self.root)
