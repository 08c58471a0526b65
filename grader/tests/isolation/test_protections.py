"""No protection without a test that misses it.

Each row leaves one protection out and sees a probe get what it wants, which it does not get where
all are there. Where several stand in the same way, the others are put aside too: then the row says
which, and what it shows is that this one would hold by itself.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from grader.course.syllabus import ROOT
from grader.isolation import landlock, sandbox
from grader.isolation.machine import is_offered
from grader.observation import codec
from grader.observation.record import Observation
from grader.tests.probes import PROBES, Order, Prober

pytestmark = pytest.mark.skipif(not is_offered("light"), reason="not offered here")

NETWORK, SCOPES, CUTTING = 4, 6, 3
"""The versions of Landlock that brought them."""


@dataclass(frozen=True)
class Row:
    """A probe that gets what it wants without `off`.

    `aside` names what else stands in its way, and is left out in both runs. `landlock` is the
    version that the row needs.
    """

    probe: str
    off: frozenset[str]
    aside: frozenset[str] = frozenset()
    profile: str = "light"
    by_root: bool = False
    landlock: int = 1

    def __str__(self) -> str:
        return "-".join([self.probe, self.profile, *(["root"] if self.by_root else [])])


def row(probe: str, off: str, aside: str = "", **other: object) -> Row:
    return Row(probe, _names(off), _names(aside), **other)  # type: ignore[arg-type]


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())


FILES = "landlock files"
NET = "landlock network"
OPENING = "open, openat, stat, newfstatat, getdents64"
ALL_OF_LANDLOCK = ", ".join(sandbox.LANDLOCK)

LIMITS = (
    row("takes_memory", "RLIMIT_AS"),
    row("starts_many_threads", "RLIMIT_NPROC", "RLIMIT_AS"),
    row("opens_many_files", "RLIMIT_NOFILE"),
    row("writes_to_an_open_file", "RLIMIT_FSIZE"),
    row("locks_memory", "RLIMIT_MEMLOCK"),
    row("opens_a_message_queue", "RLIMIT_MSGQUEUE", f"mq_open, {FILES}"),
    row("leaves_a_core", "RLIMIT_CORE", f"untraceable, RLIMIT_FSIZE, {FILES}"),
)
ITSELF = (
    row("is_root", "nobody", by_root=True),
    row("may_win_privileges", f"call filter, {ALL_OF_LANDLOCK}"),
    row("outlives_its_parent", "dies with its parent"),
    row("outlives_its_parent", "dies with its parent", by_root=True),
    row("outlives_its_parent", "dies with its parent", profile="full"),
    row("can_be_read_by_others", "untraceable"),
    row("leaves_a_core", "untraceable", f"RLIMIT_CORE, RLIMIT_FSIZE, {FILES}"),
    row("survives_the_judge_when_memory_ends", "killed first"),
    row("survives_the_judge_when_memory_ends", "killed first", by_root=True),
    row("survives_the_judge_when_memory_ends", "killed first", profile="full"),
)
ON_FILES = (
    row("reads_a_file", FILES, OPENING),
    row("lists_a_folder", FILES, OPENING),
    row("writes_to_a_file", FILES, OPENING),
    row("cuts_a_file", FILES, "truncate", landlock=CUTTING),
    row("makes_a_file", FILES, OPENING),
    row("makes_a_folder", FILES, "mkdir"),
    row("makes_a_link", FILES, "symlink, symlinkat"),
    row("makes_a_pipe", FILES, "mknod, mknodat"),
    row("makes_a_socket", FILES, "socket, bind"),
    row("removes_a_file", FILES, "unlink"),
    row("removes_a_folder", FILES, "rmdir"),
    row("runs_a_program", FILES, "execve"),
)
ON_THE_NETWORK = (
    row("connects_by_tcp", NET, "socket, connect, bind", landlock=NETWORK),
    row("listens_by_tcp", NET, "socket, bind", landlock=NETWORK),
    row("connects_to_an_abstract_socket", "landlock sockets", "socket, connect", landlock=SCOPES),
    row("signals_another", "landlock signals", "kill", landlock=SCOPES),
    row("reads_another_s_memory", ALL_OF_LANDLOCK, "process_vm_readv"),
)
CALLS = (
    row("forks", "call filter"),
    row("sends_a_datagram", "socket"),
    row("connects_to_a_local_socket", "socket, connect"),
    row("forks", "clone"),
    row("forks_by_the_newer_call", "clone3"),
    row("leaves_a_daemon", "clone"),
    row("runs_a_program", "execve", FILES),
    row("signals_another", "kill", "landlock signals"),
    row("signals_another_s_thread", "tgkill", "landlock signals"),
    row("stops_itself", "kill"),
    row("stops_its_thread", "tgkill"),
    row("asks_for_another_kind_of_pair", "socketpair"),
    row("limits_another", "prlimit64"),
    row("has_the_kernel_signal_another", "fcntl"),
    row("controls_a_device", "ioctl"),
    row("makes_a_folder", "mkdir", FILES),
    row("changes_who_may_read_a_file", "chmod, fchmodat"),
    row("makes_a_file_in_memory", "memfd_create"),
    row("finds_shared_memory", "shmget"),
    row("opens_a_message_queue", "mq_open", f"RLIMIT_MSGQUEUE, {FILES}"),
    row("reads_memory_by_a_call", "process_vm_readv"),
    row("is_traced", "ptrace"),
    row("leaves_its_group", "setsid"),
    row("outlives_its_parent_after_all", "prctl"),
    row("opens_io_uring", "io_uring_setup", "RLIMIT_MEMLOCK"),
    row("enters_a_namespace", "unshare"),
    row("looks_for_keys", "keyctl"),
    row("takes_another_priority", "setpriority"),
    row("chooses_processors", "sched_setaffinity"),
    row("changes_how_programs_run", "personality"),
)
IN_FULL = (
    row("connects_by_tcp", "network namespace", f"socket, connect, bind, {NET}", profile="full"),
    row("finds_shared_memory", "IPC namespace", "shmget", profile="full"),
    row("signals_another", "process namespace", "kill, landlock signals", profile="full"),
    row("leaves_a_daemon", "process namespace", "clone", profile="full"),
    row("sees_the_machine_s_files", "empty root", f"{FILES}, {OPENING}", profile="full"),
)
ROWS = (*LIMITS, *ITSELF, *ON_FILES, *ON_THE_NETWORK, *CALLS, *IN_FULL)

PRECONDITIONS = ("user namespace", "mount namespace")
"""Without them the kernel refuses the rest of `full`: none can be lost unnoticed."""


@pytest.fixture(scope="module")
def prober() -> Iterator[Prober]:
    started = Prober(ROOT)
    yield started
    started.close()


def needs(one: Row) -> None:
    if not is_offered(one.profile):
        pytest.skip(f"{one.profile} is not offered here")
    if landlock.version() < one.landlock:
        pytest.skip(f"needs version {one.landlock} of Landlock")
    if one.by_root and os.geteuid() != 0:
        pytest.skip("is about workers that root starts")


@pytest.mark.parametrize("one", ROWS, ids=str)
def test_each_protection_is_missed(one: Row, prober: Prober) -> None:
    """All on: stopped. This one off: reached. What else stands in the way stops nothing alone."""
    needs(one)

    def run(without: frozenset[str]) -> str:
        return prober.run(Order(one.probe, one.profile, tuple(without), one.by_root))

    without_it = run(one.aside | one.off)
    if without_it.startswith("missing"):
        pytest.skip(without_it)
    assert without_it == "reached", f"without {set(one.off)} it is {without_it}, want reached"
    for without in (one.aside, frozenset[str]()):
        outcome = run(without)
        assert outcome.startswith("stopped"), f"without {set(without)} it is {outcome}"


@pytest.mark.parametrize("name", PRECONDITIONS)
def test_full_cannot_be_had_without(name: str, prober: Prober) -> None:
    needs(Row("", frozenset(), profile="full"))
    assert prober.run(Order("forks", "full", (name,))).startswith("cannot lock")


def test_calls_that_no_answer_needs_are_refused(prober: Prober) -> None:
    """Whoever lets another call through by mistake hears of it here; a limit would hide `mlock`."""
    assert prober.run(Order("makes_another_call", "light", ("RLIMIT_MEMLOCK",))) == "stopped"


def test_the_cap_of_a_header_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blanks at its end change nothing but its length."""
    honest = codec.pack_observation(Observation())
    (length,) = struct.unpack("<Q", honest[:8])
    header = honest[8 : 8 + length] + b" " * codec._MAX_JSON
    long = struct.pack("<Q", len(header)) + header + honest[8 + length :]
    with pytest.raises(codec.ProtocolError, match="a header of"):
        codec.unpack_observation(long)
    monkeypatch.setattr(codec, "_MAX_JSON", len(header))
    assert codec.unpack_observation(long) == Observation()


def test_every_protection_has_its_row() -> None:
    there = {"call filter", *sandbox.LANDLOCK, *sandbox.NAMESPACES}
    for profile in ("light", "full"):
        there |= set(sandbox.steps(sandbox.Sandbox(profile)))
    missed = {name for one in ROWS for name in one.off}
    assert there - missed == set(PRECONDITIONS)
    assert {one.probe for one in ROWS} | {"makes_another_call"} == set(PROBES)
