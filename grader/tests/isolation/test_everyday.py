"""What works in Python works in a worker: everyday calls come to the same in every profile."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from grader.course.answers import config_source, read_source
from grader.course.course import Course
from grader.course.syllabus import ROOT
from grader.isolation.client import Worker
from grader.isolation.machine import is_offered
from grader.isolation.sandbox import PROFILES, Sandbox
from grader.observation.answer import Answer, Source, forget, load_answer
from grader.observation.eager import compile_nothing
from grader.observation.late import late_imports
from grader.observation.observe import observe
from grader.observation.record import Observation, Request

FILE = Path(__file__).parents[1] / "answers" / "everyday.py"
CALLS = [
    node.name
    for node in ast.parse(FILE.read_text(encoding="utf-8")).body
    if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
]
ANSWER = Answer("exercises", Source("ex99_everyday", str(FILE), read_source(FILE).text))


def request(name: str) -> Request:
    return Request(lambda module, name: getattr(module, name)(), {"name": name}, draws=True)


@pytest.fixture(scope="module")
def here() -> Iterator[Any]:
    """The answer in this process, which is not locked in."""
    with compile_nothing():
        yield load_answer(ANSWER)
    forget(ANSWER.package)


@pytest.fixture(scope="module", params=PROFILES)
def worker(request: pytest.FixtureRequest, zygote: Any) -> Iterator[Worker]:
    if not is_offered(request.param):
        pytest.skip(f"{request.param} is not offered here")
    locked = Sandbox(request.param)
    # Nothing is imported for it beforehand: it reads the library by itself.
    there = Worker(
        ANSWER, config_source(Course.load(ROOT)), root=ROOT, locked=locked, zygote=zygote
    )
    yield there
    there.stop()


def test_there_are_enough_of_them() -> None:
    assert len(CALLS) >= 150


@pytest.mark.parametrize("name", CALLS)
def test_it_comes_to_the_same(name: str, here: Any, worker: Worker) -> None:
    mine, _ = observe(here, request(name), frozenset({str(FILE)}))
    assert mine.interruption is None, mine.interruption
    theirs = worker.ask(request(name), 60.0)()
    assert theirs.interruption is None, theirs.interruption
    assert _facts(theirs) == _facts(mine)


def _facts(seen: Observation) -> Any:
    return [_plain(value) for value in seen.outputs.values()], seen.disturbed


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.dtype, value.tolist()
    return value


@pytest.mark.parametrize(
    ("text", "modules"),
    [
        ("optimizer = torch.optim.SGD(p, lr=0.1)", ("torch._dynamo", "sympy")),
        ("from torch.func import grad", ("torch._dynamo", "sympy")),
        ("y = checkpoint(f, x, use_reentrant=False)", ("torch._dynamo", "sympy")),
        ("y.backward(torch.ones(3))", ("sympy",)),
        ("def rms_norm_backward(grad_output, x):\n    y.backward()", ()),
        ("print(x)", ()),
    ],
)
def test_what_torch_imports_late_is_read_off_the_text(text: str, modules: tuple[str, ...]) -> None:
    assert late_imports(text) == modules
