"""`grader capstone` and `grader chat`. Whatever takes time to import waits until a command runs."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from grader.course.arguments import this_course
from grader.course.course import Course
from grader.course.syllabus import Capstone
from grader.learner.capstone.threads import wait_asleep
from grader.messages.catalog import say
from grader.messages.click_words import command

if TYPE_CHECKING:
    from grader.course.answers import Implementation
    from grader.learner.capstone.assemble import Parts
    from grader.learner.capstone.data import Corpus
    from grader.learner.capstone.recipe import Recipe
    from grader.learner.capstone.record import Record, Run
    from grader.learner.capstone.screen import Screen

_TEXT_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@command("capstone")
@click.option("--corpus", type=_TEXT_FILE, help="Learn from a text file instead of the stories.")
@click.option("--restart", is_flag=True, help="Begin again; the old model is kept as a backup.")
@click.option("--steps", type=click.IntRange(1), help="Train for at most so many steps.")
@click.option("--impl", default="exercises", hidden=True)
def capstone(corpus: Path | None, restart: bool, steps: int | None, impl: str) -> None:
    """Train a model made of your own parts only.

    Stop it whenever you like: it continues from there.
    """
    wait_asleep()
    from grader.learner.capstone.record import Record
    from grader.learner.capstone.screen import Screen

    course, screen = this_course(), Screen()
    _capstone_of(course)
    record = Record(course.root)
    if restart:
        screen.put_away(record.put_away())
    kept = record.run()
    if kept is not None and kept.finished and corpus is None and steps is None:
        screen.finished(kept, record.steps())
        return
    implementation = _chosen(impl, course)
    parts = _ready(implementation, course, screen)
    _train(parts, _text(corpus, kept, screen), steps, record, course, impl, screen)


def _capstone_of(course: Course) -> Capstone:
    if course.syllabus.capstone is None:
        raise click.UsageError(say("capstone.none"))
    return course.syllabus.capstone


def _chosen(impl: str, course: Course) -> Implementation:
    from grader.course.answers import UsageError, choose

    try:
        return choose(impl, course, own=True)
    except UsageError as error:
        raise click.UsageError(str(error)) from None


def _ready(implementation: Implementation, course: Course, screen: Screen) -> Parts:
    """The parts, once each has answered as the reference does; else the command ends."""
    from grader.learner.capstone.assemble import Unfit, load_parts, not_begun, reference_parts

    if missing := not_begun(implementation, course):
        screen.not_begun(missing)
        sys.exit(1)
    if implementation.choice == "exercises":
        _say_what_fails(course, screen)
    screen.preparing(say("capstone.checking"))
    try:
        parts = load_parts(implementation, course)
        from grader.learner.capstone.checks import checked

        screen.checked(list(checked(parts, reference_parts(course), course)))
    except Unfit as unfit:
        screen.unfit(unfit)
        sys.exit(1)
    return parts


def _say_what_fails(course: Course, screen: Screen) -> None:
    """Name the parts whose tests do not all pass, as far as their last run is known."""
    from grader.learner.history import History
    from grader.learner.progress import last_runs

    needed = [course.syllabus.find(name) for name in _capstone_of(course).prerequisites]
    with closing(History.open(course.root)) as history:
        runs = last_runs(needed, course, history)
    screen.tests([(e, runs.get(e.id)) for e in needed if not (e.id in runs and runs[e.id].done)])


def _text(file: Path | None, kept: Run | None, screen: Screen) -> Corpus:
    """What is to be read: the file that is named, else that of the training which is kept."""
    from grader.learner.capstone import recipe
    from grader.learner.capstone.data import NoCorpus, corpus_of, own_corpus

    if file is None and kept is not None and kept.file:
        file = Path(kept.file)
    try:
        return own_corpus(recipe.USUAL) if file is None else corpus_of(file.absolute())
    except NoCorpus as error:
        screen.stop(str(error))


def _recipe(corpus: Corpus, steps: int | None, kept: Run | None) -> Recipe:
    """The usual numbers. A text that nobody knows has no target, and takes all steps."""
    from grader.learner.capstone import recipe

    chosen = recipe.USUAL if corpus.is_ours else replace(recipe.USUAL, target=None)
    if steps is not None:
        return replace(chosen, steps=steps)
    if kept is not None and "steps" in kept.recipe:
        return replace(chosen, steps=kept.recipe["steps"])
    return chosen


def _train(
    parts: Parts,
    corpus: Corpus,
    steps: int | None,
    record: Record,
    course: Course,
    impl: str,
    screen: Screen,
) -> None:
    from grader.learner.capstone.assemble import Unfit
    from grader.learner.capstone.data import NoCorpus
    from grader.learner.capstone.train import Interrupted, OtherTraining, Training

    recipe = _recipe(corpus, steps, record.run())
    try:
        training = Training(parts, corpus, recipe, record, course, impl)
        with screen:
            run = training.go_on(screen)
    except OtherTraining:
        screen.stop(say("capstone.other"))
    except NoCorpus as error:
        screen.stop(str(error))
    except Unfit as unfit:
        screen.unfit(unfit)
        sys.exit(1)
    except Interrupted as interrupted:
        screen.interrupted(interrupted.step, recipe.steps)
        sys.exit(130)
    screen.finished(run, record.steps())
    sys.exit(0 if run.reached or recipe.target is None else 1)


@command("chat")
@click.argument("text", nargs=-1)
@click.option("--temperature", type=click.FloatRange(0), help="0 takes the likeliest token.")
@click.option("--seed", type=int, default=0, help="Another number draws another text.")
def chat(text: tuple[str, ...], temperature: float | None, seed: int) -> None:
    """Talk to the model that grader capstone has trained.

    It completes what you begin: grader chat "3 + 4 ="
    """
    wait_asleep()
    from grader.learner.capstone.assemble import Unfit, load_parts
    from grader.learner.capstone.record import Record
    from grader.learner.capstone.screen import Screen

    course, screen = this_course(), Screen()
    record = Record(course.root)
    run = record.run()
    if run is None or not record.checkpoint.exists():
        screen.stop(say("capstone.no_model"))
    try:
        parts = load_parts(_chosen(run.impl, course), course)
        from grader.learner.capstone.train import Speaker

        speaker = Speaker(parts, run, record, course)
        screen.chat(run, speaker, text, temperature, seed)
    except Unfit as unfit:
        screen.unfit(unfit)
        sys.exit(1)


COMMANDS = (capstone, chat)
