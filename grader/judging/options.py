"""How a run of tests is made, whether somebody typed it or a command of the grader asks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

from grader.course.course import Course
from grader.course.syllabus import Exercise

if TYPE_CHECKING:
    from grader.isolation.launch import Zygote


def _no_module(exercise: Exercise) -> ModuleType | None:
    return None


@dataclass(frozen=True, eq=False)
class RunOptions:
    """The choices of one run.

    The first eight are what pytest's command line offers; the rest only the grader itself sets.

    Args:
        impl: whose answers are tested: a name of `course.answers.NAMES`, or a folder.
        own: take prerequisites from the same answers instead of from the solutions.
        variant: the id of a known mistake or alternative to put over the answer.
        seed: of all inputs.
        isolate: run the answer in a worker process, locked in as far as `profile` says.
        device: where the answer runs.
        threads: torch's, in this process and in the answer's.
        course: what is tested against; its syllabus sets the limits.
        zygote: forks the workers; without one a run starts its own.
        cache: what the reference and the mistakes gave, shared between runs with the same seed.
        module_for: a module that is tested in place of an exercise's file.
        note_bans: a banned call fails no test and is only noted in the test's `Run`.
    """

    impl: str = "exercises"
    own: bool = False
    variant: str | None = None
    seed: int = 0
    isolate: bool = False
    profile: str = "auto"
    device: str = "cpu"
    threads: int = 1
    course: Course = field(default_factory=Course.load)
    zygote: Zygote | None = None
    cache: dict[Any, Any] | None = None
    module_for: Callable[[Exercise], ModuleType | None] = _no_module
    note_bans: bool = False
