"""Known answers are read as text and put over a solution."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from grader.course.variants import VariantError, load_variant, read_variants
from grader.observation.answer import Answer, Source

SOLUTION = Answer(
    "solutions",
    Source(
        "ex99_sample",
        "/course/solutions/ex99_sample.py",
        """
import torch

calls = []


def _scale():
    return 2.0


def scaled(x):
    calls.append(x)
    return _scale() * x


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))

    def _gain(self):
        return 1.0

    def forward(self, x):
        return self._gain() * scaled(x) * self.weight
""",
    ),
)


def bank(folder: Path, text: str) -> Path:
    file = folder / "bank.py"
    file.write_text(text, encoding="utf-8")
    return file


class TestReading:
    def test_a_file_that_is_not_there_has_none(self, tmp_path: Path) -> None:
        assert read_variants(tmp_path / "none.py") == ()

    def test_classes_are_read_in_order_and_never_run(self, tmp_path: Path) -> None:
        file = bank(
            tmp_path,
            """
import math
from solutions.ex99_sample import *
raise SystemExit("it ran")

class first_one:
    '''the first
    line goes on'''

    def _scale():
        return math.pi

def not_a_variant(): ...

class second_one:
    '''second'''
    FACTOR = 3
    @staticmethod
    def scaled(x): return FACTOR * x
    async def other(): pass
""",
        )
        first, second = read_variants(file)
        assert (first.id, first.sentence) == ("first_one", "the first line goes on")
        assert "import math" in first.definitions
        assert "solutions" not in first.definitions
        assert "def _scale():\n    return math.pi" in first.definitions
        assert second.definitions.lstrip().splitlines()[-4:] == [
            "FACTOR = 3",
            "@staticmethod",
            "def scaled(x): return FACTOR * x",
            "async def other(): pass",
        ]

    def test_a_decorator_of_the_first_definition_is_kept(self, tmp_path: Path) -> None:
        text = "class a:\n    '''a'''\n    @decorated\n    def f(): pass\n"
        (variant,) = read_variants(bank(tmp_path, text))
        assert "@decorated\ndef f(): pass" in variant.definitions

    def test_a_proof_is_kept_apart_from_the_definitions(self, tmp_path: Path) -> None:
        text = "class a:\n    '''a'''\n    UNDETECTABLE = 'the ' 'proof'\n    x = 1\n"
        (variant,) = read_variants(bank(tmp_path, text))
        assert variant.undetectable == "the proof"
        assert "UNDETECTABLE" not in variant.definitions

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("class a:\n    x = 1\n", "a: a docstring is missing"),
            ("class a:\n    '''only words'''\n", "a: no definitions"),
            ("class a:\n    '''a'''\n    UNDETECTABLE = 'proof'\n", "a: no definitions"),
            (
                "class a:\n    '''1'''\n    x = 1\nclass a:\n    '''2'''\n    x = 2\n",
                "a is defined twice",
            ),
        ],
    )
    def test_what_is_in_another_form_is_refused(self, text: str, why: str, tmp_path: Path) -> None:
        with pytest.raises(VariantError, match=why):
            read_variants(bank(tmp_path, text))


class TestApplying:
    def variant(self, tmp_path: Path, body: str) -> ModuleType:
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        (found,) = read_variants(bank(tmp_path, f"class changed:\n    '''it is'''\n{lines}"))
        return load_variant(found, SOLUTION)

    def test_a_replaced_helper_changes_what_uses_it(self, tmp_path: Path) -> None:
        module = self.variant(tmp_path, "def _scale(): return 5.0")
        assert module.scaled(2.0) == 10.0

    def test_one_method_of_a_class_can_be_changed(self, tmp_path: Path) -> None:
        module = self.variant(tmp_path, "class Layer(Layer):\n    def _gain(self): return 10.0")
        assert module.Layer()(torch.ones(2)).tolist() == [20.0, 20.0]

    def test_the_file_s_name_says_whose_it_is(self, tmp_path: Path) -> None:
        module = self.variant(tmp_path, "x = 1")
        assert module.__file__ == "/course/solutions/ex99_sample.py#changed"

    def test_every_load_starts_afresh(self, tmp_path: Path) -> None:
        first = self.variant(tmp_path, "x = 1")
        first.scaled(1.0)
        assert load_variant(read_variants(tmp_path / "bank.py")[0], SOLUTION).calls == []
        assert first.calls == [1.0]

    def test_a_solution_in_use_is_left_alone(self, tmp_path: Path) -> None:
        before = sys.modules.get("solutions")
        self.variant(tmp_path, "x = 1")
        assert sys.modules.get("solutions") is before
