"""Train the assembled model, and go on with it: one training at a time, kept in a `Record`.

Nothing is lost that has been learned: the checkpoint is written every few steps and when somebody
interrupts, and a training that goes on gives the numbers of one that never stopped.
"""

from __future__ import annotations

import hashlib
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from types import FrameType, SimpleNamespace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from grader.course.course import Course
from grader.course.syllabus import Exercise
from grader.learner.capstone.assemble import Parts, Unfit, named
from grader.learner.capstone.data import (
    Corpus,
    NoCorpus,
    batches,
    learn_vocabulary,
    rows_of,
    tokenizer_of,
)
from grader.learner.capstone.recipe import Recipe
from grader.learner.capstone.record import Record, Run, Samples, Step, recent
from grader.learner.capstone.writing import samples, streamed
from grader.messages.catalog import say


class Watching(Protocol):
    """Who is shown how a training goes."""

    def preparing(self, what: str) -> None:
        """Something begins that takes a while."""

    def before(self, written: Samples) -> None:
        """What the model wrote before it learned anything."""

    def stepped(self, steps: Sequence[Step], recipe: Recipe) -> None:
        """A step was made; these are all so far."""

    def stopping(self) -> None:
        """Somebody has interrupted; the step at hand is finished first."""


class Interrupted(Exception):
    """The training was stopped and kept; `step` were made."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step


class OtherTraining(Exception):
    """The training that is kept reads another text, has other sizes, or another's parts."""


class _Loss(nn.Module):
    """The model with the learner's loss of ex15, as a training step calls it."""

    def __init__(self, model: nn.Module, parts: Parts) -> None:
        super().__init__()
        self.model = model
        self._loss = parts["loss"].causal_lm_loss

    def forward(self, input_ids: Tensor, labels: Tensor) -> SimpleNamespace:
        out = self.model(input_ids)
        return SimpleNamespace(loss=self._loss(out.logits, labels), aux_loss=out.aux_loss)


@dataclass
class Trained:
    """A model in memory with all that is needed to go on."""

    recipe: Recipe
    rows: Sequence[list[int]]
    tokenizer: Any
    model: nn.Module
    optimizer: torch.optim.Optimizer


def recipe_of(run: Run) -> Recipe:
    """The recipe that is kept with a run. Raises TypeError for one of another version."""
    return Recipe(**run.recipe)


def digest(corpus: Corpus) -> str:
    """By which a text is recognised."""
    return hashlib.sha256("\0".join(corpus.texts).encode()).hexdigest()


class Training:
    """One training of the parts on a text. Raises OtherTraining where another one is kept."""

    def __init__(
        self,
        parts: Parts,
        corpus: Corpus,
        recipe: Recipe,
        record: Record,
        course: Course,
        impl: str,
    ) -> None:
        self._parts, self._corpus, self._recipe = parts, corpus, recipe
        self._record, self._course = record, course
        kept = record.run()
        new = Run(impl, recipe.as_json(), corpus.file, digest(corpus), began=time.time())
        if kept is not None and _identity(kept) != _identity(new):
            raise OtherTraining
        self.run = kept or new

    def go_on(self, watching: Watching) -> Run:
        """Train to the end from wherever it was. Raises Interrupted, or Unfit for a part."""
        if self.run.finished:
            return self.run
        with _interruptible(watching) as asked:
            state, step = self._prepared(watching)
            steps = self._record.steps()[:step]
            for _ in self._updates(state, steps):
                watching.stepped(steps, self._recipe)
                done = self._reached(steps) or len(steps) >= self._recipe.steps
                if done or asked.is_set or len(steps) % self._recipe.save_every == 0:
                    self._keep(state, steps)
                if done:
                    break
                if asked.is_set:
                    raise Interrupted(len(steps))
            watching.preparing(say("capstone.writing"))
            with named(self._course, self._exercise("generate")):
                after = self._samples(state)
        self.run = replace(self.run, finished=True, reached=self._reached(steps), after=after)
        self._record.keep_run(self.run)
        return self.run

    def _exercise(self, name: str) -> Exercise:
        return self._course.syllabus.find(name)

    def _prepared(self, watching: Watching) -> tuple[Trained, int]:
        """The model as it stands, and the steps that it has made."""
        watching.preparing(say("capstone.preparing"))
        with named(self._course, self._exercise("tokenizer")):
            rows, tokenizer = self._tokens()
        if not rows:
            file, want = self._corpus.file, self._recipe.context
            raise NoCorpus(say("capstone.file_short", file=file, want=want))
        with named(self._course, self._exercise("model")):
            state = assembled(self._parts, self._recipe, rows, tokenizer)
        if self._record.checkpoint.exists():
            step = restore(self._parts, state, self._record, self._course)
        else:
            with named(self._course, self._exercise("generate")):
                before = self._samples(state)
            parameters = sum(parameter.numel() for parameter in state.model.parameters())
            self.run = replace(self.run, before=before, parameters=parameters)
            self._record.keep_run(self.run)
            step = 0
        watching.before(self.run.before)
        return state, step

    def _tokens(self) -> tuple[Sequence[list[int]], Any]:
        try:
            vocab, merges, rows = self._record.tokens()
            return rows, tokenizer_of(self._parts, (vocab, merges))
        except (OSError, ValueError, KeyError):
            vocab, merges = learn_vocabulary(self._parts, self._corpus, self._recipe)
        tokenizer = tokenizer_of(self._parts, (vocab, merges))
        rows = rows_of(self._parts, tokenizer, self._corpus, self._recipe)
        self._record.keep_tokens(vocab, merges, rows)
        return rows, tokenizer

    def _updates(self, state: Trained, steps: list[Step]) -> Iterator[None]:
        """Make one update after another; each is put at the end of `steps`."""
        parts, recipe = self._parts, self._recipe
        began = time.monotonic() - (steps[-1].seconds if steps else 0.0)
        stream = batches(parts, state.rows, self._corpus, recipe, len(steps))
        state.model.train()
        with named(self._course, self._exercise("train_step")):
            made = -1
            while made < len(steps):  # a train_epoch that makes no steps ends the training
                made = len(steps)
                lr, end = recipe.stage(made)
                results = parts["train_step"].train_epoch(
                    _Loss(state.model, parts),
                    islice(stream, end - made),
                    state.optimizer,
                    lr=lr,
                    total_steps=recipe.steps,
                    start_step=made,
                )
                for result in results:
                    loss = float(result.loss)
                    if loss != loss:
                        why = say("capstone.not_a_number", step=len(steps) + 1)
                        raise Unfit(self._exercise("train_step"), why)
                    steps.append(Step(loss, float(result.grad_norm), time.monotonic() - began))
                    yield

    def _reached(self, steps: Sequence[Step]) -> bool:
        target, window = self._recipe.target, self._recipe.window
        return target is not None and len(steps) >= window and recent(steps, window) <= target

    def _keep(self, state: Trained, steps: Sequence[Step]) -> None:
        # Steps first: of a checkpoint that is older than they are, the rest is simply left out.
        self._record.keep_steps(steps)
        with named(self._course, self._exercise("checkpoint")):
            self._parts["checkpoint"].save_checkpoint(
                self._record.checkpoint, state.model, state.optimizer, step=len(steps)
            )
        self.run = replace(self.run, step=len(steps))
        self._record.keep_run(self.run)

    def _samples(self, state: Trained) -> Samples:
        parts, recipe = self._parts, self._recipe
        return samples(parts, state.model, state.tokenizer, self._corpus, state.rows, recipe)


def assembled(parts: Parts, recipe: Recipe, rows: Sequence[list[int]], tokenizer: Any) -> Trained:
    """A new model and its optimizer, of the learner's classes."""
    torch.manual_seed(recipe.seed)
    model = parts["model"].MiniMindForCausalLM(recipe.config())
    groups = parts["optimizer"].decay_groups(model, recipe.weight_decay)
    optimizer = parts["optimizer"].AdamW(
        groups, lr=recipe.lr, betas=(0.9, 0.95), eps=1e-8, weight_decay=recipe.weight_decay
    )
    return Trained(recipe, rows, tokenizer, model, optimizer)


def restore(parts: Parts, state: Trained, record: Record, course: Course) -> int:
    """Bring model and optimizer to where they were saved, by the learner's load_checkpoint."""
    with named(course, course.syllabus.find("checkpoint")):
        step = parts["checkpoint"].load_checkpoint(record.checkpoint, state.model, state.optimizer)
    return int(step)


def _identity(run: Run) -> tuple[object, ...]:
    return run.impl, run.recipe, run.digest


class _Asked:
    """Whether somebody has asked to stop."""

    is_set = False


@contextmanager
def _interruptible(watching: Watching) -> Iterator[_Asked]:
    """Ctrl-C and the usual kill ask to stop after the step at hand; a second Ctrl-C stops at once.

    In the middle of a step half of the weights may be new, so nothing could be kept. Signals only
    reach the main thread; elsewhere they are left as they are.
    """
    asked = _Asked()

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set:
            raise KeyboardInterrupt
        asked.is_set = True
        watching.stopping()

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {one: signal.signal(one, ask) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


class Speaker:
    """The trained model, as somebody talks to it. Raises Unfit for a part that is not ready."""

    def __init__(self, parts: Parts, run: Run, record: Record, course: Course) -> None:
        self._parts, self._course = parts, course
        self._recipe, self._is_ours = recipe_of(run), not run.file
        with named(course, course.syllabus.find("tokenizer")):
            vocab, merges, rows = record.tokens()
            self._tokenizer = tokenizer_of(parts, (vocab, merges))
        with named(course, course.syllabus.find("model")):
            state = assembled(parts, self._recipe, rows, self._tokenizer)
        restore(parts, state, record, course)
        self._model = state.model.eval()

    def stream(self, opening: str, temperature: float | None, seed: int) -> Iterator[str]:
        """What the model writes after an opening, as it writes it."""
        with named(self._course, self._course.syllabus.find("generate")):
            yield from streamed(
                self._parts,
                self._model,
                self._tokenizer,
                opening,
                self._recipe,
                temperature=self._recipe.temperature if temperature is None else temperature,
                is_ours=self._is_ours,
                seed=seed,
            )
