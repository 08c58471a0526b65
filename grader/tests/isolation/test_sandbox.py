"""The sandbox from the inside: what an answer can do and what it cannot, in each profile."""

import sys
import textwrap

import pytest
import torch

from grader.course.syllabus import ROOT
from grader.isolation import landlock
from grader.isolation.client import Worker
from grader.isolation.launch import NotGraded, Zygote
from grader.isolation.machine import mechanisms
from grader.isolation.sandbox import Sandbox
from grader.observation.answer import Answer, Source
from grader.observation.record import Request

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="light and full need Linux")

MISSING = {m.needed_for for m in mechanisms() if not m.available}
PROFILES = [
    pytest.param(
        profile,
        marks=pytest.mark.skipif(bool({"light", profile} & MISSING), reason="not offered here"),
    )
    for profile in ("light", "full")
]


@pytest.fixture(scope="module")
def zygote():
    started = Zygote(ROOT)
    yield started
    started.close()


def run(zygote, profile, body, *, memory_mb=1024, seconds=60.0):
    """What is seen of an answer whose `act()` has this body."""
    text = "import ctypes, os, socket, sys, threading\nimport torch\n\n\ndef act():\n"
    text += textwrap.indent(textwrap.dedent(body), "    ")
    answer = Answer("exercises", Source("ex02_rope", "/nowhere/ex02_rope.py", text))
    config = Source("config", "config.py", "")
    worker = Worker(answer, config, root=ROOT, locked=Sandbox(profile, memory_mb), zygote=zygote)
    try:
        return worker.ask(Request(lambda module: {"out": module.act()}, {}), seconds)()
    finally:
        worker.stop()


@pytest.mark.parametrize("profile", PROFILES)
def test_ordinary_work_is_not_hindered(zygote, profile):
    """Threads, autograd, matrix products and sampling work in a locked worker."""
    seen = run(
        zygote,
        profile,
        """
        torch.set_num_threads(2)
        x = torch.randn(300, 300, requires_grad=True)
        (x @ x).sum().backward()
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()
        return torch.multinomial(torch.ones(5), 1).shape[0]
        """,
    )
    assert seen.interruption is None, seen.interruption
    assert seen.outputs == {"out": 1}


FORBIDDEN = {
    "read a file": f"return open({str(ROOT / 'solutions' / 'ex02_rope.py')!r}).read()",
    "write a file": "open('/tmp/left-behind', 'w')",
    "list a folder": "os.listdir('/')",
    "fork": "os.fork()",
    "run a program": "os.execv('/bin/true', ['/bin/true'])",
    "signal the judge": "os.kill(os.getppid(), 0)",
    "signal everybody": "os.kill(-1, 0)",
    "open a connection": "socket.socket()",
    "open a local socket": "socket.socket(socket.AF_UNIX)",
    "make shared memory": "os.memfd_create('x')",
    "become root": "os.setuid(0)",
    "take another's priority": "os.setpriority(os.PRIO_PROCESS, 0, -5)",
    "move to another processor": "os.sched_setaffinity(0, {0})",
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_reaches_outside_is_forbidden(zygote, profile, what):
    """Each of these ends in the verdict "tried something forbidden", or finds nothing there."""
    seen = run(zygote, profile, FORBIDDEN[what])
    assert seen.interruption is not None, f"an answer can {what}: {seen.outputs}"
    is_not_there = profile == "full" and seen.interruption.type_name == "FileNotFoundError"
    assert seen.interruption.kind == "forbidden" or is_not_there, seen.interruption


RAW_CALLS = {
    "ptrace": 101,
    "process_vm_readv": 310,
    "io_uring_setup": 425,
    "mount": 165,
    "bpf": 321,
}


@pytest.mark.skipif(
    sys.platform == "linux" and "x86_64" not in __import__("platform").machine(),
    reason="call numbers of x86-64",
)
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", RAW_CALLS)
def test_raw_system_calls_are_refused(zygote, profile, name):
    """A system call made through ctypes, past Python, fails with EPERM."""
    body = f"""
    libc = ctypes.CDLL(None, use_errno=True)
    return (libc.syscall({RAW_CALLS[name]}, 0, 0, 0, 0, 0), ctypes.get_errno())
    """
    assert run(zygote, profile, body).outputs == {"out": (-1, 1)}


@pytest.mark.parametrize("profile", PROFILES)
def test_limits_cannot_be_raised(zygote, profile):
    """Neither the limits nor the switch against new privileges can be undone."""
    body = """
    import resource
    try:
        resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    except (ValueError, OSError):
        return "refused"
    """
    assert run(zygote, profile, body).outputs == {"out": "refused"}


@pytest.mark.parametrize("profile", PROFILES)
def test_memory_is_bounded(zygote, profile):
    """A gigabyte more than allowed is refused, and the verdict says that memory ran out."""
    seen = run(zygote, profile, "return torch.ones(2**30).sum().item()", memory_mb=512)
    assert seen.interruption is not None and seen.interruption.kind == "out of memory", seen


@pytest.mark.parametrize("profile", PROFILES)
def test_environment_is_clean(zygote, profile, monkeypatch):
    """No variable of the judge's environment is visible in a worker."""
    seen = run(zygote, profile, "return sorted(os.environ)")
    assert set(seen.outputs["out"]) <= {
        *("PATH", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS", "LC_CTYPE"),
        *("TEMP", "TMP"),
        *("LD_LIBRARY_PATH", "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "TORCHINDUCTOR_CACHE_DIR"),
    }


@pytest.mark.parametrize("profile", PROFILES)
def test_worker_started_by_root_is_nobody(zygote, profile):
    """Root's rights are dropped, or mean nothing outside the worker's own namespace."""
    seen = run(zygote, profile, "return (os.getuid(), os.getpid())")
    uid, pid = seen.outputs["out"]
    assert uid != 0 or pid == 1


def test_a_profile_that_cannot_be_had_is_not_graded():
    """Where nothing can be locked in, nothing is run: our failure, said in words."""
    worker = Worker(
        Answer("exercises", Source("ex02_rope", "x.py", "")),
        Source("config", "config.py", ""),
        root=ROOT,
        locked=Sandbox("light"),
        zygote=None,
    )
    with pytest.raises(NotGraded, match="needs Linux"):
        worker.start()


def test_landlock_version_is_known():
    """The kernel's interface version is a number, 0 where there is none."""
    assert landlock.version() >= 0
    assert torch.get_num_threads() == 1
