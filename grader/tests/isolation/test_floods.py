"""A worker may send the worst that a reply can hold, or more: the judge's work on it stays small.

The peer here is no process: it stands where a worker would and answers each request with bytes of
its own choice. All that comes after, from the stream to the grade, is the judge's own.
"""

import json
import select
import socket
import struct
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
import torch

from grader.classroom.grade import Grade, _lines
from grader.course.answers import choose
from grader.course.course import Course
from grader.course.syllabus import ROOT
from grader.isolation.client import Worker
from grader.isolation.frames import MAX_FRAME, framed, pack_greeting
from grader.isolation.streams import SocketStream
from grader.isolation.worker import TOKEN_BYTES
from grader.judging.failure_text import TestFailure, render
from grader.judging.inputs import RandomInputs
from grader.judging.outcome import Outcome, result_of
from grader.judging.summary import block, printed_lines
from grader.judging.trial import Run, Trial, Wrong
from grader.observation.bans import BanHit
from grader.observation.calls import Call
from grader.observation.codec import pack_observation, unpack_observation
from grader.observation.kind import Kind
from grader.observation.observe import _output
from grader.observation.record import (
    LONGEST_TEXT,
    MOST_HITS,
    MOST_PRINTED,
    MOST_VALUES,
    Frame,
    Interruption,
    Observation,
    Opaque,
)

COURSE = Course.load(ROOT)
EXERCISE = COURSE.syllabus.find("ex01")
KEPT: dict[Any, Any] = {}
"""What the reference and the mistakes say, which is not what is measured."""
REQUESTS = 3
MANY = 1_900_000
MOST_BYTES = 100_000_000

Header = dict[str, Any]
Change = Callable[[Header], bytes | None]


def scenario(module: Any, x: torch.Tensor) -> Any:
    return {"result": module.RMSNorm(6)(x)}


def honest() -> tuple[Header, bytes]:
    """The reply of a wrong answer, apart: its header and its tensors."""
    zeros = torch.zeros(4, 6)
    payload = pack_observation(
        Observation(outputs={"result": zeros}, gradients={"x": zeros.clone()})
    )
    (length,) = struct.unpack("<Q", payload[:8])
    header = json.loads(payload[8 : 8 + length])
    assert isinstance(header, dict)
    return header, payload[8 + length :]


def flooded(change: Change) -> bytes:
    """The reply with a header that somebody has changed, and perhaps with other tensors."""
    header, tensors = honest()
    changed = change(header)
    text = json.dumps(header, ensure_ascii=False).encode()
    return framed_as(text, tensors if changed is None else changed)


def framed_as(header: bytes, tensors: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + tensors


def tensors_of(shape: list[int], count: int, width: int) -> bytes:
    names = {
        str(n): {"dtype": "U8", "shape": shape, "data_offsets": [n * width, (n + 1) * width]}
        for n in range(count)
    }
    text = json.dumps(names).encode()
    return struct.pack("<Q", len(text)) + text + bytes(count * width)


def interrupted(message: str, frames: int = 6) -> Header:
    long = "x\n" * 1_000
    return {
        "kind": "exception",
        "type_name": long,
        "message": message,
        "frames": [{"path": long, "line": 1, "function": long, "text": long}] * frames,
        "in_backward": False,
        "at_load": False,
        "context": long,
        "how": long,
    }


def hits(count: int) -> list[Header]:
    return [
        {"line": n, "spelling": "\u200b" * 300, "ban": "torch.softmax", "file": ""}
        for n in range(count)
    ]


def referred_to(count: int) -> Header:
    return {str(n): {"tensor": str(n), "complex": False} for n in range(count)}


def nested_lists(depth: int, width: int) -> Any:
    value: Any = None
    for _ in range(depth):
        value = {"list": [value] * width}
    return value


NO_TENSORS = b"\2\0\0\0\0\0\0\0{}"


def instead(outputs: Header, tensors: bytes = NO_TENSORS, **fields: Any) -> Change:
    """Other outputs, and no gradients."""
    return lambda h: h.update(outputs=outputs, gradients={}, **fields) or tensors


def also(**fields: Any) -> Change:
    """The honest numbers, with something else beside them."""
    return lambda h: h.update(fields)


def plain(item: Any) -> Header:
    return {"result": {"plain": item}}


TAKEN: dict[str, Change] = {
    "empty lines": also(printed="\n" * MOST_PRINTED),
    "line ends of Unicode": also(printed="\u2028" * MOST_PRINTED),
    "characters that are not seen": also(printed="\u200b" * MOST_PRINTED),
    "banned calls": also(banned=hits(MOST_HITS)),
    "plain values": instead(plain({"list": [{"int": "1"}] * (MOST_VALUES - 1)})),
    "digits": instead(plain({"list": [{"int": "9" * 4_000}] * 24})),
    "a message of digits": instead({}, trouble=interrupted("1 " * 1_000)),
    "a message of lines": instead({}, trouble=interrupted("x\n" * 1_000)),
    "calls": also(calls=[{"name": "f", "returned": "a b " * 50}] * 1_000),
    "inputs modified": also(modified=["x" * 300] * 1_000),
    "states disturbed": also(disturbed=["x" * 300] * 1_000),
    "outputs": instead(referred_to(1_000), tensors_of([0], 1_000, 0)),
    "large outputs": instead(referred_to(2), tensors_of([3_500_000], 2, 3_500_000)),
    "unwanted gradients": lambda h: (
        h.update(outputs={}, gradients=referred_to(2)) or tensors_of([3_500_000], 2, 3_500_000)
    ),
    "shapes of nothing": instead(referred_to(1), tensors_of([0, 1 << 22], 1, 0)),
}
"""As much as a reply may hold."""

REFUSED: dict[str, tuple[Change | bytes, str]] = {
    "empty lines": (also(printed="\n" * MANY), "a header of"),
    "fewer empty lines": (also(printed="\n" * 200_000), "a text that is too long"),
    "lines that are not seen": (also(printed="\u2028" * 150_000), "a text that is too long"),
    "banned calls": (also(banned=hits(1) * (MOST_HITS + 1)), "a list that is too long"),
    "plain values": (instead(plain({"list": [{"int": "1"}] * 10_001})), "more plain values"),
    "empty values": (instead(plain({"list": [{"list": []}] * 10_001})), "more plain values"),
    "values in values": (instead(plain(nested_lists(9, 3))), "more plain values"),
    "a text": (instead(plain("x" * 200_000)), "more plain values"),
    "keys": (
        instead(plain({"dict": {"x" * 500 + str(n): None for n in range(500)}})),
        "more plain values",
    ),
    "digits": (instead(plain({"int": "9" * 4_001})), "a text that is too long"),
    "many digits": (instead(plain({"list": [{"int": "9" * 4_000}] * 30})), "more plain values"),
    "digits without quotes": (framed_as(b"[" + b"9" * 4_400 + b"]"), "digits"),
    "a line of many digits": (also(banned=[{**hits(1)[0], "line": 10**4_000}]), "too large"),
    "an infinity": (also(cost=float("inf")), "malformed"),
    "a message": (instead({}, trouble=interrupted("x" * 100_000)), "message is too large"),
    "frames": (instead({}, trouble=interrupted("x", frames=7)), "a list that is too long"),
    "names": (also(modified=["x"] * 40_000), "a list that is too long"),
    "a name": (also(disturbed=["x" * 100_000]), "a text that is too long"),
    "calls": (also(calls=[{"name": "f", "returned": ""}] * 10_000), "a list that is too long"),
    "an opaque output": (
        instead({"result": {"opaque": "a " * 100_000}}),
        "a text that is too long",
    ),
    "names of outputs": (instead({"x" * 3_000: {"plain": None}}), "a text that is too long"),
    "outputs": (instead({str(n): {"plain": None} for n in range(1_001)}), "too many outputs"),
    "one tensor under many names": (
        also(gradients={str(n): {"tensor": "0", "complex": False} for n in range(900)}),
        "KeyError",
    ),
    "tensors that nothing names": (instead({}, tensors_of([0], 900, 0)), "no output"),
    "tensors without elements": (instead({}, tensors_of([0], 3_000, 0)), "too many tensors"),
    "a shape of nothing": (instead(referred_to(1), tensors_of([0, 1 << 40], 1, 0)), "too large"),
    "dimensions": (instead(referred_to(1), tensors_of([1] * 40, 1, 1)), "too many dimensions"),
    "a large tensor": (
        instead(referred_to(1), tensors_of([1_000, 5_000], 1, 5_000_000)),
        "too large",
    ),
    "open brackets": (framed_as(b"[" * 500_000), "RecursionError"),
    "pairs of brackets": (framed_as(b"[" + b"[]," * 170_000 + b"[]]"), "not an object"),
    "objects": (framed_as(b"[" + b'{"":1},' * 70_000 + b"{}]"), "not an object"),
    "one key again and again": (framed_as(b"{" + b'"a":1,' * 80_000 + b'"a":1}'), "no tensors"),
    "numbers": (framed_as(b"[" + b"1e999," * 80_000 + b"NaN]"), "not an object"),
    "zeros": (b"\0" * (MAX_FRAME - TOKEN_BYTES), "JSONDecodeError"),
}
"""More than a reply may hold, and what the judge says to it."""


class StandingClock:
    """The clock of a worker that does nothing."""

    def used(self) -> float:
        return 0.0

    def wait(self, receive: Callable[[float], Any], seconds: float) -> Any:
        return receive(seconds)


class Peer:
    """A worker that answers every request with the same bytes."""

    def __init__(self, payload: bytes) -> None:
        self.stream = self
        self.clock = StandingClock()
        self._payload = payload
        self._replies = [pack_greeting("")]
        self._is_assigned = False

    def send(self, payload: bytes) -> None:
        if self._is_assigned:  # the assignment, which comes first, is not replied to
            self._replies.append(payload[:TOKEN_BYTES] + self._payload)
        self._is_assigned = True

    def receive(self, seconds: float) -> bytes | None:
        return self._replies.pop(0)

    def wait(self, seconds: float) -> int:
        raise TimeoutError

    def kill(self) -> None:
        pass

    def close(self) -> None:
        pass


def judged(payload: bytes) -> Iterator[Run]:
    """Some tests of an exercise whose worker answers so, up to the grade and what is printed."""
    trial = Trial(
        EXERCISE,
        COURSE,
        choose("solutions", COURSE),
        isolate=True,
        kept=KEPT,
        note_bans=True,
    )
    runs = []
    for number in range(REQUESTS):
        run = Run(f"test_01_rmsnorm.py::test_{number}", sentence="It is right")
        inputs = RandomInputs(0, run.test)
        try:
            trial.check(run, scenario, [inputs.normal(4, 6)], inputs, grad=True)
        except Wrong as wrong:
            run.finding = wrong.finding
        run.passed = run.finding is None
        runs.append(run)
        yield run
    failures = [
        TestFailure(EXERCISE.id, run.test, run.sentence, run.finding) for run in runs if run.finding
    ]
    lines = [line for failure in failures for line in render(failure)]
    if failures:
        lines += block(failures, trial, nothing_passed=True)
    lines += [line for run in runs for line in printed_lines(run.printed)]
    outcome = Outcome(EXERCISE, trial, tuple(runs), 0.0)
    result = result_of(outcome, ROOT, when=0.0, file_hash="", lines=_lines(outcome, ROOT))
    lines += [json.dumps(Grade("", 0, "light", (result,)).as_json())]
    assert sum(map(len, lines)) < 1_000_000
    trial.close()


def spent_on(payload: bytes) -> float:
    """The processor time of judging it."""
    started = time.process_time()
    list(judged(payload))
    return time.process_time() - started


@pytest.fixture
def sends(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], bytes]:
    def prepared(payload: bytes) -> bytes:
        monkeypatch.setattr(Worker, "_launched", lambda self: Peer(payload))
        return payload

    return prepared


@pytest.fixture(scope="module")
def second() -> float:
    """About a second of this machine's processor time, whatever else goes on: it parses JSON."""
    plain = json.dumps(["x" * 10] * 80_000)
    started = time.process_time()
    for _ in range(60):
        json.loads(plain)
    return time.process_time() - started


@pytest.mark.parametrize("flood", TAKEN)
def test_the_most_that_is_taken_is_judged_at_once(
    flood: str, sends: Callable[[bytes], bytes], second: float
) -> None:
    payload = sends(flooded(TAKEN[flood]))
    runs = list(judged(payload))  # warm
    kinds = {run.finding.kind for run in runs if run.finding}
    assert "protocol" not in kinds and "not graded" not in kinds
    assert spent_on(payload) < 3 * second


@pytest.mark.parametrize("flood", REFUSED)
def test_more_is_refused_at_once(
    flood: str, sends: Callable[[bytes], bytes], second: float
) -> None:
    change, why = REFUSED[flood]
    payload = sends(change if isinstance(change, bytes) else flooded(change))
    for run in judged(payload):
        assert run.finding is not None and run.finding.interruption is not None
        assert run.finding.kind == "protocol" and why in run.finding.interruption.message
    assert spent_on(payload) < 3 * second


@pytest.mark.parametrize("flood", ["large outputs", "plain values", "banned calls", "empty lines"])
def test_and_takes_little_memory(flood: str, sends: Callable[[bytes], bytes]) -> None:
    payload = sends(flooded(TAKEN[flood]))
    list(judged(payload))
    tracemalloc.start()
    try:
        list(judged(payload))
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()


def test_all_that_workers_send_counts_together(
    sends: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even a worker that is started anew begins at nothing."""
    payload = sends(flooded(TAKEN["large outputs"]))
    monkeypatch.setattr("grader.isolation.client._MOST_RECEIVED", 2 * len(payload))
    kinds = [run.finding and run.finding.kind for run in judged(payload)]
    assert kinds[1:] == ["protocol"] * (REQUESTS - 1) and kinds[0] != "protocol"


def test_an_honest_worker_cuts_what_it_has_too_much_of() -> None:
    long = "x" * 100_000
    honest = Observation(
        interruption=Interruption(Kind.EXCEPTION, long, long, (Frame(long, 1, long, long),)),
        modified=(long,) * 5_000,
        disturbed=(long,),
        banned=(BanHit(1, long, "torch.softmax"),) * 5_000,
        calls=(*(Call("first", long),) * 100, *(Call("f"),) * 5_000, Call("last")),
        printed="\n" * MANY,
    )
    few = replace(honest, modified=("x",), calls=honest.calls[-5_000:])
    seen = unpack_observation(pack_observation(few))
    assert len(seen.printed) == MOST_PRINTED + 1 and len(seen.banned) == MOST_HITS
    assert seen.calls[-1] == Call("last") and len(seen.calls) == 1_000
    assert seen.interruption is not None and len(seen.interruption.frames[0].text) == LONGEST_TEXT
    with pytest.raises(ValueError, match="bytes of plain values"):
        pack_observation(honest)


def test_printed_lines_are_cut_with_a_note() -> None:
    assert printed_lines("one\ntwo") == ["one", "two"]
    for long in ("x" * (MOST_PRINTED + 1), "\n" * MOST_PRINTED):
        *lines, note = printed_lines(long)
        most = "at most 20,000 characters and 1,000 lines are shown for each test"
        assert note == f"… and more: {most}"
        assert len(lines) <= 1_000


@pytest.mark.parametrize(
    "value",
    [nested_lists(30, 1), [[[]] * 200] * 200, "x" * 200_000, 10**5_000],
    ids=["depth", "values", "characters", "digits"],
)
def test_an_output_that_is_too_much_is_told_by_its_kind(value: Any) -> None:
    assert isinstance(_output(value), Opaque)


def test_a_list_that_holds_itself_many_times_is_looked_at_once_in_a_while() -> None:
    inside: list[Any] = []
    inside += [inside] * 10
    assert isinstance(_output(inside), Opaque)


@pytest.mark.parametrize(
    "value",
    [
        torch.empty(0, 1 << 40),
        torch.empty([1] * 40),
        torch.empty(1 << 21, dtype=torch.float64),
        torch.empty(2, dtype=torch.float8_e4m3fn),
    ],
    ids=["a shape of nothing", "dimensions", "size", "dtype"],
)
def test_so_is_a_tensor(value: torch.Tensor) -> None:
    assert isinstance(_output(value), Opaque)


@pytest.mark.skipif(not hasattr(select, "poll"), reason="workers have sockets on Linux alone")
def test_who_sends_byte_by_byte_is_listened_to_once_in_a_while() -> None:
    ours, theirs = socket.socketpair()
    stream = SocketStream(ours)
    frame = framed(b"little")
    theirs.send(frame[:9])
    with patch("grader.isolation.streams.time.sleep", side_effect=lambda _: theirs.send(frame[9:])):
        assert stream.receive(0.5) == b"little"  # what is left comes in the pause
    stream.close()
    theirs.close()
