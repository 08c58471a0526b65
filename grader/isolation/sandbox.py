"""How a worker locks itself in before it reads a byte of the learner's file.

Profiles, each with all of the one before: `process` is a process of its own with a deadline;
`light` adds resource limits, Landlock (no file) and a system-call filter (no network, fork, exec,
kill); `full` adds user, process, network and mount namespaces and an empty root folder.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

PROFILES = ("process", "light", "full")

_LINUX = sys.platform == "linux"
_NOBODY = 65534
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_OPEN_FILES = 64
_THREADS = 512

# What CPython and torch on the CPU need once everything is imported. What is not here fails with
# EPERM: files, sockets, processes, signals to others, shared memory, tracing, io_uring, mounts.
_ALLOWED_CALLS = (
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
    """What a worker is locked into; `memory_mb` is what it may use beyond what it starts with."""

    profile: str = "process"
    memory_mb: int = 2048


def lock_in(sandbox: Sandbox, without: frozenset[str] = frozenset()) -> None:
    """Apply a profile to this process.

    `without` names protections to leave out, or system calls to let through, so that a test can see
    what each is there for; whatever runs answers leaves nothing out.

    Raises CannotLock, and then nothing of the learner's may be run.
    """
    if sandbox.profile == "process":
        return
    if not _LINUX:
        raise CannotLock(f"the profile {sandbox.profile} needs Linux, this is {sys.platform}")
    try:
        for name, step in steps(sandbox).items():
            if name not in without:
                step()
        _restrict_files(without)
        if "call filter" not in without:
            _filter_calls(without)
    except CannotLock:
        raise
    except OSError as error:
        raise CannotLock(f"{sandbox.profile}: {error}") from error


def steps(sandbox: Sandbox) -> dict[str, Callable[[], None]]:
    """What a profile does before Landlock and the filter, by the name of each, in order."""
    memory = _virtual_bytes() + sandbox.memory_mb * 2**20
    found: dict[str, Callable[[], None]] = {"killed first": _be_killed_first}
    if sandbox.profile == "full":
        found["empty root"] = _empty_root
    for name, limit in _limits(memory, _threads_of_all() + _THREADS).items():
        found[name] = partial(_limit, name, limit)
    if sandbox.profile != "full":  # there root is root of the worker's own namespace alone
        found["nobody"] = _drop_privileges
    found["dies with its parent"] = _die_with_parent  # changing the user would forget it
    found["untraceable"] = _forbid_tracing
    return found


def prepare() -> None:
    """Import what lock_in needs while files can still be read, and do what need not be repeated."""
    if _LINUX:
        import resource  # noqa: F401

        from grader.isolation import landlock  # noqa: F401

        with contextlib.suppress(CannotLock):  # lock_in says it where it matters
            _common_rules(frozenset())


def separate(without: frozenset[str] = frozenset()) -> None:
    """Enter new user, process, network, IPC and mount namespaces; Linux alone.

    The caller forks afterwards: its child is the first process of the new process namespace.
    `without` is for a test, as in `lock_in`.
    """
    namespaces = sum(flag for name, flag in NAMESPACES.items() if name not in without)
    if os.geteuid() == 0:
        _become_nobody()  # limits on threads do not hold for root, in whatever namespace
        _checked(_libc().prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0), "keeping /proc/self")
    uid, gid = os.getuid(), os.getgid()
    if _libc().unshare(namespaces):
        error = ctypes.get_errno()
        raise CannotLock(f"namespaces are refused here: {os.strerror(error)}")
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    except OSError as error:
        raise CannotLock(f"namespaces cannot be mapped here: {error}") from error
    if "dies with its parent" not in without:  # it stays outside, and who is inside dies with it
        _die_with_parent()


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result:
        error = ctypes.get_errno()
        raise CannotLock(f"{what}: {os.strerror(error)}")


def _empty_root() -> None:
    """Make an empty file system in memory the root of everything this process sees."""
    libc = _libc()
    private, detach = 1 << 18 | 1 << 14, 2
    _checked(libc.mount(b"none", b"/", None, private, None), "making mounts private")
    options = b"size=1m,mode=0700"
    _checked(libc.mount(b"answer", b"/tmp", b"tmpfs", 0, options), "mounting an empty folder")
    os.chdir("/tmp")
    pivot_root = 155 if os.uname().machine == "x86_64" else 41
    _checked(libc.syscall(pivot_root, b".", b"."), "changing the root folder")
    _checked(libc.umount2(b".", detach), "leaving the old root folder")
    os.chdir("/")


def _die_with_parent() -> None:
    _checked(_libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "tying to the parent")


def _be_killed_first() -> None:
    """If the machine runs out of memory, the kernel shall end the answer and not the judge."""
    with contextlib.suppress(OSError):  # not everywhere, and nothing rests on it
        Path("/proc/self/oom_score_adj").write_text("1000")


def _limits(memory: int, threads: int) -> dict[str, int]:
    return {
        "RLIMIT_AS": memory,
        "RLIMIT_NPROC": threads,
        "RLIMIT_CORE": 0,
        "RLIMIT_NOFILE": _OPEN_FILES,
        "RLIMIT_FSIZE": 0,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
    }


def _limit(name: str, value: int) -> None:
    import resource

    resource.setrlimit(getattr(resource, name), (value, value))


def _virtual_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _threads_of_all() -> int:
    """Threads on this machine: the limit counts those of the user, who has at most as many."""
    return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])


def _become_nobody() -> None:
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def _drop_privileges() -> None:
    """A grader run by root must not hand root's rights to an answer."""
    if os.geteuid() == 0:
        _become_nobody()


def _forbid_tracing() -> None:
    _checked(_libc().prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "forbidding to be traced")


def _restrict_files(without: frozenset[str]) -> None:
    from grader.isolation import landlock

    files, network, signals, sockets = (name not in without for name in LANDLOCK)
    try:
        landlock.restrict(files=files, network=network, signals=signals, sockets=sockets)
    except landlock.Unavailable as error:
        raise CannotLock(f"Landlock: {error}") from error


def _filter_calls(without: frozenset[str]) -> None:
    rules = _common_rules(without)
    import pyseccomp

    own = os.getpid()
    for name in ("tgkill", "kill"):  # an abort ends this process, and no other
        _allow(rules, pyseccomp, name, pyseccomp.Arg(0, pyseccomp.EQ, own))
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
    thread = pyseccomp.Arg(0, pyseccomp.MASKED_EQ, _CLONE_THREAD, _CLONE_THREAD)
    _allow(rules, pyseccomp, "clone", thread)
    # The C library takes this for an old kernel and calls clone, whose flags can be looked at.
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    _allow(rules, pyseccomp, "prlimit64", pyseccomp.Arg(2, pyseccomp.EQ, 0))
    rules.add_rule(pyseccomp.ERRNO(errno.ENOTTY), "ioctl")
    return rules


def _allow(rules: Any, pyseccomp: Any, name: str, *arguments: Any) -> None:
    try:
        rules.add_rule(pyseccomp.ALLOW, name, *arguments)
    except (OSError, ValueError):
        pass  # not every architecture has every call: what is not known stays forbidden
