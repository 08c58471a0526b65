"""What an answer would like to do to a machine, tried from a process that locks itself in.

A probe gets `lock`, which locks in the process that calls it, and returns whether it got what it
wanted; what the kernel refuses may also raise OSError. It needs neither torch nor pytest, so that
a light process can fork one for each.
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import mmap
import os
import platform
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grader.isolation import sandbox

_NOBODY = 65534
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_NEW_USER_NAMESPACE = 0x10000000
_BACKSTOP_MS = 600_000
_libc = ctypes.CDLL(None, use_errno=True)

Lock = Callable[[], None]
Probe = Callable[[Lock], bool]
PROBES: dict[str, Probe] = {}


class Missing(Exception):
    """This machine lacks what the probe needs, whether locked in or not."""


@dataclass(frozen=True)
class Order:
    """Which probe to run, locked into what, without which protections, and by whom."""

    probe: str
    profile: str
    without: tuple[str, ...]
    by_root: bool = False


class Prober:
    """A light process that runs one probe after the other, each in a fork of its own."""

    def __init__(self, root: Path) -> None:
        program = (
            "import sys; sys.path.insert(0, sys.argv[1]); "
            "from grader.tests.probes import serve; serve()"
        )
        self._popen = subprocess.Popen(
            [sys.executable, "-I", "-c", program, str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, order: Order) -> str:
        """ "reached", or what came in between."""
        assert self._popen.stdin is not None and self._popen.stdout is not None
        self._popen.stdin.write(json.dumps(vars(order)) + "\n")
        self._popen.stdin.flush()
        said: str = json.loads(self._popen.stdout.readline())
        return said

    def close(self) -> None:
        self._popen.kill()
        self._popen.communicate()


def serve() -> None:
    """Run probes as they are ordered on standard input."""
    sandbox.prepare()
    for line in sys.stdin:
        print(json.dumps(_outcome(Order(**json.loads(line)))), flush=True)


def _outcome(order: Order) -> str:
    reading, writing = os.pipe()
    prober = os.fork()
    if prober == 0:
        os.setsid()
        os.close(reading)
        os.write(writing, _tried(order).encode()[: select.PIPE_BUF])
        os._exit(0)
    os.close(writing)
    try:
        if not _is_readable(reading):
            return "it hung"
        return os.read(reading, select.PIPE_BUF).decode() or "it died"
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(prober, signal.SIGKILL)
        os.waitpid(prober, 0)


def _tried(order: Order) -> str:
    without = frozenset(order.without)

    def lock() -> None:
        if order.profile == "full":
            sandbox.separate(without)
            if inner := os.fork():
                os.waitpid(inner, 0)
                os._exit(0)
        sandbox.lock_in(sandbox.Sandbox(order.profile, memory_mb=1024), without)

    try:
        sandbox.prepare(without)  # as the zygote does, before it is anybody else
        # In full, root shows the worker what a plain user cannot see, such as a Python of its own.
        if os.geteuid() == 0 and not order.by_root and order.profile != "full":
            _become_a_plain_user()
        return "reached" if PROBES[order.probe](lock) else "stopped"
    except Missing as missing:
        return f"missing: {missing}"
    except sandbox.CannotLock as error:
        return f"cannot lock: {error}"
    except OSError as error:
        return f"stopped: {error}"
    except BaseException as error:
        return f"broken: {error!r}"


def _become_a_plain_user() -> None:
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    _libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # or it could not even look at itself
    os.chdir(tempfile.gettempdir())


def probe(tried: Probe) -> Probe:
    PROBES[tried.__name__] = tried
    return tried


def call(name: str, *arguments: Any) -> int:
    """Make a system call by its name; raises OSError where it fails."""
    number = call_number(name)
    if number is None:
        raise Missing(f"{name} does not exist on {platform.machine()}")
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        error = ctypes.get_errno()
        if error == errno.ENOSYS and name != "clone3":
            raise Missing(f"this kernel has no {name}")
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return result


def call_number(name: str) -> int | None:
    """The number of a system call on this machine."""
    import pyseccomp

    number = int(pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name))
    return number if number >= 0 else None


def _is_readable(descriptor: int, milliseconds: int = _BACKSTOP_MS) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(milliseconds))


def _bystander() -> int:
    """Another process of the same user, such as the judge or another answer's worker."""
    pid = os.fork()
    if pid == 0:
        if os.geteuid() == 0:
            _become_a_plain_user()
        while True:
            signal.pause()
    return pid


class _Child:
    """A process that locks itself in, says so, and then does what it is asked to."""

    def __init__(self, lock: Lock, act: Callable[[], object] = lambda: None) -> None:
        self._ours, theirs = socket.socketpair()
        self._process = os.fork()
        if self._process == 0:
            self._ours.close()
            with contextlib.suppress(BaseException):
                _answer(theirs, lock, act)
            os._exit(0)
        theirs.close()
        said = self._ours.recv(1000)
        if said != b"locked in":
            raise sandbox.CannotLock(said.decode())

    @property
    def pids(self) -> list[int]:
        """This process and those below it; the last one is what is locked in."""
        return _line_of(self._process)

    def begin(self) -> None:
        """Let it do what it is there for."""
        self._ours.send(b"!")

    def act(self) -> bool:
        """Let it do what it is there for: whether it did."""
        try:
            self.begin()
            said = self._ours.recv(1000)
        except OSError:
            return False
        if said.startswith(b"missing"):
            raise Missing(said.decode())
        return said == b"done"

    def status(self) -> int:
        """Let it go on, and wait for its end."""
        self.begin()
        return os.waitpid(self._process, 0)[1]


def _answer(asker: socket.socket, lock: Lock, act: Callable[[], object]) -> None:
    try:
        lock()
        asker.send(b"locked in")
        if asker.recv(1):
            act()
            asker.send(b"done")
    except Missing as missing:
        asker.send(f"missing: {missing}".encode())
    except BaseException as error:
        asker.send(f"{error!r}".encode())


def _line_of(pid: int) -> list[int]:
    """A process, its child, that one's child and so on."""
    line = [pid]
    while children := Path(f"/proc/{line[-1]}/task/{line[-1]}/children").read_text().split():
        line.append(int(children[0]))
    return line


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def _ends(pid: int) -> bool:
    """Whether a process that would sleep for ever ends instead; one of both happens."""
    while True:
        try:
            told = _status(pid)
        except OSError:
            return True
        pending = int(told["SigPnd"], 16) | int(told["ShdPnd"], 16)
        if told["State"][0] in "ZX":
            return True
        if told["State"][0] == "S" and not pending:
            return False
        os.sched_yield()


# Limits


@probe
def takes_memory(lock: Lock) -> bool:
    lock()
    try:
        mmap.mmap(-1, 2 << 30)
    except OSError:
        return False
    return True


@probe
def starts_many_threads(lock: Lock) -> bool:
    many = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2]) + 600
    threading.stack_size(1 << 16)
    end = threading.Event()
    lock()
    try:
        for _ in range(many):
            threading.Thread(target=end.wait, daemon=True).start()
    except RuntimeError:
        return False
    return True


@probe
def opens_many_files(lock: Lock) -> bool:
    reading, _ = os.pipe()
    lock()
    return max(os.dup(reading) for _ in range(100)) >= 100


@probe
def writes_to_an_open_file(lock: Lock) -> bool:
    with tempfile.TemporaryFile(buffering=0) as file:
        lock()
        return file.write(b"x") == 1


@probe
def leaves_a_core(lock: Lock) -> bool:
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    if most == 0 or Path("/proc/sys/kernel/core_pattern").read_text()[0] in "|/":
        raise Missing("cores are not written to the current folder here")
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        return os.WCOREDUMP(_Child(lock, os.abort).status())


@probe
def locks_memory(lock: Lock) -> bool:
    lock()
    locked = 0x2000  # MAP_LOCKED
    mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | locked)
    return True


@probe
def opens_a_message_queue(lock: Lock) -> bool:
    name = f"redteam-{os.getpid()}".encode()

    def opened() -> None:
        call("mq_open", name, os.O_CREAT | os.O_RDWR, 0o600, None)

    done = _Child(lock, opened).act()
    with contextlib.suppress(OSError):
        call("mq_unlink", name)
    return done


# Who it is, and what others may do to it


@probe
def is_root(lock: Lock) -> bool:
    os.setgroups([0, 4])
    child = _Child(lock)
    told = _status(child.pids[-1])
    looks_into_folders = 1 << 2  # which it may keep, where Python lies in a folder of root's
    rights = int(told["CapPrm"], 16) | int(told["CapEff"], 16) | int(told["CapInh"], 16)
    ids = {*told["Uid"].split(), *told["Gid"].split(), *told["Groups"].split()}
    return ids != {str(_NOBODY)} or bool(rights & ~looks_into_folders)


@probe
def may_win_privileges(lock: Lock) -> bool:
    child = _Child(lock)  # it lives as long as this does
    return "NoNewPrivs:\t0" in Path(f"/proc/{child.pids[-1]}/status").read_text()


@probe
def outlives_its_parent(lock: Lock) -> bool:
    ours, theirs = socket.socketpair()
    parent = os.fork()
    if parent == 0:
        _Child(lock, signal.pause).begin()
        theirs.send(b"locked in")
        signal.pause()
    theirs.close()
    if not ours.recv(20):
        raise sandbox.CannotLock("its parent could not lock it in")
    below = _line_of(parent)[1:]
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    return not all(_ends(pid) for pid in below)  # each of the one before


@probe
def can_be_read_by_others(lock: Lock) -> bool:
    child = _Child(lock)
    with open(f"/proc/{child.pids[-1]}/mem", "rb"):
        return True


@probe
def survives_the_judge_when_memory_ends(lock: Lock) -> bool:
    child = _Child(lock)
    return Path(f"/proc/{child.pids[-1]}/oom_score_adj").read_text().strip() != "1000"


# Files


@dataclass(frozen=True)
class _Folder:
    """A folder of the answer's own user with a file and a folder in it."""

    path: Path
    file: Path
    inner: Path


@contextlib.contextmanager
def _folder() -> Any:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        found = _Folder(path, path / "file", path / "inner")
        found.file.write_text("secret")
        path.chmod(0o755)
        found.inner.mkdir()
        yield found


def _on_files(name: str, act: Callable[[_Folder], object]) -> None:
    """A probe that does something to a folder, whose rest is put away by an unlocked process."""

    def tried(lock: Lock) -> bool:
        with _folder() as folder:
            return _Child(lock, lambda: act(folder)).act()

    tried.__name__ = name
    probe(tried)


_on_files("reads_a_file", lambda at: os.open(at.file, os.O_RDONLY))
_on_files("lists_a_folder", lambda at: os.listdir(at.path))
_on_files("writes_to_a_file", lambda at: os.open(at.file, os.O_WRONLY))
_on_files("cuts_a_file", lambda at: os.truncate(at.file, 1))
_on_files("makes_a_file", lambda at: os.open(at.path / "new", os.O_CREAT | os.O_WRONLY))
_on_files("makes_a_folder", lambda at: os.mkdir(at.path / "new"))
_on_files("makes_a_link", lambda at: os.symlink("file", at.path / "new"))
_on_files("makes_a_pipe", lambda at: os.mkfifo(at.path / "new"))
_on_files("removes_a_file", lambda at: os.unlink(at.file))
_on_files("removes_a_folder", lambda at: os.rmdir(at.inner))
_on_files("changes_who_may_read_a_file", lambda at: os.chmod(at.file, 0o777))


def _listen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


_on_files("makes_a_socket", lambda at: _listen(at.path / "new"))


@probe
def sees_the_machine_s_files(lock: Lock) -> bool:
    with _folder() as folder:
        for path in (str(folder.file), f"/..{folder.file}"):
            if _Child(lock, lambda path=path: os.stat(path)).act():
                return True
    return False


@probe
def runs_a_program(lock: Lock) -> bool:
    refused = 55
    program = shutil.which("true") or "/bin/true"

    def run() -> None:
        try:
            os.execv(program, [program])
        except OSError:
            os._exit(refused)

    return os.waitstatus_to_exitcode(_Child(lock, run).status()) != refused


# The network


@probe
def connects_by_tcp(lock: Lock) -> bool:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = server.getsockname()
        lock()
        with socket.socket() as client:
            client.connect(address)
    return True


@probe
def listens_by_tcp(lock: Lock) -> bool:
    lock()
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
    return True


@probe
def sends_a_datagram(lock: Lock) -> bool:
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        address = server.getsockname()
        lock()
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.sendto(b"secret", address)
        return server.recv(10) == b"secret"


@probe
def connects_to_a_local_socket(lock: Lock) -> bool:
    with _folder() as folder, socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder.path / "socket"))
        server.listen()

        def connect() -> None:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(folder.path / "socket"))

        return _Child(lock, connect).act()


@probe
def connects_to_an_abstract_socket(lock: Lock) -> bool:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("")  # the kernel gives it an abstract name
        server.listen()
        address = server.getsockname()
        lock()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(address)
    return True


@probe
def asks_for_another_kind_of_pair(lock: Lock) -> bool:
    lock()
    try:
        socket.socketpair(socket.AF_INET)
    except OSError as error:
        return error.errno != errno.EPERM  # the kernel has none of this kind; that is its answer
    return True


# Other processes


@probe
def forks(lock: Lock) -> bool:
    lock()
    if os.fork() == 0:
        os._exit(0)
    return True


@probe
def forks_by_the_newer_call(lock: Lock) -> bool:
    flags_to_tls = struct.pack("<11Q", 0, 0, 0, 0, signal.SIGCHLD, *[0] * 6)
    lock()
    if call("clone3", flags_to_tls, ctypes.c_size_t(len(flags_to_tls))) == 0:
        os._exit(0)
    return True


@probe
def leaves_a_daemon(lock: Lock) -> bool:
    ours, theirs = socket.socketpair()

    def leave() -> None:
        if os.fork() == 0:
            theirs.send(b"alive")
            theirs.recv(1)
            theirs.send(b"still alive")
            os._exit(0)

    child = _Child(lock, leave)
    theirs.close()
    child.status()
    try:
        if ours.recv(20) != b"alive":
            return False
        ours.send(b"?")
        return ours.recv(20) == b"still alive"
    except OSError:
        return False


@probe
def signals_another(lock: Lock) -> bool:
    other = _bystander()
    lock()
    os.kill(other, 0)
    return True


@probe
def signals_another_s_thread(lock: Lock) -> bool:
    other = _bystander()
    lock()
    return call("tgkill", other, other, 0) == 0


@probe
def stops_itself(lock: Lock) -> bool:
    return _is_stopped(_Child(lock, lambda: os.kill(os.getpid(), signal.SIGSTOP)))


@probe
def stops_its_thread(lock: Lock) -> bool:
    def stop() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)

    return _is_stopped(_Child(lock, stop))


def _is_stopped(child: _Child) -> bool:
    child.begin()
    return os.WIFSTOPPED(os.waitpid(child.pids[0], os.WUNTRACED)[1])


@probe
def limits_another(lock: Lock) -> bool:
    other = _bystander()
    lock()
    resource.prlimit(other, resource.RLIMIT_NOFILE, (5, 5))
    return True


@probe
def has_the_kernel_signal_another(lock: Lock) -> bool:
    other = _bystander()
    reading, _ = os.pipe()
    lock()
    fcntl.fcntl(reading, fcntl.F_SETOWN, other)
    return True


@probe
def reads_another_s_memory(lock: Lock) -> bool:
    return _read_memory(_bystander(), lock)


@probe
def reads_memory_by_a_call(lock: Lock) -> bool:
    return _read_memory(os.getpid(), lock)


def _read_memory(pid: int, lock: Lock) -> bool:
    secret, into = ctypes.create_string_buffer(b"secret"), ctypes.create_string_buffer(6)
    here = struct.pack("@PN", ctypes.addressof(into), 6)
    there = struct.pack("@PN", ctypes.addressof(secret), 6)
    if Path("/proc/sys/kernel/yama/ptrace_scope").exists() and pid != os.getpid():
        raise Missing("Yama lets nobody read a process beside itself")
    lock()
    one = ctypes.c_ulong(1)
    return call("process_vm_readv", pid, here, one, there, one, ctypes.c_ulong(0)) == 6


@probe
def is_traced(lock: Lock) -> bool:
    lock()
    return call("ptrace", 0, 0, 0, 0) == 0


@probe
def leaves_its_group(lock: Lock) -> bool:
    return _Child(lock, os.setsid).act()


@probe
def outlives_its_parent_after_all(lock: Lock) -> bool:
    lock()
    return call("prctl", _PR_SET_PDEATHSIG, 0, 0, 0, 0) == 0


# What else the kernel offers


@probe
def controls_a_device(lock: Lock) -> bool:
    reading, _ = os.pipe()
    lock()
    return len(fcntl.ioctl(reading, termios.FIONREAD, b"1234")) == 4


@probe
def makes_a_file_in_memory(lock: Lock) -> bool:
    lock()
    return os.memfd_create("x") > 0


@probe
def finds_shared_memory(lock: Lock) -> bool:
    key = os.getpid()
    made = call("shmget", key, ctypes.c_size_t(4096), 0o1666)
    try:
        return _Child(lock, lambda: call("shmget", key, ctypes.c_size_t(0), 0)).act()
    finally:
        call("shmctl", made, 0, None)


@probe
def enters_a_namespace(lock: Lock) -> bool:
    if (pid := os.fork()) == 0:
        os._exit(bool(_libc.unshare(_NEW_USER_NAMESPACE)))
    if os.waitpid(pid, 0)[1]:
        raise Missing("namespaces are refused here")
    lock()
    return call("unshare", _NEW_USER_NAMESPACE) == 0


@probe
def opens_io_uring(lock: Lock) -> bool:
    switch = Path("/proc/sys/kernel/io_uring_disabled")
    if switch.exists() and switch.read_text().strip() != "0":
        raise Missing("io_uring is switched off")
    parameters = ctypes.create_string_buffer(120)
    lock()
    return call("io_uring_setup", 1, parameters) > 0


@probe
def looks_for_keys(lock: Lock) -> bool:
    lock()
    return call("keyctl", 0, -3, 1) != 0


@probe
def takes_another_priority(lock: Lock) -> bool:
    lock()
    os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0))
    return True


@probe
def chooses_processors(lock: Lock) -> bool:
    processors = os.sched_getaffinity(0)
    lock()
    os.sched_setaffinity(0, processors)
    return True


@probe
def changes_how_programs_run(lock: Lock) -> bool:
    lock()
    return call("personality", ctypes.c_ulong(0xFFFFFFFF)) >= 0


OTHERS = (
    *("accept", "accept4", "bind", "connect", "listen", "socket", "socketpair", "setsockopt"),
    *("fork", "vfork", "execve", "execveat", "setns", "unshare", "setpgid", "setsid", "prctl"),
    *("tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_open", "pidfd_send_signal"),
    *("pidfd_getfd", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "ptrace"),
    *("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups"),
    *("setfsuid", "setfsgid", "capset", "setrlimit", "setpriority", "ioprio_set", "personality"),
    *("sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler"),
    *("chdir", "fchdir", "chroot", "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown"),
    *("fchownat", "utime", "utimes", "utimensat", "setxattr", "lsetxattr", "fsetxattr"),
    *("removexattr", "truncate", "ftruncate", "fallocate", "mkdir", "mkdirat", "mknod", "mknodat"),
    *("rmdir", "unlink", "unlinkat", "rename", "renameat", "renameat2", "link", "linkat"),
    *("symlink", "symlinkat", "creat", "openat2", "open_by_handle_at", "name_to_handle_at"),
    *("mount", "umount2", "pivot_root", "move_mount", "open_tree", "fsopen", "fsmount", "fspick"),
    *("mount_setattr", "swapon", "swapoff", "quotactl", "acct", "sync", "syncfs", "flock"),
    *("inotify_init", "inotify_init1", "fanotify_init", "memfd_create", "memfd_secret"),
    *("shmget", "shmat", "shmctl", "semget", "semop", "semctl", "msgget", "msgsnd", "msgrcv"),
    *("msgctl", "mq_open", "mq_unlink", "mlock", "mlock2", "mlockall", "remap_file_pages"),
    *("mbind", "set_mempolicy", "migrate_pages", "move_pages", "userfaultfd", "perf_event_open"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "io_setup", "io_submit"),
    *("add_key", "request_key", "keyctl", "bpf", "seccomp", "landlock_create_ruleset"),
    *("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot"),
    *("settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "sethostname"),
    *("setdomainname", "syslog", "vhangup", "iopl", "ioperm", "modify_ldt", "lookup_dcookie"),
)
"""Calls that no answer needs: to the network, to others, to files that change, to the machine."""


@probe
def makes_another_call(lock: Lock) -> bool:
    numbers = {name: call_number(name) for name in OTHERS}
    lock()
    reached = []
    for name, number in numbers.items():
        if number is not None:
            done = _libc.syscall(ctypes.c_long(number), *[ctypes.c_long(0)] * 6)
            if done >= 0 or ctypes.get_errno() != errno.EPERM:
                reached.append(name)
    assert not reached, reached
    return False
