"""A mistake is named however it is written; what is no known mistake is named by nothing."""

import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from grader.course.syllabus import ROOT
from grader.course.syllabus_file import load
from grader.course.variants import Variant, read_variants
from grader.judging.comparison import Finding
from grader.judging.diagnosis import Diagnosis, Evidence, consistent
from grader.observation.kind import Kind
from grader.observation.observe import observe
from grader.observation.record import Interruption, Observation, Request
from grader.tests.pytest_run import ANSWERS, PytestRun

_FILE = Path(__file__).parents[1] / "rewritten_mistakes.py"
REWRITTEN = {v.id: v for v in read_variants(_FILE)}
KNOWN = {v.id for v in read_variants(load(ROOT).find("ex02").paths(ROOT).mistakes)}
HALF_TURN = "test_rotate_half_is_a_quarter_turn_of_every_pair"
RIGHT = (ANSWERS / "right" / "ex02_rope.py").read_text(encoding="utf-8")

Tried = Callable[..., PytestRun]


@pytest.fixture
def tried(run_pytest: Callable[..., PytestRun], tmp_path: Path) -> Tried:
    """Run the tests of ex02 on the right answer with some text put after it."""

    def run(*changes: str, options: tuple[str, ...] = ()) -> PytestRun:
        (tmp_path / "ex02_rope.py").write_text("\n\n".join([RIGHT, *changes]))
        return run_pytest(f"--impl={tmp_path}", *options)

    return run


def test_the_rewritten_mistakes_are_of_the_bank() -> None:
    assert REWRITTEN.keys() <= KNOWN
    assert len(REWRITTEN) >= 12


@pytest.mark.parametrize("mistake", REWRITTEN)
def test_another_spelling_of_a_mistake_is_named_alike(mistake: str, tried: Tried) -> None:
    run = tried(REWRITTEN[mistake].definitions)
    assert run.failed
    assert run.named == {test: {mistake} for test in run.named}


@pytest.mark.parametrize("mistake", ["no_minus", "the_way_back", "single_width_tables"])
def test_both_modes_name_alike(mistake: str, tried: Tried) -> None:
    run = tried(REWRITTEN[mistake].definitions, options=("--isolate",))
    assert run.named == {test: {mistake} for test in run.named}


UNKNOWN = {
    "a scale": """
def rotate_half(x):
    first, second = x.chunk(2, dim=-1)
    return 1.01 * torch.cat((-second, first), dim=-1)
""",
    "both minus": """
def rotate_half(x):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, -first), dim=-1)
""",
    "nothing but the first row": """
def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
    if len(cos) != q.shape[1] or len(sin) != q.shape[1]:
        raise ValueError("rows")
    cos, sin = cos[:1, None], sin[:1, None]
    q, k = q.float(), k.float()
    return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin
""",
    "a slip in one number": """
def interleaved_to_half(weight, n_heads):
    heads = weight.unflatten(0, (n_heads, -1, 2))
    out = torch.cat([heads[:, :, 0], heads[:, :, 1]], dim=1).flatten(0, 1)
    return out + 1e-3 * (torch.arange(out.numel()) == 7).reshape(out.shape)
""",
    "columns reversed": """
def interleaved_to_half(weight, n_heads):
    return weight.flip(1)
""",
    "an error of its own where a known mistake has another": """
def apply_rotary_complex(x, pos_cis):
    if not x.is_contiguous():
        raise RuntimeError("I cannot do that")
    if len(pos_cis) != x.shape[1]:
        raise ValueError("rows")
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * pos_cis[:, None, :]).flatten(3).to(x.dtype)
""",
    "None where a known mistake returns too many": """
def precompute_freqs_cis(dim, end=32768, rope_base=1e6):
    pass
""",
    "half the gradient": """
def rotate_half(x):
    first, second = (x / 2 + x.detach() / 2).chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)
""",
    "the end of the program": """
def interleaved_to_half(weight, n_heads):
    raise SystemExit
""",
}


@pytest.mark.parametrize("wrong", UNKNOWN)
def test_an_unknown_mistake_is_named_by_nothing(wrong: str, tried: Tried) -> None:
    run = tried(UNKNOWN[wrong])
    assert run.failed
    assert run.named == {test: set() for test in run.named}


class TestTwoAtOnce:
    TURNED = {
        "test_queries_and_keys_are_turned_by_their_positions",
        "test_one_new_token_turns_by_the_row_it_is_given",
        "test_half_precision_is_widened_before_the_turn",
        "test_queries_and_keys_keep_their_own_dtypes",
    }

    def test_each_failure_is_given_its_own(self, tried: Tried) -> None:
        first, second = REWRITTEN["keys_not_turned"], REWRITTEN["odd_rows_first"]
        run = tried(first.definitions, second.definitions)
        assert run.named == {
            **{test: {"keys_not_turned"} for test in self.TURNED},
            "test_weights_are_reordered_head_by_head": {"odd_rows_first"},
        }

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("default_base_1e4", "complex_conjugate"),
            ("tables_in_float64", "turned_backwards"),
            ("complex_viewed_without_copy", "without_gradient"),
            ("single_width_tables", "across_heads"),
        ],
    )
    def test_two_functions_two_mistakes(self, first: str, second: str, tried: Tried) -> None:
        run = tried(REWRITTEN[first].definitions, REWRITTEN[second].definitions)
        assert all(len(named) == 1 for named in run.named.values())
        assert set().union(*run.named.values()) == {first, second}

    def test_three(self, tried: Tried) -> None:
        mistakes = {"default_base_1e4", "complex_conjugate", "the_way_back"}
        run = tried(*(REWRITTEN[mistake].definitions for mistake in mistakes))
        assert all(len(named) == 1 for named in run.named.values())
        assert set().union(*run.named.values()) == mistakes

    @pytest.mark.parametrize("second", ["keys_not_turned", "cos_and_sin_exchanged"])
    def test_mistakes_that_meet_in_one_result_are_never_given_a_third_name(
        self, second: str, tried: Tried
    ) -> None:
        run = tried(REWRITTEN["no_minus"].definitions, REWRITTEN[second].definitions)
        assert set().union(*run.named.values()) <= {"no_minus", second}

    def test_each_function_is_taken_for_itself(self, tried: Tried) -> None:
        """`no_minus` would show in the turned queries, were rotate_half used for them."""
        run = tried(
            REWRITTEN["no_minus"].definitions,
            """
def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
    if len(cos) != q.shape[1] or len(sin) != q.shape[1]:
        raise ValueError("rows")
    first, second = q.float().chunk(2, dim=-1)
    turned = q.float() * cos[:, None] + torch.cat((-second, first), dim=-1) * sin[:, None]
    return turned.to(q.dtype), k
""",
        )
        turned = dict.fromkeys(self.TURNED, {"keys_not_turned"})
        assert run.named == {HALF_TURN: {"no_minus"}, **turned}

    def test_one_that_was_made_in_one_of_two_functions(self, tried: Tried) -> None:
        """The exponent of the other table is right; in the bank one function makes both."""
        halved = """
def precompute_pos_cis(dim, end, theta):
    speeds = torch.tensor([theta ** -(i / dim) for i in range(dim // 2)])
    return torch.exp(1j * torch.outer(torch.arange(end), speeds))
"""
        run = tried(REWRITTEN["keys_not_turned"].definitions, halved)
        turned = dict.fromkeys(self.TURNED, {"keys_not_turned"})
        table = {"test_complex_table_holds_every_angle_once": {"exponent_without_two"}}
        assert run.named == {**turned, **table}

    def test_of_two_that_explain_one_function_the_one_that_elsewhere_fits_better(
        self, tried: Tried
    ) -> None:
        """Neighbours are paired in the turn alone: tables are right, rotate_half is not used."""
        paired = """
def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
    if len(cos) != q.shape[1] or len(sin) != q.shape[1]:
        raise ValueError("rows")
    def turn(x):
        wide = x.float()
        partner = torch.stack((-wide[..., 1::2], wide[..., ::2]), dim=-1).flatten(-2)
        return (wide * cos[:, None] + partner * sin[:, None]).to(x.dtype)
    return turn(q), turn(k)
"""
        run = tried(paired)
        assert run.named == dict.fromkeys(self.TURNED, {"neighbouring_pairs"})

    def test_beside_an_unknown_one_in_another_function(self, tried: Tried) -> None:
        run = tried(REWRITTEN["keys_not_turned"].definitions, UNKNOWN["columns reversed"])
        turned = dict.fromkeys(self.TURNED, {"keys_not_turned"})
        assert run.named == {**turned, "test_weights_are_reordered_head_by_head": set()}

    def test_an_error_about_other_sizes_is_another_error(self, tried: Tried) -> None:
        """Halves joined along the wrong axis break the turn in the same words."""
        run = tried("""
def apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=1):
    if len(cos) != q.shape[1] or len(sin) != q.shape[1]:
        raise ValueError("rows")
    cos, sin = cos.unsqueeze(2), sin.unsqueeze(2)
    return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin
""")
        assert run.named == dict.fromkeys(self.TURNED, set())


class TestWhatSaysNothing:
    """A stub, a missing name and a run that ended tell neither for nor against a mistake."""

    STUB = """
def interleaved_to_half(weight, n_heads):
    raise NotImplementedError
"""
    MISSING = "del interleaved_to_half"
    ENDED = """
def interleaved_to_half(weight, n_heads):
    raise SystemExit
"""

    @pytest.mark.parametrize("other", [STUB, MISSING, ENDED], ids=["stub", "missing", "ended"])
    def test_the_mistake_is_named_beside_it(self, other: str, tried: Tried) -> None:
        run = tried(REWRITTEN["keys_not_turned"].definitions, other)
        assert run.named == {
            **{test: {"keys_not_turned"} for test in TestTwoAtOnce.TURNED},
            "test_weights_are_reordered_head_by_head": set(),
        }

    @pytest.mark.parametrize("kind", [kind for kind in Kind if kind.fits_any_mistake])
    def test_beside_a_run_that_fits_any_mistake(self, kind: Kind) -> None:
        """Above all beside one that could not be graded, which is nobody's mistake."""
        module = ModuleType("answer")
        module.__file__ = "/answer.py"
        module.doubled = lambda x: x  # type: ignore[attr-defined]
        request = Request(lambda answer, x: answer.doubled(x), {"x": torch.ones(2)})
        seen, _ = observe(module, request, frozenset())
        mistake = Variant("undoubled", "it is x", "")
        diagnosis = Diagnosis(lambda: [mistake], lambda _: module)
        assert seen.calls
        diagnosis.add(Evidence("wrong", request, seen, None, Finding(Kind.PROPERTY, ())))
        ended = Interruption(kind)
        broken = Observation(interruption=ended, calls=seen.calls)
        finding = Finding(kind, (), ended)
        diagnosis.add(Evidence("other", request, broken, None, finding))
        assert diagnosis.named("wrong") == [mistake]
        assert diagnosis.named("other") == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("'/tmp/tmpx7a/run.pt'", "'/tmp/tmp9_k/run.pt'", True),
        (r"'C:\\Temp\\tmpx7a\\run.pt'", r"'C:\\Temp\\tmp9_k\\run.pt'", True),
        ("'/tmp/tmpx7a/run.pt'", "'/tmp/tmpx7a/run.pth'", False),
    ],
)
def test_an_error_about_a_file_is_the_same_in_any_folder(one: str, other: str, same: bool) -> None:
    def broken(path: str) -> Observation:
        text = f"[Errno 2] No such file or directory: {path}"
        return Observation(interruption=Interruption(Kind.EXCEPTION, "FileNotFoundError", text))

    finding = Finding(Kind.EXCEPTION, ())
    evidence = Evidence("a test", Request(lambda answer: None, {}), broken(one), None, finding)
    assert consistent(broken(other), evidence) is same


class TestNothingButNaN:
    """NaN comes of too much: alone it names only a mistake that does everything else alike, too."""

    @pytest.mark.parametrize(
        ("number", "kind", "elsewhere", "named"),
        [
            (float("nan"), Kind.NOT_FINITE, "as the mistake does", True),
            (float("nan"), Kind.NOT_FINITE, "right", False),
            (3.0, Kind.VALUE, "right", True),
        ],
    )
    def test_it_is_named(self, number: float, kind: Kind, elsewhere: str, named: bool) -> None:
        def module(other: float) -> ModuleType:
            made = ModuleType("answer")
            made.__file__ = "/answer.py"
            made.one = lambda x: x * number  # type: ignore[attr-defined]
            made.other = lambda x: x * other  # type: ignore[attr-defined]
            return made

        wrong = module(5.0)
        answer = wrong if elsewhere == "as the mistake does" else module(1.0)
        mistake = Variant("known", "it is wrong", "")
        diagnosis = Diagnosis(lambda: [mistake], lambda _: wrong)
        inputs = {"x": torch.ones(2)}
        for test, scenario, finding in (
            ("fails", lambda answer, x: answer.one(x), Finding(kind, ())),
            ("passes", lambda answer, x: answer.other(x), None),
        ):
            request = Request(scenario, inputs)
            seen, _ = observe(answer, request, frozenset())
            diagnosis.add(Evidence(test, request, seen, None, finding))
        assert diagnosis.named("fails") == ([mistake] if named else [])


class TestNothingInVain:
    """Naming runs no mistake that a request cannot come to, and asks first what is soon done."""

    SOLUTION = """
def one(x):
    return 2 * x

def other(x):
    return 3 * x
"""

    @pytest.fixture
    def loaded(self, tmp_path: Path) -> Callable[[Variant], ModuleType]:
        """Loads the solution with a mistake in it, and notes it in `loaded.ids`."""

        def load(variant: Variant) -> ModuleType:
            load.ids.append(variant.id)  # type: ignore[attr-defined]
            return self.made(tmp_path / f"{variant.id or 'solution'}.py", variant.definitions)

        load.ids = []  # type: ignore[attr-defined]
        return load

    def made(self, file: Path, changes: str) -> ModuleType:
        module = ModuleType("answer")
        module.__file__ = str(file)
        file.write_text(f"{self.SOLUTION}\n{changes}")
        exec(compile(file.read_text(), str(file), "exec"), vars(module))
        return module

    def test_the_known_mistakes_are_read_once_something_is_wrong(self) -> None:
        answer = ModuleType("answer")
        answer.__file__ = "/answer.py"
        answer.one = lambda x: x  # type: ignore[attr-defined]
        request = Request(lambda answer, x: answer.one(x), {"x": torch.ones(2)})
        seen, _ = observe(answer, request, frozenset())
        were_read: list[str] = []

        def read() -> list[Variant]:
            were_read.append("now")
            return []

        diagnosis = Diagnosis(read, lambda _: answer)
        diagnosis.add(Evidence("right", request, seen, None, None))
        assert not were_read
        diagnosis.add(Evidence("wrong", request, seen, None, Finding(Kind.PROPERTY, ())))
        assert not diagnosis.named("wrong")
        assert were_read == ["now"]

    def test_a_mistake_in_another_function_is_not_even_loaded(
        self, tmp_path: Path, loaded: Any
    ) -> None:
        mistakes = [
            Variant(f"{name}_{factor}", "", f"def {name}(x): return {factor} * x")
            for name in ("one", "other")
            for factor in (4, 5)
        ]
        diagnosis = Diagnosis(lambda: mistakes, loaded)
        answer = self.made(tmp_path / "answer.py", "def one(x): return 5 * x")
        request = Request(lambda answer, x: answer.one(x), {"x": torch.ones(2)})
        seen, _ = observe(answer, request, frozenset())
        diagnosis.add(Evidence("wrong", request, seen, None, Finding(Kind.VALUE, ())))
        assert [mistake.id for mistake in diagnosis.named("wrong")] == ["one_5"]
        assert set(loaded.ids) == {"", "one_4", "one_5"}

    def test_what_takes_long_is_asked_of_those_that_are_left(
        self, tmp_path: Path, loaded: Any
    ) -> None:
        waited: list[float] = []

        def slow(answer: Any, x: torch.Tensor) -> Any:
            time.sleep(0.02)
            waited.append(0.02)
            return answer.one(x)

        mistakes = [Variant(f"by_{n}", "", f"def one(x): return {n} * x") for n in range(4, 12)]
        diagnosis = Diagnosis(lambda: mistakes, loaded)
        answer = self.made(tmp_path / "answer.py", "def one(x): return 5 * x")
        for test, scenario in (("slow", slow), ("quick", lambda answer, x: answer.one(x))):
            request = Request(scenario, {"x": torch.ones(2)})
            seen, _ = observe(answer, request, frozenset())
            wrong = Finding(Kind.VALUE, ())
            diagnosis.add(Evidence(test, request, seen, None, wrong, key=(test,)))
        waited.clear()
        assert [mistake.id for mistake in diagnosis.named("slow")] == ["by_5"]
        assert len(waited) <= 2  # the first, to see how long it takes, and the one that is left
