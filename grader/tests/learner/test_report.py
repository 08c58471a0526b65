"""The learner's report: it says what is so, needs nothing else, and no answer's text acts in it."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from grader.cli import main
from grader.course.course import Course
from grader.course.syllabus import ROOT
from grader.course.syllabus_file import load
from grader.learner.history import History, RunRecord
from grader.learner.progress import ExerciseProgress, Progress
from grader.learner.report.portfolio import LONGEST_PAUSE, Memory, Portfolio, portfolio_of
from grader.observation.kind import Kind
from grader.results.badge import badge
from grader.results.junit import junit
from grader.results.record import ExerciseResult, TestResult
from grader.tests.messages.test_catalog import is_chinese
from grader.tests.schemas import validator

pytest.importorskip("matplotlib", reason="the extra `report` is not installed")

from grader.learner.report import page as html_report  # noqa: E402
from grader.learner.report import write as reporting  # noqa: E402
from grader.learner.report.page import page  # noqa: E402
from grader.learner.report.pictures import rmsnorm, studio  # noqa: E402
from grader.learner.report.pictures.journey import journey  # noqa: E402
from grader.learner.report.pictures.picture import Picture  # noqa: E402
from grader.learner.report.pictures.studio import pictures  # noqa: E402

COURSE = load(ROOT)
POINTS = sum(exercise.points for exercise in COURSE.exercises)
ROPE, NORM = COURSE.find("ex02"), COURSE.find("ex01")
NOON = 1.75e9
KNOWN = "the exponent is i/d; it should be 2i/d"
SENTENCES = {ROPE.id: {"known": KNOWN, "other": "pairs are neighbours"}}
PICTURED = {e.id for e in COURSE.exercises}

HOSTILE = (
    "</script></style></svg><script>window.hacked = 1</script>",
    '"><img src=x onerror="window.hacked = 1">',
    "<style>* { display: none }</style>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "]]></failure><!-- ",
    "\x1b[2J\x1b[31mred\x07",
    "\u202eesrever\u2066\u200b\ufeff",
    "\ud800\x00\x85\u2028line",
)
ALL_HOSTILE = " ".join(HOSTILE)


def ran(passed: int, when: float, **changes: Any) -> RunRecord:
    """A run of ex02 with four tests, of which the first `passed` pass."""
    verdicts = tuple((f"t{n}", "passed" if n < passed else "value") for n in range(4))
    run = RunRecord(ROPE.id, "watch", when, 2.0, passed, 4, str(25 * passed), verdicts, (), "00")
    return dataclasses.replace(run, **changes)


def standing(passed: int, exercise: Any = ROPE) -> ExerciseProgress:
    tests = [
        TestResult(f"test.py::test_{n}", "It turns", 1, Kind.PASSED if n < passed else Kind.VALUE)
        for n in range(4)
    ]
    result = ExerciseResult(
        exercise.id, exercise.points, 7, "light", NOON, 1.5, "ab" * 32, tuple(tests)
    )
    return ExerciseProgress(exercise, result)


def told(
    *runs: RunRecord, standings: tuple[ExerciseProgress, ...] = (), **changes: Any
) -> Portfolio:
    """The portfolio of a course of which some exercises have been started."""
    given = {s.exercise: s for s in standings or (standing(4),)}
    progress = Progress(tuple(given.get(e, ExerciseProgress(e)) for e in COURSE.exercises), 7)
    settings: dict[str, Any] = {"made": NOON, "path": COURSE.paths[-1], **changes}
    memory = Memory(runs, settings.pop("hints", {}), settings.pop("solutions", {}))
    return portfolio_of(progress, COURSE, memory, SENTENCES, **settings)


def rope_of(whole: Portfolio) -> Any:
    return next(record for record in whole.records if record.exercise == ROPE)


class TestPortfolio:
    def test_time_runs_from_one_run_to_the_next(self) -> None:
        whole = told(ran(1, NOON), ran(2, NOON + 600), ran(4, NOON + 900))
        assert rope_of(whole).seconds == 2 + 600 + 300

    def test_a_long_pause_is_no_work(self) -> None:
        whole = told(ran(1, NOON), ran(2, NOON + LONGEST_PAUSE + 1), ran(4, NOON + 2e6))
        assert rope_of(whole).seconds == 3 * 2

    def test_what_one_command_ran_shares_the_time_before_it(self) -> None:
        other = ran(4, NOON + 600, exercise=NORM.id)
        whole = told(ran(1, NOON), ran(2, NOON + 600), other)
        assert rope_of(whole).seconds == 2 + 300
        assert whole.seconds == 2 + 600

    def test_a_clock_that_was_set_back_takes_no_time_away(self) -> None:
        assert rope_of(told(ran(2, NOON + 600), ran(1, NOON))).seconds == 2 + 600

    @pytest.mark.parametrize(
        ("later", "mended"),
        [
            ([], False),
            ([ran(1, NOON + 60, mistakes=("known",))], False),
            ([ran(0, NOON + 60)], False),  # it does not even load
            ([ran(2, NOON + 60)], True),
            ([ran(2, NOON + 60), ran(1, NOON + 90, mistakes=("known",))], False),
        ],
    )
    def test_a_mistake_is_mended_once_a_test_it_failed_passes(
        self, later: list[RunRecord], mended: bool
    ) -> None:
        (mistake,) = told(ran(1, NOON, mistakes=("known",)), *later).mistakes
        assert mistake.mended is mended
        assert (mistake.sentence, mistake.first_met) == (SENTENCES[ROPE.id]["known"], NOON)

    def test_a_mistake_that_the_course_does_not_know_is_left_out(self) -> None:
        assert told(ran(1, NOON, mistakes=(ALL_HOSTILE,))).mistakes == ()

    @pytest.mark.parametrize(
        ("read", "count", "highest"),
        [
            ({}, 0, 0),
            ({"rotate_half": 2, "apply_rotary_pos_emb": 4}, 6, 4),
            ({"": 4, "rotate_half": 1}, 5, 4),  # some before hints had functions
            ({"": 4} | {hints.about: 4 for hints in ROPE.hints}, ROPE.hint_count, 4),
        ],
    )
    def test_hints_are_counted_over_all_functions(
        self, read: dict[str, int], count: int, highest: int
    ) -> None:
        record = rope_of(told(ran(1, NOON), hints={ROPE.id: read}))
        assert (record.hints_read, record.hint) == (count, highest)

    def test_the_way_goes_up_by_the_best_points(self) -> None:
        whole = told(ran(2, NOON), ran(1, NOON + 60), ran(4, NOON + 120), ran(4, NOON + 180))
        assert [float(m.points) for m in whole.milestones] == [50, 50, 100, 100]
        assert [m.finished for m in whole.milestones] == ["", "", "ex02", ""]

    @pytest.mark.parametrize("points", ["", "1e999999999", "1/0", "-5", ALL_HOSTILE])
    def test_points_that_are_none_count_nothing(self, points: str) -> None:
        assert told(ran(1, NOON, points=points)).milestones[0].points == 0

    def test_the_first_attempt_that_passed_is_told(self) -> None:
        assert rope_of(told(ran(1, NOON), ran(4, NOON + 1), ran(4, NOON + 2))).attempts_to_pass == 2
        assert rope_of(told(ran(1, NOON))).attempts_to_pass is None


class TestJson:
    @pytest.fixture
    def validate(self) -> Callable[[object], None]:
        return validator("report")

    def test_it_keeps_to_the_schema(self, validate: Callable[[object], None]) -> None:
        met = ran(1, NOON, mistakes=("known", "other"))
        validate(told(met, ran(4, NOON + 60), name="Ada").as_json())
        third = standing(1, NORM)
        validate(told(standings=(third, standing(0))).as_json())

    def test_the_schema_describes_all_of_it(self, validate: Callable[[object], None]) -> None:
        """Leaving anything out, or putting anything in, is refused."""
        whole = told(ran(1, NOON, mistakes=("known",))).as_json()
        text = json.dumps(whole)
        tables = 0
        for path in _tables(whole, ()):
            for change in ("more", *list(_at(whole, path))):
                broken = json.loads(text)
                table = _at(broken, path)
                table.pop(change) if change in table else table.update({change: 1})
                with pytest.raises(Exception, match="more|required"):
                    validate(broken)
                tables += 1
        assert tables > 100


def _tables(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        yield path
    for key, item in (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    ):
        yield from _tables(item, (*path, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def xml_of(whole: Portfolio) -> str:
    return junit((record.exercise.id, record.standing.result) for record in whole.records)


class TestJunit:
    def test_every_test_is_a_case_and_every_failure_says_what_it_is(self) -> None:
        root = ET.fromstring(xml_of(told(standings=(standing(3), standing(4, NORM)))))
        suites = {suite.get("name"): suite for suite in root}
        assert list(suites) == [exercise.id for exercise in COURSE.exercises]
        rope = suites[ROPE.id]
        assert (rope.get("tests"), rope.get("failures"), rope.get("skipped")) == ("4", "1", "0")
        (failure,) = rope.findall("testcase/failure")
        assert (failure.get("message"), failure.text) == ("value", "It turns")
        assert suites["ex03_attention"].find("testcase/skipped") is not None

    def test_no_text_breaks_out(self) -> None:
        result = standing(4).result
        assert result is not None
        test = TestResult(ALL_HOSTILE, ALL_HOSTILE, 1, Kind.VALUE)
        hostile = ExerciseProgress(ROPE, dataclasses.replace(result, tests=(test,)))
        text = xml_of(told(standings=(hostile,)))
        (suite,) = [s for s in ET.fromstring(text) if s.get("name") == ROPE.id]
        assert [child.tag for child in suite.iter()] == ["testsuite", "testcase", "failure"]
        assert dangerous(text) == set()


@pytest.mark.parametrize(
    ("standings", "message", "colour"),
    [
        ((standing(0),), f"0 of {POINTS} points", "lightgrey"),
        ((standing(4),), f"100 of {POINTS} points", "blue"),
        (
            tuple(standing(4, e) for e in COURSE.exercises),
            f"{POINTS} of {POINTS} points",
            "brightgreen",
        ),
    ],
)
def test_the_badge_is_what_shields_wants(
    standings: tuple[ExerciseProgress, ...], message: str, colour: str
) -> None:
    whole = told(standings=standings)
    assert badge(whole.points, whole.possible) == {
        "schemaVersion": 1,
        "label": "MiniMind",
        "message": message,
        "color": colour,
    }


def dangerous(text: str) -> set[str]:
    """The characters that act on a terminal or reorder what is read."""
    bidi = "\u061c\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
    controls = {chr(n) for n in (*range(32), *range(127, 160))} - {"\n", "\t"}
    return {c for c in text if c in bidi or c in controls or "\ud800" <= c <= "\udfff"}


class Page(HTMLParser):
    """What a page is made of: its tags with their attributes, its ids, its texts by their tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.styles = ""
        self._tag = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        self._tag = tag

    def handle_endtag(self, tag: str) -> None:
        self._tag = ""

    def handle_data(self, text: str) -> None:
        if self._tag == "style":
            self.styles += text
        else:
            self.texts.append((self._tag, text))

    @property
    def text(self) -> str:
        return "".join(f" {text} " for _, text in self.texts)

    @property
    def ids(self) -> list[str]:
        return [str(a["id"]) for _, a in self.tags if "id" in a]


def check_self_contained(text: str) -> Page:
    """Nothing is loaded, nothing runs, and every reference stays inside."""
    found = Page(text)
    assert {tag for tag, _ in found.tags} & {"script", "link", "img", "iframe", "object"} == set()
    values = [(k, v or "") for _, attributes in found.tags for k, v in attributes.items()]
    assert [name for name, _ in values if name.startswith("on") or name == "src"] == []
    assert len(found.ids) == len(set(found.ids))
    targets = {v for k, v in values if k in ("href", "xlink:href")}
    targets |= set(re.findall(r"url\((.*?)\)", " ".join([found.styles, *(v for _, v in values)])))
    assert {target.removeprefix("#") for target in targets} <= set(found.ids)
    assert all(target.startswith("#") for target in targets)
    assert "@import" not in found.styles and "<" not in found.styles
    return found


class TestPage:
    def test_it_needs_nothing_else(self) -> None:
        found = check_self_contained(page(told(ran(4, NOON)), {}, None))
        policies = [a["content"] for tag, a in found.tags if "http-equiv" in a]
        assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]

    def test_it_says_how_far_the_learner_is(self) -> None:
        runs = (ran(1, NOON, mistakes=("known",)), ran(4, NOON + 720))
        whole = told(
            *runs,
            standings=(standing(4), standing(2, NORM)),
            hints={ROPE.id: {"": 1, "rotate_half": 2}},
        )
        said = " ".join(Page(page(whole, {}, None)).text.split())
        for words in (
            f"125 of {POINTS} points",
            f"exercises finished 1 of {len(COURSE.exercises)}",
            "12 min",
            "passed at attempt 2",
            "2 of 4 tests pass. Next: pytest tests/test_01_rmsnorm.py",
            "the exponent is i/d; it should be 2i/d",
            "2 of 4",
            "fixed",
            f"hints 3 of {ROPE.hint_count}",
            ROPE.fact,
        ):
            assert words in said

    def test_a_picture_and_the_sentence_in_its_place(self) -> None:
        shown = {ROPE.id: Picture("Title", "Why there is none.")}
        text = page(told(), shown, None)
        assert "Why there is none." in Page(text).text
        assert 'class="picture"' not in text
        shown = {ROPE.id: Picture("Title", "What is seen.", "<svg><path/></svg>")}
        assert "<svg><path/></svg>" in page(told(), shown, None)
        assert "<svg>" not in page(told(standings=(standing(3),)), shown, None)

    def test_a_picture_of_times_stands_below(self) -> None:
        timed = {ROPE.id: Picture("Times", "So long.", "<svg><circle/></svg>")}
        text = page(told(), {}, None, timed=timed)
        assert "<svg><circle/></svg>" in text and "So long." in Page(text).text
        check_self_contained(text)

    @pytest.mark.parametrize("hostile", [*HOSTILE, ALL_HOSTILE])
    def test_no_text_acts(self, hostile: str) -> None:
        """Whatever a learner calls themself, their folder, their functions and their errors."""
        from grader.messages.sanitize import sanitize_line

        shown = {ROPE.id: Picture("Title", sanitize_line(hostile))}
        whole = told(ran(4, NOON, mistakes=(hostile,)), name=hostile, problem=hostile)
        plain = page(told(ran(4, NOON), name="x", problem="x"), {ROPE.id: Picture("T", "x")}, None)
        text = page(whole, shown, None)
        assert dangerous(text) == set()
        found = check_self_contained(text)
        assert [tag for tag, _ in found.tags] == [tag for tag, _ in Page(plain).tags]
        assert found.text.count(sanitize_line(hostile).split("\t")[0]) == 3

    def test_the_same_portfolio_gives_the_same_page(self) -> None:
        whole = told(ran(2, NOON), ran(4, NOON + 600))
        way = [journey(whole.milestones, whole.possible) for _ in range(2)]
        assert way[0] is not None and way[0] == way[1]
        assert page(whole, {}, way[0]) == page(whole, {}, way[1])

    def test_no_way_no_picture_of_it(self) -> None:
        assert journey((), 800) is None
        assert journey(told(ran(4, NOON)).milestones, 800) is None

    @pytest.mark.parametrize(
        ("seconds", "words"),
        [
            (0, "less than a minute"),
            (12 * 60 + 29, "12 min"),
            (59 * 60, "59 min"),
            (3600, "1 h"),
            (2 * 3600 + 300, "2 h 5 min"),
        ],
    )
    def test_durations_in_words(self, seconds: float, words: str) -> None:
        assert html_report.time_taken(seconds) == words


SAID_IN_TAGS = {"aria-label", "title"}


class TestChinesePage:
    """All that the course says is in the learner's language, and nothing else depends on it."""

    WAYS = (
        told(
            *(ran(n % 4, NOON + 60 * n, mistakes=("known",)) for n in range(9)),
            standings=(standing(4), standing(4, NORM), standing(2, COURSE.find("ex03"))),
            hints={ROPE.id: {"": 1, "rotate_half": 2}},
            solutions={ROPE.id: True},
            name="Ada",
        ),
        told(ran(1, NOON, mistakes=("known",)), ran(4, NOON + 9000)),
        told(standings=(ExerciseProgress(NORM),)),
    )
    MATERIAL = {*(e.fact for e in COURSE.exercises), *SENTENCES[ROPE.id].values(), "Ada"}

    @pytest.fixture(params=WAYS)
    def languages(self, request: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, ...]]:
        """A learner's portfolio, its page in English and in Chinese."""
        english = Page(page(request.param, {}, None))
        monkeypatch.setenv("GRADER_LANG", "zh")
        yield request.param, english, Page(page(request.param, {}, None))

    def test_every_text_is_chinese_that_is_not_of_the_course(
        self, languages: tuple[Any, ...]
    ) -> None:
        _, _, chinese = languages
        said = {text.strip() for tag, text in chinese.texts if tag != "code"} - self.MATERIAL
        said |= {str(a[k]) for _, a in chinese.tags for k in SAID_IN_TAGS & a.keys()}
        assert len(said) > 50
        assert [text for text in said if not is_chinese(re.sub(r"\bex\d\d\b", "", text))] == []

    def test_what_the_page_is_made_of_is_the_same(self, languages: tuple[Any, ...]) -> None:
        _, english, chinese = languages
        tags = [
            [(tag, {k: v for k, v in a.items() if k not in SAID_IN_TAGS}) for tag, a in found.tags]
            for found in (english, chinese)
        ]
        assert [tag.pop(0)[1] for tag in tags] == [{"lang": "en"}, {"lang": "zh-Hans"}]
        assert tags[0] == tags[1]

    def test_other_programs_read_the_same(
        self, languages: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole, _, _ = languages
        chinese = whole.as_json(), xml_of(whole), badge(whole.points, whole.possible)
        monkeypatch.setenv("GRADER_LANG", "en")
        assert chinese == (whole.as_json(), xml_of(whole), badge(whole.points, whole.possible))

    def test_what_is_put_into_a_sentence_is_escaped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        path = dataclasses.replace(COURSE.paths[0], id="another", title="<b>it's</b>")
        for name in ("en", "zh"):
            monkeypatch.setenv("GRADER_LANG", name)
            text = page(told(path=path), {}, None)
            assert "&lt;b&gt;it&#39;s&lt;/b&gt;" in text and "<b>" not in text
            assert "<strong>100</strong>" in text and "<code>grader report</code>" in text

    def test_pictures_are_described_in_chinese_and_drawn_alike(
        self, all_of_them: dict[str, Picture], painted: "Painted", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GRADER_LANG", "zh")
        way = journey(told(ran(4, NOON), ran(4, NOON + 600)).milestones, 800)
        drawn = painted(*all_of_them)
        assert way is not None
        said = [text for p in (way, *drawn.values()) for text in (p.title, p.caption)]
        assert [text for text in said if not is_chinese(text)] == []
        assert [p.svg for p in drawn.values()] == [p.svg for p in all_of_them.values()]

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            ("return v[..., :3]", "得到 float32 张量 [11, 3]，应为形状是 [11, 11] 的数值"),
            ("return v / 0", "不是有限值"),
            ("return 1e30 * v", "不在 0 到 1 之间"),
            ("import os; os._exit(0)", "退出码 0"),
        ],
    )
    def test_why_there_is_no_picture_is_said_in_chinese(
        self, answer: str, words: str, painted: "Painted", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GRADER_LANG", "zh")
        (picture,) = painted("ex03", ex03=f"def attention(q, k, v, **_): {answer}").values()
        assert words in picture.caption and is_chinese(picture.caption)


Painted = Callable[..., dict[str, Picture]]


@pytest.fixture(scope="module")
def painted(zygote: Any, tmp_path_factory: pytest.TempPathFactory) -> Painted:
    """The pictures of exercises by id, from their solutions and what is written under some."""

    def paint(*names: str, **written: str) -> dict[str, Picture]:
        folder: Path = tmp_path_factory.mktemp("answers")
        exercises = [COURSE.find(name) for name in names]
        for exercise in exercises:
            solution = exercise.paths(ROOT).solution.read_text(encoding="utf-8")
            text = textwrap.dedent(written.get(exercise.short, ""))
            (folder / exercise.answer_file).write_text(f"{solution}\n{text}", encoding="utf-8")
        return dict(pictures(exercises, Course(ROOT, COURSE), folder, zygote))

    return paint


@pytest.fixture(scope="module")
def all_of_them(painted: Painted) -> dict[str, Picture]:
    return painted(*(exercise.id for exercise in COURSE.exercises))


class TestPictures:
    def test_every_exercise_has_one(self, all_of_them: dict[str, Picture]) -> None:
        missing = [id for id, picture in all_of_them.items() if not picture.svg]
        assert (set(all_of_them), missing) == (PICTURED, [])

    def test_they_stand_in_a_page_that_needs_nothing_else(
        self, all_of_them: dict[str, Picture]
    ) -> None:
        whole = told(standings=tuple(standing(4, e) for e in COURSE.exercises))
        text = page(whole, all_of_them, None)
        found = check_self_contained(text)
        assert len(text.encode()) < 2_000_000
        assert sum(tag == "svg" for tag, _ in found.tags) == len(PICTURED)

    def test_colours_are_the_page_s(self, all_of_them: dict[str, Picture]) -> None:
        """Or a picture would be black on black in the dark."""
        for picture in all_of_them.values():
            ET.fromstring(picture.svg)
            assert re.findall(r"(?:fill|stroke): ?(?:#|rgb)", picture.svg) == []
            assert "font-family" not in picture.svg

    def test_they_are_of_the_learner_s_own_code(self, painted: Painted) -> None:
        """Another result, another picture; the same one, the very same."""
        wrong = "def causal_mask(q, k): return torch.ones(q, k, dtype=torch.bool)"
        (right,), (again,) = painted("ex03").values(), painted("ex03").values()
        (other,) = painted("ex03", ex03=wrong).values()
        assert right == again
        assert "the largest weight there is 0;" in " ".join(right.caption.split())
        assert "the largest weight there is 0;" not in other.caption
        assert other.svg and other.svg != right.svg

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            ("def attention(*_, **__):\n    while True: pass", "still running after"),
            ("def attention(*_, **__): raise ValueError('no')", "ValueError: no"),
            ("def attention(q, k, v, **_): return v[..., :3]", "weights: got a float32 tensor"),
            ("def attention(q, k, v, **_): return v / 0", "not finite"),
            ("def attention(q, k, v, **_): return v.to(torch.complex64)", "complex64"),
            ("def attention(q, k, v, **_): return 1e30 * v", "outside 0 to 1"),
            ("def attention(*_, **__): import os; os._exit(0)", "ended the program"),
            ("attention = None", "not callable"),
            ("1 / 0", "ZeroDivisionError"),
            ("def", "SyntaxError"),
        ],
    )
    def test_a_failure_costs_that_picture_alone(
        self, answer: str, words: str, painted: Painted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(studio, "_MOST_SECONDS", 1.0)
        both = painted("ex01", "ex03", ex03=answer)
        assert both[NORM.id].svg
        failed = both["ex03_attention"]
        assert not failed.svg
        assert failed.caption.startswith("There is no picture: ") and words in failed.caption

    def test_numbers_that_no_drawing_can_be_made_of(
        self, painted: Painted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def draw(*_: object) -> str:
            raise OverflowError("cannot convert float infinity to integer")

        monkeypatch.setattr(rmsnorm, "PICTURE", dataclasses.replace(rmsnorm.PICTURE, draw=draw))
        (picture,) = painted("ex01").values()
        assert not picture.svg and "cannot be drawn (OverflowError)" in picture.caption

    def test_no_file_no_picture(self, tmp_path: Path) -> None:
        (picture,) = dict(pictures([NORM], Course(ROOT, COURSE), tmp_path, None)).values()
        assert not picture.svg and "there is no file" in picture.caption

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            ("print(x); raise ValueError(x)", "ValueError: </script>"),
            ("raise type(x.replace(chr(0), '')[:-9], (Exception,), {})", "</script>"),
            (
                "name = x[:-9].replace(chr(0), ''); odd = type(name, (), {})(); "
                "return type(name, (), {'__getitem__': lambda *_: odd})()",
                "weights: got a </script>",
            ),
        ],
    )
    def test_an_answer_s_words_do_nothing(self, answer: str, words: str, painted: Painted) -> None:
        answer = f"def attention(*_, x={ALL_HOSTILE!r}, **__): {answer}  # <script>\u202e"
        (picture,) = painted("ex03", ex03=answer).values()
        exercise = COURSE.find("ex03")
        text = page(told(standings=(standing(4, exercise),)), {exercise.id: picture}, None)
        assert words in Page(text).text and "There is no picture" in text
        assert dangerous(text) == set()
        check_self_contained(text)


class TestCommand:
    def test_nothing_to_write(self) -> None:
        result = CliRunner().invoke(main, ["report"])
        assert result.exit_code == 2
        assert "--html FILE" in result.stderr

    def test_two_reports_in_one_file(self, tmp_path: Path) -> None:
        file = str(tmp_path / "report")
        result = CliRunner().invoke(main, ["report", "--json", file, "--badge", file])
        assert result.exit_code == 1
        assert "give each its own file" in result.stderr

    def test_a_missing_extra_is_named_with_what_to_do(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(html_report, "NEEDED", ("jinja2", "not_installed"))
        result = CliRunner().invoke(main, ["report", "--html", str(tmp_path / "a.html")])
        assert result.exit_code == 1
        assert "needs not_installed" in result.stderr
        assert f"next: {reporting.INSTALL}" in result.stderr

    def test_a_file_that_cannot_be_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            reporting, "measure", lambda *_: Progress((ExerciseProgress(NORM),), seed=0)
        )
        (tmp_path / "file").touch()
        result = CliRunner().invoke(main, ["report", "--badge", str(tmp_path / "file" / "b.json")])
        assert result.exit_code == 2  # before anything was measured
        assert "cannot be written" in result.stderr

    def test_a_learner_s_first_hour(self, course: Path) -> None:
        """One exercise solved, one wrong, in a course of their own: every file by one command."""
        files = {kind: course / f"out.{kind}" for kind in ("html", "json", "junit", "badge")}
        options = [f"--{kind}={file}" for kind, file in files.items()]
        done = subprocess.run(
            [sys.executable, "-m", "grader", "report", f"--name={HOSTILE[1]}", *options],
            cwd=course,
            capture_output=True,
            encoding="utf-8",
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == [f"wrote {file}" for file in files.values()]
        text = files["html"].read_text(encoding="utf-8")
        found = check_self_contained(text)
        assert sum(tag == "svg" for tag, _ in found.tags) == 1
        assert f"50 of {POINTS} points" not in found.text  # ex02 earns some, too
        whole = json.loads(files["json"].read_text(encoding="utf-8"))
        validator("report")(whole)
        states = {e["id"]: e["state"] for part in whole["parts"] for e in part["exercises"]}
        assert (states.pop(NORM.id), states.pop(ROPE.id)) == ("done", "started")
        assert set(states.values()) == {"not started"}
        assert json.loads(files["badge"].read_text())["schemaVersion"] == 1
        assert ET.fromstring(files["junit"].read_text(encoding="utf-8")).tag == "testsuites"
        with closing(History.open(course)) as history:
            assert {run.command for run in history.runs()} == {"report"}


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the course with ex01 solved, and ex02 with a known mistake and hostile comments."""
    folder: Path = tmp_path_factory.mktemp("course")
    ignored = shutil.ignore_patterns("__pycache__", "redteam", "answers")
    for name in ("grader", "minimind_ref", "solutions", "tests", "exercises"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    for exercise in COURSE.exercises:
        shutil.copy(exercise.paths(folder).pristine, exercise.paths(folder).stub)
    shutil.copy(NORM.paths(folder).solution, NORM.paths(folder).stub)
    wrong = ROPE.paths(folder).solution.read_text(encoding="utf-8")
    wrong += '\ndef rotate_half(x):\n    raise ValueError("<script>window.hacked = 1</script>")\n'
    ROPE.paths(folder).stub.write_text(wrong, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    installed = next(filter(None, map(shutil.which, names)), None)
    with playwright.sync_playwright() as running:
        try:
            browser = running.chromium.launch(executable_path=installed, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no browser; next: playwright install chromium ({error.name})")
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def file(painted: Painted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    drawn = painted("ex02", "ex03")
    drawn[NORM.id] = Picture("Title", HOSTILE[0])
    runs = [ran(n % 4, NOON + 60 * n, mistakes=("known",)) for n in range(40)]
    whole = told(
        *runs,
        standings=tuple(standing(4, COURSE.find(e)) for e in ("ex01", "ex02", "ex03")),
        name="averylongname" * 9 + HOSTILE[0],
    )
    file: Path = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(page(whole, drawn, journey(whole.milestones, 800)), encoding="utf-8")
    return file


class TestBrowser:
    """The page in a real browser; skipped where none can be had."""

    @pytest.mark.parametrize("width", [390, 1280])
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_it_opens(self, width: int, scheme: str, file: Path, browser: Any) -> None:
        tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        said: list[str] = []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: said.append(request.url))
        tab.goto(file.as_uri())
        assert said == [file.as_uri()]
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        assert tab.evaluate("window.hacked") is None
        background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        ink = tab.evaluate("getComputedStyle(document.querySelector('.picture text')).fill")
        dark, light = sorted((_brightness(background), _brightness(ink)))
        assert light - dark > 400
        assert (_brightness(background) < _brightness(ink)) is (scheme == "dark")
        for picture in tab.query_selector_all(".picture svg"):
            box = picture.bounding_box()
            assert box["width"] > 250 and box["x"] + box["width"] <= width
        tab.close()

    def test_it_prints_in_light(self, file: Path, browser: Any) -> None:
        tab = browser.new_page(color_scheme="dark")
        tab.goto(file.as_uri())
        tab.emulate_media(media="print", color_scheme="dark")
        background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == "rgb(255, 255, 255)"
        assert tab.pdf()[:4] == b"%PDF"
        tab.close()


def _brightness(colour: str) -> int:
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3])
