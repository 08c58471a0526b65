"""What is seen of one run of a scenario: outputs, gradients, traces and interruptions."""

import random
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor

from grader.observation import observe as observing
from grader.observation.answer import Answer, Source
from grader.observation.calls import describe
from grader.observation.codec import pack_observation, unpack_observation
from grader.observation.conditions import Condition, map_tensors
from grader.observation.observe import OutOfTime, load, observe
from grader.observation.printed import Printed
from grader.observation.record import MOST_PRINTED, Interruption, Observation, Opaque, Request

FILE = "/learner/ex99_answer.py"
MINE = frozenset({FILE})


def loaded(text: str) -> tuple[ModuleType | None, Interruption | None]:
    answer = Answer("answers", Source("ex99_answer", FILE, text))
    module, interruption, _ = load(answer)
    return module, interruption


def seen_of(text: str, scenario: Callable[..., Any], **request: Any) -> Observation:
    """Run a scenario on an answer's text."""
    module, interruption = loaded(text)
    assert module is not None, interruption
    seen, _ = observe(module, Request(scenario, **{"inputs": {}, **request}), MINE)
    return seen


def interruption_in(body: str, scenario: Callable[..., Any] = lambda m: m.f()) -> Interruption:
    """The interruption of a function `f` with a body."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    interruption = seen_of(f"import torch\n\ndef f(*args):\n{lines}\n", scenario).interruption
    assert interruption is not None
    return interruption


class TestOutputs:
    def test_one_value_is_called_result(self) -> None:
        seen = seen_of("def f(): return 3", lambda m: m.f())
        assert seen.outputs == {"result": 3}

    def test_a_dict_names_its_own(self) -> None:
        seen = seen_of("def f(): return 3", lambda m: {"a": m.f(), "b": [m.f(), None]})
        assert seen.outputs == {"a": 3, "b": [3, None]}

    def test_a_view_comes_back_as_a_tensor_of_its_own(self) -> None:
        x = torch.arange(12.0).reshape(3, 4)
        seen = seen_of(
            "def f(x): return x.T.expand(2, 4, 3)[:, ::2]", lambda m, x: m.f(x), inputs={"x": x}
        )
        out = seen.outputs["result"]
        assert isinstance(out, Tensor)
        assert out.is_contiguous()
        assert out.untyped_storage().nbytes() == out.numel() * 4
        assert torch.equal(out, x.T.expand(2, 4, 3)[:, ::2])

    def test_one_tensor_under_two_names_comes_back_twice(self) -> None:
        text = "import torch\nx = torch.ones(2)\ndef f(): return x"
        outputs = seen_of(text, lambda m: {"a": m.f(), "b": m.f()}).outputs
        assert outputs["a"].data_ptr() != outputs["b"].data_ptr()  # type: ignore[union-attr]
        unpack_observation(pack_observation(Observation(outputs)))

    def test_a_lazy_conjugate_is_resolved(self) -> None:
        z = torch.tensor([1 + 2j])
        seen = seen_of("def f(z): return z.conj()", lambda m, z: m.f(z), inputs={"z": z})
        assert not seen.outputs["result"].is_conj()  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        ("returned", "description"),
        [
            ("torch.eye(2).to_sparse()", "a sparse_coo float32 tensor [2, 2]"),
            ("torch.ones(2, device='meta')", "a meta float32 tensor [2]"),
            ("type('Mine', (torch.Tensor,), {})()", "a Mine float32 tensor [0]"),
            ("object()", "an object"),
            ("lambda: 1", "a function"),
            ("(torch.ones(2), object())", "a tuple of 2 (a float32 tensor [2], an object)"),
            ("type('', (), {})()", "an "),
        ],
    )
    def test_what_cannot_be_compared_is_described(self, returned: str, description: str) -> None:
        seen = seen_of(f"import torch\ndef f(): return {returned}", lambda m: m.f())
        assert seen.outputs == {"result": Opaque(description)}

    def test_a_parameter_is_a_tensor(self) -> None:
        text = "import torch\ndef f(): return torch.nn.Parameter(torch.ones(2))"
        out = seen_of(text, lambda m: m.f()).outputs["result"]
        assert type(out) is Tensor

    def test_calls_are_noted_with_what_they_returned(self) -> None:
        seen = seen_of("def f(x): return x\ndef g(x): pass", lambda m: (m.f(1), m.g(2)))
        assert [(call.name, call.returned) for call in seen.calls] == [
            ("f", "the int '1'"),
            ("g", "None"),
        ]

    def test_a_layer_that_inherits_its_forward_is_watched_like_any_other(self) -> None:
        text = """
            import torch

            class Base(torch.nn.Module):
                def forward(self, x): return x if self.training else -x

            class Layer(Base):
                pass
            """

        def scenario(module: Any) -> Tensor:
            return module.Layer()(torch.ones(2))

        module, _ = loaded(textwrap.dedent(text))
        assert module is not None
        for conditions, sign in ((frozenset(), 1), (frozenset({Condition.EVAL}), -1)):
            seen, _ = observe(module, Request(scenario, {}, conditions=conditions), MINE)
            assert seen.outputs["result"].tolist() == [sign, sign]
            assert [call.name for call in seen.calls] == ["Layer", "Layer.forward"]
            assert "forward" not in vars(module.Layer)

    def test_so_are_methods_but_not_what_the_answer_calls_itself(self) -> None:
        text = """
            import torch

            class Layer(torch.nn.Module):
                def forward(self, x): return self.halves(x)
                def halves(self, x): return x.chunk(2)

            class Store:
                def put(self, x): return self.size()
                def size(self): return 1
                def _hidden(self): return 2
            """

        def scenario(module: Any) -> int:
            module.Layer()(torch.ones(2))
            store = module.Store()
            return store.put(0) + store.size() + store._hidden()

        module, _ = loaded(textwrap.dedent(text))
        assert module is not None
        before = dict(vars(module.Layer)), dict(vars(module.Store))
        seen, _ = observe(module, Request(scenario, {}), MINE)
        assert [(call.name, call.returned) for call in seen.calls] == [
            ("Layer", ""),
            ("Layer.forward", "a tuple of 2 (a float32 tensor [1], a float32 tensor [1])"),
            ("Store", ""),
            ("Store.put", "the int '1'"),
            ("Store.size", "the int '1'"),
        ]
        assert (dict(vars(module.Layer)), dict(vars(module.Store))) == before


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "None"),
        (torch.ones(2, 3), "a float32 tensor [2, 3]"),
        (torch.tensor(1), "an int64 tensor []"),
        (torch.ones(2, dtype=torch.uint8), "an uint8 tensor [2]"),
        ([1, "a", 2.0, None], "a list of 4 (the int '1', the str 'a', the float '2.0', …)"),
        ("x" * 99, f"the str '{'x' * 40}'"),
    ],
)
def test_values_are_described_in_a_learner_s_words(value: object, words: str) -> None:
    assert describe(value) == words


class TestInputs:
    def test_every_run_gets_copies(self) -> None:
        x = torch.ones(3)
        seen = seen_of("def f(x): x.zero_(); return x", lambda m, x: m.f(x), inputs={"x": x})
        assert torch.equal(x, torch.ones(3))
        assert seen.modified == ("x",)

    @pytest.mark.parametrize(
        "change",
        [
            "x[0] = 7",
            "x.data[0] = 7",
            "x.resize_(1)",
            "x.transpose_(0, 1)",
            "x.data = x.data.double()",
            "x.view(-1)[0] = float('nan')",
        ],
    )
    def test_a_change_of_any_kind_is_seen(self, change: str) -> None:
        seen = seen_of(f"def f(x): {change}", lambda m, x: m.f(x), inputs={"x": torch.ones(3, 2)})
        assert seen.modified == ("x",)

    def test_nan_that_was_there_is_no_change(self) -> None:
        x = torch.tensor([float("nan"), 1.0])
        assert not seen_of("def f(x): pass", lambda m, x: m.f(x), inputs={"x": x}).modified

    def test_nested_tensors_are_named_by_their_place(self) -> None:
        weights = {"q": torch.ones(2), "layers": [torch.ones(2), torch.ones(2)]}
        text = "def f(w): w['layers'][1].zero_(); w['q'].zero_()"
        seen = seen_of(text, lambda m, w: m.f(w), inputs={"w": weights})
        assert seen.modified == ("w.q", "w.layers.1")

    def test_map_tensors_keeps_what_is_no_tensor(self) -> None:
        value = {"a": (torch.ones(1), 2), "b": "text"}
        doubled = map_tensors(lambda name, x: x * 2, value, "w")
        assert doubled["a"][0].item() == 2
        assert (doubled["a"][1], doubled["b"]) == (2, "text")


class TestGradients:
    X = torch.tensor([1.0, 2.0])

    def gradients(self, body: str, **request: Any) -> dict[str, Any]:
        options = {"inputs": {"x": self.X, "y": self.X}, "differentiate": ("x", "y")}
        options["cotangents"] = {"result": torch.tensor([1.0, 10.0])}
        seen = seen_of(
            f"import torch\ndef f(x, y): return {body}",
            lambda m, x, y: m.f(x, y),
            **(options | request),
        )
        return dict(seen.gradients)

    def test_they_are_taken_against_the_cotangent(self) -> None:
        found = self.gradients("x * y")
        assert found["x"].tolist() == [1.0, 20.0]
        assert found["y"].tolist() == [1.0, 20.0]

    def test_an_input_that_does_not_matter_has_none(self) -> None:
        assert self.gradients("x * 2")["y"] is None

    def test_a_result_that_is_cut_off_has_none_at_all(self) -> None:
        assert self.gradients("(x * y).detach()") == {"x": None, "y": None}

    def test_only_the_named_inputs_are_differentiated(self) -> None:
        assert self.gradients("x * y", differentiate=("y",)).keys() == {"y"}

    def test_a_complex_output_is_differentiated_as_two_reals(self) -> None:
        cotangent = {"result": torch.tensor([1 + 2j, 0j])}
        found = self.gradients("torch.complex(x, 3 * y)", cotangents=cotangent)
        assert (found["x"][0].item(), found["y"][0].item()) == (1.0, 6.0)

    def test_an_error_in_the_backward_pass_is_told_as_one(self) -> None:
        text = """
import torch
class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * x
    @staticmethod
    def backward(ctx, g):
        raise RuntimeError("not mine")
def f(x):
    return Square.apply(x)
"""
        seen = seen_of(
            text,
            lambda m, x: m.f(x),
            inputs={"x": self.X},
            differentiate=("x",),
            cotangents={"result": self.X},
        )
        assert seen.interruption is not None
        assert (seen.interruption.kind, seen.interruption.in_backward) == ("exception", True)
        assert seen.interruption.frames[-1].text == 'raise RuntimeError("not mine")'


@dataclass(frozen=True)
class Change:
    """A line that changes some global state, its name, and how to read it."""

    line: str
    name: str
    read: Callable[[], Any]
    is_generator: bool = False


CHANGES = [
    Change("torch.set_default_dtype(torch.float64)", "the default dtype", torch.get_default_dtype),
    Change("torch.set_default_device('meta')", "the default device", torch.get_default_device),
    Change("torch.set_grad_enabled(False)", "the grad mode", torch.is_grad_enabled),
    Change("torch.set_num_threads(3)", "the number of threads", torch.get_num_threads),
    Change(
        "torch.set_autocast_enabled('cpu', True)",
        "autocast",
        lambda: torch.is_autocast_enabled("cpu"),
    ),
    Change(
        "torch.set_float32_matmul_precision('medium')",
        "the float32 matmul precision",
        torch.get_float32_matmul_precision,
    ),
    Change(
        "torch.use_deterministic_algorithms(True)",
        "deterministic algorithms",
        torch.are_deterministic_algorithms_enabled,
    ),
    Change("torch.rand(1)", "torch's random generator", lambda: torch.get_rng_state().sum(), True),
    Change(
        "torch.manual_seed(0)",
        "torch's random generator",
        lambda: torch.get_rng_state().sum(),
        True,
    ),
    Change("random.random()", "Python's random generator", random.getstate, True),
    Change(
        "numpy.random.rand()",
        "NumPy's random generator",
        lambda: str(numpy.random.get_state()),
        True,
    ),
]


class TestGlobalState:
    IMPORTS = "import random\nimport numpy\nimport torch\n"

    @pytest.mark.parametrize("after", ["return 1", "raise ValueError"])
    @pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.line)
    def test_a_change_is_named_and_put_back(self, change: Change, after: str) -> None:
        before = change.read()
        text = f"{self.IMPORTS}def f():\n    {change.line}\n    {after}\n"
        assert seen_of(text, lambda m: m.f()).disturbed == (change.name,)
        assert change.read() == before

    @pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.line)
    def test_what_an_import_changes_is_put_back(self, change: Change) -> None:
        before = change.read()
        loaded(f"{self.IMPORTS}{change.line}\n")
        assert change.read() == before

    @pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.line)
    def test_where_drawing_is_allowed_making_moves_generators_and_nothing_else(
        self, change: Change
    ) -> None:
        text = f"{self.IMPORTS}class C:\n    def __init__(self):\n        {change.line}\n"
        seen = seen_of(text, lambda m: m.C() and None, draws=True)
        assert seen.disturbed == (() if change.is_generator else (change.name,))

    def test_a_call_that_draws_is_seen_where_making_may_draw(self) -> None:
        text = """
            import torch

            class Layer(torch.nn.Linear):
                def forward(self, x):
                    return super().forward(x) + 0 * torch.rand(())
        """
        seen = seen_of(textwrap.dedent(text), lambda m: m.Layer(2, 2)(torch.ones(2)), draws=True)
        assert seen.disturbed == ("torch's random generator",)

    def test_no_common_seed_is_the_harness_s_own(self) -> None:
        for seed in (0, 1, 42, 1234):
            text = f"{self.IMPORTS}def f():\n    torch.manual_seed({seed})\n"
            for run_seed in (0, 1, 42, 1234):
                seen = seen_of(text, lambda m: m.f(), seed=run_seed)
                assert seen.disturbed == ("torch's random generator",)

    def test_two_runs_draw_the_same(self) -> None:
        text = f"{self.IMPORTS}def f(): return torch.rand(3).tolist()"
        draws = [seen_of(text, lambda m: m.f(), draws=True, seed=s).outputs for s in (5, 5, 6)]
        assert draws[0] == draws[1] != draws[2]

    def test_the_default_dtype_of_a_request_holds_for_the_run_alone(self) -> None:
        text = "import torch\ndef f(): return torch.ones(1)"
        seen = seen_of(text, lambda m: m.f(), default_dtype=torch.float64)
        assert seen.outputs["result"].dtype == torch.float64  # type: ignore[union-attr]
        assert not seen.disturbed
        assert torch.get_default_dtype() == torch.float32


class TestInterruptions:
    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            ("raise NotImplementedError", "not implemented"),
            ("raise NotImplementedError('later')", "not implemented"),
            ("torch.eye(2).to_sparse().flip(0)", "exception"),  # NotImplementedError of torch's C++
            ("torch.nn.Module()(1)", "exception"),  # NotImplementedError of torch's Python
            ("1 / 0", "exception"),
            ("f()", "recursion"),
            ("raise SystemExit", "exited"),
            ("import sys; sys.exit(3)", "exited"),
            ("raise GeneratorExit", "exception"),
            ("raise MemoryError", "out of memory"),
        ],
    )
    def test_they_are_sorted_by_what_a_learner_has_to_do(self, body: str, kind: str) -> None:
        assert interruption_in(body).kind == kind

    def test_a_deadline_s_exception_is_a_timeout(self) -> None:
        def scenario(module: Any) -> None:
            raise OutOfTime

        assert interruption_in("pass", scenario).kind == "timed out"

    def test_the_end_of_the_user_s_patience_goes_through(self) -> None:
        with pytest.raises(KeyboardInterrupt):
            interruption_in("raise KeyboardInterrupt")

    def test_a_name_that_is_not_there_is_missing(self) -> None:
        interruption = interruption_in("pass", lambda m: m.g())
        assert (interruption.kind, interruption.message) == ("missing", "g")

    def test_an_attribute_error_of_the_answer_is_an_exception(self) -> None:
        assert interruption_in("return None .nothing").kind == "exception"

    def test_a_scenario_that_breaks_on_what_it_got_says_what_that_was(self) -> None:
        def scenario(module: Any) -> Any:
            first, second = module.f()
            return first

        module, _ = loaded("def f(): pass")
        assert module is not None
        seen, error = observe(module, Request(scenario, {}), MINE)
        assert seen.interruption is not None
        assert seen.interruption.kind == "unusable"
        assert [(call.name, call.returned) for call in seen.calls] == [("f", "None")]
        assert isinstance(error, TypeError)

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ("raise KeyError('k')", "'k'"),
            ("raise KeyError", ""),
            ("raise ValueError('two\\nlines')", "two\nlines"),
            ("raise type('E', (Exception,), {'__str__': None})()", "its message cannot be shown"),
        ],
    )
    def test_a_message_is_the_learner_s(self, body: str, message: str) -> None:
        assert interruption_in(body).message == message

    def test_a_message_has_an_end(self) -> None:
        assert len(interruption_in("raise ValueError('x' * 10**6)").message) < 10_000

    def test_the_frames_are_the_learner_s_and_no_others(self) -> None:
        text = """
import torch
def inner(x):
    return x.split("no size")
def f():
    return inner(torch.ones(4))
"""
        interruption = seen_of(text, lambda m: m.f()).interruption
        assert interruption is not None
        assert [(frame.path, frame.line, frame.function) for frame in interruption.frames] == [
            (FILE, 6, "f"),
            (FILE, 4, "inner"),
        ]
        assert interruption.frames[-1].text == 'return x.split("no size")'

    def test_a_deep_recursion_keeps_its_ends(self) -> None:
        interruption = seen_of(
            "def g(n): return g(n)\n\ndef f():\n    return g(1)\n", lambda m: m.f()
        ).interruption
        assert interruption is not None
        assert len(interruption.frames) <= 6
        assert interruption.frames[0].function == "f"
        assert interruption.frames[-1].function == "g"

    def test_an_interruption_leaves_no_outputs(self) -> None:
        assert not seen_of("def f(): 1 / 0", lambda m: {"a": 1, "b": m.f()}).outputs


class TestImporting:
    @pytest.mark.parametrize(
        ("text", "kind"),
        [
            ("x = (", "syntax"),
            ("\tx = 1\n  y = 2", "syntax"),
            ("1 / 0", "cannot load"),
            ("import nothing_of_the_kind", "cannot load"),
            ("raise SystemExit", "exited"),
        ],
    )
    def test_what_goes_wrong_is_told_as_the_file_s(self, text: str, kind: str) -> None:
        module, interruption = loaded(text)
        assert module is None
        assert interruption is not None
        assert (interruption.kind, interruption.at_load) == (kind, True)

    @pytest.mark.parametrize(
        "text",
        [
            "from minimind_ref import config",
            "from minimind_ref.config import MiniMindConfig",
            "import math, torch.nn.functional as F",
            "from .ex99_answer import f",  # itself, in a function
        ],
    )
    def test_what_is_allowed(self, text: str) -> None:
        _, interruption = loaded(f"def f():\n    {text}\n")
        assert interruption is None

    def test_a_syntax_error_has_its_line_and_a_caret(self) -> None:
        _, interruption = loaded("import torch\n\ndef f(x):\n    return x +\n")
        assert interruption is not None
        (frame,) = interruption.frames
        assert (frame.path, frame.line) == (FILE, 4)
        text, caret = frame.text.splitlines()
        assert text == "return x +"
        assert caret.strip() == "^"
        assert len(caret) - 1 <= len(text)

    def test_a_dataclass_with_postponed_annotations_can_be_defined(self) -> None:
        module, interruption = loaded(
            "from __future__ import annotations\n"
            "from dataclasses import dataclass\n"
            "@dataclass\nclass C:\n    x: int = 3\n"
        )
        assert interruption is None
        assert module is not None and module.C().x == 3

    def test_nothing_of_an_earlier_answer_survives(self) -> None:
        loaded("x = 1")
        module, _ = loaded("y = 2")
        assert not hasattr(module, "x")


class TestPrinted:
    def test_both_streams_are_taken_and_given_back(self, capsys: pytest.CaptureFixture) -> None:
        with Printed() as printed:
            print("one")
            print("two", file=sys.stderr)
        print("three")
        assert printed.text() == "one\ntwo\n"
        assert capsys.readouterr().out == "three\n"

    def test_a_flood_is_cut(self) -> None:
        with Printed() as printed:
            for _ in range(100):
                print("x" * 1000)
        assert len(printed.text()) == MOST_PRINTED + 1  # one more than is shown


def test_learner_code_runs_beside_nothing_but_the_standard_library_and_torch() -> None:
    """What the worker imports must hold neither the reference nor pytest."""
    program = (
        "import sys, grader.isolation.worker; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    modules = set(done.stdout.split())
    assert modules.isdisjoint({"minimind_ref", "solutions", "tests", "pytest", "_pytest"})
    assert observing.__name__.partition(".")[0] in modules
