"""Limits count what an answer uses of the processor; what the machine does costs nobody a point.

Nothing here looks at the wall clock: processes are kept from working by stopping them.
"""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grader.course.answers import config_source
from grader.course.course import Course
from grader.course.syllabus import ROOT
from grader.isolation.client import Worker
from grader.isolation.clock import MachineTooBusy, UsedUp, WorkerClock
from grader.isolation.launch import FORKS
from grader.isolation.sandbox import Sandbox
from grader.observation.answer import Answer, Source, forget, load_answer
from grader.observation.deadline import Deadline, OutOfTime, _ThreadTicks
from grader.observation.observe import observe
from grader.observation.record import Observation, Request
from grader.observation.trouble import timed_out
from grader.tests.processes import eventually

FILE = "/nowhere/ex99_answer.py"
SHORT = 0.3

ENDLESS = {
    "while True": "while True: pass",
    "a loop within": "while True:\n    for i in range(3): x = i",
    "a counter that stands still": "i, n = 0, 3\nwhile i < n: x = 1",
}
SLOW = {
    "for loops": "for i in range(10**6):\n    for j in range(10**6):\n        x = i * j",
    "a while loop that counts": "i = 0\nwhile i < 10**12:\n    i += 1",
    "a comprehension": "return sum(i * i for i in range(10**12))",
}


def answer(body: str) -> Answer:
    text = f"import os, signal, time\n\ndef f():\n{textwrap.indent(body, '    ')}\n"
    return Answer("exercises", Source("ex99_answer", FILE, text))


REQUEST = Request(lambda module: module.f(), {})


def seen_here(body: str, seconds: float = SHORT) -> Observation:
    module = load_answer(answer(body))
    with Deadline(seconds, frozenset({FILE})) as deadline:
        seen, _ = observe(module, REQUEST, frozenset({FILE}))
    forget("exercises")
    return timed_out(seen, deadline)


def how(seen: Observation) -> tuple[str, str]:
    assert seen.interruption is not None
    return seen.interruption.kind, seen.interruption.how


class TestInProcess:
    @pytest.mark.parametrize("body", ENDLESS.values(), ids=ENDLESS)
    def test_a_loop_without_an_end(self, body: str) -> None:
        assert how(seen_here(body)) == ("timed out", "")

    @pytest.mark.parametrize("body", SLOW.values(), ids=SLOW)
    def test_slow_is_not_endless(self, body: str) -> None:
        assert how(seen_here(body)) == ("timed out", "too slow")

    def test_the_line_is_told(self) -> None:
        interruption = seen_here("x = 1\nwhile True: pass").interruption
        assert interruption is not None and interruption.frames[-1].line == 5

    def test_what_cannot_be_interrupted_is_noticed_afterwards(self) -> None:
        assert how(seen_here("try: sum(range(10**8))\nexcept BaseException: pass", 0.1))[0] == (
            "timed out"
        )

    def test_sleeping_uses_nothing_up(self) -> None:
        assert seen_here("time.sleep(2 * 0.05)", 0.05).interruption is None

    def test_the_judge_s_own_work_does_not_count(self) -> None:
        """The harness is not interrupted, however long it takes."""
        with Deadline(0.05, frozenset({FILE})) as deadline:
            end = time.process_time() + 0.2
            while time.process_time() < end:
                pass
        assert deadline.is_over

    def test_signals_are_as_they_were(self) -> None:
        before = signal.getsignal(signal.SIGPROF), signal.getsignal(signal.SIGCONT)
        seen_here("pass")
        assert (signal.getsignal(signal.SIGPROF), signal.getsignal(signal.SIGCONT)) == before
        assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)

    def test_a_thread_does_it_where_there_are_no_signals(self) -> None:
        files = frozenset({FILE})
        deadline = Deadline(0.1, files)
        module = load_answer(answer("while True: pass"))
        with pytest.raises(OutOfTime):
            deadline._began = time.process_time()
            ticks = _ThreadTicks(0.05, 0.01, deadline._tick)
            try:
                module.f()
            finally:
                ticks.stop()
        forget("exercises")

    @pytest.mark.parametrize(
        ("between", "name", "interrupted"),
        [
            ("", "", True),
            ("/x/site-packages/torch/nn/modules/module.py", "forward", True),
            ("/x/site-packages/hypothesis/internal/junkdrawer.py", "gc_callback", False),
            ("/x/site-packages/torch/utils/data.py", "__del__", False),
        ],
    )
    def test_what_the_collector_calls_is_not_interrupted(
        self, between: str, name: str, interrupted: bool
    ) -> None:
        """An exception would get lost there."""
        deadline = Deadline(0.0, frozenset({FILE}))
        deadline._began = 0.0
        called: Any = lambda: deadline._tick(sys._getframe())  # noqa: E731
        if between:
            scope = {"inner": called}
            text = f"def {name}(): return inner()"
            exec(compile(text, between, "exec"), scope)
            called = scope[name]
            inner = scope["inner"]
            scope["inner"] = eval(compile("lambda f: lambda: f()", between, "eval"))(inner)
        code = compile("def f(g): return g()", FILE, "exec")
        learner: dict[str, Any] = {}
        exec(code, learner)
        assert learner["f"](called) is interrupted

    def test_a_process_that_was_stopped_says_so(self) -> None:
        with Deadline(SHORT, frozenset()) as deadline:
            os.kill(os.getpid(), signal.SIGCONT)  # what whoever was stopped is sent
        assert deadline.was_stopped


@pytest.mark.skipif(not FORKS, reason="reads what Linux tells of processes")
class TestIsolated:
    @pytest.fixture
    def start(self, zygote: Any) -> Iterator[Any]:
        started: list[Worker] = []

        def worker(body: str, profile: str = "process", **options: Any) -> Worker:
            given = {"root": ROOT, "zygote": zygote, "locked": Sandbox(profile), **options}
            started.append(
                Worker(answer(body), config_source(Course.load(ROOT)), seconds=SHORT, **given)
            )
            return started[-1]

        yield worker
        for each in started:
            each.stop()

    @pytest.mark.parametrize("body", ENDLESS.values(), ids=ENDLESS)
    def test_a_loop_without_an_end(self, body: str, start: Any) -> None:
        assert how(start(body).ask(REQUEST, SHORT)()) == ("timed out", "")

    @pytest.mark.parametrize("body", SLOW.values(), ids=SLOW)
    def test_slow_is_not_endless(self, body: str, start: Any) -> None:
        assert how(start(body).ask(REQUEST, SHORT)()) == ("timed out", "too slow")

    @pytest.mark.parametrize("profile", ["process", "light", "full"])
    def test_what_it_uses_is_read_from_the_system(self, profile: str, start: Any) -> None:
        """In full the process that was forked only waits for the one that works."""
        worker = start(
            "end = time.process_time() + 0.2\nwhile time.process_time() < end: pass", profile
        )
        assert worker.ask(REQUEST, 60.0)().interruption is None
        assert 0.2 < worker.spent < 2.0

    @pytest.mark.parametrize("profile", ["process", "full"])
    def test_whoever_does_not_listen_is_ended_from_outside(self, profile: str, start: Any) -> None:
        worker = start("signal.signal(signal.SIGPROF, signal.SIG_IGN)\nwhile True: pass", profile)
        assert how(worker.ask(REQUEST, SHORT)()) == ("timed out", "")
        assert worker.spent < 3.0

    def test_whoever_sleeps_is_ended_by_the_wall_clock(self, start: Any) -> None:
        assert how(start("time.sleep(6000)").ask(REQUEST, 0.02)()) == ("timed out", "waiting")

    def test_a_worker_that_is_stopped_and_goes_on_loses_nothing(self, start: Any) -> None:
        worker = start("time.sleep(0.2)\nreturn 1")
        worker.start()
        pid = worker._process._forked()
        pending = worker.ask(REQUEST, SHORT)
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(1.0, os.kill, (pid, signal.SIGCONT)).start()
        assert pending().outputs == {"result": 1}

    def test_one_that_stays_stopped_is_not_graded(self, start: Any) -> None:
        worker = start("return 1")
        worker.start()
        os.kill(worker._process._forked(), signal.SIGSTOP)
        assert how(worker.ask(REQUEST, 0.02)())[0] == "not graded"

    def test_one_that_is_killed_from_outside_is_asked_again(self, start: Any) -> None:
        worker = start("time.sleep(0.5)\nreturn 1")
        worker.start()
        pending = worker.ask(REQUEST, SHORT)
        os.kill(worker._process._forked(), signal.SIGKILL)
        assert pending().outputs == {"result": 1}

    def test_the_second_time_it_is_not_graded(self, start: Any) -> None:
        """Without a filter an answer can do to itself what looks the same."""
        worker = start("os.kill(os.getpid(), signal.SIGKILL)")
        assert how(worker.ask(REQUEST, SHORT)())[0] == "not graded"

    def test_an_answer_that_is_locked_in_can_neither_kill_nor_stop_itself(self, start: Any) -> None:
        for name in ("SIGKILL", "SIGSTOP", "SIGTERM"):
            worker = start(f"os.kill(os.getpid(), signal.{name})", "light")
            assert how(worker.ask(REQUEST, SHORT)())[0] == "forbidden"

    def test_one_that_is_killed_before_it_speaks_is_started_again(self, start: Any) -> None:
        worker = start("return 1")
        worker.launch()
        os.kill(worker._process._forked(), signal.SIGKILL)
        assert worker.ask(REQUEST, SHORT)().outputs == {"result": 1}

    def test_an_abort_is_the_answer_s_own(self, start: Any) -> None:
        assert how(start("os.abort()", "light").ask(REQUEST, SHORT)())[0] == "crashed"

    def test_all_calls_together_are_limited(self, start: Any) -> None:
        body = "signal.signal(signal.SIGPROF, signal.SIG_IGN)\nwhile True: pass"
        worker = start(body, seconds_in_all=0.5)
        for _ in range(3):
            worker.ask(REQUEST, SHORT)()
        assert worker.spent < 0.5 + 3 * 0.7


@pytest.mark.skipif(not FORKS, reason="reads what Linux tells of processes")
class TestWaiting:
    """The rules of the clock, with a process that only sleeps."""

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        clock = WorkerClock(os.getpid(), in_namespace=False)
        self.used = self.kept = 0.0
        monkeypatch.setattr(clock, "used", lambda: self.used)
        monkeypatch.setattr(clock, "_kept_from_work", lambda: self.kept)
        return clock

    def silent(self, used: float, kept: float) -> Any:
        def receive(seconds: float) -> bytes:
            self.used += used * seconds
            self.kept += kept * seconds
            raise TimeoutError

        return receive

    def test_work_uses_it_up(self, clock: Any) -> None:
        with pytest.raises(UsedUp) as used_up:
            clock.wait(self.silent(1.0, 0.0), 0.1)
        assert used_up.value.how == ""

    def test_sleep_is_waiting(self, clock: Any) -> None:
        with pytest.raises(UsedUp) as used_up:
            clock.wait(_asleep(0.0, 0.0, self), 0.01)
        assert used_up.value.how == "waiting"

    def test_whoever_wants_to_work_and_may_not_is_not_to_blame(self, clock: Any) -> None:
        with pytest.raises(MachineTooBusy):
            clock.wait(_asleep(0.01, 0.9, self), 0.01)


def _asleep(used: float, kept: float, test: TestWaiting) -> Any:
    """Receives nothing while the time really passes."""

    def receive(seconds: float) -> bytes:
        began = time.monotonic()
        time.sleep(seconds)
        passed = time.monotonic() - began
        test.used += used * passed
        test.kept += kept * passed
        raise TimeoutError

    return receive


@pytest.mark.skipif(not FORKS, reason="stops a process as POSIX does")
def test_a_run_that_is_stopped_for_longer_than_its_backstop_loses_nothing(tmp_path: Path) -> None:
    """The clock on the wall goes on meanwhile; the call is made once more."""
    text = "import os, signal, time\n\ndef rotate_half(x):\n"
    text += f"    if not os.path.exists({str(tmp_path / 'stopped')!r}):\n"
    text += f"        open({str(tmp_path / 'stopped')!r}, 'w').close()\n"
    text += "        os.kill(os.getpid(), signal.SIGSTOP)\n        time.sleep(600)\n"
    text += "    a, b = x.chunk(2, -1)\n    import torch\n    return torch.cat((-b, a), -1)\n"
    (tmp_path / "ex02_rope.py").write_text(text)
    program = (
        "import sys, pytest, grader.observation.deadline as d; d.BACKSTOP = 0.4; "
        "sys.exit(pytest.main(sys.argv[1:]))"
    )
    test = "tests/test_02_rope.py"
    arguments = ["-q", f"--impl={tmp_path}", "-k=rotate_half_is", test]
    run = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert eventually((tmp_path / "stopped").exists)
    time.sleep(2.5)  # the limit of one call, 2.5 s, times 0.4, and more
    os.kill(run.pid, signal.SIGCONT)
    said, _ = run.communicate()
    assert run.returncode == 0, said
