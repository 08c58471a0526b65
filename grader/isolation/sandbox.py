"""How a worker locks itself in before it reads a byte of the learner's file.

Profiles, each with all of the one before: `process` is a process of its own with a deadline;
`light` adds resource limits, Landlock (no file but those of Python's library, torch and numpy, to
read) and a system-call filter (no network, fork, exec, kill); `full` adds user, process, network
and mount namespaces and a root folder that holds those files alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from grader.isolation import scratch

PROFILES = ("process", "light", "full")

_LINUX = sys.platform == "linux"
_NOBODY = 65534
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_KEEPCAPS = 1, 4, 8
_CAP_DAC_READ_SEARCH = 1 << 2
_CAPABILITIES_VERSION = 0x20080522
_OPEN_FILES = 64
_FIONBIO = 0x5421
_THREADS = 512

# What CPython and torch on the CPU need. What is not here fails with EPERM: sockets, processes,
# signals to others, shared memory, tracing, io_uring, mounts. Landlock says what may be opened.
_ALLOWED_CALLS = (
    *("open", "openat", "stat", "lstat", "newfstatat", "fstatat64", "statx", "access", "faccessat"),
    *("faccessat2", "readlink", "readlinkat", "getdents64", "pread64", "fadvise64"),
    *("epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "eventfd2"),
    *("read", "write", "readv", "writev", "close", "lseek", "fstat", "dup", "poll"),
    *("ppoll", "select", "pselect6", "sendmsg", "recvmsg", "sendto", "recvfrom", "shutdown"),
    *("mmap", "munmap", "mprotect", "mremap", "madvise", "brk", "mincore", "membarrier"),
    *("futex", "futex_waitv", "set_robust_list", "get_robust_list", "rseq", "set_tid_address"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "sigaltstack", "pause"),
    *("rt_sigtimedwait", "setitimer", "getitimer", "timer_create", "timer_settime"),
    *("timer_delete", "alarm", "restart_syscall", "nanosleep", "clock_nanosleep"),
    *("clock_gettime", "clock_getres", "gettimeofday", "time", "times", "getrusage"),
    *("getpid", "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getgroups"),
    *("getresuid", "getresgid", "getpgrp", "getpgid", "getsid", "sched_yield"),
    *("sched_getaffinity", "sched_getparam", "sched_getscheduler", "getpriority"),
    *("sched_get_priority_max", "sched_get_priority_min", "getcpu", "get_mempolicy"),
    *("sysinfo", "uname", "getrandom", "getcwd", "exit", "exit_group", "arch_prctl"),
)
# What else it takes to write files, for a worker with a folder where Landlock lets it.
_CALLS_ON_FILES = (
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir"),
    *("fsync", "fdatasync", "ftruncate", "pwrite64", "copy_file_range", "sendfile", "umask"),
    *("flock", "statfs", "fstatfs"),
)
_CALLS_ON_MODES = ("chmod", "fchmod", "fchmodat")
_CLONE_THREAD = 0x00010000
NAMESPACES = {
    "user namespace": 0x10000000,
    "process namespace": 0x20000000,
    "network namespace": 0x40000000,
    "IPC namespace": 0x08000000,
    "mount namespace": 0x00020000,
}
LANDLOCK = ("landlock files", "landlock network", "landlock signals", "landlock sockets")
# Duplicating and flags. An owner and a signal of a descriptor would be a way to kill the judge.
_ALLOWED_FCNTL = (0, 1, 2, 3, 4, 1030)


class CannotLock(Exception):
    """The profile that was asked for cannot be had here; the message says what is missing."""


@dataclass(frozen=True)
class Sandbox:
    """What a worker is locked into.

    `memory_mb` is what it may use beyond what it starts with. `files_mb` is what it may have in a
    folder of its own, where the exercise is about files; with 0 it can write no file at all.
    """

    profile: str = "process"
    memory_mb: int = 2048
    files_mb: int = 0


def lock_in(
    sandbox: Sandbox, without: frozenset[str] = frozenset(), *, folder: Path | None = None
) -> None:
    """Apply a profile to this process.

    `without` names protections to leave out, or system calls to let through, so that a test can see
    what each is there for; whatever runs answers leaves nothing out. `folder` is where it may write
    files in `light`, if `sandbox.files_mb` lets it write any; in `full` it has a place of its own.

    Raises CannotLock, and then nothing of the learner's may be run.
    """
    if sandbox.profile == "process":
        if _proc.cache_info().currsize:  # opened for workers of other profiles
            os.close(_proc())
        return
    if not _LINUX:
        raise CannotLock(f"the profile {sandbox.profile} needs Linux, this is {sys.platform}")
    try:
        # Where root becomes nobody, it may no longer see what it allows to be read.
        ruleset = _new_ruleset(without, (folder,)) if folder is not None else None
        for name, step in steps(sandbox).items():
            if name not in without:
                step()
        if sandbox.files_mb and sandbox.profile == "full":
            folder = scratch.IN_FULL
            ruleset = _new_ruleset(without, (folder,))
        _restrict_files(without, ruleset)
        if folder is not None:
            _expect_files_in(folder)
        if "call filter" not in without:
            _filter_calls(without, files=folder is not None)
    except CannotLock:
        raise
    except OSError as error:
        raise CannotLock(f"{sandbox.profile}: {error}") from error


def steps(sandbox: Sandbox) -> dict[str, Callable[[], None]]:
    """What a profile does before Landlock and the filter, by the name of each, in order."""
    memory = _virtual_bytes() + sandbox.memory_mb * 2**20
    found: dict[str, Callable[[], None]] = {"killed first": _be_killed_first}
    if sandbox.profile == "full":
        found["empty root"] = partial(_empty_root, sandbox.files_mb)
    limits = _limits(memory, _threads_of_all() + _THREADS, sandbox.files_mb * 2**20)
    for name, limit in limits.items():
        found[name] = partial(_limit, name, limit)
    if sandbox.profile != "full":  # there root is root of the worker's own namespace alone
        found["nobody"] = _drop_privileges
    found["dies with its parent"] = _die_with_parent  # changing the user would forget it
    found["untraceable"] = _forbid_tracing
    return found


def prepare(without: frozenset[str] = frozenset()) -> None:
    """Import what lock_in needs while files can still be read, and do what need not be repeated.

    `without` is for a test, as in `lock_in`.
    """
    if _LINUX:
        import resource  # noqa: F401

        _proc()
        _is_hidden_from_nobody()
        with contextlib.suppress(CannotLock):  # lock_in says it where it matters
            _ruleset(without)
            _common_rules(without)


def separate(without: frozenset[str] = frozenset(), *, files_mb: int = 0) -> None:
    """Enter new user, process, network, IPC and mount namespaces; Linux alone.

    The caller forks afterwards: its child is the first process of the new process namespace.
    `without` is for a test, as in `lock_in`; `files_mb` is that of its sandbox.
    """
    namespaces = sum(flag for name, flag in NAMESPACES.items() if name not in without)
    itself = os.open("/proc/self", os.O_PATH | os.O_DIRECTORY)
    if os.geteuid() == 0:
        if without.isdisjoint(("empty root", "mount namespace")):
            _empty_root_of_root(files_mb)
        _become_nobody()  # limits on threads do not hold for root, in whatever namespace
        _checked(_libc().prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0), "keeping /proc/self")
    uid, gid = os.getuid(), os.getgid()
    if _libc().unshare(namespaces):
        error = ctypes.get_errno()
        raise CannotLock(f"namespaces are refused here: {os.strerror(error)}")
    try:
        _write_in(itself, "setgroups", "deny")
        _write_in(itself, "uid_map", f"0 {uid} 1")
        _write_in(itself, "gid_map", f"0 {gid} 1")
    except OSError as error:
        raise CannotLock(f"namespaces cannot be mapped here: {error}") from error
    finally:
        os.close(itself)
    if "dies with its parent" not in without:  # it stays outside, and who is inside dies with it
        _die_with_parent()


def _write_in(folder: int, name: str, text: str) -> None:
    descriptor = os.open(name, os.O_WRONLY, dir_fd=folder)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _read_proc(name: str) -> str:
    descriptor = os.open(name, os.O_RDONLY, dir_fd=_proc())
    with open(descriptor, encoding="utf-8") as file:
        return file.read()


@cache
def _proc() -> int:
    """A descriptor of /proc, which is still needed when the root is another."""
    return os.open("/proc", os.O_PATH | os.O_DIRECTORY)


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result:
        error = ctypes.get_errno()
        raise CannotLock(f"{what}: {os.strerror(error)}")


def _empty_root_of_root(files_mb: int) -> None:
    """Change the root while this process is root, who may see folders that nobody may not.

    Where root may not do that, as in many containers, the worker does it for itself later.
    """
    if _libc().unshare(NAMESPACES["mount namespace"]) == 0:
        _empty_root(files_mb)


def _empty_root(files_mb: int) -> None:
    """Make a file system that holds the library alone the root of everything this process sees."""
    if _has_own_root():
        return
    from grader.isolation import library

    libc = _libc()
    private, bound, detach = 1 << 18 | 1 << 14, 1 << 12 | 1 << 14, 2
    folders, packages = library.standard_folders(), library.package_files()
    _checked(libc.mount(b"none", b"/", None, private, None), "making mounts private")
    root = _mount_point((*folders, *packages))
    _mount_empty(root)
    for path in (*folders, *packages, Path(os.devnull)):
        place = root / path.relative_to("/")
        _make_place(path, place)
        _checked(libc.mount(bytes(path), bytes(place), None, bound, None), f"showing {path}")
        for closed in (place / name for name in library.NOT_PYTHON_S):
            if path in folders and closed.is_dir():
                _mount_empty(closed)
    for path in packages:
        # The import system looks into a folder again only where its time is another.
        times = path.parent.stat()
        place = root / path.parent.relative_to("/")
        os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns))
    if files_mb:
        place = root / scratch.IN_FULL.relative_to("/")
        place.mkdir()
        _mount_empty(place, f"size={files_mb}m,nr_inodes={scratch.MOST_FILES},mode=1777")
    os.chdir(root)
    pivot_root = 155 if os.uname().machine == "x86_64" else 41
    _checked(libc.syscall(pivot_root, b".", b"."), "changing the root folder")
    _checked(libc.umount2(b".", detach), "leaving the old root folder")
    os.chdir("/")
    Path("/", _OWN_ROOT).touch()


_OWN_ROOT = ".worker"


def _has_own_root() -> bool:
    return Path("/", _OWN_ROOT).exists()


def _mount_point(shown: Iterable[Path]) -> Path:
    """A folder to mount the new root on, which hides nothing that shall be seen in it."""
    for place in map(Path, ("/mnt", "/media", "/sys", "/tmp")):
        if place.is_dir() and not any(path.is_relative_to(place) for path in shown):
            return place
    raise CannotLock("there is no folder to mount an empty one on")


def _mount_empty(place: Path, options: str = "size=1m,mode=0755") -> None:
    mounted = _libc().mount(b"answer", bytes(place), b"tmpfs", 0, options.encode())
    _checked(mounted, "mounting an empty folder")


def _make_place(path: Path, place: Path) -> None:
    """What a file or folder can be mounted on."""
    if path.is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()


def _die_with_parent() -> None:
    _checked(_libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "tying to the parent")


def _be_killed_first() -> None:
    """If the machine runs out of memory, the kernel shall end the answer and not the judge."""
    with contextlib.suppress(OSError):  # not everywhere, and nothing rests on it
        _write_in(_proc(), "self/oom_score_adj", "1000")


def _limits(memory: int, threads: int, file: int) -> dict[str, int]:
    return {
        "RLIMIT_AS": memory,
        "RLIMIT_NPROC": threads,
        "RLIMIT_CORE": 0,
        "RLIMIT_NOFILE": _OPEN_FILES,
        "RLIMIT_FSIZE": file,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
    }


def _limit(name: str, value: int) -> None:
    import resource

    resource.setrlimit(getattr(resource, name), (value, value))


def _virtual_bytes() -> int:
    pages = int(_read_proc("self/statm").split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _threads_of_all() -> int:
    """Threads on this machine: the limit counts those of the user, who has at most as many."""
    return int(_read_proc("loadavg").split()[3].partition("/")[2])


def _become_nobody() -> None:
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def _drop_privileges() -> None:
    """A grader run by root must not hand root's rights to an answer.

    Python may lie in a folder of root's own. Then the worker keeps the right to look into folders,
    and Landlock says which files of them it can read.
    """
    if os.geteuid() != 0:
        return
    keeps = _is_hidden_from_nobody()
    _checked(_libc().prctl(_PR_SET_KEEPCAPS, int(keeps), 0, 0, 0), "keeping a capability")
    _become_nobody()
    if keeps and not _set_capabilities(_CAP_DAC_READ_SEARCH):
        _set_capabilities(0)  # it was not there to be kept, and the library cannot be read


@cache
def _is_hidden_from_nobody() -> bool:
    from grader.isolation import library

    paths = {*library.standard_folders(), *library.package_files()}
    paths |= {parent for path in paths for parent in path.parents}
    return not all(path.stat().st_mode & 0o001 for path in paths if path.is_dir())


def _set_capabilities(kept: int) -> bool:
    """Give up all capabilities but some; whether those could be kept."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
    effective_permitted_inheritable = (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)
    return int(_libc().capset(header, effective_permitted_inheritable)) == 0


def _forbid_tracing() -> None:
    _checked(_libc().prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "forbidding to be traced")


def _restrict_files(without: frozenset[str], ruleset: int | None = None) -> None:
    from grader.isolation import landlock

    if without.issuperset(LANDLOCK):
        return
    try:
        landlock.enforce(_ruleset(without) if ruleset is None else ruleset)
    except landlock.Unavailable as error:
        raise CannotLock(f"Landlock: {error}") from error
    os.close(_proc())


@cache
def _ruleset(without: frozenset[str]) -> int:
    """Landlock's rules, made once, in the zygote."""
    return _new_ruleset(without, ())


def _new_ruleset(without: frozenset[str], writable: tuple[Path, ...]) -> int:
    from grader.isolation import landlock, library

    files, network, signals, sockets = (name not in without for name in LANDLOCK)
    try:
        return landlock.make_ruleset(
            library.readable(),
            writable,
            files=files,
            network=network,
            signals=signals,
            sockets=sockets,
        )
    except landlock.Unavailable as error:
        raise CannotLock(f"Landlock: {error}") from error


def _expect_files_in(folder: Path) -> None:
    """Have temporary files made in a folder; writing more than allowed ends this process."""
    import tempfile

    tempfile.tempdir = str(folder)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def _filter_calls(without: frozenset[str], *, files: bool = False) -> None:
    rules = _common_rules(without.union(_CALLS_ON_FILES) if files else without)
    import pyseccomp

    for name in _CALLS_ON_MODES if files else ():
        # Landlock does not say whose mode may be changed. These seem to work, and change nothing.
        with contextlib.suppress(OSError, ValueError):
            rules.add_rule(pyseccomp.ERRNO(0), name)

    own = pyseccomp.Arg(0, pyseccomp.EQ, os.getpid())
    # An abort ends this process, and no other. It can neither stop nor kill itself, so that
    # whoever is killed was killed from outside.
    _allow(rules, pyseccomp, "kill", own, pyseccomp.Arg(1, pyseccomp.EQ, signal.SIGABRT))
    _allow(rules, pyseccomp, "tgkill", own, pyseccomp.Arg(2, pyseccomp.EQ, signal.SIGABRT))
    rules.load()


@cache
def _common_rules(without: frozenset[str]) -> Any:
    """The filter but for what depends on the process; made once, in the zygote."""
    try:
        import pyseccomp
    except (ImportError, OSError, RuntimeError) as error:
        raise CannotLock(f"seccomp: {error}") from error
    rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    for name in (*without, *_ALLOWED_CALLS):  # a name that is no call's is passed over
        _allow(rules, pyseccomp, name)
    for command in _ALLOWED_FCNTL:
        _allow(rules, pyseccomp, "fcntl", pyseccomp.Arg(1, pyseccomp.EQ, command))
    # Two ends that only this process has: what runs coroutines wakes itself by them.
    _allow(rules, pyseccomp, "socketpair", pyseccomp.Arg(0, pyseccomp.EQ, socket.AF_UNIX))
    thread = pyseccomp.Arg(0, pyseccomp.MASKED_EQ, _CLONE_THREAD, _CLONE_THREAD)
    _allow(rules, pyseccomp, "clone", thread)
    # The C library takes this for an old kernel and calls clone, whose flags can be looked at.
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    _allow(rules, pyseccomp, "prlimit64", pyseccomp.Arg(2, pyseccomp.EQ, 0))
    # No descriptor of a worker is a terminal. Sockets are told not to wait by one of these calls.
    other = pyseccomp.Arg(1, pyseccomp.NE, _FIONBIO)
    rules.add_rule(pyseccomp.ERRNO(errno.ENOTTY), "ioctl", other)
    _allow(rules, pyseccomp, "ioctl", pyseccomp.Arg(1, pyseccomp.EQ, _FIONBIO))
    return rules


def _allow(rules: Any, pyseccomp: Any, name: str, *arguments: Any) -> None:
    try:
        rules.add_rule(pyseccomp.ALLOW, name, *arguments)
    except (OSError, ValueError):
        pass  # not every architecture has every call: what is not known stays forbidden
