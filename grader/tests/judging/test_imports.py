"""An answer may import every earlier exercise; the rest is refused, with what to write instead."""

from pathlib import Path
from typing import Any

import pytest

from grader.course.answers import Implementation, answer_of, choose
from grader.course.course import Course
from grader.course.syllabus import ROOT
from grader.judging.imports import refused_import
from grader.judging.options import RunOptions
from grader.judging.run import run_tests
from grader.observation.answer import Answer, Source, forget, load_answer

COURSE = Course.load(ROOT)
EX05 = COURSE.syllabus.find("ex05")


def refusal(text: str, path: str = "/nowhere/ex05_kv_cache.py") -> str:
    answer = Answer("exercises", Source("ex05_kv_cache", path, text))
    return refused_import(answer, EX05, COURSE.syllabus)


@pytest.mark.parametrize(
    "text",
    [
        "from .ex03_attention import softmax",
        "from . import ex03_attention, ex01_rmsnorm as norm",
        "from exercises.ex04_gqa import repeat_kv",
        "import math, json, torch.nn.functional as F, numpy as np, regex, typing_extensions",
        "from minimind_ref.config import MiniMindConfig",
        "from minimind_ref import config",
        "from __future__ import annotations",
        "try:\n    import einops\nexcept ImportError:\n    einops = None",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import jaxtyping",
        "if __name__ == '__main__':\n    import matplotlib",
        "def f(:",
        "from .ex05_kv_cache import x",
        "if " + "x + " * 900 + "x: import einops",
    ],
)
def test_what_may_be_imported(text: str) -> None:
    assert refusal(text) == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("from .ex16_optimizer import AdamW", "imports .ex16_optimizer, which comes later"),
        ("from ex16_optimizer import AdamW", "imports .ex16_optimizer, which comes later"),
        ("from ex01_rmsnorm import RMSNorm", "write it with a dot, from .ex01_rmsnorm import"),
        ("import ex01_rmsnorm", "write it with a dot, from .ex01_rmsnorm import"),
        ("from solutions.ex01_rmsnorm import RMSNorm", "with a dot, from .ex01_rmsnorm import"),
        ("from .ex01 import RMSNorm", "write its whole name, from .ex01_rmsnorm import"),
        ("from .rope import rotate_half", "write its whole name, from .ex02_rope import"),
        ("from .my_utils import f", "imports .my_utils, but an answer is a single file"),
        ("from . import my_utils", "imports .my_utils, but an answer is a single file"),
        ("import einops", "imports einops, a package that the course does not have"),
        ("def f():\n    import einops.layers", "imports einops, a package that the course"),
        ("try:\n    import einops\nfinally:\n    pass", "imports einops, a package"),
        ("from minimind_ref.rope import rotate_half", "only minimind_ref.config may be imported"),
        ("from minimind_ref import rope", "only minimind_ref.config may be imported"),
        ("from solutions import ex05_kv_cache", "is not part of an answer"),
        ("import grader.judging.trial", "is not part of an answer"),
        ("from tests import support", "is not part of an answer"),
    ],
)
def test_what_is_refused_and_what_to_write(text: str, said: str) -> None:
    assert said in refusal(text)


def test_the_line_is_told() -> None:
    assert refusal("import math\n\nimport einops").startswith("/nowhere/ex05_kv_cache.py:3 ")


def test_a_helper_is_known_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "my_utils.py").touch()
    said = refusal("from my_utils import f", str(tmp_path / "ex05_kv_cache.py"))
    assert "imports my_utils, but an answer is a single file" in said


def test_siblings_are_executed_when_they_are_asked_for() -> None:
    siblings = (
        Source("one", "/nowhere/one.py", "x = 1"),
        Source("two", "/nowhere/two.py", "1 / 0"),
    )
    text = "from .one import x\n\ndef later():\n    from . import two"
    module = load_answer(
        Answer("somewhere", Source("answer", "/nowhere/answer.py", text), siblings)
    )
    assert module.x == 1
    with pytest.raises(ZeroDivisionError):
        module.later()
    forget("somewhere")
    with pytest.raises(ImportError):
        module.later()


def test_every_earlier_exercise_is_given() -> None:
    solution = answer_of(choose("solutions", COURSE), EX05, COURSE)
    names = [sibling.name for sibling in solution.siblings]
    assert names == ["ex01_rmsnorm", "ex02_rope", "ex03_attention", "ex04_gqa"]


def test_of_ones_own_only_prerequisites_must_be_there(tmp_path: Path) -> None:
    """ex03 is not needed by ex05, so that its file may be missing."""
    for name in ("ex01_rmsnorm", "ex02_rope", "ex04_gqa", "ex05_kv_cache"):
        (tmp_path / f"{name}.py").touch()
    own = Implementation(str(tmp_path), tmp_path, own=True)
    answer = answer_of(own, EX05, COURSE)
    assert answer.own == {"ex01_rmsnorm", "ex02_rope", "ex04_gqa"}


@pytest.mark.parametrize("name", ["ex05", "ex17"])
def test_the_reference_may_import_its_own_files(name: str) -> None:
    exercise = COURSE.syllabus.find(name)
    answer = answer_of(choose("minimind_ref", COURSE), exercise, COURSE)
    assert refused_import(answer, exercise, COURSE.syllabus) == ""


@pytest.mark.parametrize("mode", [{}, {"isolate": True, "profile": "process"}])
def test_an_answer_that_uses_an_earlier_exercise_wins_full_marks(
    mode: dict[str, Any], tmp_path: Path
) -> None:
    text = (ROOT / "solutions" / "ex05_kv_cache.py").read_text(encoding="utf-8")
    name = "ex05_kv_cache.py"
    (tmp_path / name).write_text(f"{text}\n\nfrom .ex03_attention import softmax  # noqa\n")
    outcome = run_tests([EX05], RunOptions(impl=str(tmp_path), **mode))[0]
    assert outcome.passed
