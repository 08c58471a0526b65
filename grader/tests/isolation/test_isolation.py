"""An answer in a process of its own: it is seen as in this one, ends in time and leaves nothing."""

import os
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from grader.course.answers import config_source
from grader.course.course import Course
from grader.course.syllabus import ROOT
from grader.course.syllabus_file import load
from grader.isolation.client import Worker
from grader.isolation.launch import FORKS, NotGraded, Zygote
from grader.isolation.sandbox import Sandbox
from grader.judging.options import RunOptions
from grader.judging.run import run_tests
from grader.observation.answer import Answer, Source, load_answer
from grader.observation.observe import observe
from grader.observation.record import Observation, Request
from grader.tests.processes import eventually, is_running

FILE = "/nowhere/ex99_answer.py"
PLENTY = 120.0
SHORT = 0.3

DTYPES = (
    *(torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.complex64),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)

Start = Callable[..., Worker]

pytestmark = pytest.mark.skipif(not FORKS, reason="what a warm process forks needs Linux")


@pytest.fixture
def start(zygote: Any) -> Iterator[Start]:
    """A worker for an answer, in the weakest profile: what holds here holds in the others."""
    started: list[Worker] = []

    def worker(text: str, **options: Any) -> Worker:
        answer = Answer("exercises", Source("ex99_answer", FILE, textwrap.dedent(text)))
        given = {"root": ROOT, "zygote": zygote, "locked": Sandbox("process"), **options}
        started.append(Worker(answer, config_source(Course.load(ROOT)), **given))
        return started[-1]

    yield worker
    for each in started:
        each.stop()


def call(name: str = "f", *arguments: Any, **options: Any) -> Request:
    def scenario(module: Any) -> Any:
        return getattr(module, name)(*arguments)

    return Request(scenario, {}, **options)


def seen(worker: Worker, request: Request | None = None, seconds: float = PLENTY) -> Observation:
    return worker.ask(request or call(), seconds)()


def result(worker: Worker, name: str = "f", *arguments: Any) -> Any:
    found = seen(worker, call(name, *arguments))
    assert found.interruption is None, found.interruption
    return found.outputs["result"]


def kind(observation: Observation) -> str:
    assert observation.interruption is not None
    return observation.interruption.kind


def ends(pid: int) -> bool:
    """Whether a process that was killed ends: nobody waits for its memory."""
    return eventually(lambda: not is_running(pid))


class TestSeenAlike:
    """What is observed there is what would be observed here."""

    TEXT = """
    import torch

    def product(x, y):
        return x @ y

    def turned(x):
        return torch.view_as_complex(x.reshape(-1, 2)).conj()

    def broken(x):
        first, second = x.chunk(2)
        return first.nothing

    def careless(x):
        torch.set_default_dtype(torch.float64)
        x.zero_()
        return [len(x), None]
    """

    @pytest.mark.parametrize("name", ["product", "turned", "broken", "careless"])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
    def test_outputs_gradients_interruptions_and_traces(
        self, name: str, dtype: torch.dtype, start: Start
    ) -> None:
        if name == "turned" and dtype is torch.bfloat16:
            dtype = torch.float64  # there are no complex numbers of its size
        x = torch.arange(16.0).reshape(4, 4).to(dtype)

        def scenario(module: Any, x: Tensor) -> Any:
            return module.product(x, x.T) if name == "product" else getattr(module, name)(x)

        request = Request(
            scenario, {"x": x}, cotangents={"result": torch.ones(4, 4)}, differentiate=("x",)
        )
        answer = Answer("here", Source("ex99_answer", FILE, textwrap.dedent(self.TEXT)))
        here, _ = observe(load_answer(answer), request, frozenset({FILE}))
        there = seen(start(self.TEXT), request)
        assert there.interruption == here.interruption
        assert (there.modified, there.disturbed) == (here.modified, here.disturbed)
        assert there.calls == here.calls
        for mine, theirs in ((here.outputs, there.outputs), (here.gradients, there.gradients)):
            assert mine.keys() == theirs.keys()
            for key, value in mine.items():
                if isinstance(value, Tensor):
                    assert value.dtype == theirs[key].dtype  # type: ignore[union-attr]
                    assert torch.equal(value, theirs[key])  # type: ignore[arg-type]
                else:
                    assert value == theirs[key]

    @pytest.mark.parametrize(
        "value",
        [
            *(torch.arange(6).to(dtype).reshape(2, 3) for dtype in DTYPES),
            torch.tensor(2.5),
            torch.empty(0, 3),
            torch.arange(6.0).reshape(2, 3).T,
            torch.arange(4.0).expand(3, 4),
            torch.tensor([1j, 2]).conj(),
            torch.tensor([1j, 2]).conj().imag,
            torch.ones(2, requires_grad=True),
            torch.ones(2, requires_grad=True) * 2,
            torch.nn.Parameter(torch.ones(2)),
        ],
        ids=lambda value: f"{value.dtype}{list(value.shape)}",
    )
    def test_every_tensor_arrives_as_it_is(self, value: Tensor, start: Start) -> None:
        def facts(value: Tensor) -> tuple[Any, ...]:
            odd = value.is_conj(), value.is_neg()
            return type(value).__name__, value.stride(), value.requires_grad, *odd

        def scenario(module: Any) -> Any:
            same = module.f(value)
            return {"same": same.detach(), "facts": facts(same)}

        found = seen(start("def f(x): return x"), Request(scenario, {}))
        assert found.outputs["facts"] == facts(value)
        arrived = found.outputs["same"]
        assert isinstance(arrived, Tensor)
        assert arrived.dtype == value.dtype
        assert torch.equal(arrived, value)

    def test_what_it_prints_comes_along_from_the_import_on(self, start: Start) -> None:
        worker = start("print('imported')\ndef f(): print('called')")
        assert seen(worker).printed == "imported\ncalled\n"
        assert seen(worker).printed == "called\n"

    def test_the_thread_count_is_the_judge_s(self, start: Start) -> None:
        text = "import torch\ndef f(): return torch.get_num_threads()"
        assert result(start(text, threads=2)) == 2

    def test_what_a_scenario_calls_is_not_the_answer_s(self, start: Start) -> None:
        """Not even in a callback that it hands to the answer."""
        worker = start("def f(model): return model()")
        request = call("f", lambda: torch.ones(3).softmax(-1), bans=("torch.softmax",))
        found = seen(worker, request)
        assert found.interruption is None and found.banned == ()

    def test_one_process_serves_many_requests(self, start: Start) -> None:
        worker = start("calls = []\ndef f(): calls.append(1); return len(calls)")
        assert [result(worker) for _ in range(3)] == [1, 2, 3]


class TestDeadline:
    def test_a_loop_is_ended_and_its_line_told(self, start: Start) -> None:
        worker = start("def f():\n    while True:\n        pass")
        observation = seen(worker, seconds=SHORT)
        assert kind(observation) == "timed out"
        assert observation.interruption is not None
        assert observation.interruption.frames[-1].function == "f"

    @pytest.mark.parametrize(
        "text",
        [
            """
            import signal
            def f():
                signal.signal(signal.SIGPROF, signal.SIG_IGN)
                while True: pass
            """,
            """
            import signal
            def f():
                signal.setitimer(signal.ITIMER_PROF, 0)
                while True: pass
            """,
            """
            def f():
                while True:
                    try:
                        while True: pass
                    except BaseException: pass
            """,
            "def f(): sum(range(10**12))",
            "import signal\nsignal.signal(signal.SIGPROF, signal.SIG_IGN)\nwhile True: pass",
        ],
        ids=["ignored", "stopped", "swallowed", "in C", "while importing"],
    )
    def test_one_that_will_not_listen_is_killed(self, text: str, start: Start) -> None:
        assert kind(seen(start(text), seconds=SHORT)) == "timed out"

    def test_the_next_request_has_a_new_process(self, start: Start) -> None:
        text = """
        import signal
        calls = []
        def f():
            signal.signal(signal.SIGPROF, signal.SIG_IGN)
            while True: pass
        def g():
            calls.append(1)
            return len(calls)
        """
        worker = start(text)
        assert result(worker, "g") == 1
        assert kind(seen(worker, seconds=SHORT)) == "timed out"
        assert result(worker, "g") == 1

    def test_the_clock_starts_with_each_request(self, start: Start) -> None:
        worker = start(
            """
            import time
            def f():
                end = time.process_time() + 0.4
                while time.process_time() < end: pass
            """
        )
        assert [seen(worker, seconds=0.7).interruption for _ in range(3)] == [None] * 3

    def test_an_answer_in_time_counts_though_the_judge_comes_late(self, start: Start) -> None:
        worker = start("import torch\ndef f(): return torch.ones(1 << 20)")
        result(worker, "f")
        pending = worker.ask(call("f"), SHORT)
        time.sleep(SHORT + 0.5 + SHORT)  # past the judge's own deadline too
        late = pending()
        assert late.interruption is None
        assert late.outputs["result"].sum() == 1 << 20  # type: ignore[union-attr]


class TestDeath:
    @pytest.mark.parametrize(
        ("body", "told"),
        [
            ("os._exit(0)", ("exited", "", "0")),
            ("os._exit(7)", ("exited", "", "7")),
            ("os.abort()", ("crashed", "SIGABRT", "")),
            ("sys.exit(3)", ("exited", "SystemExit", "3")),
            ("raise KeyboardInterrupt", ("exited", "", "1")),
        ],
    )
    def test_it_is_told_and_the_next_request_has_a_new_process(
        self, body: str, told: tuple[str, str, str], start: Start
    ) -> None:
        worker = start(f"import os, sys\ndef f(): {body}\ndef g(): return 'alive'")
        interruption = seen(worker).interruption
        assert interruption is not None
        assert (interruption.kind, interruption.type_name, interruption.message) == told
        assert result(worker, "g") == "alive"

    def test_an_answer_that_dies_on_import_does_so_every_time(self, start: Start) -> None:
        worker = start("import os\nos._exit(3)")
        assert [kind(seen(worker)) for _ in range(2)] == ["exited", "exited"]

    def test_without_a_process_that_forks_nothing_is_graded(self) -> None:
        zygote = Zygote(ROOT)
        zygote.close()
        worker = Worker(
            Answer("exercises", Source("ex99_answer", FILE, "")),
            config_source(Course.load(ROOT)),
            root=ROOT,
            zygote=zygote,
        )
        with pytest.raises(NotGraded):
            seen(worker)


class TestNothingIsLeft:
    def test_a_judge_that_is_killed_leaves_no_worker(self, start: Start, zygote: Zygote) -> None:
        """Whoever holds a branch has only to end: its socket is closed then."""
        branch = zygote.branch()
        worker = start(
            "import os, time\ndef f(): return os.getpid()\ndef g(): time.sleep(6000)", zygote=branch
        )
        pid = result(worker)
        worker.ask(call("g"), PLENTY)
        branch.close()
        assert ends(pid)
        assert result(start("def f(): return 'alive'")) == "alive"

    def test_stopping_ends_the_process(self, start: Start) -> None:
        worker = start("import os\ndef f(): return os.getpid()")
        pid = result(worker)
        assert is_running(pid)
        worker.stop()
        assert ends(pid)
        worker.stop()  # twice is no harm

    @pytest.mark.parametrize("how", ["stopped", "ended by itself", "out of time"])
    def test_nor_does_what_it_has_started_live_on(self, how: str, start: Start) -> None:
        worker = start(
            """
            import os, subprocess, time
            def f():
                return subprocess.Popen(["sleep", "6000"]).pid
            def end(): os._exit(0)
            def wait(): time.sleep(6000)
            """
        )
        pid = result(worker)
        assert is_running(pid)
        if how == "stopped":
            worker.stop()
        else:
            seen(worker, call("end" if how == "ended by itself" else "wait"), seconds=0.3)
            worker.stop()
        assert ends(pid)

    def test_descriptors_are_given_back(self, start: Start) -> None:
        def descriptors() -> int:
            return len(os.listdir("/proc/self/fd"))

        start("def f(): pass").start()
        before = descriptors()
        for _ in range(5):
            worker = start("def f(): return 1")
            result(worker)
            worker.stop()
        # The threads that read close their ends themselves.
        assert eventually(lambda: descriptors() <= before)


class TestNothingToSteal:
    @pytest.mark.parametrize(
        "module",
        ["minimind_ref.rope", "solutions.ex02_rope", "tests.support", "tests.test_02_rope"],
    )
    def test_what_holds_answers_cannot_be_imported(self, module: str, start: Start) -> None:
        worker = start(f"import importlib\ndef f(): importlib.import_module({module!r})")
        interruption = seen(worker).interruption
        assert interruption is not None
        assert interruption.type_name == "ModuleNotFoundError"

    def test_neither_is_it_there_already(self, start: Start) -> None:
        worker = start("import sys\ndef f(): return sorted(sys.modules)")
        names = result(worker)
        held = [n for n in names if n.partition(".")[0] in ("minimind_ref", "solutions", "tests")]
        assert held == ["minimind_ref", "minimind_ref.config"]

    def test_the_config_can_be_imported(self, start: Start) -> None:
        worker = start(
            "from minimind_ref.config import MiniMindConfig\n"
            "def f(): return MiniMindConfig.tiny().hidden_size"
        )
        assert result(worker) > 0

    def test_the_course_is_not_on_the_path(self, start: Start) -> None:
        worker = start("import os, sys\ndef f(): return [os.path.realpath(p) for p in sys.path]")
        assert str(ROOT) not in result(worker)

    def test_the_judge_s_environment_stays_with_the_judge(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also of a process that was started, not forked, as where forking is not safe."""
        monkeypatch.setenv("COURSE_SECRET", "42")
        text = "import os\ndef f(): return sorted(os.environ)"
        forked, spawned = start(text), start(text, zygote=None)
        fresh = Zygote(ROOT)
        try:
            names = [result(forked), result(spawned), result(start(text, zygote=fresh))]
        finally:
            fresh.close()
        for found in names:
            assert "COURSE_SECRET" not in found
            assert "HOME" not in found
            assert "PATH" in found

    def test_standard_streams_lead_nowhere(self, start: Start) -> None:
        worker = start(
            "import os\ndef f(): return [os.readlink(f'/proc/self/fd/{n}') for n in (0, 1, 2)]"
        )
        assert result(worker) == ["/dev/null"] * 3


def test_a_run_that_is_given_a_zygote_starts_no_other(
    zygote: Zygote, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path] = []
    monkeypatch.setattr("grader.isolation.launch.start_zygote", started.append)
    exercise = load(ROOT).find("ex02")
    options = RunOptions(impl="solutions", isolate=True, profile="process", zygote=zygote)
    (outcome,) = run_tests([exercise], options)
    assert outcome.passed and started == []
