"""A warning that an answer causes points at the learner's line, once, in both modes."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from grader.observation.answer import Answer, Source
from grader.observation.learner_warnings import split
from grader.observation.observe import load, observe
from grader.observation.record import Request
from grader.tests.pytest_run import ANSWERS, PytestRun

FILE = "/course/exercises/ex99_answer.py"
RIGHT = (ANSWERS / "right" / "ex02_rope.py").read_text(encoding="utf-8")


def warned(text: str, capsys: pytest.CaptureFixture, **request: object) -> list[str]:
    """The warnings of importing an answer and calling its `f`."""
    answer = Answer("answers", Source("ex99_answer", FILE, f"import warnings, torch\n{text}"))
    module, interruption, _ = load(answer)
    assert module is not None, interruption
    observe(module, Request(lambda m: m.f(), {}), frozenset({FILE}), **request)
    printed = capsys.readouterr().err
    assert split(printed)[1] == ""
    return [line.removeprefix(f"warning: {FILE}:") for line in printed.splitlines()]


class TestWhereItPoints:
    def test_a_warning_of_torchs_python(self, capsys: pytest.CaptureFixture) -> None:
        text = "def f():\n    x = torch.ones(2)\n    return torch.nn.functional.softmax(x)\n"
        (told,) = warned(text, capsys)
        assert told.startswith("4: UserWarning: Implicit dimension choice for softmax")

    def test_one_of_torchs_own_code_is_told_without_where_in_torch_that_is(
        self, capsys: pytest.CaptureFixture
    ) -> None:
        before = torch.is_warn_always_enabled()
        torch.set_warn_always(True)
        text = "def f():\n    return torch.arange(3).T.sum() + torch.ones(2, 2, 2).T.sum()\n"
        told = warned(text, capsys)
        torch.set_warn_always(before)
        assert told and all(line.startswith("3: UserWarning: ") for line in told)
        assert "Triggered" not in "".join(told)

    def test_one_of_a_function_below_the_learners(self, capsys: pytest.CaptureFixture) -> None:
        text = "def g():\n    warnings.warn('low')\n\ndef f():\n    g()\n"
        assert warned(text, capsys) == ["3: UserWarning: low"]

    def test_one_of_the_compiler(self, capsys: pytest.CaptureFixture) -> None:
        told = warned("def f():\n    return '\\d', f is 1\n", capsys)
        assert [line.partition(" ")[0] for line in told] == ["3:", "3:"]
        assert "invalid escape sequence" in told[0] + told[1]

    def test_one_on_import(self, capsys: pytest.CaptureFixture) -> None:
        text = "warnings.warn('early', RuntimeWarning)\ndef f(): ...\n"
        assert warned(text, capsys) == ["2: RuntimeWarning: early"]


class TestHowMany:
    def test_the_same_once(self, capsys: pytest.CaptureFixture) -> None:
        text = "def f():\n    for _ in range(5):\n        warnings.warn('again')\n"
        assert len(warned(text, capsys)) == 1

    def test_no_more_than_ten_in_a_run(self, capsys: pytest.CaptureFixture) -> None:
        text = "def f():\n    for n in range(50):\n        warnings.warn(str(n))\n"
        assert len(warned(text, capsys)) == 10

    def test_no_more_are_taken_from_what_an_answer_prints_itself(self) -> None:
        assert len(split("warning: x\n" * 10_000)[0]) == 10

    def test_none_that_is_not_for_learners(self, capsys: pytest.CaptureFixture) -> None:
        assert warned("def f():\n    warnings.warn('old', DeprecationWarning)\n", capsys) == []

    def test_none_of_what_is_run_quietly(self, capsys: pytest.CaptureFixture) -> None:
        assert warned("def f():\n    warnings.warn('x')\n", capsys, quiet=True) == []

    def test_none_of_the_scenario_s(self, capsys: pytest.CaptureFixture) -> None:
        module, _, _ = load(Answer("answers", Source("ex99_answer", FILE, "")))
        assert module is not None
        observe(
            module, Request(lambda m: warnings.warn("mine", stacklevel=1), {}), frozenset({FILE})
        )
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize("mode", [(), ("--isolate",)], ids=["in process", "isolated"])
@pytest.mark.parametrize("wrong", [False, True], ids=["right", "wrong"])
def test_pytest_shows_it_once_and_no_summary_of_its_own(
    wrong: bool,
    mode: tuple[str, ...],
    run_pytest: Callable[..., PytestRun],
    tmp_path: Path,
) -> None:
    change = "    import warnings\n    warnings.warn('look here')\n    half ="
    text = RIGHT.replace("    half =", change, 1)
    if wrong:
        text = text.replace("half:], x[", "half:] * 2, x[")
    (tmp_path / "ex02_rope.py").write_text(text)
    printed = run_pytest(f"--impl={tmp_path}", *mode).printed
    line = text[: text.index("    warnings.warn")].count("\n") + 1
    (told,) = re.findall(r"^.*look here.*$", printed, re.MULTILINE)
    assert told == f"{tmp_path}/ex02_rope.py:{line}: UserWarning: look here"
    assert "warnings summary" not in printed
    assert ("what is left to do" in printed) == wrong
