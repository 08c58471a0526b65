"""The course says the same in both languages: no sentence is missing, none is spare."""

import ast
import itertools
import os
import re
import string
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner

from grader.cli import main
from grader.course.syllabus import ROOT
from grader.course.syllabus_file import load
from grader.course.variants import read_variants
from grader.judging import comparison as comparing
from grader.messages.catalog import (
    LANGUAGES,
    TEXTS,
    language,
    misnamed_language,
    reworded,
    say,
    sentences,
)
from grader.observation import global_state as globalstate
from grader.observation.calls import describe
from grader.tests.pytest_run import ANSWERS, PytestRun

ENGLISH, CHINESE = (sentences(name) for name in LANGUAGES)
HELP, TITLES, REWORDINGS, CLICK = "help.", "titles.", "rewordings.", "click."
TOLD = sorted({path.name for path in ANSWERS.iterdir()} - {"os_exit", "crash", "endless_loop"})
IDEOGRAPH = re.compile(r"[\u4e00-\u9fff]")
WORD = re.compile(r"[A-Za-z]{2,}")
BORROWED = {w for text in CHINESE.values() for w in WORD.findall(re.sub(r"\{.*?\}", "", text))}

Runner = Callable[..., PytestRun]
Call = tuple[str, str, set[str | None]]


def is_chinese(text: str) -> bool:
    """Whether a text has no words, or ideographs and no other words than the Chinese texts have."""
    words = set(WORD.findall(text))
    return not words or (IDEOGRAPH.search(text) is not None and words <= BORROWED)


def calls_in_modules() -> Iterator[Call]:
    """Every call of `say` in the grader: where it stands, its key, and what it puts in.

    The key is written out, so that it can be looked for.
    """
    for file in sorted((ROOT / "grader").rglob("*.py")):
        if "tests" in file.relative_to(ROOT / "grader").parts:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "say":
                (key,) = node.args
                assert isinstance(key, ast.Constant)
                where = f"{file.name}:{node.lineno}:{node.col_offset}"
                yield where, key.value, {keyword.arg for keyword in node.keywords}


def calls_in_templates() -> Iterator[Call]:
    """The same of the pages' templates."""
    jinja2 = pytest.importorskip("jinja2", reason="the extra `report` is not installed")
    for file in sorted((ROOT / "grader").rglob("*.html")):
        parsed = jinja2.Environment().parse(file.read_text(encoding="utf-8"))
        for call in parsed.find_all(jinja2.nodes.Call):
            if getattr(call.node, "name", "") == "say":
                (key,) = call.args
                assert isinstance(key, jinja2.nodes.Const) and not call.dyn_kwargs
                yield f"{file.name}:{call.lineno}", key.value, {k.key for k in call.kwargs}


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def formats(text: str) -> set[tuple[str | None, ...]]:
    """Each placeholder with how it is written: digits, thousands, quotes."""
    fields = string.Formatter().parse(text)
    return {(name, spec, how) for _, name, spec, how in fields if name is not None}


class TestKeys:
    @pytest.mark.parametrize("calls", [calls_in_modules, calls_in_templates])
    def test_what_is_said_has_a_sentence_and_all_that_it_needs(
        self, calls: Callable[[], Iterator[Call]]
    ) -> None:
        for where, key, given in calls():
            assert given == placeholders(ENGLISH[key]), where

    def test_no_sentence_is_spare(self) -> None:
        said = {key for _, key, _ in (*calls_in_modules(), *calls_in_templates())}
        assert set(ENGLISH) - said == set()

    def test_both_languages_have_the_same(self) -> None:
        besides = HELP, TITLES, REWORDINGS, CLICK
        assert {key for key in CHINESE if not key.startswith(besides)} == set(ENGLISH)

    def test_what_is_put_in_is_the_same_and_written_alike(self) -> None:
        assert [key for key in ENGLISH if formats(CHINESE[key]) != formats(ENGLISH[key])] == []


STUMBLES = {
    r"\b[Mm]end(s|ed|ing)?\b": "fix",
    r"\bbe had\b": "could not get, could not start",
    r"\bas ever\b": "as before",
    r"\bof (its|their) own\b": "separate, or its own …",
    r"\b(it|which|that) may not\b": "is not allowed to",
    r"\bcomes? out (when|if)\b": "these are exactly the numbers you get if",
    r"\b[Tt]old\b(?! apart)": "says, reports",
    r"\bwithout a word\b": "silently",
    r"\bis no [a-z]+ (file|folder|clone|tensor)\b": "is not a",
    r"(^|[.:] )What\b[^.?:]*\.( |$)": "a subject that names the thing",
}
"""Phrases that native readers stumbled over, and what a colleague would say in place of them."""
CONTRADICTION = re.compile(
    r"; (it|they|there|here it|these|those|both|each|that|all|two) "
    r"(?!(should|must)\b)(is|are|has|have|ends?|starts?|stays?|runs?|takes?|wants?|[a-z]+s)\b"
)
"""A second half that says how it is, as if it had not just been said otherwise."""
PAGES = (
    *("README.md", "CONTRIBUTING.md"),
    *(page.relative_to(ROOT).as_posix() for page in sorted(ROOT.glob("docs/**/*.md"))),
    *(page.relative_to(ROOT).as_posix() for page in sorted(ROOT.glob("lessons/*.md"))),
)
EXERCISES = [e.id for e in load(ROOT).exercises if e.paths(ROOT).mistakes.exists()]


def stumbles(texts: Iterable[str]) -> list[tuple[str, str]]:
    """The texts that have such a phrase, each with what to say instead."""
    return [
        (" ".join(text.split()), better)
        for text in texts
        for phrase, better in STUMBLES.items()
        if re.search(phrase, " ".join(text.split()))
    ]


class TestPlainEnglish:
    def test_no_sentence_makes_a_reader_stumble(self) -> None:
        assert stumbles(ENGLISH.values()) == []

    def test_no_hint_does(self) -> None:
        syllabus = load(ROOT)
        levels = (h.levels for exercise in syllabus.exercises for h in exercise.hints)
        assert stumbles(itertools.chain(*levels, (e.fact for e in syllabus.exercises))) == []

    @pytest.mark.parametrize("page", PAGES)
    def test_no_page_does(self, page: str) -> None:
        paragraphs = (ROOT / page).read_text(encoding="utf-8").split("\n\n")
        assert stumbles(paragraphs) == []

    @pytest.mark.parametrize("exercise", EXERCISES)
    def test_a_mistake_is_what_is_wrong_and_then_what_it_should_be(self, exercise: str) -> None:
        """It ends "these are exactly the numbers you get if …"."""
        file = load(ROOT).find(exercise).paths(ROOT).mistakes
        said = [mistake.sentence for mistake in read_variants(file)]
        assert stumbles(said) == []
        assert [
            sentence for sentence in said if not re.fullmatch(r".+\S; \S.+[^.]", sentence)
        ] == []
        assert [sentence for sentence in said if CONTRADICTION.search(sentence)] == []

    def test_each_phrase_is_found(self) -> None:
        said = (
            "next: mend this first",
            "no worker could be had",
            "run it as ever",
            "a process of its own",
            "x.py imports what it may not",
            "this is exactly what comes out when the exponent is i/d",
            "you are told why",
            "it ended without a word",
            "x.py is no regular file",
            "Run it. What you get is a number.",
        )
        assert [better for _, better in stumbles(said)] == list(STUMBLES.values())
        plain = ("What is wrong? See below.", "told apart from others", "its own process")
        assert stumbles(plain) == []

    @pytest.mark.parametrize(
        "said",
        [
            "the exponent is i/d; it is 2i/d",
            "the tables are float64; they are float32, whatever the angles were computed in",
            "the wave ends at total_steps − 1; it ends at total_steps",
            "only the second term of grad_x is divided by r; both are",
        ],
    )
    def test_a_contradiction_is_found(self, said: str) -> None:
        assert CONTRADICTION.search(said)
        assert not CONTRADICTION.search("the exponent is i/d; it should be 2i/d")


class TestChinese:
    NOT_WORDS = {
        "comparing.comma",
        "comparing.labelled",
        "html.lang",
        "html.made",
        "html.of",
        "html.state",
        "report.mark",
        "report.stopped_at",
        "summary.waits_for",
    }
    INSIDE_A_LINE = {
        "comparing.and",
        "comparing.comma",
        "comparing.no_return",
        "curriculum.or",
        "messages.in_backward",
        "messages.misspelt",
        "messages.or_if",
    }

    def test_a_sentence_is_translated(self) -> None:
        sentences = {key: text for key, text in CHINESE.items() if not key.startswith(REWORDINGS)}
        same = {key for key, text in sentences.items() if not IDEOGRAPH.search(text)}
        assert same == self.NOT_WORDS

    def test_punctuation_beside_ideographs_is_chinese(self) -> None:
        western = r"[\u4e00-\u9fff][,;:?!()]|[,;:?!()][\u4e00-\u9fff]"
        assert [text for text in CHINESE.values() if re.search(western, text)] == []

    def test_a_line_is_indented_like_the_english_one(self) -> None:
        def indent(text: str) -> int:
            return len(text) - len(text.lstrip(" "))

        lines = set(ENGLISH) - self.INSIDE_A_LINE
        assert [key for key in lines if indent(CHINESE[key]) != indent(ENGLISH[key])] == []

    def test_commands_and_options_are_the_same(self) -> None:
        commands = "|".join(main.commands)

        def names(text: str) -> set[str]:
            named = rf"--[a-z-]+|grader (?:{commands})\b|pip install .*|GRADER_\w+"
            return set(re.findall(named, text))

        assert [key for key in ENGLISH if names(CHINESE[key]) != names(ENGLISH[key])] == []


def test_each_title_of_the_syllabus_is_translated_and_no_translation_is_spare() -> None:
    syllabus = load(ROOT)
    titles = {exercise.id for exercise in syllabus.exercises}
    titles |= {experiment.id for experiment in syllabus.experiments}
    titles |= {f"path_{path.id}" for path in syllabus.paths}
    titles |= {f"part_{part.id}" for part in syllabus.parts}
    titles |= {f"planned_{part.id}" for part in syllabus.parts if part.planned}
    titles |= {"capstone"} if syllabus.capstone else set()
    assert {key.removeprefix(TITLES) for key in CHINESE if key.startswith(TITLES)} == titles


class TestHelp:
    def texts(self) -> dict[str, str]:
        """Every help text there is, by the key of its translation."""
        found = {}
        for name, command in {"grader": main, **main.commands}.items():
            if not command.hidden:
                found[name] = command.help
                options = (o for o in command.params if isinstance(o, click.Option) and o.help)
                found |= {f"{name}.{option.name}": option.help for option in options}
        return found

    def test_each_is_translated_and_no_translation_is_spare(self) -> None:
        translated = {key.removeprefix(HELP) for key in CHINESE if key.startswith(HELP)}
        assert translated == set(self.texts())

    def test_it_is_said_in_the_language_of_the_moment(self) -> None:
        def shown(name: str) -> str:
            return CliRunner().invoke(main, ["--help"], env={"GRADER_LANG": name}).stdout

        english = shown("en")
        assert "All exercises with points" in english
        assert "列出所有练习" in shown("zh") and "All exercises" not in shown("zh")
        assert shown("en") == english

    def test_no_line_of_the_list_is_cut(self) -> None:
        shown = CliRunner().invoke(main, ["--help"], terminal_width=80).stdout
        cut = [line for line in shown.splitlines() if line.endswith("...")]
        assert [line.split()[0] for line in cut if not line.startswith("Usage")] in ([], ["grade"])

    @pytest.mark.parametrize("key", [key for key in CHINESE if key.startswith(HELP)])
    def test_its_first_line_is_short_enough_to_stand_in_the_list(self, key: str) -> None:
        """Click cuts it between words, of which Chinese has none."""
        assert len(CHINESE[key].partition("\n")[0]) <= 60


class TestClicksOwnWords:
    TEXTS = {
        key.removeprefix(CLICK): text for key, text in CHINESE.items() if key.startswith(CLICK)
    }
    REFUSED = (
        ("nonsense",),
        ("wach",),
        ("--verbos",),
        ("hint", "--lvel", "2"),
        ("hint", "--level"),
        ("hint", "ex02", "--level", "x"),
        ("list", "--help=1"),
        ("grade",),
        ("grade", "nowhere"),
        ("grade", ".", "--sandbox", "x"),
        ("stubs", "x", "y"),
        ("check", "--seeds", "0"),
        ("path", "nowhere"),
        ("report", "--html", "."),
    )

    def shown(self, name: str, *words: str) -> str:
        environment = {"GRADER_LANG": name}
        return CliRunner().invoke(main, words, prog_name="grader", env=environment).output

    def test_each_is_one_that_click_has_with_all_that_it_puts_in(self) -> None:
        sources = Path(click.__file__).parent.glob("*.py")
        trees = [ast.parse(source.read_text(encoding="utf-8")) for source in sources]
        said = {n.value for t in trees for n in ast.walk(t) if isinstance(n, ast.Constant)}
        assert set(self.TEXTS) - said == set()
        assert all(placeholders(text) <= placeholders(key) for key, text in self.TEXTS.items())

    @pytest.mark.parametrize("words", REFUSED, ids=" ".join)
    def test_a_refusal_is_chinese_and_the_english_one_as_click_has_it(
        self, words: tuple[str, ...]
    ) -> None:
        english = self.shown("en", *words)
        usage, _, what = english.rpartition("Error: ")
        assert what and (not usage or re.match(r"Usage: grader.*\nTry 'grader ", usage))
        chinese = self.shown("zh", *words)
        names = re.compile(
            r"'.*?'|--?[a-z]+|\[?\b[A-Z]+\b\]?|\.\.\.|x>=1|\bgrader( [a-z]+)?|\w+, \w+, \w+"
        )
        assert all(is_chinese(names.sub("", line)) for line in chinese.splitlines()), chinese
        assert IDEOGRAPH.search(chinese.splitlines()[0])
        assert IDEOGRAPH.search(chinese.splitlines()[-1])

    @pytest.mark.parametrize("name", ["", *main.commands])
    def test_so_is_help(self, name: str) -> None:
        words = [name, "--help"] if name else ["--help"]
        english = self.shown("en", *words)
        chinese = self.shown("zh", *words)
        for text in ("Usage:", "Options:", "Show this message and exit."):
            assert text in english and text not in chinese
        assert "[default: " not in chinese and "Commands:" not in chinese
        assert self.shown("en", *words) == english


class TestLanguage:
    @pytest.mark.parametrize(
        ("environment", "expected"),
        [
            ({"GRADER_LANG": "zh"}, "zh"),
            ({"GRADER_LANG": "en", "LANG": "zh_CN.UTF-8"}, "en"),
            ({"GRADER_LANG": "zh-Hans", "LANG": "en_US.UTF-8"}, "zh"),
            ({"GRADER_LANG": "", "LANG": "zh_CN.UTF-8"}, "zh"),
            ({"LANG": "zh_CN.UTF-8"}, "zh"),
            ({"LANG": "zh_TW"}, "zh"),
            ({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
            ({"LC_ALL": "", "LC_MESSAGES": "zh_CN.UTF-8", "LANG": "de_DE.UTF-8"}, "zh"),
            ({"LANG": "C"}, "en"),
            ({"LANG": "POSIX"}, "en"),
            ({"LANG": "C.UTF-8"}, "en"),
            ({"LANG": "de_DE.UTF-8"}, "en"),
            ({"LANG": "zha"}, "zh"),
        ],
    )
    def test_it_is_the_one_asked_for_else_the_locale_s(
        self, environment: dict[str, str], expected: str
    ) -> None:
        assert language(environment) == expected

    @pytest.mark.parametrize(
        ("system", "expected"),
        [(None, "en"), ("C", "en"), ("Chinese (Simplified)_China", "zh"), ("zh_CN", "zh")],
    )
    def test_without_variables_it_is_the_system_s(
        self, system: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("locale.getlocale", lambda: (system, None))
        assert language({}) == expected

    def test_an_unset_locale_is_english_in_a_process_of_its_own(self) -> None:
        unset = {"GRADER_LANG", "LC_ALL", "LC_MESSAGES", "LC_CTYPE", "LANG"}
        environment = {k: v for k, v in os.environ.items() if k not in unset}
        for more in ({}, {"LANG": "C"}, {"LC_ALL": "C"}):
            done = subprocess.run(
                [sys.executable, "-c", "from grader.messages.catalog import *; print(language())"],
                cwd=ROOT,
                env=environment | more,
                capture_output=True,
                text=True,
            )
            assert done.stdout == "en\n", done.stderr

    def test_one_that_the_course_does_not_speak_is_said(self) -> None:
        result = CliRunner().invoke(main, ["list"], env={"GRADER_LANG": "fr"})
        assert result.exit_code == 2
        assert "GRADER_LANG=fr: the course speaks en, zh" in result.stderr
        assert [misnamed_language({"GRADER_LANG": asked}) for asked in ("", "zh_CN", "fr")] == [
            "",
            "",
            "fr",
        ]


class TestInUse:
    @pytest.fixture
    def chinese(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GRADER_LANG", "zh")

    @pytest.mark.usefixtures("chinese")
    def test_pytest_tells_a_mistake_in_chinese(self, run_pytest: Runner) -> None:
        run = run_pytest(f"--impl={ANSWERS / 'known_mistake'}")
        assert " 还需要完成的内容 " in run.printed
        assert re.search(r"result\[0, 0, 0\]：得到 \S+，应为 \S+   （120 个元素中有", run.printed)
        assert "这些数值正是犯了下面这个错误时得到的：neighbouring pairs" in run.printed
        assert "  下一步：grader hint ex02" in run.printed.splitlines()

    @pytest.mark.usefixtures("chinese")
    def test_a_rule_is_as_wide_as_the_terminal(self, run_pytest: Runner) -> None:
        import unicodedata

        printed = run_pytest(f"--impl={ANSWERS / 'known_mistake'}").printed
        (rule,) = (line for line in printed.splitlines() if "还需要完成" in line)
        wide = sum(unicodedata.east_asian_width(c) in "WF" for c in rule)
        assert 98 <= len(rule) + wide <= 100

    @pytest.mark.parametrize("name", LANGUAGES)
    @pytest.mark.parametrize("case", TOLD)
    def test_every_way_to_fail_can_be_told(
        self, case: str, name: str, run_pytest: Runner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GRADER_LANG", name)
        run = run_pytest(f"--impl={ANSWERS / case}", "-k=rotate_half_is or tables_hold")
        told = [str(report.longrepr) for report in run.failed]
        assert "KeyError" not in run.printed
        assert told == [] or all(bool(IDEOGRAPH.search(t)) == (name == "zh") for t in told)

    def test_all_global_state_has_a_name_in_each_language(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = [setting.name for setting in globalstate._SETTINGS]
        assert set(comparing._STATES) == set(names)
        assert [comparing._state(name) for name in names] == names
        monkeypatch.setenv("GRADER_LANG", "zh")
        assert all(name not in comparing._state(name) for name in names if name != "autocast")

    @pytest.mark.parametrize(
        ("value", "chinese"),
        [
            (None, "None"),
            (torch.zeros(2, 3), "float32 张量 [2, 3]"),
            (torch.zeros(2, dtype=torch.int64), "int64 张量 [2]"),
            (torch.zeros(2, device="meta"), "meta float32 张量 [2]"),
            ((torch.zeros(2), 3), "2 个元素的 tuple (float32 张量 [2], int '3')"),
            ([], "0 个元素的 list ()"),
            (len, "builtin_function_or_method 对象"),
            (placeholders, "函数"),
            ("a tensor", "str 'a tensor'"),
            (ast.Constant(1), "Constant 对象"),
        ],
    )
    def test_a_value_is_described(
        self, value: object, chinese: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        english = describe(value)
        assert reworded(english) == english
        monkeypatch.setenv("GRADER_LANG", "zh")
        assert reworded(english) == chinese

    def test_a_value_is_put_in_as_it_is(self) -> None:
        assert (
            say("messages.recursion", name="{x}")
            == "  {x} calls itself without end: what stops it?"
        )

    def test_it_loads_no_torch(self) -> None:
        program = (
            "import sys, grader.messages.catalog\n"
            "grader.messages.catalog.sentences('zh')\nprint('torch' in sys.modules)"
        )
        run = [sys.executable, "-c", program]
        done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True)
        assert done.stdout == "False\n", done.stderr


def test_the_texts_are_part_of_the_package() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'^"grader\.messages" = \[.*"texts/\*\.toml"', project, re.MULTILINE)
    assert {path.name for path in Path(TEXTS).iterdir()} == {f"{name}.toml" for name in LANGUAGES}
