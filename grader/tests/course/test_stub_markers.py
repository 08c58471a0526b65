"""A stub follows from its solution and nothing else; unclear markers make none."""

import ast
import runpy
from pathlib import Path

import pytest

from grader.course.stub_markers import MarkerError, make_stub, public_surface

SOLUTION = '''"""ex01: the lesson of this file."""

import math

# BEGIN SOLUTION
SCALE = 2.0


def _helper(x: float) -> float:
    """Vanishes."""
    return SCALE * x


# END SOLUTION


def double(x: float, *, twice: bool = False) -> float:
    """Double x.

    # BEGIN SOLUTION is text here, not a marker.


    Two blank lines above belong to this docstring.
    """
    # BEGIN SOLUTION
    if twice:
        return _helper(_helper(x))
    return _helper(x)
    # END SOLUTION


class Layer(dict):
    """A layer."""

    size: int = 3

    # BEGIN SOLUTION
    hidden = math.pi

    # END SOLUTION

    def __init__(self, size: int) -> None:
        """Keep the size."""
        self.size = size
        # BEGIN SOLUTION
        self.half = size // 2
        # END SOLUTION

    @property
    def width(self) -> int:
        # BEGIN SOLUTION
        return self.half
        # END SOLUTION
'''

STUB = '''"""ex01: the lesson of this file."""

import math


def double(x: float, *, twice: bool = False) -> float:
    """Double x.

    # BEGIN SOLUTION is text here, not a marker.


    Two blank lines above belong to this docstring.
    """
    # your code here
    raise NotImplementedError


class Layer(dict):
    """A layer."""

    size: int = 3

    def __init__(self, size: int) -> None:
        """Keep the size."""
        self.size = size
        # your code here
        raise NotImplementedError

    @property
    def width(self) -> int:
        # your code here
        raise NotImplementedError
'''


def marked(code: str) -> str:
    """Code with `[` and `]` lines for the two markers."""
    lines = []
    for line in code.strip("\n").split("\n"):
        text = line.strip()
        marker = {"[": "# BEGIN SOLUTION", "]": "# END SOLUTION"}.get(text, text)
        lines.append(line.replace(text, marker, 1) if text else "")
    return "\n".join(lines) + "\n"


def stub_of(code: str) -> str:
    return make_stub(marked(code), "solutions/ex01_a.py")


def test_a_stub_is_the_solution_without_its_marked_lines() -> None:
    """Blocks in functions raise, other blocks vanish, the rest stays as it is."""
    assert make_stub(SOLUTION, "solutions/ex01_a.py") == STUB


def test_windows_line_ends_and_a_byte_order_mark_make_the_same_stub() -> None:
    """How git checked the solution out does not show in the stub."""
    assert make_stub("\ufeff" + SOLUTION.replace("\n", "\r\n"), "s.py") == STUB


@pytest.mark.parametrize("end", ["", "\n", "\n\n\n\n"])
def test_a_stub_ends_in_one_newline(end: str) -> None:
    """However the solution's file ends."""
    assert make_stub(SOLUTION.rstrip("\n") + end, "s.py") == STUB


def test_every_block_of_a_function_raises() -> None:
    """Unmarked lines between them stay."""
    code = """
def f(x):
    a = 1
    [
    b = a
    ]
    c = 3

    [
    d = b
    ]

    return c + d
"""
    assert (
        stub_of(code)
        == """def f(x):
    a = 1
    # your code here
    raise NotImplementedError
    c = 3

    # your code here
    raise NotImplementedError

    return c + d
"""
    )


def test_a_block_after_a_branch_raises_as_well(tmp_path: Path) -> None:
    """A raise that may be skipped must not let the stub return None like an answer."""
    code = """
def f(x):
    if x:
        [
        return 1
        ]
    else:
        [
        y = 2
        ]
        [
        z = 2
        ]
    for _ in x:
        y = 3
        [
        y = 4
        ]
    [
    return 2
    ]
"""
    stub = stub_of(code)
    assert stub.count("raise NotImplementedError") == 5
    file = tmp_path / "stub.py"
    file.write_text(stub, encoding="utf-8")
    function = runpy.run_path(str(file))["f"]
    for argument in ([], [1]):
        with pytest.raises(NotImplementedError):
            function(argument)


def test_a_block_in_an_inner_function_raises_on_its_own() -> None:
    """What matters is the innermost function, in either order."""
    code = """
def outer(x):
    [
    a = 1
    ]

    def inner():
        [
        return a
        ]

    [
    return inner
    ]


async def other():
    [
    return 1
    ]
"""
    stub = stub_of(code)
    assert stub.count("raise NotImplementedError") == 4
    assert "        raise NotImplementedError\n\n    # your code here" in stub
    assert "    raise NotImplementedError\n\n\nasync def other" in stub


@pytest.mark.parametrize(
    "suite",
    [
        "while x:\n        [\n        y = 1\n        ]",
        "try:\n        x = 1\n    except OSError:\n        [\n        y = 1\n        ]",
        "try:\n        x = 1\n    finally:\n        [\n        y = 1\n        ]",
        "match x:\n        case 1:\n            [\n            y = 1\n            ]",
        "with x:\n        [\n        y = 1\n        ]",
        "if x:\n        y = 2\n    elif y:\n        [\n        y = 1\n        ]",
    ],
)
def test_a_block_may_stand_in_any_suite_of_a_function(suite: str) -> None:
    """The raise takes the block's place at its indentation."""
    stub = stub_of(f"def f(x):\n    {suite}\n    return x\n")
    expected = f"def f(x):\n    {suite}\n    return x\n"
    for indent in (" " * 8, " " * 12):
        block = f"{indent}[\n{indent}y = 1\n{indent}]"
        expected = expected.replace(
            block, f"{indent}# your code here\n{indent}raise NotImplementedError"
        )
    assert stub == expected


def test_a_class_inside_a_function_loses_its_block() -> None:
    """The innermost function or class decides whether a block raises."""
    code = """
def f():
    class A:
        b = 1
        [
        c = 2
        ]
    return A
"""
    assert stub_of(code) == "def f():\n    class A:\n        b = 1\n    return A\n"


def test_blank_lines_are_not_doubled_where_a_block_vanished() -> None:
    """Two neighbouring blocks leave one gap, and a first or last block leaves none."""
    code = """
[
A = 1
]

[
B = 1
]

C = 1

[
D = 1
]

[
E = 1
]


F = 1


G = '''



'''


[
H = 1
]
"""
    assert stub_of(code) == "C = 1\n\n\nF = 1\n\n\nG = '''\n\n\n\n'''\n"


def test_a_decorated_function_vanishes_with_its_decorator() -> None:
    """A decorator belongs to the statement that a block takes away."""
    code = "A = 1\n[\n@cached\ndef f():\n    return 1\n]\n"
    assert stub_of(code) == "A = 1\n"


@pytest.mark.parametrize(
    "code",
    [
        "x = (\n    # BEGIN SOLUTION\n    'mine',\n    # END SOLUTION\n)",
        "def f(x):\n    if x:\n        [\n        'mine'\n    else:\n        'mine'\n        ]",
        "def f(x):\n    if x:\n        y = 1\n    [\n    else:\n        'mine'\n    ]",
        "def f(x):\n    if x:\n        y = 1\n        [\n        'mine'\n    z = 'mine'\n        ]",
        "[\nx = 'mine'\n]",
    ],
)
def test_nothing_between_two_markers_is_handed_out(code: str) -> None:
    """A block is cut by its lines, even if it goes through the middle of a statement."""
    stub = stub_of(code)
    ast.parse(stub)
    assert "mine" not in stub and "SOLUTION" not in stub


REFUSED = {
    "nothing marked": ("def f():\n    return 1", 1, "this stub would be the answer"),
    "not Python": ("def f(:\n    return 1", 1, "not Python"),
    "never ended": ("x = 1\n[\ny = 1", 2, "with no `# END SOLUTION` after it"),
    "never begun": ("x = 1\n]\ny = 1", 2, "`# END SOLUTION`, want `# BEGIN SOLUTION`"),
    "ended twice": ("[\nx = 1\n]\n]", 4, "`# END SOLUTION`, want `# BEGIN SOLUTION`"),
    "nested": ("[\nx = 1\n[\ny = 1\n]\n]", 3, "want `# END SOLUTION` to end the block of line 1"),
    "empty": ("[\n# nothing\n\n]\nx = 1", 1, "without code"),
    "other indentation": ("def f():\n    [\n    return 1\n]", 4, "want `    # END SOLUTION`"),
    "not indented like its code": (
        "def f():\n[\n    return 1\n]",
        1,
        "want whole statements in a block",
    ),
    "half a statement": (
        "[\nif x:\n    y = 1\n]\n    z = 1",
        1,
        "want whole statements in a block",
    ),
    "from inside a list": (
        "x = [\n# BEGIN SOLUTION\n1]\ny = 2\n# END SOLUTION",
        1,
        "want whole statements in a block",
    ),
    "a decorator alone": (
        "[\n@cached\n]\ndef f():\n    return 1",
        1,
        "signatures or docstrings in the stub (f)",
    ),
    "parameters": (
        "def f(\n    # BEGIN SOLUTION\n    x,\n    # END SOLUTION\n):\n    return 1",
        1,
        "want whole statements in a block",
    ),
    "whole class": ("class A:\n    [\n    b = 1\n    ]", 1, "want whole statements in a block"),
    "import of the module": ("x = 1\n[\nimport math\n]", 3, "outside the markers"),
    "import in a function": (
        "def f():\n    [\n    if 1:\n        from math import pi\n    return pi\n    ]",
        4,
        "outside the markers",
    ),
    "docstring of a function": (
        'def f():\n    [\n    """Text."""\n    return 1\n    ]',
        1,
        "docstrings in the stub (f)",
    ),
    "docstring of a method in a branch": (
        'if 1:\n  class A:\n    def f(self):\n      [\n      """Text."""\n      ]',
        1,
        "docstrings in the stub (A.f)",
    ),
    "docstring of the module": ('[\n"""Text."""\n]\nx = 1', 1, "(<module>)"),
    "behind code": ("x = 1  # BEGIN SOLUTION\ny = 1\n]", 1, "on a line of its own"),
    "lower case": ("# begin solution\nx = 1\n# end solution", 1, "`# begin solution`, want"),
    "nbgrader's": ("### BEGIN SOLUTION\nx = 1\n### END SOLUTION", 1, "`### BEGIN SOLUTION`"),
    "no space": ("#BEGIN SOLUTION\nx = 1\n#END SOLUTION", 1, "`#BEGIN SOLUTION`"),
    "with a note": ("# BEGIN SOLUTION (easy)\nx = 1\n]", 1, "(easy)`"),
    "with a hyphen": ("[\nx = 1\n# END-SOLUTION", 3, "`# END-SOLUTION`"),
}


@pytest.mark.parametrize(("code", "line", "words"), REFUSED.values(), ids=REFUSED)
def test_wrong_markers_are_refused_by_file_and_line(code: str, line: int, words: str) -> None:
    """A marker that does not say clearly what to hide stops the stub from being made."""
    with pytest.raises(MarkerError) as caught:
        stub_of(code)
    assert str(caught.value).startswith(f"solutions/ex01_a.py:{line}: ")
    assert words in str(caught.value)


def test_the_surface_lists_what_the_stub_shares_with_its_solution() -> None:
    """Names, signatures and docstrings outside the blocks, methods and decorators included."""
    surface = public_surface(SOLUTION)
    assert surface == public_surface(STUB)
    assert list(surface) == ["<module>", "double", "Layer", "Layer.__init__", "Layer.width"]
    assert surface["<module>"] == ("", "ex01: the lesson of this file.")
    assert surface["double"][0] == "def double(x: float, *, twice: bool=False) -> float"
    assert surface["Layer"] == ("class Layer(dict)", "A layer.")
    assert list(public_surface("def f():\n    def g(): ...\n    class A: ...\n")) == [
        "<module>",
        "f",
    ]
    assert surface["Layer.width"] == ("@property\ndef width(self) -> int", None)


def test_a_stub_parses_and_is_made_the_same_way_each_time() -> None:
    """Two runs agree, and the text is Python."""
    assert make_stub(SOLUTION, "s.py") == make_stub(SOLUTION, "s.py")
    ast.parse(make_stub(SOLUTION, "s.py"))
