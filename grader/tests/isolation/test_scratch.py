"""The folder of an answer whose exercise is about files: what it may do there, and how much of it.

Answers to all other exercises have none: `test_sandbox.py` and `test_redteam.py` are about them.
"""

import os
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

from grader.course.syllabus import ROOT
from grader.isolation import scratch
from grader.isolation.client import Worker
from grader.isolation.launch import Zygote
from grader.isolation.machine import is_offered
from grader.isolation.sandbox import Sandbox
from grader.observation.answer import Answer, Source
from grader.observation.record import Request

MEGABYTES = 4
PROFILES = [
    pytest.param(
        profile, marks=pytest.mark.skipif(not is_offered(profile), reason="not offered here")
    )
    for profile in ("light", "full")
]
pytestmark = pytest.mark.parametrize("profile", PROFILES)


@pytest.fixture(scope="module", autouse=True)
def apart():
    """A place for folders where no other tests or graders of this machine make theirs."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as environment:
        os.chmod(folder, 0o755)
        environment.setenv("TMPDIR", folder)
        environment.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(scope="module")
def zygote(apart):
    started = Zygote(ROOT)
    yield started
    started.close()


@pytest.fixture
def worker_for(zygote, profile):
    """Workers for answers whose `act()` has a given body."""
    workers = []

    def worker(body):
        text = "import os, pathlib, shutil, signal, socket, sys, tempfile\nimport torch\n\n\n"
        text += "def act():\n" + textwrap.indent(textwrap.dedent(body), "    ")
        answer = Answer("exercises", Source("ex02_rope", "/nowhere/ex02_rope.py", text))
        locked = Sandbox(profile, 1024, MEGABYTES)
        config = Source("config", "config.py", "")
        workers.append(Worker(answer, config, root=ROOT, locked=locked, zygote=zygote))
        return workers[-1]

    yield worker
    for one in workers:
        one.stop()


@pytest.fixture
def run(worker_for):
    """What is seen of an answer whose `act()` has a given body."""

    def seen(body, seconds=60.0):
        request = Request(lambda module: {"out": module.act()}, {})
        worker = worker_for(body)
        found = worker.ask(request, seconds)()
        worker.stop()
        return found

    return seen


def folders_now():
    return set(Path(tempfile.gettempdir()).glob("grader-*"))


def test_everyday_work_with_files(run):
    """What saving to a temporary file and replacing another by it takes."""
    seen = run(
        """
        done = []
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            os.makedirs(folder, exist_ok=True)
            folder.mkdir(parents=True, exist_ok=True)
            target = folder / "run.pt"
            torch.save({"x": torch.arange(3)}, target)
            torch.save({"x": torch.arange(4)}, str(target) + ".tmp")
            os.replace(str(target) + ".tmp", target)
            done.append(torch.load(target, weights_only=True)["x"].numel())
            done.append(torch.load(target, mmap=True)["x"].numel())
            with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
                torch.save({"x": torch.arange(5)}, file)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(file.name, 0o644)
            os.rename(file.name, target)
            done.append(torch.load(target)["x"].numel())
            descriptor, other = tempfile.mkstemp(dir=folder)
            with os.fdopen(descriptor, "wb") as file:
                file.write(b"x" * 10)
                file.truncate(6)
            done.append(os.path.getsize(other))
            pathlib.Path(other).replace(folder / "b")
            shutil.copyfile(folder / "b", folder / "c")
            with tempfile.TemporaryDirectory(dir=folder) as inner:
                (pathlib.Path(inner) / "d").write_text("d")
                shutil.move(os.path.join(inner, "d"), folder / "d")
            directory = os.open(folder, os.O_RDONLY)
            os.fsync(directory)
            os.close(directory)
            os.remove(folder / "b")
            (folder / "c").unlink()
            done.append(sorted(os.listdir(folder)))
        return [*done, os.listdir(tempfile.gettempdir())]
        """
    )
    assert seen.interruption is None, seen.interruption
    assert seen.outputs == {"out": [4, 4, 5, 6, ["d", "run.pt"], []]}


FORBIDDEN = {
    "write elsewhere": "open('/tmp/left-behind', 'w')",
    "write into the library": "open(os.__file__, 'a')",
    "remove a file of the library": "os.remove(os.__file__)",
    "read a file": f"open({str(ROOT / 'solutions' / 'ex02_rope.py')!r}).read()",
    "list a folder": "os.listdir('/home')",
    "list the folder above": "os.listdir(os.path.dirname(tempfile.gettempdir()) + '/tmp')",
    "make a link": "os.symlink('/etc/passwd', tempfile.gettempdir() + '/x')",
    "make a second name": "os.link(os.__file__, tempfile.gettempdir() + '/x')",
    "make a pipe": "os.mkfifo(tempfile.gettempdir() + '/x')",
    "run a program": "os.execv('/bin/true', ['/bin/true'])",
    "fork": "os.fork()",
    "open a socket": "socket.socket()",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_nothing_else_becomes_possible(run, what):
    """Each of these ends in the verdict "tried something forbidden", or finds nothing there."""
    seen = run(FORBIDDEN[what])
    assert seen.interruption is not None, f"an answer can {what}: {seen.outputs}"
    is_not_there = seen.interruption.type_name == "FileNotFoundError"
    assert seen.interruption.kind == "forbidden" or is_not_there, seen.interruption


def test_two_workers_do_not_see_each_other_s_files(worker_for, profile):
    """A folder is one worker's alone."""
    body = """
    path = pathlib.Path(tempfile.gettempdir())
    (path / "mine").write_text("secret")
    return [str(path), os.listdir(path)]
    """
    first = worker_for(body)
    seen = first.ask(Request(lambda module: {"out": module.act()}, {}), 60)()
    place, files = seen.outputs["out"]
    assert files == ["mine"]
    second = worker_for(f"return os.listdir({place!r})")
    seen = second.ask(Request(lambda module: {"out": module.act()}, {}), 60)()
    if profile == "light":
        assert seen.interruption.kind == "forbidden", seen
    else:
        assert seen.outputs == {"out": []}


def ended(seen, *errors):
    """Whether a worker was ended, or its answer got one of these errors."""
    interruption = seen.interruption
    assert interruption is not None, seen
    return interruption.type_name in {"SIGXFSZ", *errors}


def test_one_file_is_bounded(run):
    """A file can be no larger than all files together may be."""
    seen = run("(pathlib.Path(tempfile.gettempdir()) / 'x').write_bytes(bytes(5 << 20))")
    assert ended(seen, "OSError"), seen


def test_a_file_with_a_hole_is_bounded(run):
    """A file cannot look larger, either."""
    seen = run(
        "os.truncate(os.open(tempfile.gettempdir() + '/x', os.O_CREAT | os.O_RDWR), 5 << 20)"
    )
    assert ended(seen, "OSError"), seen


MANY_FILES = """
signal.signal(signal.SIGXFSZ, {handler})
for number in range(10**6):
    (pathlib.Path(tempfile.gettempdir()) / str(number)).write_bytes(bytes({size}))
"""


@pytest.mark.parametrize("size", [1 << 20, 0], ids=["full", "empty"])
@pytest.mark.parametrize("handler", ["signal.SIG_DFL", "signal.SIG_IGN"])
def test_all_files_are_bounded(run, size, handler):
    """An answer that writes many files, or makes many empty ones, is ended."""
    seen = run(MANY_FILES.format(size=size, handler=handler))
    assert ended(seen, "OSError", "") or seen.interruption.kind == "not graded", seen


NESTED = """
path = tempfile.gettempdir()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
while True:
    path += "/a"
    os.mkdir(path)
"""


def only_these_are_left(folders):
    """Whether no others are there; they go a moment after their worker."""
    until = time.monotonic() + 60
    while (left := folders_now()) - folders and time.monotonic() < until:
        time.sleep(0.02)
    return left <= folders


def test_nothing_is_left_behind(run, worker_for):
    """Folders are gone soon after their workers, whether those end well, are ended, or are deep."""
    before = folders_now()
    run("open(tempfile.gettempdir() + '/left-behind', 'w')")
    run(NESTED)
    run("os.mkdir(tempfile.gettempdir() + '/x'); os.abort()")
    stopped = worker_for("pass")
    stopped.start()
    stopped.stop()
    assert only_these_are_left(before)


def test_folders_are_gone_when_the_zygote_is_killed(profile):
    """A judge that is killed leaves nothing on the disk."""
    before = folders_now()
    zygote = Zygote(ROOT)
    answer = Answer("exercises", Source("ex02_rope", "/nowhere/ex02_rope.py", ""))
    config = Source("config", "config.py", "")
    locked = Sandbox(profile, 1024, MEGABYTES)
    worker = Worker(answer, config, root=ROOT, locked=locked, zygote=zygote)
    worker.start()
    assert len(folders_now() - before) == (profile == "light")
    os.kill(zygote.pid, 9)
    assert only_these_are_left(before)
    zygote.close()


def test_a_folder_too_deep_for_a_walk_is_removed(profile, tmp_path):
    """What cannot be walked through by its path counts as too much, and is removed all the same."""
    deep = tmp_path / "deep"
    deep.mkdir()
    here = os.open(deep, os.O_RDONLY)
    for _ in range(2500):
        os.mkdir("a", dir_fd=here)
        inner = os.open("a", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    assert scratch._holds_more(deep, 10**9)
    child = os.fork()
    if child == 0:
        scratch.remove(deep)
        os._exit(0)
    os.waitpid(child, 0)
    assert not deep.exists()
