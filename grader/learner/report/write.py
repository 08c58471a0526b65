"""Gathers everything that a learner's report is made of and writes the files asked for."""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from grader.course.course import Course
from grader.course.files import write_output
from grader.course.syllabus import LearningPath
from grader.course.titles import capstone_title
from grader.isolation.launch import ZygoteClient, start_zygote
from grader.learner.capstone.record import Record
from grader.learner.history import History
from grader.learner.progress import Progress, measure
from grader.learner.report.portfolio import Memory, Portfolio, portfolio_of
from grader.messages.catalog import say
from grader.messages.sanitize import sanitize_line

if TYPE_CHECKING:
    from grader.learner.report.page import CapstonePage

INSTALL = "pip install -c constraints.txt -e '.[report]'"


class CannotReport(Exception):
    """The report cannot be made or written; the message says why and what to do."""


@dataclass(frozen=True)
class Wanted:
    """The files to write; those that are None are not wanted."""

    html: Path | None = None
    json: Path | None = None
    junit: Path | None = None
    badge: Path | None = None


def write_report(wanted: Wanted, course: Course, path: LearningPath, name: str = "") -> list[Path]:
    """Grade what has changed, write the files that are wanted, and return them.

    Raises CannotReport.
    """
    files = [file for file in vars(wanted).values() if file is not None]
    if len(set(files)) < len(files):
        raise CannotReport(say("reporting.two_in_one"))
    if wanted.html is not None:
        _check_installed()
    progress = measure(course, course.syllabus.on(path), "report")
    with ExitStack() as stack:
        zygote = None
        if wanted.html is not None and any(standing.done for standing in progress.standings):
            # It imports torch while this process does.
            if (zygote := start_zygote(course.root)) is not None:
                stack.callback(zygote.close)
        portfolio = _portfolio(progress, course, path, name)
        texts = dict(_texts(wanted, portfolio, course, zygote))
    for file, text in texts.items():
        try:
            write_output(file, text.encode("utf-8"))
        except OSError as error:
            why = error.strerror or str(error)
            raise CannotReport(say("reporting.not_written", file=file, why=why)) from error
    return list(texts)


def _texts(
    wanted: Wanted, portfolio: Portfolio, course: Course, zygote: ZygoteClient | None
) -> Iterator[tuple[Path, str]]:
    """Each file with what goes into it."""
    if wanted.html is not None:
        yield wanted.html, _html(portfolio, course, zygote)
    if wanted.json is not None:
        yield wanted.json, json.dumps(portfolio.as_json(), indent=1, ensure_ascii=False) + "\n"
    if wanted.junit is not None:
        from grader.results.junit import junit

        results = ((r.exercise.id, r.standing.result) for r in portfolio.records)
        yield wanted.junit, junit(results)
    if wanted.badge is not None:
        from grader.results.badge import badge

        content = badge(portfolio.points, portfolio.possible)
        yield wanted.badge, json.dumps(content, indent=1) + "\n"


def _check_installed() -> None:
    from grader.learner.report.page import NEEDED

    missing = [module for module in NEEDED if importlib.util.find_spec(module) is None]
    if missing:
        named = reduce(lambda first, last: say("comparing.and", first=first, last=last), missing)
        raise CannotReport(say("reporting.not_installed", modules=named, install=INSTALL))


def _portfolio(progress: Progress, course: Course, path: LearningPath, name: str) -> Portfolio:
    from grader.course.variants import read_variants

    with closing(History.open(course.root)) as history:
        memory = Memory(history.runs(), history.hints(), history.solutions())
        problem = progress.problem or history.problem
    sentences = {
        exercise.id: {v.id: v.sentence for v in read_variants(course.paths(exercise).mistakes)}
        for exercise in course.syllabus.on(path)
    }
    return portfolio_of(
        progress,
        course.syllabus,
        memory,
        sentences,
        made=time.time(),
        path=path,
        name=sanitize_line(name),
        problem=problem,
    )


def _html(portfolio: Portfolio, course: Course, zygote: ZygoteClient | None) -> str:
    from grader.learner.report.page import page
    from grader.learner.report.pictures.journey import journey
    from grader.learner.report.pictures.studio import pictures
    from grader.learner.report.pictures.times import timed_pictures

    finished = [record.exercise for record in portfolio.finished]
    drawn = dict(pictures(finished, course, course.root / "exercises", zygote))
    timed = dict(timed_pictures(finished, course.root))
    way = journey(portfolio.milestones, portfolio.possible)
    return page(portfolio, drawn, way, _capstone(course), timed)


def _capstone(course: Course) -> CapstonePage | None:
    """The model that was trained, or is being trained; None where there is none."""
    from grader.learner.report.page import CapstonePage
    from grader.learner.report.pictures.training import training

    record = Record(course.root)
    if course.syllabus.capstone is None or (run := record.run()) is None:
        return None
    title = capstone_title(course.syllabus.capstone)
    return CapstonePage(title, run, training(run, record.steps()[: run.step]))
