"""`grader watch` in a real terminal: what a learner types and saves, and what the screen shows."""

import dataclasses
import io
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from grader.course.answers import read_source
from grader.course.course import Course
from grader.course.files import replace_file
from grader.course.syllabus import ROOT, HintLadder, LearningPath
from grader.course.syllabus_file import load
from grader.course.variants import read_variants
from grader.learner.history import History, RunRecord
from grader.learner.watch import pages
from grader.learner.watch.judge_client import JudgeEnded
from grader.learner.watch.keys import keys_in
from grader.learner.watch.session import Session
from grader.learner.watch.verdict import Verdict
from grader.messages.catalog import sentences
from grader.messages.quantities import duration
from grader.tests.messages.test_catalog import is_chinese
from grader.tests.processes import BACKSTOP, eventually

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminal")

driven = pytest.importorskip(
    "grader.proof.figures.terminal", reason="pexpect and pyte are in the extra verify"
)

ROPE = load(ROOT).find("ex02")
NORM = load(ROOT).find("ex01")
SOLUTION = read_source(ROPE.paths(ROOT).solution)
MISTAKES = {mistake.id: mistake for mistake in read_variants(ROPE.paths(ROOT).mistakes)}

EXERCISES = load(ROOT).exercises
COUNT = len(EXERCISES)
POINTS = sum(exercise.points for exercise in EXERCISES)
MINUTES = sum(exercise.minutes for exercise in EXERCISES)

Watch = Callable[..., "driven.Terminal"]


@pytest.fixture
def course(tmp_path: Path) -> Path:
    return driven.copied_course(ROOT, tmp_path / "course")


@pytest.fixture
def watch(course: Path) -> Iterator[Watch]:
    """Starts `grader watch` in the copy of the course; it is ended with the test."""
    terminals = []

    def start(*words: str, **options: object) -> "driven.Terminal":
        terminals.append(driven.Terminal(course, "watch", *words, **options))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


SHELL = """
import os, signal, sys, termios
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, "-m", "grader", *sys.argv[1:]])
while os.WIFSTOPPED(status := os.waitpid(job, os.WUNTRACED)[1]):
    os.tcsetpgrp(0, os.getpgrp())
    print("stopped; echo:", bool(termios.tcgetattr(0)[3] & termios.ECHO), flush=True)
    sys.stdin.readline()
    os.tcsetpgrp(0, job)
    os.kill(job, signal.SIGCONT)
print("ended:", os.waitstatus_to_exitcode(status), flush=True)
"""
"""What a shell does for `grader watch`, Ctrl-Z and then `fg`; enter is the latter."""


def save(course: Path, text: str, exercise: object = ROPE) -> None:
    replace_file(exercise.paths(course).stub, text.encode())


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return False
    return state != "Z"


class TestKeys:
    @pytest.mark.parametrize(
        "text, keys, rest",
        [
            ("h", ["h"], ""),
            ("hn", ["h", "n"], ""),
            ("\x1b[A\x1bOB", ["up", "down"], ""),
            ("\x1b[5~q", ["page up", "q"], ""),
            ("\x1b[1;5Cx", ["x"], ""),  # one that means nothing here
            ("\x1b[", [], "\x1b["),
            ("a\x1b", ["a"], "\x1b"),
            ("\x1bq", ["escape", "q"], ""),
            ("\r\x7f\x03\x1a", ["enter", "backspace", "interrupt", "suspend"], ""),
            ("\x00\x01é", ["é"], ""),
        ],
    )
    def test_what_a_terminal_sends_for_a_key(self, text: str, keys: list[str], rest: str) -> None:
        assert keys_in(text) == (keys, rest)


def begun(done: int, points: int, minutes: int) -> str:
    """What the first line says."""
    left = duration(minutes)
    return f"{done} of {COUNT} done · {points} of {POINTS} points · about {left} left"


class TestALearnersDay:
    def test_from_the_first_save_to_the_next_exercise(self, course: Path, watch: Watch) -> None:
        terminal = watch("rope")
        terminal.wait_for("nothing implemented yet: begin with precompute_freqs_cis")
        assert begun(0, 0, MINUTES) in terminal.lines[0]
        assert "ex02_rope · Rotary position embedding" in terminal.lines[1]

        save(course, MISTAKES["exponent_without_two"].applied_to(SOLUTION).text)
        terminal.wait_for("these are exactly the numbers you get if the exponent is i/d")
        terminal.wait_for("10 of 13 tests pass · run 2")

        terminal.press("d")
        terminal.wait_for("after a pass; or give up")

        save(course, SOLUTION.text + "\nprint('own line')\n")
        terminal.wait_for("✓ all 13 tests pass: 100 points", "The fact behind it", "To read")
        terminal.wait_for("their score depends only on", "arxiv.org/abs/2104.09864")
        assert begun(1, 100, MINUTES - ROPE.minutes) in terminal.lines[0]

        save(course, SOLUTION.text + "\nprint('own line')\n")  # as it is already
        terminal.read_for(0.5)
        assert "· run 3 at" in terminal.text

        terminal.press("d")
        terminal.wait_for("- yours", "-print('own line')")
        terminal.press("\x1b", "n")
        terminal.wait_for("ex03_attention ·", "nothing implemented yet")

        with_history = History.open(course)
        runs = with_history.runs("ex02_rope")
        assert [(run.passed, run.command) for run in runs] == [
            (0, "watch"),
            (10, "watch"),
            (13, "watch"),
        ]
        assert runs[1].mistakes == ("exponent_without_two",)
        assert runs[1].failing == ("precompute_freqs_cis", "precompute_pos_cis")
        assert with_history.solutions() == {"ex02_rope": False}
        with_history.close()

    def test_quits_to_the_terminal_as_it_was_and_goes_on_there(
        self, course: Path, watch: Watch
    ) -> None:
        first = watch()
        first.wait_for("ex01_rmsnorm ·", "10 tests are waiting")
        first.press("n")
        first.wait_for("ex02_rope ·", "13 tests are waiting")
        processes = first.processes()
        first.press("h", "h")
        first.wait_for("precompute_freqs_cis · hint 2 of 3")
        assert not first.process.getecho()
        first.press("q")
        first.wait_for("next: grader watch goes on from here")
        assert first.process.getecho()
        assert b"\x1b[?1049l" in first.received and b"\x1b[?25h" in first.received
        assert first.ended() == 0
        assert not [pid for pid in processes if alive(pid)]

        second = watch()
        second.wait_for("ex02_rope ·", "13 tests are waiting")
        second.press("h")
        second.wait_for("precompute_freqs_cis · hint 2 of 3")
        os.kill(second.process.pid, signal.SIGTERM)
        second.wait_for("next: grader watch goes on from here")
        assert b"\x1b[?1049l" in second.received

    def test_the_file_that_is_saved_is_the_one_that_is_shown(
        self, course: Path, watch: Watch
    ) -> None:
        terminal = watch("ex02")
        terminal.wait_for("13 tests are waiting")
        save(course, read_source(NORM.paths(ROOT).solution).text, NORM)
        terminal.wait_for("ex01_rmsnorm ·", "✓ all 10 tests pass")

    def test_ctrl_z_gives_the_terminal_back_until_fg(self, course: Path, watch: Watch) -> None:
        terminal = watch("ex02", program=["-c", SHELL])
        terminal.wait_for("nothing implemented yet")
        terminal.press("h")
        terminal.wait_for("hint 1 of")
        terminal.press("\x1a")
        terminal.wait_for("stopped; echo: True")
        assert terminal.received.endswith(b"stopped; echo: True\r\n")
        assert b"\x1b[?1049l" in terminal.received and b"\x1b[?25h" in terminal.received
        before = len(terminal.received)
        save(course, SOLUTION.text)
        terminal.press("\r")
        terminal.wait_for("✓ all 13 tests pass")  # what was saved meanwhile is heard of
        assert terminal.received[before:].count(b"\x1b[?1049h") == 1
        assert not terminal.process.getecho()
        terminal.press("\x1a")
        terminal.wait_for("stopped; echo: True")
        terminal.press("\r", "q")
        terminal.wait_for("next: grader watch goes on from here", "ended: 0")

    def test_the_end_of_a_path(self, course: Path, watch: Watch) -> None:
        (course / ".grader").mkdir()
        (course / ".grader" / "settings.json").write_text('{"path": "quick"}')
        terminal = watch()
        terminal.wait_for(
            "0 of 1 done · 0 of 50 points · about 25 min left", "10 tests are waiting"
        )
        save(course, read_source(NORM.paths(ROOT).solution).text, NORM)
        terminal.wait_for("1 of 1 done", "n   the end")
        terminal.press("n")
        terminal.wait_for("✓ A first taste: done", "50 points", "grader path core")
        terminal.press("q")
        assert terminal.ended() == 0
        again = watch()
        again.wait_for("✓ A first taste: done")


@pytest.mark.parametrize("path", load(ROOT).paths, ids=lambda path: path.id)
def test_the_end_leads_to_the_capstone_where_the_path_has_one(
    path: LearningPath, tmp_path: Path
) -> None:
    with closing(History.open(tmp_path)) as history:
        session = Session(Course(tmp_path, load(ROOT)), path, history, lambda *_: None)
        session.page = "end"
        assert any("grader capstone" in line for line in shown(session)) == path.has_capstone


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator["driven.Terminal"]:
    """One that is open already, in a course in which ex02 is done."""
    course = driven.copied_course(ROOT, tmp_path_factory.mktemp("watch") / "course")
    save(course, SOLUTION.text)
    with driven.Terminal(course, "watch", "ex01") as terminal:
        # What was solved before there was a history is found out while nothing else runs.
        terminal.wait_for("10 tests are waiting", f"1 of {COUNT} done")
        yield terminal


class TestPages:
    @pytest.fixture(autouse=True)
    def first_page(self, terminal: "driven.Terminal") -> Iterator[None]:
        yield
        terminal.press("\x1b", "\x1b")

    def test_hints_come_one_after_the_other_and_go_back(self, terminal: "driven.Terminal") -> None:
        for level in (1, 2):
            terminal.press("h")
            terminal.wait_for(f"RMSNorm · hint {level} of 2")
        terminal.press("h")
        terminal.wait_for("RMSNorm.forward · hint 1 of 4", "h next hint  H previous hint")
        terminal.press("H")
        terminal.wait_for("RMSNorm · hint 2 of 2")
        terminal.press("?")
        terminal.wait_for("H", "the hint before this one")

    def test_the_lesson_scrolls(self, terminal: "driven.Terminal") -> None:
        terminal.press("s")
        terminal.wait_for("01 · Root-mean-square normalisation", "lines 1 to")
        assert "· space shows more" in terminal.text
        terminal.press("\x1b[6~")
        terminal.wait_for("lines 19 to")
        terminal.press("\x1b[F")
        terminal.wait_for("Zhang", without="space shows more")
        terminal.press("s")
        terminal.wait_for("10 tests are waiting")

    def test_the_list_is_filtered_and_searched(self, terminal: "driven.Terminal") -> None:
        terminal.press("l")
        terminal.wait_for(f"{COUNT} of {COUNT} exercises · filter: all", "✓  ex02_rope ")
        terminal.press("f")
        terminal.wait_for(
            f"{COUNT - 1} of {COUNT} exercises · filter: unfinished", without="ex02_rope"
        )
        terminal.press("f")
        terminal.wait_for(f"1 of {COUNT} exercises · filter: done", "ex02_rope")
        terminal.press("f", "/", *"query", "\r")
        terminal.wait_for(f"1 of {COUNT} exercises", "search: /query", "Grouped-query attention")
        terminal.press("\r")
        terminal.wait_for("ex04_gqa · Grouped-query attention")
        terminal.press("p", "p", "p")
        terminal.wait_for("ex01_rmsnorm ·")
        terminal.press("p")
        terminal.wait_for("this is the first exercise of the path")

    def test_every_size_is_filled_and_no_line_runs_over(self, terminal: "driven.Terminal") -> None:
        for rows, columns in ((10, 40), (50, 140), (24, 80)):
            terminal.resize(rows, columns)
            terminal.wait_for("0 of 10 tests pass" if columns > 40 else "0 of 10")
            terminal.wait_for("ex01_rmsnorm ·", "h hint", without="EE")
            assert terminal.lines[0].startswith(("█", "░"))
            assert terminal.lines[1].startswith("ex01_rmsnorm ·")
            assert terminal.lines[-1].startswith("h hint")
            assert terminal.text.count("ex01_rmsnorm ·") == 1


def ran(exercise: object, passed: int, number: int, failing: tuple[str, ...] = ()) -> Verdict:
    """A run of ten tests."""
    numbers = passed, 10, str(10 * passed)
    record = RunRecord(exercise.id, "watch", 1e9 + number, 1.0, *numbers, (), (), "00", failing)
    return Verdict(number, exercise.id, record=record, printed=("…",))


HEADING = re.compile(r"(\S+) · hint (\d) of (\d)$")


def set_to(page: object, width: int) -> list[str]:
    """The lines of a page in a terminal of some columns."""
    lines = Console(file=io.StringIO(), width=width).render_lines(page)
    return ["".join(segment.text for segment in line).rstrip() for line in lines]


def shown(session: Session) -> list[str]:
    """All texts on the screen, in a terminal so wide that each has a line or column."""
    console = Console(file=io.StringIO(), width=200)
    parts = (pages.header, pages.title, pages.status, pages.body)
    lines = [line for part in parts for line in console.render_lines(part(session))]
    texts = ["".join(segment.text for segment in line).rstrip() for line in lines]
    return [*texts, *(f"{key}  {what}" for key, what in pages.keys(session))]


class TestHints:
    """Which hint is shown for which key, without a terminal."""

    @pytest.fixture
    def numbers(self) -> list[int]:
        return []

    @pytest.fixture
    def session(self, tmp_path: Path, numbers: list[int]) -> Iterator[Session]:
        """At ex02, which is written."""
        ROPE.paths(tmp_path).stub.parent.mkdir()
        save(tmp_path, SOLUTION.text)
        whole = load(ROOT)
        path = dataclasses.replace(whole.paths[0], exercises=(NORM.id, ROPE.id))
        history = History.open(tmp_path)
        yield Session(Course(tmp_path, whole), path, history, lambda _, n: numbers.append(n), ROPE)
        history.close()

    def hint(self, session: Session) -> tuple[str, int]:
        """The hint that is on the page, with its heading."""
        assert session.page == "hint"
        about, level, count = HEADING.match(shown(session)[3]).groups()
        (ladder,) = [ladder for ladder in ROPE.hints if ladder.about == about]
        assert int(count) == len(ladder.levels)
        page = pages.body(session)
        text = "\n".join(line.rstrip() for line in set_to(page, 80)).strip()
        assert text == f"{about} · hint {level} of {count}\n\n{ladder.levels[int(level) - 1]}"
        return about, int(level)

    def press(self, session: Session, *keys: str) -> list[tuple[str, int]]:
        found = []
        for key in keys:
            session.press(key)
            found.append(self.hint(session))
        return found

    def test_what_fails_comes_first_and_then_the_functions_after_it(
        self, session: Session, numbers: list[int]
    ) -> None:
        session.judged(ran(ROPE, 3, numbers[-1], ("apply_rotary_complex", "interleaved_to_half")))
        order = [
            (ladder.about, level)
            for ladder in (*ROPE.hints[4:], *ROPE.hints[:4])
            for level in range(1, len(ladder.levels) + 1)
        ]
        assert self.press(session, *"h" * len(order)) == order
        assert "h" not in dict(pages.keys(session))
        assert self.press(session, "h", "h") == [order[-1]] * 2
        back = [*reversed(order[:-1]), order[0]]
        assert self.press(session, *"H" * len(order)) == back
        assert "H" not in dict(pages.keys(session))

    def test_a_verdict_upon_another_function_turns_to_that(
        self, session: Session, numbers: list[int]
    ) -> None:
        session.judged(ran(ROPE, 3, numbers[-1], ("rotate_half",)))
        assert self.press(session, "h", "h")[-1] == ("rotate_half", 2)
        session.press("escape")
        assert self.press(session, "h") == [("rotate_half", 2)]
        session.run(ROPE)
        session.judged(ran(ROPE, 5, numbers[-1], ("interleaved_to_half",)))
        assert self.press(session, "h") == [("rotate_half", 3)]  # not from under the reader's eyes
        session.press("escape")
        assert self.press(session, "h", "h")[-1] == ("interleaved_to_half", 2)
        session.press("p")
        session.press("h")
        assert session.exercise == NORM
        assert "RMSNorm · hint 1 of 2" in shown(session)

    def test_what_was_read_is_remembered_by_function(
        self, session: Session, numbers: list[int]
    ) -> None:
        session.judged(ran(ROPE, 3, numbers[-1], ("interleaved_to_half",)))
        self.press(session, "h", "h", "H", "h", "h", "h")
        assert session.history.hints() == {
            ROPE.id: {"interleaved_to_half": 3, "precompute_freqs_cis": 1}
        }

    def test_the_key_back_means_nothing_where_there_is_no_hint(self, session: Session) -> None:
        session.press("H")
        assert session.page == "verdict"
        self.press(session, "h", "h")
        session.press("escape")
        session.press("H")
        assert session.page == "verdict"
        session.press("s")
        session.press("H")
        assert session.page == "lesson"

    def test_code_in_a_hint_stays_as_it_is_where_prose_is_set_narrower(
        self, session: Session, numbers: list[int]
    ) -> None:
        session.judged(ran(ROPE, 3, numbers[-1], ("precompute_freqs_cis",)))
        self.press(session, "h", "h", "h")
        lines = set_to(pages.body(session), 70)
        assert "    speeds = 1 / rope_base**exponents" in lines
        assert "    angles = torch.cat((angles, angles), dim=-1)" in lines
        session.press("H")
        narrow = set_to(pages.body(session), 50)
        assert max(map(len, narrow)) <= 50
        assert " ".join(" ".join(narrow[2:]).split()) == " ".join(ROPE.hints[0].levels[1].split())


NAMES = re.compile(
    r"(exercises/)?ex\d\d(_\w+)?(\.py)?|\b(enter|esc|MiniMind)\b|--[a-z-]+|"
    r"grader (reset|solution|path core|capstone)|ctrl-z|pytest --own|"
    r"grader report --html report.html"
)


def english(lines: list[str]) -> list[str]:
    """The texts that are not Chinese, but for names and commands."""
    texts = [text for line in lines for text in re.split(r" · |\s{2,}", line)]
    return [text for text in texts if not is_chinese(NAMES.sub("", text))]


SAID_ELSEWHERE = {
    "watch.lines",
    "watch.more_lines",
    "watch.no_blame",
    "watch.no_lesson",
    "watch.not_watched",
    "watch.reset_failed",
    "watch.runner_ended",
    "watch.space",
}
"""What a session that meets no interruption with files and processes does not come to say."""


class TestList:
    @pytest.fixture
    def session(self, course: Path) -> Iterator[Session]:
        """One at ex02, of which 8 of 10 tests pass; ex01 is done."""
        whole = load(ROOT)
        with closing(History.open(course)) as history:
            session = Session(
                Course(course, whole), whole.paths[-1], history, lambda *_: None, ROPE
            )
            save(course, "1\n", ROPE)
            session.standings.note(ran(ROPE, 8, 1))
            session.standings.note(ran(NORM, 10, 2))
            yield session

    def listed(self, session: Session, *keys: str) -> list[str]:
        for key in keys:
            session.press(key)
        return shown(session)[3:]

    def test_it_opens_at_the_exercise_that_is_shown(self, session: Session) -> None:
        (at,) = (line for line in self.listed(session, "l") if line.startswith(">"))
        assert "ex02_rope" in at
        (at,) = (line for line in self.listed(session, "j", "escape", "l") if line[:1] == ">")
        assert "ex02_rope" in at

    def test_tests_that_pass_are_a_number_of_a_number(self, session: Session) -> None:
        (line,) = (line for line in self.listed(session, "l") if "ex02_rope" in line)
        assert re.search(r"ex02_rope +8 of 10 +Rotary", line)

    def test_a_search_that_finds_nothing_says_so(self, session: Session) -> None:
        lines = self.listed(session, "l", "/", *"zzz")
        assert "no exercise matches this search; esc clears it" in lines
        assert "esc  all" in self.listed(session, "enter")
        assert session.press("enter") is None and session.page == "list"
        assert any("ex01_rmsnorm" in line for line in self.listed(session, "escape"))
        self.listed(session, "escape")
        assert session.page == "verdict"

    def test_a_filter_that_leaves_nothing_says_so(self, session: Session) -> None:
        session.standings.note(ran(NORM, 9, 3))
        lines = self.listed(session, "l", "f", "f")
        assert "no exercise matches this filter; f changes it" in lines


class TestChinese:
    @pytest.fixture
    def numbers(self) -> list[int]:
        """Those of the runs that the session has asked for."""
        return []

    @pytest.fixture
    def session(
        self, course: Path, numbers: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Session]:
        """One on a path of two exercises without words, so that all words are the grader's."""
        monkeypatch.setenv("GRADER_LANG", "zh")
        whole = load(ROOT)
        ladders = (HintLadder("…", ("…", "…")),)
        wordless = {"hints": ladders, "fact": "…", "read": ("…",)}
        two = tuple(dataclasses.replace(e, **wordless) for e in (NORM, ROPE))
        for exercise in two:
            exercise.paths(course).lesson.write_text("…", encoding="utf-8")
        exercises = (NORM.id, ROPE.id)
        path = dataclasses.replace(whole.paths[0], exercises=exercises, has_capstone=True)
        whole = dataclasses.replace(whole, exercises=two)
        history = History.open(course)
        yield Session(Course(course, whole), path, history, lambda _, n: numbers.append(n), two[0])
        history.close()

    def test_every_page_says_all_in_chinese(
        self,
        session: Session,
        numbers: list[int],
        course: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        seen: list[str] = []

        def look(*keys: str) -> None:
            for key in keys:
                session.press(key)
            texts = shown(session)
            assert english(texts) == []
            seen.extend(texts)

        def judge(passed: int) -> None:
            verdict = ran(session.exercise, passed, numbers[-1])
            session.judged(verdict)
            session.history.record_run(verdict.record)
            look()

        look()
        with monkeypatch.context() as later:
            later.setattr(Session, "seconds_running", 5.0)
            look()
        judge(0)
        for key in ("h", "h", "H", "s", "?", "escape", "d", "p", "x", "n"):
            look(key)
        look("x", "y")
        save(course, "1\n", NORM)
        look("x", "y")
        session.judge_ended(JudgeEnded(""))
        look()
        save(course, "1\n", ROPE)
        for key in ("l", "f", "f", "f", "/", "z", "enter", "escape", "escape"):
            look(key)
        session.standings.note(Verdict(0, ROPE.id))
        look("l", "j")
        for key in ("escape", "r"):
            look(key)
        judge(3)
        kept = session.exercise.paths(course).stub
        kept.rename(kept.with_suffix(".away"))
        look()
        kept.with_suffix(".away").rename(kept)
        NORM.paths(course).solution.write_text("1\n", encoding="utf-8")
        save(course, "1\n", NORM)
        look("r")
        judge(3)
        look("l")
        look("escape")
        look("r")
        judge(10)
        look("d")
        save(course, "2\n", NORM)
        look()
        for key in ("escape", "n", "n"):
            look(key)
        judge(10)
        look("n")
        assert session.page == "end"
        session.history.record_run(ran(NORM, 10, 100_000).record)
        look()
        columns = {
            cell_len(line.partition(text)[0])
            for line in seen
            for text in (
                "用你自己写的部件",
                "继续学习路线",
                "全部使用",
                "把学习过程",
                "回到某个练习",
            )
            if text in line
        }
        assert columns == {26}
        whole = "\n".join(seen)
        said = {
            key: re.sub(r"\\{.*?\\}", ".*", re.escape(text))
            for key, text in sentences("zh").items()
            if key.startswith(("watch.", "keys."))
        }
        assert {k for k, pattern in said.items() if not re.search(pattern, whole)} == SAID_ELSEWHERE

    def test_a_learners_day(self, course: Path, watch: Watch) -> None:
        terminal = watch("ex02", environment={"GRADER_LANG": "zh"})
        terminal.wait_for("还没有开始实现：从 precompute_freqs_cis", "写起；有 13")
        left = f"大约还需 {MINUTES // 60} 小时 {MINUTES % 60} 分钟"
        assert f"已完成 0 / {COUNT} 个练习 · 0 / {POINTS} 分 · {left}" in terminal.lines[0]
        assert terminal.lines[1] == "ex02_rope · 旋转位置编码（RoPE） · 100 分 · 1 小时"
        terminal.wait_for(" 秒 · 保存后自动检查", "h 提示", "q 退出  ? 按键")

        terminal.resize(10, 40)
        terminal.wait_for("h 提示  n 下一个  p 上一个  l 列表")
        terminal.read_for(0.5)
        assert terminal.lines[-1] == "h 提示  n 下一个  p 上一个  l 列表"
        terminal.resize(24, 80)
        terminal.wait_for("? 按键")

        terminal.press("h")
        terminal.wait_for("precompute_freqs_cis · 提示 1/3", "h 下一条提示")
        terminal.press("?")
        terminal.wait_for("恢复为骨架文件；你的修改会保留", "退出；下次从这里继续")
        columns = {cell_len(line[: re.search(r"  +", line).end()]) for line in terminal.lines[3:16]}
        assert columns == {14}
        terminal.press("s")
        terminal.wait_for("第 1 到 18 行，共 ")
        terminal.press("x")
        terminal.wait_for("要重做 ex02_rope 吗？", "y 重做  其他键 取消")
        terminal.press("n")
        terminal.wait_for("没有重做，文件没有变化")

        save(course, MISTAKES["exponent_without_two"].applied_to(SOLUTION).text)
        terminal.wait_for("正是犯了下面这个错误时得到的：the exponent")
        terminal.wait_for("13 个测试通过了 10 个 · 第 2 次运行")
        save(course, SOLUTION.text + "\nprint('own line')\n")
        terminal.wait_for("✓ 13 个测试全部通过：100 分", "背后的原理", "延伸阅读")
        terminal.press("d")
        terminal.wait_for("- 你的代码   + 参考答案", "-print('own line')", "空格 翻页")
        terminal.press("\x1b", "l")
        terminal.wait_for(f"{COUNT} / {COUNT} 个练习 · 筛选：全部", "✓  ex02_rope", "旋转位置编码")
        terminal.press("/", *"旋转", "\r")
        terminal.wait_for(
            f"1 / {COUNT} 个练习 · 筛选：全部 · 搜索：/旋转", ">  ✓  ex02_rope", without="ex01"
        )
        terminal.press("q")
        terminal.wait_for("ex02_rope：已完成", "下一步：grader watch 会从这里继续")


class TestASizeInTheEnvironment:
    def test_does_not_hide_the_terminals_own(self, watch: Watch) -> None:
        terminal = watch("ex02", environment={"COLUMNS": "80", "LINES": "24"})
        terminal.wait_for("13 tests are waiting")
        terminal.resize(12, 60)
        terminal.wait_for("13 tests are waiting", "h hint", without="EE")
        assert terminal.lines[-1].startswith("h hint")


SLEEPING_DISK = """
import sqlite3, sys, time
from pathlib import Path
from grader.learner import history

class Connection(sqlite3.Connection):
    def executemany(self, *words):
        while not Path("awake").exists():
            time.sleep(0.05)
        return super().executemany(*words)

connect = sqlite3.connect
sqlite3.connect = lambda *words, **options: connect(*words, factory=Connection, **options)
from grader.cli import main
main(prog_name="grader")
"""


class TestASleepingDisk:
    def test_holds_up_neither_the_screen_nor_a_key(self, course: Path, watch: Watch) -> None:
        terminal = watch("ex02", program=["-c", SLEEPING_DISK])
        terminal.wait_for("13 tests are waiting")
        terminal.press("h")
        terminal.wait_for("hint 1 of")
        terminal.resize(10, 60)
        terminal.wait_for("hint 1 of", "h next hint", without="EE")
        terminal.press("q")
        (course / "awake").touch()
        assert terminal.ended() == 0
        with closing(History.open(course)) as history:
            assert [run.tests for run in history.runs()] == [13]
            assert list(history.hints()) == ["ex02_rope"]


class TestASaveAmidARun:
    def test_ends_the_run_and_its_worker(self, course: Path, watch: Watch) -> None:
        terminal = watch("ex02")
        terminal.wait_for("13 tests are waiting")
        endless = "\n\ndef rotate_half(x):\n    while True:\n        pass\n"
        save(course, SOLUTION.text + endless)
        terminal.wait_for("checking … 1 s")
        during = terminal.processes()
        save(course, SOLUTION.text)
        terminal.wait_for("✓ all 13 tests pass")
        assert "run 3 at" in terminal.text
        assert b"run 2 at" not in terminal.received  # nobody waited for its verdict
        terminal.read_for(0.5)
        busy = [pid for pid, used in terminal.processes().items() if used > during.get(pid, 0) + 1]
        assert not busy

    def test_keys_are_heard_while_it_runs(self, course: Path, watch: Watch) -> None:
        terminal = watch("ex02")
        terminal.wait_for("13 tests are waiting")
        save(course, "while True:\n    pass\n")
        terminal.wait_for("checking … 1 s")
        terminal.press("h")
        terminal.wait_for("hint 1 of 3")
        terminal.press("q")
        assert terminal.ended() == 0


ELSEWHERE = """
import sys
from grader.isolation import machine as doctor
from grader.isolation import launch
launch.FORKS = False
doctor.best_profile = lambda: "process"
from grader.learner.watch.judge import main
main(sys.argv[1])
"""


class TestWhereForkingIsNotSafe:
    def test_the_newest_request_is_answered(self, course: Path) -> None:
        save(course, SOLUTION.text)
        judge = subprocess.Popen(
            [sys.executable, "-c", ELSEWHERE, str(course)],
            cwd=course,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert judge.stdin and judge.stdout
        for number in (1, 2, 3):
            judge.stdin.write(b'{"exercise": "ex02_rope", "number": %d}\n' % number)
        judge.stdin.flush()
        verdict = Verdict.unpacked(judge.stdout.readline())
        assert verdict.number == 3 and verdict.done, verdict
        judge.stdin.close()
        assert judge.wait(timeout=BACKSTOP) == 0


HOSTILE = """
def rotate_half(x):
    print("\\x1b]0;stolen\\x07 \\x1b[2Jgone \\u202eesrever")
    raise ValueError("\\x1b[31mred\\x1b]8;;http://example.org\\x07link \\u202eesrever \\x9b2J")

def interleaved_to_half(weight, n_heads):
    raise NotImplementedError
interleaved_to_half.__code__ = interleaved_to_half.__code__.replace(
    co_name="\\x1b[2Jnamed", co_qualname="\\x1b[2Jnamed"
)
"""


class TestTextOfTheLearners:
    def test_moves_no_cursor_and_reorders_nothing(self, course: Path, watch: Watch) -> None:
        terminal = watch("ex02")
        terminal.wait_for("13 tests are waiting")
        terminal.received = b""
        save(course, SOLUTION.text + HOSTILE)
        terminal.wait_for(r"ValueError: \x1b[31mred")
        terminal.press("\x1b[F")
        terminal.wait_for("printed by your code", r"\x1b]0;stolen", r"\x1b[2Jnamed (exercises")
        shown = terminal.received.decode()
        for hostile in ("\x1b[31mred", "\x1b]", "\x07", "\u202e", "\x9b", "\x1b[2J"):
            assert hostile not in shown

    def test_nor_does_a_file_in_the_diff(self, course: Path, watch: Watch) -> None:
        save(course, SOLUTION.text + "# \x1b[2J\x1b]0;stolen\x07 \u202eesrever\n")
        terminal = watch("ex02")
        terminal.wait_for("✓ all 13 tests pass")
        terminal.received = b""
        terminal.press("d")
        terminal.wait_for(r"-# \x1b[2J")
        shown = terminal.received.decode()
        for hostile in ("\x1b]", "\x07", "\u202e", "\x1b[2J"):
            assert hostile not in shown


COLOUR = re.compile(rb"\x1b\[[0-9;]*\b(3[0-8]|4[0-8]|9[0-7]|10[0-7])[0-9;]*m")


class TestTerminals:
    @pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "vt100"}])
    def test_without_colour(self, environment: dict[str, str], course: Path, watch: Watch) -> None:
        save(course, SOLUTION.text)
        terminal = watch("ex02", environment=environment)
        terminal.wait_for("✓ all 13 tests pass")
        if "NO_COLOR" in environment:
            assert not COLOUR.search(terminal.received)

    def test_with_colour_a_pass_is_green(self, course: Path, watch: Watch) -> None:
        save(course, SOLUTION.text)
        terminal = watch("ex02")
        terminal.wait_for("✓ all 13 tests pass")
        assert COLOUR.search(terminal.received)

    def test_without_a_terminal_it_says_what_to_do_instead(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "grader", "watch"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2
        assert "grader watch needs a terminal" in done.stderr

    def test_a_lost_connection_leaves_no_process(self, course: Path, watch: Watch) -> None:
        terminal = watch("ex02")
        terminal.wait_for("13 tests are waiting")
        processes = terminal.processes()
        terminal.hang_up()
        assert eventually(lambda: not any(map(alive, processes)))


class TestWhatGoesWrong:
    def test_a_judge_that_ends_is_told_and_replaced(self, course: Path, watch: Watch) -> None:
        terminal = watch("ex02")
        terminal.wait_for("13 tests are waiting")
        judge = next(
            pid
            for pid in terminal.processes()
            if b"grader.learner.watch.judge" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
        os.kill(judge, signal.SIGKILL)
        terminal.wait_for("the process that checks answers has ended")
        terminal.press("r")
        terminal.wait_for("13 tests are waiting")

    def test_reset_asks_first_and_keeps_the_edits(self, course: Path, watch: Watch) -> None:
        save(course, SOLUTION.text)
        terminal = watch("ex02")
        terminal.wait_for("✓ all 13 tests pass")
        terminal.press("x")
        terminal.wait_for("Begin ex02_rope again?")
        terminal.press("n")
        terminal.wait_for("nothing was reset")
        assert ROPE.paths(course).stub.read_text() == SOLUTION.text
        terminal.press("x", "y")
        terminal.wait_for(
            "your edits come back with grader reset ex02 --undo", "13 tests are waiting"
        )
        assert [file.read_text() for file in (course / ".grader" / "backups").iterdir()] == [
            SOLUTION.text
        ]

    def test_no_history_is_told_and_answers_are_checked(self, course: Path, watch: Watch) -> None:
        (course / ".grader").write_text("a file where a folder should be")
        save(course, SOLUTION.text)
        terminal = watch("ex02")
        terminal.wait_for("✓ all 13 tests pass")
        terminal.press("\x1b[F")
        terminal.wait_for("history")

    def test_a_file_that_is_gone_and_comes_back(self, course: Path, watch: Watch) -> None:
        terminal = watch("ex02")
        terminal.wait_for("13 tests are waiting")
        ROPE.paths(course).stub.unlink()
        terminal.wait_for("there is no file exercises/ex02_rope.py", "x   puts the stub back")
        shutil.copy(ROPE.paths(ROOT).solution, course / "exercises")
        terminal.wait_for("✓ all 13 tests pass")
        ROPE.paths(course).stub.unlink()
        terminal.wait_for("x   puts the stub back")
        terminal.press("x", "y")
        terminal.wait_for("nothing implemented yet", "this is the stub")
        assert ROPE.paths(course).stub.read_text() == ROPE.paths(course).pristine.read_text()

    def test_a_broken_course_is_not_the_learners_fault(self, course: Path, watch: Watch) -> None:
        ROPE.paths(course).test_file.write_text("not python at all (\n")
        terminal = watch("ex02")
        terminal.wait_for("nothing could be checked; this is not your fault")
