"""The titles that the syllabus gives, in the learner's language."""

from __future__ import annotations

from grader.course.syllabus import Capstone, Exercise, Experiment, LearningPath, Part
from grader.messages.catalog import translated


def exercise_title(exercise: Exercise) -> str:
    return translated(f"titles.{exercise.id}", exercise.title)


def experiment_title(experiment: Experiment) -> str:
    return translated(f"titles.{experiment.id}", experiment.title)


def part_title(part: Part) -> str:
    return translated(f"titles.part_{part.id}", part.title)


def part_plan(part: Part) -> str:
    """What is planned for a part that has no exercises yet."""
    return translated(f"titles.planned_{part.id}", part.planned)


def path_title(path: LearningPath) -> str:
    return translated(f"titles.path_{path.id}", path.title)


def capstone_title(capstone: Capstone) -> str:
    return translated("titles.capstone", capstone.title)
