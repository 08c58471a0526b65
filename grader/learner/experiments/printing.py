"""What `grader experiment` prints."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import TYPE_CHECKING

from grader.course.syllabus import Experiment, Syllabus
from grader.course.titles import experiment_title
from grader.learner.experiments.chart import chart
from grader.learner.experiments.words import WORDS, arm_name, measure_name, number, written
from grader.messages.catalog import say
from grader.messages.console import Console
from grader.messages.quantities import duration

if TYPE_CHECKING:  # the list must not wait for torch
    from experiments.table import Table, Trial


def experiments(console: Console, syllabus: Syllabus, seen: Container[str]) -> None:
    """Every experiment, its question, how long it takes, and whether it was watched."""
    if console.is_quiet:
        console.lines(experiment.id for experiment in syllabus.experiments)
        return
    console.table(
        (
            "✓" if experiment.id in seen else "·",
            experiment.id,
            experiment_title(experiment),
            duration(experiment.minutes),
        )
        for experiment in syllabus.experiments
    )
    console.advice([say("experiments.choose")])


def watched(console: Console, experiment: Experiment, trials: Iterator[Trial]) -> Table:
    """Run all trials, say of each as it ends what came of it, and then what they show."""
    console.advice([experiment_title(experiment), say("experiments.only_one_thing")])
    headline = WORDS[experiment.id].headline
    done: list[Trial] = []
    for trial in trials:
        done.append(trial)
        value = written(headline, trial.measures[headline])
        what = measure_name(headline)
        console.advice(
            [
                say(
                    "experiments.trial",
                    seed=trial.seed,
                    arm=arm_name(trial.arm),
                    what=what,
                    value=value,
                )
            ]
        )
    from experiments.table import Table

    table = Table(tuple(done))
    console.advice(["", *chart(table, headline), ""])
    _numbers(console, table)
    _meaning(console, experiment, table)
    return table


def _numbers(console: Console, table: Table) -> None:
    """Every measure of every arm: the median over the seeds, and the spread."""
    headings = ["", *(measure_name(measure) for measure in table.measures)]
    rows = (
        [arm_name(arm), *(_spread(table, arm, measure) for measure in table.measures)]
        for arm in table.arms
    )
    console.table(rows, headings=headings)
    seeds = len(table.seeds)
    console.advice([say("experiments.one_seed") if seeds == 1 else say("experiments.spread")])


def _spread(table: Table, arm: str, measure: str) -> str:
    middle = number(table, arm, measure)
    low, high = table.low(arm, measure), table.high(arm, measure)
    ends = written(measure, low), written(measure, high)
    return middle if ends[0] == ends[1] else f"{middle} ({ends[0]} – {ends[1]})"


def _meaning(console: Console, experiment: Experiment, table: Table) -> None:
    """The sentence on what it shows, if it does so here, and the one on what it does not."""
    from experiments.registry import find

    words = WORDS[experiment.id]
    console.advice([""])
    if all(claim.holds for claim in find(experiment.id).claims(table)):
        console.fitted(say("experiments.shows", what=words.shows(table)))
    else:
        console.fitted(say("experiments.not_this_time"))
    console.fitted(say("experiments.does_not_show", what=words.not_shown()))


def what_now(console: Console, experiment: Experiment, to_watch: Sequence[Experiment]) -> None:
    """The exercise in which the part is built, and the experiment or the command that is next."""
    short = experiment.exercise.partition("_")[0]
    console.advice([say("experiments.built_in", exercise=experiment.exercise, short=short)])
    if to_watch:
        console.advice([say("experiments.next", id=to_watch[0].id)])
    else:
        console.advice([say("experiments.next_command")])
