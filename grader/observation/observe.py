"""Run one scenario on one answer and write down everything that can be seen of it.

The same function serves the learner's own process and the isolated worker, so that both modes see
the same. It judges nothing. Runs beside learner code: standard library and torch only.
"""

from __future__ import annotations

import contextlib
import errno
import inspect
import io
import linecache
import opcode
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import FrameType, ModuleType, TracebackType
from typing import Any, Self, cast

import torch
from torch import Tensor

from grader.observation.answer import Answer, load_answer
from grader.observation.bans import BanHit, BanWatch
from grader.observation.calls import Call, MissingName, Recorder, describe, is_plain_tensor
from grader.observation.context import context_of
from grader.observation.cost import Cost, CostMeter
from grader.observation.deadline import Deadline, OutOfTime
from grader.observation.global_state import GlobalState
from grader.observation.learner_warnings import pointing_at

DEEPEST = 20
"""How deep a plain output may nest."""
LARGEST = 1 << 22
"""The bytes of the largest output that is copied; no scenario wants one nearly as large."""
MOST_DIMENSIONS = 16
"""The dimensions of an output that is copied."""
MOST_VALUES = 10_000
"""The plain values that one observation may hold, those inside others too."""
MOST_CHARACTERS = 100_000
"""The characters that they may have between them, digits too."""
MOST_PRINTED = 20_000
"""The characters that are kept of what an answer prints."""
MOST_HITS = 100
"""The uses of something banned that one run is told by."""
LONGEST_TEXT = 2_000
"""The characters of any other text of an observation."""
FRAMES_LIMIT = 6
"""The frames of a trouble that are kept."""
DTYPES = frozenset(
    {
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex128),
        *(torch.complex64, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
        torch.bool,
    }
)
"""What outputs are copied in; torch can do too little with numbers of any other kind."""
SINGLE = "result"
"""The name of the output of a scenario that returns one value and no dict."""

_LONGEST_INT = 10_000
"""In bits: with more, Python refuses to write an integer in digits."""
_SEED_STEP = 0x9E3779B97F4A7C15
_RAISE = opcode.opmap["RAISE_VARARGS"]

Plain = None | bool | int | float | str | list[Any] | tuple[Any, ...] | dict[str, Any]


@dataclass(frozen=True)
class Request:
    """A scenario with everything it needs; inputs are named by the scenario's parameters.

    An input is a tensor, a plain value, or dicts and sequences of them.

    With `cotangents` the gradients of the outputs they name are taken with respect to the inputs
    in `differentiate`. `draws` says that random generators may move.
    """

    scenario: Callable[..., Any]
    inputs: Mapping[str, Any]
    cotangents: Mapping[str, Tensor] | None = None
    differentiate: tuple[str, ...] = ()
    draws: bool = False
    seed: int = 0
    default_dtype: torch.dtype = torch.float32
    device: str = "cpu"
    bans: tuple[str, ...] = ()
    meter: bool = False


@dataclass(frozen=True)
class Frame:
    """One of the learner's own frames."""

    path: str
    line: int
    function: str
    text: str


@dataclass(frozen=True)
class Opaque:
    """An output that is neither a plain value nor a plain tensor of a size that anybody asked for,
    told by its description."""

    description: str


@dataclass(frozen=True)
class Trouble:
    """Why there are no outputs.

    `kind` is one of: not implemented, missing, exception, recursion, timed out, exited, unusable,
    cannot load, syntax, forbidden import, no file, out of memory, forbidden; and, seen by the judge
    alone, out of time, crashed, protocol and not graded. `how` says of what has timed out that it
    is "too slow" or "waiting"; it is empty for a loop that seems to have no end. `context` is what
    `grader.observation.context` knows around it.
    """

    kind: str
    type_name: str = ""
    message: str = ""
    frames: tuple[Frame, ...] = ()
    in_backward: bool = False
    at_load: bool = False
    context: str = ""
    how: str = ""


@dataclass(frozen=True)
class Observation:
    """Everything seen of one run of a scenario."""

    outputs: Mapping[str, Tensor | Plain | Opaque] = field(default_factory=dict)
    gradients: Mapping[str, Tensor | None] = field(default_factory=dict)
    trouble: Trouble | None = None
    modified: tuple[str, ...] = ()
    disturbed: tuple[str, ...] = ()
    banned: tuple[BanHit, ...] = ()
    calls: tuple[Call, ...] = ()
    cost: Cost | None = None
    printed: str = ""


def timed_out(seen: Observation, deadline: Deadline) -> Observation:
    """What was seen, where it took longer than it may: said as that, whatever came of it."""
    trouble = seen.trouble
    if trouble is not None and trouble.kind == "timed out":
        return replace(seen, trouble=replace(trouble, how=deadline.how))
    if deadline.is_over and trouble is None:
        return Observation(trouble=Trouble("timed out", how="too slow"), printed=seen.printed)
    return seen


class Printed(io.TextIOBase):
    """Takes what the learner prints inside a `with` block, up to a limit.

    One character more is kept than is shown: whoever shows it sees by that that something was cut.
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._left = MOST_PRINTED + 1
        self._redirected = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._redirected.enter_context(contextlib.redirect_stdout(self))
        self._redirected.enter_context(contextlib.redirect_stderr(self))
        return self

    def __exit__(self, *_: object) -> None:
        self._redirected.close()

    def write(self, text: str) -> int:
        if self._left:
            self._parts.append(text[: self._left])
            self._left = max(0, self._left - len(text))
        return len(text)

    def text(self) -> str:
        return "".join(self._parts)


def load(
    answer: Answer,
    *,
    timeouts: tuple[type[BaseException], ...] = (OutOfTime,),
) -> tuple[ModuleType | None, Trouble | None, BaseException | None]:
    """Import an answer: its module, or why there is none with the exception that says so."""
    state = GlobalState()
    try:
        with pointing_at(answer.learner_files):
            return load_answer(answer), None, None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return None, trouble_of(error, answer.learner_files, timeouts, at_load=True), error
    finally:
        state.restore(generators_may_move=True)


def observe(
    module: ModuleType,
    request: Request,
    learner_files: frozenset[str],
    *,
    timeouts: tuple[type[BaseException], ...] = (OutOfTime,),
    quiet: bool = False,
) -> tuple[Observation, BaseException | None]:
    """Run a scenario on a module and return what was seen, with the exception that ended it.

    `timeouts` are the exceptions by which a deadline interrupts the learner's code. What is not
    the learner's is run `quiet`, without its warnings.
    """
    state = GlobalState()
    calls: list[Call] = []
    watch = BanWatch(request.bans, learner_files)
    meter = CostMeter() if request.meter else None
    prepared = _prepare(request)
    recorder = Recorder(module, calls, watch.look_at)
    run = _Run(recorder, request, prepared)
    error: BaseException | None = None
    disturbed: tuple[str, ...] = ()
    cost: Cost | None = None
    try:
        torch.set_default_dtype(request.default_dtype)
        _seed(request)
        with contextlib.ExitStack() as stack:
            if request.device != "cpu":
                stack.enter_context(torch.device(request.device))
            if meter:
                stack.enter_context(meter)
            if request.bans:
                stack.enter_context(watch)
            stack.enter_context(pointing_at(frozenset() if quiet else learner_files))
            stack.enter_context(recorder)
            inside = GlobalState()
            try:
                run.forward()
            finally:
                disturbed = inside.restore(generators_may_move=request.draws)
            run.backward()
        cost = meter.cost() if meter else None
    except KeyboardInterrupt:
        raise
    except BaseException as caught:
        error = caught
    finally:
        state.restore()
    trouble = None
    if error is not None:
        trouble = trouble_of(error, learner_files, timeouts, in_backward=run.in_backward)
    return (
        Observation(
            outputs={} if trouble else run.plain_outputs(),
            gradients=run.gradients,
            trouble=trouble,
            modified=prepared.modified(),
            disturbed=disturbed,
            banned=tuple(watch.hits),
            calls=tuple(calls),
            cost=cost,
        ),
        error,
    )


def _seed(request: Request) -> None:
    # Nobody's own seed: an answer that calls torch.manual_seed(0) must be seen to move it.
    seed = (request.seed + 1) * _SEED_STEP % 2**63
    if request.device == "cpu":
        # torch.manual_seed costs a millisecond: it formats a stack for each absent accelerator.
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


class _Run:
    """The two halves of a run, apart because only the first must leave global state alone."""

    def __init__(self, answer: Recorder, request: Request, prepared: _Prepared) -> None:
        self._answer = answer
        self._request = request
        self._inputs = prepared.inputs
        self._leaves = prepared.leaves
        self._raw: dict[str, Any] = {}
        self.gradients: dict[str, Tensor | None] = {}
        self.in_backward = False

    def forward(self) -> None:
        value = self._request.scenario(self._answer, *self._inputs.values())
        self._raw = dict(value) if type(value) is dict else {SINGLE: value}

    def backward(self) -> None:
        cotangents = self._request.cotangents
        if cotangents is None:
            return
        # One scalar instead of `grad_outputs`: torch checks those with sympy, a slow import.
        terms: list[Tensor] = []
        for name, cotangent in cotangents.items():
            output: Any = self._raw.get(name)
            if is_plain_tensor(output) and output.requires_grad and output.shape == cotangent.shape:
                weight = cotangent.to(output.device, output.dtype)
                product = (output * weight.conj()).sum()
                terms.append(product.real if product.is_complex() else product)
        found: tuple[Tensor | None, ...] = (None,) * len(self._leaves)
        if terms and self._leaves:
            self.in_backward = True
            total = torch.stack([term.float() for term in terms]).sum()
            found = torch.autograd.grad(total, tuple(self._leaves.values()), allow_unused=True)
            self.in_backward = False
        self.gradients = {
            name: None if gradient is None else _plain(gradient)
            for name, gradient in zip(self._leaves, found, strict=True)
        }

    def plain_outputs(self) -> dict[str, Tensor | Plain | Opaque]:
        return {name: _output(value) for name, value in self._raw.items()}


@dataclass(frozen=True)
class _Prepared:
    """Fresh inputs, the leaves that gradients are taken for, and what must stay unmodified."""

    inputs: dict[str, Any]
    leaves: dict[str, Tensor]
    watched: dict[str, tuple[Tensor, Tensor]]

    def modified(self) -> tuple[str, ...]:
        """The names of the inputs that no longer are what they were."""
        return tuple(name for name, (old, new) in self.watched.items() if not _unchanged(old, new))


def _prepare(request: Request) -> _Prepared:
    """Copy the inputs for one run.

    The answer gets copies of the leaves: writing into a leaf would raise torch's error before the
    harness could say which input was modified.
    """
    leaves: dict[str, Tensor] = {}
    watched: dict[str, tuple[Tensor, Tensor]] = {}

    def fresh(name: str, value: Tensor) -> Tensor:
        copy = value.detach().to(request.device, copy=True)
        if request.cotangents is not None and name.partition(".")[0] in request.differentiate:
            if copy.is_floating_point() or copy.is_complex():
                leaves[name] = copy.requires_grad_()
                copy = copy.clone()
        watched[name] = value, copy
        return copy

    inputs = {name: map_tensors(fresh, value, name) for name, value in request.inputs.items()}
    return _Prepared(inputs, leaves, watched)


def map_tensors(change: Callable[[str, Tensor], Tensor], value: Any, name: str) -> Any:
    """An input with its tensors changed; inside dicts and sequences they are `name.key`."""
    if isinstance(value, Tensor):
        return change(name, value)
    if isinstance(value, dict):
        return {key: map_tensors(change, item, f"{name}.{key}") for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(
            map_tensors(change, item, f"{name}.{index}") for index, item in enumerate(value)
        )
    return value


def _unchanged(old: Tensor, new: Tensor) -> bool:
    if new.shape != old.shape or new.dtype != old.dtype:
        return False
    new = new.detach().to(old.device)
    same = new == old
    if old.is_floating_point() or old.is_complex():
        same |= (new != new) & (old != old)
    return bool(same.all())


def _output(value: Any) -> Tensor | Plain | Opaque:
    try:
        if is_plain_tensor(value):
            if _can_be_copied(value):
                return _plain(value)
        elif _is_plain_value(value):
            return value  # type: ignore[no-any-return]
        return Opaque(describe(value))
    except Exception as error:  # what leaked out of a transformation only looks like a tensor
        return Opaque(f"a {type(value).__name__} that cannot be read ({type(error).__name__})")


def _plain(value: Tensor) -> Tensor:
    """A tensor of its own storage on the CPU, without history."""
    return value.detach().to("cpu", copy=True).resolve_conj().resolve_neg().contiguous()


def _can_be_copied(value: Tensor) -> bool:
    if value.layout is not torch.strided or value.is_quantized or value.is_meta or value.is_nested:
        return False
    is_small = value.nbytes <= LARGEST and max(value.shape, default=0) <= LARGEST
    return is_small and value.dim() <= MOST_DIMENSIONS and value.dtype in DTYPES


def _is_plain_value(value: object) -> bool:
    """Whether a value is plain through and through, and not too much of it.

    Looks at no more than may be sent: a list may hold itself, or the same list many times over.
    """
    values, characters = MOST_VALUES, MOST_CHARACTERS
    ahead = [(value, DEEPEST)]
    while ahead:
        value, deeper = ahead.pop()
        inner: Collection[Any] = ()
        if type(value) is dict:
            if not all(type(key) is str for key in value):
                return False
            characters -= sum(map(len, value))
            inner = value.values()
        elif type(value) in (list, tuple):
            inner = cast("Collection[Any]", value)
        elif type(value) is str:
            characters -= len(value)
        elif type(value) is int:
            characters -= value.bit_length() // 3
            if value.bit_length() > _LONGEST_INT:
                return False
        elif value is not None and type(value) not in (bool, float):
            return False
        values -= len(inner)
        if values < 0 or characters < 0 or (inner and not deeper):
            return False
        ahead += ((item, deeper - 1) for item in inner)
    return True


def trouble_of(
    error: BaseException,
    learner_files: frozenset[str],
    timeouts: tuple[type[BaseException], ...] = (OutOfTime,),
    *,
    in_backward: bool = False,
    at_load: bool = False,
) -> Trouble:
    """Sort an exception by what a learner has to do about it."""
    frames = tuple(learner_frames(error.__traceback__, learner_files))
    kind = _kind(error, frames, learner_files, timeouts, at_load)
    try:
        message = str(error)
    except Exception:
        message = "its message cannot be shown"
    if kind == "syntax":
        frames = _syntax_frame(error)
        message = getattr(error, "msg", message)
    return Trouble(
        kind,
        type(error).__name__,
        message[:LONGEST_TEXT],
        _shortened(frames),
        in_backward,
        at_load,
        context_of(error, learner_files),
    )


def _kind(
    error: BaseException,
    frames: tuple[Frame, ...],
    learner_files: frozenset[str],
    timeouts: tuple[type[BaseException], ...],
    at_load: bool,
) -> str:
    if type(error) in timeouts:  # what pytest.xfail raises is a kind of what a timeout does
        return "timed out"
    stub = isinstance(error, NotImplementedError) and _raised_in(error, learner_files)
    if stub and not at_load:  # at load it is the line at the top level that is wrong
        return "not implemented"
    if isinstance(error, MissingName):
        return "missing"
    if isinstance(error, RecursionError):
        return "recursion"
    if isinstance(error, SystemExit):
        return "exited"
    if _is_out_of_memory(error):
        return "out of memory"
    if isinstance(error, OSError) and error.errno in (errno.EPERM, errno.EACCES):
        return "forbidden"
    if at_load:
        if isinstance(error, SyntaxError) and not frames:
            return "syntax"
        return "cannot load"
    return "exception" if frames else "unusable"


def _is_out_of_memory(error: BaseException) -> bool:
    """Python's MemoryError, or the RuntimeError of torch's allocator on the CPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _raised_in(error: BaseException, learner_files: frozenset[str]) -> bool:
    """Whether a `raise` of the learner's own ends here: torch raises NotImplementedError too.

    What torch's C++ raises has the line that called it for its innermost frame.
    """
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or last.tb_frame.f_code.co_filename not in learner_files:
        return False
    return last.tb_frame.f_code.co_code[last.tb_lasti] == _RAISE


def learner_frames(start: TracebackType | None, learner_files: frozenset[str]) -> Iterator[Frame]:
    """The frames of a traceback that lie in the learner's files, outermost first."""
    for frame, line in traceback.walk_tb(start):
        if frame.f_code.co_filename in learner_files:
            yield _frame(frame, line)


def end_at_learner(start: TracebackType | None, learner_files: frozenset[str]) -> None:
    """Cut what a traceback has below the learner's innermost frame: a debugger opens at its end."""
    innermost = None
    while start is not None:
        if start.tb_frame.f_code.co_filename in learner_files:
            innermost = start
        start = start.tb_next
    if innermost is not None:
        innermost.tb_next = None


def _frame(frame: FrameType, line: int) -> Frame:
    path = frame.f_code.co_filename
    return Frame(path, line, frame.f_code.co_qualname, linecache.getline(path, line).strip())


def _syntax_frame(error: BaseException) -> tuple[Frame, ...]:
    """The place of a syntax error; the caret's line stands under the text."""
    assert isinstance(error, SyntaxError)
    text = (error.text or "").rstrip("\n")
    caret = ""
    if error.offset:
        stripped = len(text) - len(text.lstrip())
        caret = "\n" + " " * max(0, error.offset - 1 - stripped) + "^"
    return (Frame(error.filename or "", error.lineno or 0, "", text.strip() + caret),)


def _shortened(frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """The outermost and the innermost frames: a recursion has a thousand."""
    if len(frames) <= FRAMES_LIMIT:
        return frames
    return frames[:1] + frames[1 - FRAMES_LIMIT :]


def parameter_names(scenario: Callable[..., Any]) -> list[str]:
    """The names of a scenario's inputs: its parameters after the module under test."""
    return [
        parameter.name
        for parameter in list(inspect.signature(scenario).parameters.values())[1:]
        if parameter.default is inspect.Parameter.empty
    ]
