"""Answers without tensors: their outputs are sent, their arguments watched, their work counted."""

import sys
from types import ModuleType
from typing import Any

import pytest
import torch

from grader.observation.calls import describe
from grader.observation.codec import ProtocolError, pack_observation, unpack_observation
from grader.observation.conditions import Condition, other_question, refused_question
from grader.observation.late import late_imports
from grader.observation.observe import observe
from grader.observation.record import Observation, Opaque, Request
from tests.support import lines_executed

VOCAB = {0: b"<|x|>", 1: b"\xff\x00", "a": [b""], b"k": (1, None)}


@pytest.mark.parametrize("value", [VOCAB, [(b"a", b"\xe4")], {}, {-(10**20): True}, b""])
def test_bytes_and_keys_of_any_plain_kind_arrive(value: Any) -> None:
    sent = Observation(outputs={"result": value})
    arrived = unpack_observation(pack_observation(sent)).outputs["result"]
    assert arrived == value and type(arrived) is type(value)


@pytest.mark.parametrize(
    "packed",
    [
        '{"pairs": [[{"int": "1"}]]}',
        '{"pairs": [[{"list": []}, null]]}',
        '{"pairs": {"a": 1}}',
        '{"bytes": "x"}',
        '{"bytes": 3}',
        '{"pairs": [' + ",".join(['[{"int": "1"}, null]'] * 10_001) + "]}",
        '{"bytes": "' + "00" * 100_001 + '"}',
    ],
)
def test_what_only_resembles_them_is_refused(packed: str) -> None:
    text = pack_observation(Observation(outputs={"a": 1}))
    length = int.from_bytes(text[:8], "little")
    header = text[8 : 8 + length].replace(b'{"int": "1"}', packed.encode(), 1)
    with pytest.raises(ProtocolError):
        unpack_observation(len(header).to_bytes(8, "little") + header + text[8 + length :])


def test_bytes_are_described() -> None:
    assert describe(b"\xe4a") == "the bytes b'\\xe4a'"


def module_of(text: str) -> ModuleType:
    module = ModuleType("answer")
    module.__file__ = "answer.py"
    exec(text, vars(module))
    return module


def seen_of(text: str, **inputs: Any) -> Observation:
    request = Request(lambda m, x: m.f(x), inputs)
    return observe(module_of(text), request, frozenset())[0]


def test_a_key_that_cannot_be_sent_is_described() -> None:
    assert seen_of("def f(x): return [{(1, 2): 3}]", x=1).outputs == {
        "result": Opaque("a list of 1 (a dict)")
    }
    assert seen_of("def f(x): return [{1: b'a'}]", x=1).outputs == {"result": [{1: b"a"}]}


@pytest.mark.parametrize(
    ("value", "change"),
    [
        ([3, 1], "x.sort()"),
        ([3, 1], "x.append(1)"),
        (["a", ["b"]], "x[1].clear()"),
        ({1: b"a"}, "x[1] = b'b'"),
        ({1: b"a", 2: b"b"}, "x[1] = x.pop(1)"),
        ({"a": [1]}, "x['a'][0] = True"),
    ],
)
def test_a_list_or_dict_that_is_changed_is_seen(value: Any, change: str) -> None:
    before = repr(value)
    seen = seen_of(f"def f(x): {change}", x=value)
    assert seen.modified == (f"x:{type(value).__name__}",)
    assert repr(value) == before
    assert not seen_of("def f(x): return x", x=value).modified


def test_one_in_a_tuple_is_seen_and_called_by_its_place() -> None:
    seen = seen_of("def f(x): x[1][1].append(2)", x=("a", ({1: 2}, [3])))
    assert seen.modified == ("x.1.1:list",)
    assert not seen_of("def f(x): return x", x=("a", ({1: 2}, [3]))).modified


@pytest.mark.parametrize("condition", [Condition.AGAIN, Condition.ANOTHER, Condition.REFUSED])
@pytest.mark.parametrize("more", [torch.ones(2), [3]])
def test_another_question_leaves_what_will_be_asked_next_alone(
    condition: Condition, more: Any
) -> None:
    value = ({1: b"a"}, [b"b"], more)
    before = repr(value)
    request = Request(lambda m, x: m.f(x), {"x": value}, conditions=frozenset({condition}))
    answer = module_of("def f(x): x[0].clear(), x[1].clear(), x[2].__imul__(0)")
    observe(answer, request, frozenset())
    assert repr(value) == before


def test_another_question_has_other_texts_and_lists() -> None:
    inputs = {"text": "abc", "texts": ["ab", "cd"], "ids": [1, 2, 3], "size": 5}
    other = {"text": "bca", "texts": ["ba", "dc"], "ids": [2, 3, 1], "size": 5}
    assert other_question(inputs) == other


def test_a_refused_question_ends_with_what_cannot_be_used() -> None:
    assert refused_question({"size": 5, "ids": [1, 2]}) == {"size": 5, "ids": [1, 2, None]}
    (text,) = refused_question({"text": "abc"}).values()
    with pytest.raises(UnicodeEncodeError):
        text.encode()


def looped(times: int) -> None:
    for _ in range(times):
        pass


def test_lines_are_counted_round_by_round() -> None:
    more = lines_executed(lambda: looped(30)) - lines_executed(lambda: looped(10))
    assert more == 40


def test_whoever_traced_before_traces_on() -> None:
    events = []

    def tracer(frame: Any, event: str, argument: Any) -> None:
        events.append(frame.f_code.co_name)

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        lines_executed(lambda: looped(3))
        events.clear()
        looped(1)
        with pytest.raises(ZeroDivisionError):
            lines_executed(lambda: 1 / 0)
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(before)
    assert "looped" in events


@pytest.mark.parametrize("text", ["P = regex.compile(x)", "self.compiled = re.compile(y)"])
def test_a_compiled_pattern_waits_for_no_compiler(text: str) -> None:
    assert late_imports(text) == ()
    assert late_imports("f = torch.compile(f)")
