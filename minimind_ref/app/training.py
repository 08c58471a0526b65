"""The loop that `train` and `sft` share: steps, saves, and going on where a training stopped.

A step's gradient is that of the mean over all tokens that count in the rows of all processes, so
that neither padding nor the number of processes changes what a row weighs. Only a router's balance
loss is a mean over micro-batches, as it has no sum over tokens.

The same training gives the same bytes, stopped and resumed or not, on the same machine: the order
of the rows follows from the seed, each step draws from a generator of its own, and torch is asked
for deterministic algorithms.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import pickle
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from ..checkpoint import load_checkpoint, save_checkpoint
from ..config import MiniMindConfig
from ..model import MiniMindForCausalLM, count_parameters
from ..optimizer import clip_grad_norm_, decay_groups, get_lr
from .curve import CURVE, can_draw, draw_curve
from .errors import UserError
from .fast import FastForCausalLM
from .folders import save_model
from .metrics import METRICS, Metrics, MetricsFile
from .processes import Processes
from .progress import Shown
from .rows import Order, Rows, counted
from .runs import CHECKPOINT, Record, Settings, clear, write_record
from .vocabulary import Vocabulary

_NO_MEMORY = "can't allocate memory"

_BETAS = (0.9, 0.95)
"""Those of GPT-3 (arXiv 2005.14165, appendix B)."""


@dataclass(frozen=True)
class Task:
    """A training that is ready to begin, or to go on.

    Attributes:
        out: its folder.
        record: what it is asked for.
        vocabulary: of the model.
        rows: to learn from.
        held_out: to validate on; may be none.
        weights: to begin with; None for random ones.
        resumes: whether it goes on with what ``out`` holds.
        log_every: see ``Request``.
    """

    out: Path
    record: Record
    vocabulary: Vocabulary
    rows: Rows
    held_out: Rows
    weights: Mapping[str, Tensor] | None
    resumes: bool
    log_every: int


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes:
        step: updates made.
        total: updates that were asked for.
        stopped_by: the signal that stopped it; None if it is complete.
    """

    step: int
    total: int
    stopped_by: int | None


def build_model(config: MiniMindConfig) -> MiniMindForCausalLM:
    """The model that is trained, with random weights."""
    return FastForCausalLM(config)


def learn(task: Task, processes: Processes) -> Outcome:
    """Train until it is complete or a signal asks to stop; all is saved then.

    Raises:
        UserError: the loss is no number any more, memory is used up, or the folder cannot be
            written. What was saved before stays.
    """
    with _reproducible(processes.device):
        try:
            with contextlib.closing(_Training(task, processes)) as training:
                outcome = training.run()
            processes.say(_farewell(task, outcome))
            return outcome
        except OSError as error:
            raise UserError(
                f"{task.out} cannot be written: {error.strerror or error}. What was saved before "
                "is still there; go on with --resume"
            ) from None
        except RuntimeError as error:
            # Torch has a name for this on a GPU, and says it on a CPU.
            if not (isinstance(error, torch.OutOfMemoryError) or _NO_MEMORY in str(error)):
                raise
            raise UserError(
                f"{processes.device} has not enough memory for this model and a batch of "
                f"{task.record.settings.batch_size} rows. Begin again with a smaller --batch-size: "
                "with as much larger an --accumulate it learns the same"
            ) from None


class _Training:
    def __init__(self, task: Task, processes: Processes) -> None:
        self._task = task
        self._processes = processes
        self._settings = settings = task.record.settings
        torch.manual_seed(settings.seed)
        self._model = build_model(task.record.config)
        if task.weights is not None:
            self._model.load_state_dict(task.weights)
        self._model.to(processes.device).train()
        self._optimizer = torch.optim.AdamW(
            decay_groups(self._model, settings.weight_decay),
            lr=settings.lr,
            betas=_BETAS,
            fused=processes.device.type in ("cpu", "cuda"),
        )
        self._scaler = torch.amp.GradScaler(
            processes.device.type, enabled=settings.dtype == "float16"
        )
        per_step = settings.batch_size * settings.accumulate * processes.world
        self._order = Order(len(task.rows), per_step, settings.seed)
        self._total = _total(settings, self._order.steps)
        # Nobody writes before everybody has looked at what is there.
        processes.wait()
        self._step = self._resumed_step()
        self._metrics: MetricsFile | None = None
        if processes.is_first:
            if not task.resumes:
                clear(task.out)
            self._metrics = MetricsFile(task.out / METRICS, self._step)
        self._wrapped = self._for_all_processes()

    def run(self) -> Outcome:
        """All steps that are left."""
        self._introduce()
        began = self._step
        if began == 0:
            self._save()
        every = self._task.log_every if self._processes.is_first else 0
        stopped = False
        with _Signals() as signals, Shown(self._step, self._total, every) as shown:
            while self._step < self._total and not stopped:
                metrics, read = self._update()
                self._step += 1
                due = self._step % self._settings.save_every == 0 or self._step == self._total
                if due and len(self._task.held_out):
                    metrics["valid_loss"] = self._validated()
                seconds = shown.step(self._step, metrics["loss"], read)
                self._note(metrics, read, seconds)
                stopped = self._stops(signals.got is not None)
                if due or stopped:
                    self._save()
                    shown.paused()
        if began == self._total:
            # Perhaps the process was killed between the last checkpoint and the model.
            self._save()
        if self._step == self._total:
            return Outcome(self._step, self._total, None)
        return Outcome(self._step, self._total, signals.got or signal.SIGTERM)

    def close(self) -> None:
        if self._metrics is not None:
            self._metrics.close()

    def _introduce(self) -> None:
        settings, config = self._settings, self._task.record.config
        total, active = count_parameters(self._model, config)
        per_token = f", {_millions(active)} of them for each token" if active != total else ""
        device = str(self._processes.device)
        if self._processes.world > 1:
            device = f"{self._processes.world} processes ({self._processes.device.type})"
        rows, held_out = len(self._task.rows), len(self._task.held_out)
        say = self._processes.say
        say(
            f"model: {_millions(total)} parameters{per_token} "
            f"(layers: {config.num_hidden_layers}, width: {config.hidden_size})"
        )
        say(
            f"data: {len(self._task.rows.tokens):,} tokens in {rows:,} rows"
            + (f", and {held_out:,} rows for validation" if held_out else "")
        )
        per_step = settings.batch_size * settings.accumulate * self._processes.world
        say(
            f"training: {self._total:,} steps of {min(per_step, rows):,} rows, "
            f"{self._total / self._order.steps:,.3f} passes over the data, on {device} in "
            f"{settings.dtype}"
        )
        if self._step:
            say(f"goes on after step {self._step:,}")
        if not can_draw():
            say(
                f"{CURVE} is not drawn, because matplotlib is not installed: "
                "pip install -c constraints.txt -e '.[report]'"
            )

    def _resumed_step(self) -> int:
        path = self._task.out / CHECKPOINT
        if not self._task.resumes or not path.exists():
            return 0
        try:
            return load_checkpoint(path, self._model, self._optimizer, scaler=self._used_scaler())
        except (RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{path} is damaged, or of another training ({reason}); the training cannot go on"
            ) from None

    def _used_scaler(self) -> torch.amp.GradScaler | None:
        return self._scaler if self._scaler.is_enabled() else None

    def _for_all_processes(self) -> torch.nn.Module:
        if self._processes.world == 1:
            return self._model
        device = self._processes.device
        ids = [device.index] if device.type == "cuda" else None
        with warnings.catch_warnings():
            # The name that takes its place is missing in torch 2.8.
            warnings.filterwarnings("ignore", ".*broadcast_buffers.*", FutureWarning)
            return DistributedDataParallel(self._model, device_ids=ids, broadcast_buffers=False)

    def _update(self) -> tuple[Metrics, int]:
        """One step: its metrics, and how many tokens it read."""
        step, processes = self._step + 1, self._processes
        torch.manual_seed((self._settings.seed << 31) + step * processes.world + processes.rank)
        places = self._order.places(step)
        batches = self._own_batches(places)
        losses = torch.zeros((), device=processes.device)
        tokens = int(self._task.rows.lengths[places].sum())
        learned = int(self._task.rows.predictions[places].sum())
        for number, (rows, input_ids, labels) in enumerate(batches, 1):
            with self._gradients_stay_here(number < len(batches)):
                with self._autocast():
                    output = self._wrapped(
                        input_ids.to(processes.device), labels=labels.to(processes.device)
                    )
                loss = output.loss * (counted(labels) / learned)
                loss = loss + output.aux_loss * (rows / len(places))
                # The processes' gradients are averaged, and wanted is their sum.
                backward: Any = self._scaler.scale(loss * processes.world)
                backward.backward()
            losses += loss.detach()
        loss_now = processes.sum(losses).item()
        lr = self._rate(step)
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._scaler.unscale_(self._optimizer)
        norm = clip_grad_norm_(self._model.parameters(), self._settings.grad_clip).item()
        overflow = self._scaler.is_enabled() and not math.isfinite(norm)
        if not math.isfinite(loss_now):
            raise self._diverged(f"the loss is {loss_now}", step)
        if not (math.isfinite(norm) or overflow):
            raise self._diverged("a gradient is not finite", step)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        metrics = {
            "step": step,
            "loss": loss_now,
            "lr": lr,
            "grad_norm": None if overflow else norm,
        }
        return metrics, tokens

    def _own_batches(self, places: list[int]) -> list[tuple[int, Tensor, Tensor]]:
        """This process' part of a step's rows: ``(rows, input_ids, labels)`` per micro-batch."""
        size, world = self._settings.batch_size, self._processes.world
        starts = range(self._processes.rank * size, len(places), size * world)
        own = [places[start : start + size] for start in starts]
        # All processes go through as many micro-batches as the first has.
        most = -(-len(places) // (size * world))
        own += [[]] * (most - len(own))
        return [(len(part), *self._task.rows.batch(part)) for part in own]

    @contextlib.contextmanager
    def _gradients_stay_here(self, wanted: bool) -> Iterator[None]:
        """Leave the exchange of gradients to the last micro-batch."""
        if wanted and isinstance(self._wrapped, DistributedDataParallel):
            with self._wrapped.no_sync():
                yield
        else:
            yield

    def _autocast(self) -> torch.autocast:
        dtype = getattr(torch, self._settings.dtype)
        return torch.autocast(
            self._processes.device.type,
            dtype=None if dtype == torch.float32 else dtype,
            enabled=dtype != torch.float32,
        )

    def _rate(self, step: int) -> float:
        rate = get_lr(step, self._total, self._settings.lr)
        warmup = self._settings.warmup
        return rate * min(1.0, step / warmup) if warmup else rate

    def _validated(self) -> float:
        """The loss of the rows held out, per token, over all processes."""
        processes, rows, size = self._processes, self._task.held_out, self._settings.batch_size
        own = list(range(processes.rank, len(rows), processes.world))
        sums = torch.zeros(2, dtype=torch.float64)
        self._model.eval()
        with torch.no_grad(), self._autocast():
            for at in range(0, len(own), size):
                input_ids, labels = rows.batch(own[at : at + size])
                output = self._model(
                    input_ids.to(processes.device), labels=labels.to(processes.device)
                )
                count = counted(labels)
                assert output.loss is not None
                sums += torch.tensor([output.loss.item() * count, count], dtype=torch.float64)
        self._model.train()
        if processes.world > 1:
            sums = processes.sum(sums.to(processes.device))
        total, count = sums.tolist()
        return float(total / count)

    def _note(self, metrics: Metrics, read: int, seconds: float) -> None:
        if self._metrics is None:
            return
        before = self._metrics.lines[-1] if self._metrics.lines else {"tokens": 0, "seconds": 0.0}
        progress = {
            "tokens": before["tokens"] + read,
            "seconds": round(before["seconds"] + seconds, 3),
        }
        valid = {"valid_loss": metrics.pop("valid_loss")} if "valid_loss" in metrics else {}
        self._metrics.add(metrics | progress | valid)

    def _stops(self, asked: bool) -> bool:
        """Whether any process was asked to stop: then all do, after the same step."""
        if self._processes.world == 1:
            return asked
        flag = torch.tensor(float(asked), device=self._processes.device)
        return self._processes.sum(flag).item() > 0

    def _save(self) -> None:
        for value in self._model.parameters():
            if not value.isfinite().all():
                raise self._diverged("a weight is not finite", self._step)
        if self._metrics is None:
            return
        out, record = self._task.out, self._task.record
        self._metrics.keep()
        if self._step == 0:
            write_record(out, record)
        save_checkpoint(
            out / CHECKPOINT,
            self._model,
            self._optimizer,
            step=self._step,
            scaler=self._used_scaler(),
        )
        save_model(out, record.config, self._model.state_dict(), self._task.vocabulary)
        write_record(out, dataclasses.replace(record, step=self._step))
        if self._metrics.lines and can_draw():
            draw_curve(out / CURVE, self._metrics.lines, f"{record.command}: {out.name}")

    def _diverged(self, what: str, step: int) -> UserError:
        return UserError(
            f"{what} at step {step}, so training stopped; {self._task.out} holds the last state "
            "that was saved. Begin again with a smaller --lr, a --warmup, or in another --dtype"
        )


def _farewell(task: Task, outcome: Outcome) -> str:
    if outcome.stopped_by is None:
        use = "chat" if task.record.command == "sft" else "generate"
        words = "" if task.record.command == "sft" else ' "Once"'
        return (
            f"done: {outcome.total:,} steps; the model is in {task.out}. Try "
            f"`python -m minimind_ref {use} {task.out}{words}`"
        )
    processes = task.record.processes
    start = "python -m" if processes == 1 else f"torchrun --nproc-per-node {processes} -m"
    return (
        f"stopped by {signal.Signals(outcome.stopped_by).name} after step {outcome.step:,} of "
        f"{outcome.total:,}; all of it is saved. Go on with "
        f"`{start} minimind_ref {task.record.command} --out {task.out} --resume`"
    )


def _total(settings: Settings, steps_in_a_pass: int) -> int:
    if settings.steps is not None:
        return settings.steps
    assert settings.epochs is not None
    return max(1, round(settings.epochs * steps_in_a_pass))


def _millions(count: int) -> str:
    return f"{count / 1e6:.3g} M" if count >= 1e6 else f"{count:,}"


@contextlib.contextmanager
def _reproducible(device: torch.device) -> Iterator[None]:
    """Deterministic algorithms, where torch has them."""
    if device.type == "cuda":
        # cuBLAS reads this when it starts; without it, its sums may vary.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.get_deterministic_debug_mode()
    filled = _torch_settings().fill_uninitialized_memory
    # The same as use_deterministic_algorithms, which would import the compiler: two seconds.
    torch.set_deterministic_debug_mode("warn")
    _torch_settings().fill_uninitialized_memory = False
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*does not have a deterministic implementation.*")
            yield
    finally:
        torch.set_deterministic_debug_mode(before)
        _torch_settings().fill_uninitialized_memory = filled


def _torch_settings() -> Any:
    # Its type says nothing about what stands in it.
    return torch.utils.deterministic


class _Signals:
    """SIGINT and SIGTERM ask to stop after the step at hand; the second time they end at once.

    Attributes:
        got: the signal that came; None as long as there is none.
    """

    def __init__(self) -> None:
        self.got: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        # Only the main thread may listen.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.got = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
