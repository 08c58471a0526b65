"""Where an answer runs: in this process, in a worker, or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

import torch

from grader.course.answers import config_source
from grader.course.course import Course
from grader.course.syllabus import Exercise
from grader.messages.catalog import say
from grader.observation.answer import Answer, forget
from grader.observation.deadline import Deadline, OutOfTime
from grader.observation.kind import Kind
from grader.observation.late import import_now
from grader.observation.observe import load, observe
from grader.observation.record import Interruption, Observation, Request
from grader.observation.trouble import timed_out

if TYPE_CHECKING:  # cloudpickle and sockets stay off the path of a run in process
    from grader.isolation.launch import Zygote

_Loaded = tuple[ModuleType | None, Interruption | None, BaseException | None]
"""The answer's module, or why there is none."""
Seen = tuple[Observation, BaseException | None]
"""What was seen, and the exception itself where it lives in this process."""


class Executor(Protocol):
    """Runs requests on an answer, in this process or in another.

    `spent` are the seconds of the processor that the answer has used so far.
    """

    @property
    def spent(self) -> float: ...

    def get_ready(self) -> Interruption | None:
        """Do what must not count as the answer's time; why nothing can be run, if it cannot."""

    def begin(self, request: Request, seconds: float) -> Callable[[], Seen]:
        """Start on a request; calling the result gives what was seen."""

    def close(self) -> None:
        """Free what the executor holds."""


class InProcess:
    """The answer in the process that judges it: fast, and `print` and `--pdb` work."""

    def __init__(
        self,
        answer: Answer,
        imports: Sequence[str],
        seconds: float,
        timeouts: tuple[type[BaseException], ...],
    ) -> None:
        self._answer = answer
        self._imports = imports
        self._seconds = seconds
        self._timeouts: tuple[type[BaseException], ...] = (OutOfTime, *timeouts)
        self.spent = 0.0
        self._loaded: _Loaded | None = None

    def module(self) -> ModuleType | None:
        """The answer's module; None if it cannot be imported."""
        if self._loaded is None:
            with Deadline(self._seconds, self._answer.learner_files) as deadline:
                module, interruption, error = load(self._answer, timeouts=self._timeouts)
            seen = self._noted(Observation(interruption=interruption), deadline)
            self._loaded = module, interruption and seen.interruption, error
        return self._loaded[0]

    def get_ready(self) -> Interruption | None:
        import_now(self._imports)
        return None

    def begin(self, request: Request, seconds: float) -> Callable[[], Seen]:
        def seen() -> Seen:
            found = self._observe(request, seconds)
            interruption = found[0].interruption
            if interruption and interruption.kind is Kind.NOT_GRADED:  # it gets a second chance
                found = self._observe(request, seconds)
            return found

        return seen

    def _observe(self, request: Request, seconds: float) -> Seen:
        module = self.module()
        assert self._loaded is not None
        _, interruption, error = self._loaded
        if module is None:
            return Observation(interruption=interruption), error
        files = self._answer.learner_files
        with Deadline(seconds, files) as deadline:
            seen, error = observe(module, request, files, timeouts=self._timeouts)
        return self._noted(seen, deadline), error

    def _noted(self, seen: Observation, deadline: Deadline) -> Observation:
        self.spent += deadline.spent
        seen = timed_out(seen, deadline)
        if seen.interruption is None or seen.interruption.how != "waiting":
            return seen
        if not (deadline.was_stopped or deadline.machine_was_busy):
            return seen
        return Observation(interruption=Interruption(Kind.NOT_GRADED, message=say("workers.busy")))

    def close(self) -> None:
        self._loaded = None
        forget(self._answer.package)  # or nobody could import the real solutions afterwards


class Given:
    """A module that is there already: the null answers of the course check."""

    spent = 0.0

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def get_ready(self) -> Interruption | None:
        return None

    def begin(self, request: Request, seconds: float) -> Callable[[], Seen]:
        return lambda: observe(self._module, request, frozenset({str(self._module.__file__)}))

    def close(self) -> None:
        pass


class NothingToRun:
    """Stands in where no file was handed in, or one that cannot be accepted."""

    spent = 0.0

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption

    def get_ready(self) -> Interruption | None:
        return self._interruption

    def begin(self, request: Request, seconds: float) -> Callable[[], Seen]:
        raise AssertionError("nothing can be run where there is no answer")

    def close(self) -> None:
        pass


class Isolated:
    """The answer in a worker process that holds nothing of the judge's."""

    def __init__(
        self,
        answer: Answer,
        exercise: Exercise,
        course: Course,
        zygote: Zygote | None,
        profile: str,
        imports: Sequence[str],
    ) -> None:
        from grader.isolation.client import Worker
        from grader.isolation.launch import NotGraded
        from grader.isolation.sandbox import Sandbox

        self._worker = Worker(
            answer,
            config_source(course),
            root=course.root,
            threads=torch.get_num_threads(),
            seconds=exercise.limits.call_seconds,
            seconds_in_all=exercise.limits.seconds,
            locked=Sandbox(profile, exercise.limits.memory_mb, exercise.limits.files_mb),
            imports=imports,
            zygote=zygote,
        )
        with contextlib.suppress(NotGraded):  # it is told where the worker is needed
            self._worker.launch()

    @property
    def spent(self) -> float:
        return self._worker.spent

    def get_ready(self) -> Interruption | None:
        from grader.isolation.launch import NotGraded

        try:
            self._worker.start()
        except NotGraded as failure:
            return Interruption(Kind.NOT_GRADED, message=str(failure))
        return None

    def begin(self, request: Request, seconds: float) -> Callable[[], Seen]:
        reply = self._worker.ask(request, seconds)
        return lambda: (reply(), None)

    def close(self) -> None:
        self._worker.stop()
