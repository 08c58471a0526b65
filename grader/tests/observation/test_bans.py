"""What counts as calling the built-in, and what does not."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.masked
import torch.nn.functional as F
import torch.optim

import grader
from grader import observation
from grader.observation.answer import Answer, Source
from grader.observation.bans import BanHit, BanWatch, UnreadableSource, scan_source
from grader.observation.bans.call_watch import _is_transparent
from grader.observation.cost import CostMeter
from grader.observation.observe import Request, load, observe

SOFTMAX = "torch.nn.functional.softmax"
LOG_SOFTMAX = "torch.nn.functional.log_softmax"
ATTENTION = "torch.nn.functional.scaled_dot_product_attention"
RMS_NORM = "torch.nn.RMSNorm"
LAYER_NORM = "torch.nn.functional.layer_norm"
CLIP = "torch.nn.utils.clip_grad_norm_"
OPTIM = "torch.optim"
TOKENIZERS = "tokenizers"
ALL = (SOFTMAX, LOG_SOFTMAX, ATTENTION, RMS_NORM, LAYER_NORM, CLIP, OPTIM, TOKENIZERS)

FILE = "exercises/ex03_attention.py"

IMPORTS = """\
import functools, importlib, operator, sys
import torch, torch.masked, torch.optim
from torch import nn
import torch.nn.functional as F
"""


def lines(source: str, *bans: str) -> list[int]:
    return [hit.line for hit in scan_source(dedent(source), bans or ALL)]


# Every spelling: the ban, and an expression in which `x`, `q` and `p` are a tensor [3, 4], a
# tensor [1, 1, 3, 4] and a list of one parameter with a gradient.
SPELLINGS = [
    (SOFTMAX, "F.softmax(x, dim=-1)"),
    (SOFTMAX, "torch.softmax(x, -1)"),
    (SOFTMAX, "x.softmax(-1)"),
    (SOFTMAX, "x.float().mul(2).softmax(-1)"),
    (SOFTMAX, "torch.Tensor.softmax(x, -1)"),
    (SOFTMAX, "type(x).softmax(x, -1)"),
    (SOFTMAX, "torch.special.softmax(x, -1)"),
    (SOFTMAX, "torch.masked.softmax(x, -1)"),
    (SOFTMAX, "nn.Softmax(dim=-1)(x)"),
    (SOFTMAX, "torch.nn.modules.activation.Softmax(dim=-1)(x)"),
    (SOFTMAX, "nn.Softmax2d()(x[None])"),
    (SOFTMAX, "F.softmin(-x, -1)"),
    (SOFTMAX, "F.gumbel_softmax(x)"),
    (SOFTMAX, "torch._softmax(x, -1, False)"),
    (SOFTMAX, "torch._VF.softmax(x, -1)"),
    (SOFTMAX, "torch._C._VariableFunctions.softmax(x, -1)"),
    (SOFTMAX, "torch._C._special.special_softmax(x, -1)"),
    (SOFTMAX, "torch.ops.aten.softmax.int(x, -1)"),
    (SOFTMAX, "torch.ops.aten._softmax.default(x, -1, False)"),
    (SOFTMAX, "torch.ops.aten._safe_softmax(x, -1)"),
    (SOFTMAX, "functools.partial(F.softmax, dim=-1)(x)"),
    (SOFTMAX, "list(map(lambda row: torch.softmax(row, 0), x))"),
    (SOFTMAX, "torch.vmap(lambda row: row.softmax(0))(x)"),
    (LOG_SOFTMAX, "F.log_softmax(x, -1).exp()"),
    (LOG_SOFTMAX, "x.log_softmax(-1)"),
    (LOG_SOFTMAX, "nn.LogSoftmax(-1)(x)"),
    (LOG_SOFTMAX, "torch.special.log_softmax(x, -1)"),
    (LOG_SOFTMAX, "torch.ops.aten._log_softmax.default(x, -1, False)"),
    (ATTENTION, "F.scaled_dot_product_attention(q, q, q)"),
    (ATTENTION, "torch._C._nn.scaled_dot_product_attention(q, q, q)"),
    (ATTENTION, "torch.ops.aten.scaled_dot_product_attention(q, q, q)"),
    (ATTENTION, "torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default(q, q, q)"),
    (ATTENTION, "torch._scaled_dot_product_attention_math(q, q, q)"),
    (ATTENTION, "nn.MultiheadAttention(4, 2)(x, x, x)"),
    (ATTENTION, "nn.TransformerEncoderLayer(4, 2, 8)(x)"),
    (RMS_NORM, "F.rms_norm(x, (4,))"),
    (RMS_NORM, "nn.RMSNorm(4)(x)"),
    (RMS_NORM, "torch.rms_norm(x, (4,))"),
    (RMS_NORM, "torch.ops.aten.rms_norm.default(x, [4])"),
    (RMS_NORM, "torch.ops.aten._fused_rms_norm.default(x, [4], None, None)"),
    (LAYER_NORM, "F.layer_norm(x, (4,))"),
    (LAYER_NORM, "nn.LayerNorm(4)(x)"),
    (LAYER_NORM, "torch.layer_norm(x, (4,))"),
    (LAYER_NORM, "torch.native_layer_norm(x, (4,), None, None, 1e-5)"),
    (LAYER_NORM, "torch.ops.aten.native_layer_norm.default(x, [4], None, None, 1e-5)"),
    (CLIP, "torch.nn.utils.clip_grad_norm_(p, 1.0)"),
    (CLIP, "nn.utils.clip_grad.clip_grad_norm_(p, 1.0)"),
    (CLIP, "nn.utils.get_total_norm([w.grad for w in p])"),
    (CLIP, "nn.utils.clip_grads_with_norm_(p, 1.0, torch.tensor(2.0))"),
    (OPTIM, "torch.optim.AdamW(p).step()"),
    (OPTIM, "(torch.optim if p else torch).SGD(p).step()"),
    (OPTIM, "(None or torch.optim).SGD(p).step()"),
]

# Those that nobody can read, since a string becomes a name only when they run.
AT_RUN_TIME = [
    (OPTIM, "importlib.import_module('torch.optim.sgd').SGD(p).step()"),
    (OPTIM, "getattr(torch.optim, 'Adam')(p).step()"),
    (OPTIM, "__import__('torch').optim.SGD(p).step()"),
    (OPTIM, "__import__('torch.optim').optim.SGD(p).step()"),
    (OPTIM, "__import__('torch.optim', fromlist=['']).SGD(p).step()"),
]

# Ways round a reader, all of which end in a softmax: a detour that still names it,
DETOURS = [
    "getattr(getattr(torch, 'nn'), 'functional').softmax(x, -1)",
    "sys.modules['torch'].softmax(x, -1)",
    "importlib.import_module('torch.nn.functional').softmax(x, -1)",
    "__import__('torch').softmax(x, -1)",
    "__import__('torch.nn.functional', fromlist=['']).softmax(x, -1)",
    "__import__('torch.nn.functional').nn.functional.softmax(x, -1)",
    "globals()['F'].softmax(x, -1)",
    "functools.singledispatch(torch.softmax)(x, -1)",
    "(F if True else torch).softmax(x, -1)",
    "(lambda f=F.softmax: f(x, -1))()",
    "[f(x, -1) for f in (F.softmax,)]",
]
# and a name that is a string, or no name at all, until it runs.
EVASIONS = [
    *DETOURS,
    "getattr(F, 'softmax')(x, -1)",
    "getattr(x, 'softmax')(-1)",
    "getattr(x, 'soft' + 'max')(-1)",
    "getattr(x, f'soft{\"max\"}')(-1)",
    "x.__getattribute__('softmax')(-1)",
    "torch.Tensor.__getattribute__(x, 'softmax')(-1)",
    "F.__dict__['softmax'](x, -1)",
    "F.__dict__.get('softmax')(x, -1)",
    "vars(F)['softmax'](x, -1)",
    "sys.modules['torch.nn.functional'].__dict__['softmax'](x, -1)",
    "operator.attrgetter('nn.functional.softmax')(torch)(x, -1)",
    "operator.methodcaller('softmax', -1)(x)",
    "eval('F.softmax(x, -1)')",
    "[getattr(torch, name)(x, -1) for name in ('softmax',)]",
    "__import__('builtins').getattr(x, 'softmax')(-1)",
    "getattr(x, 'xamtfos'[::-1])(-1)",
    "getattr(F, ''.join(chr(c) for c in (115, 111, 102, 116, 109, 97, 120)))(x, -1)",
    "next(f for n, f in vars(F).items() if len(n) == 7 and n[:5] == 'softm')(x, -1)",
    "eval(compile('x.soft' + 'max(-1)', '<string>', 'eval'))",
]


class TestSourceFinds:
    @pytest.mark.parametrize(("ban", "spelling"), SPELLINGS)
    def test_every_spelling(self, ban: str, spelling: str) -> None:
        """A ban covers function, method, module and kernel under every name."""
        source = f"{IMPORTS}def answer(x, q, p):\n    return {spelling}\n"
        hits = scan_source(source, [ban])
        assert [(hit.line, hit.ban) for hit in hits] == [(6, ban)]

    @pytest.mark.parametrize("detour", DETOURS)
    def test_every_detour_that_names_it(self, detour: str) -> None:
        """However the function was reached, its own name is a use."""
        source = f"{IMPORTS}def answer(x):\n    return {detour}\n"
        assert {hit.line for hit in scan_source(source, [SOFTMAX])} == {6}

    @pytest.mark.parametrize(
        "source",
        [
            "import torch as t\ny = t.softmax(x, -1)",
            "import torch.nn.functional as G\ny = G.softmax(x, -1)",
            "from torch.nn import functional as G\ny = G.softmax(x, -1)",
            "from torch import nn as layers\ny = layers.functional.softmax(x, -1)",
            "from torch import softmax\ny = softmax(x, -1)",
            "from torch.nn.functional import softmax as s\ny = s(x, -1)",
            "from torch.nn.functional import *\ny = softmax(x, -1)",
            "from torch import *\ny = nn.Softmax(-1)(x)",
            "import torch; a = torch.nn; b = a.functional; s = b; z = s\ny = z.softmax(x, -1)",
            "import torch; (a := torch.nn.functional)\ny = a.softmax(x, -1)",
            "import importlib as i; load = i.import_module; G = load('torch.nn.functional')\n"
            "y = G.softmax(x, -1)",
        ],
    )
    def test_every_alias(self, source: str) -> None:
        """Another name for a module or function hides nothing."""
        assert 2 in lines(source, SOFTMAX)

    def test_the_spelling_is_the_full_name(self) -> None:
        """A hit names what was used in full, whatever it is called in the file."""
        source = (
            "from torch.nn.functional import softmax as s\ndef f(x):\n    return s(x).softmax(0)"
        )
        assert {hit.spelling for hit in scan_source(source, [SOFTMAX])} == {
            "torch.nn.functional.softmax",
            "torch.Tensor.softmax",
        }

    def test_any_member_of_a_family_bans_all_of_it(self) -> None:
        """Whichever spelling the syllabus bans, all the others are banned with it."""
        source = "import torch\nclass Norm(torch.nn.RMSNorm): pass"
        for ban in ("torch.rms_norm", "torch.nn.functional.rms_norm", "torch.nn.RMSNorm"):
            assert scan_source(source, [ban]) == [BanHit(2, "torch.nn.RMSNorm", ban)]

    @pytest.mark.parametrize(
        "source",
        [
            "import tokenizers",
            "import tokenizers.models as m",
            "from tokenizers import Tokenizer",
            "import tiktoken",
            "from sentencepiece import SentencePieceProcessor",
            "from transformers import AutoTokenizer",
            "import importlib; importlib.import_module('tokenizers.models')",
            "__import__('tokenizers')",
        ],
    )
    def test_any_import_of_a_banned_library(self, source: str) -> None:
        """Importing a tokenizer library, any of them, is using it."""
        assert lines(source, TOKENIZERS) == [1]

    def test_any_other_library_that_is_banned_by_name(self) -> None:
        """A library without a family is banned with all that is in it."""
        assert lines("import regex\nfrom numpy.linalg import norm", "numpy") == [2]

    @pytest.mark.parametrize(
        "source",
        [
            "from torch.nn import RMSNorm",
            "from torch.nn import RMSNorm as Norm",
            "try:\n    from torch.nn import RMSNorm\nexcept ImportError:\n    pass",
            "from torch.nn import RMSNorm\nif x:\n    class RMSNorm: pass",
            "class RMSNorm: pass\nfrom torch.nn import RMSNorm",
            "class Layers:\n    from torch.nn import RMSNorm",
        ],
    )
    def test_a_built_in_that_the_module_hands_out(self, source: str) -> None:
        """Importing the built-in under the name of the answer is the whole cheat."""
        assert lines(source, RMS_NORM)

    def test_a_star_that_hands_out_the_answer(self) -> None:
        """A star import stands for the names that the exercise asks for and the file lacks."""
        source = "from torch.nn import *"
        assert scan_source(source, [RMS_NORM], asked=["RMSNorm"])[0].line == 1
        own = source + "\nclass RMSNorm(Module): pass"
        assert scan_source(own, [RMS_NORM, LAYER_NORM], asked=["RMSNorm"]) == []

    def test_an_own_definition_that_is_only_a_decoy(self) -> None:
        """A definition that another import replaces, or may not replace, excuses nothing."""
        assert lines(
            """\
            def softmax(x): ...
            def attention(x):
                from torch.nn.functional import softmax
                return softmax(x)
            """
        ) == [4]
        assert 5 in lines(
            """\
            from torch import softmax
            if False:
                def softmax(x): ...
            def attention(x):
                return softmax(x)
            """
        )

    def test_a_tensor_method_beside_an_own_function(self) -> None:
        """Defining a function `softmax` does not make `x.softmax` one's own."""
        source = "def softmax(x): ...\ndef f(x):\n    return softmax(x) + x.softmax(-1)"
        assert scan_source(source, [SOFTMAX]) == [BanHit(3, "torch.Tensor.softmax", SOFTMAX)]

    def test_a_tensor_method_beside_an_own_method(self) -> None:
        """Defining a method `softmax` does not make a tensor's one's own."""
        source = """\
            class Attention:
                def softmax(self, x): ...
                def forward(self, x):
                    return self.softmax(x) + x.softmax(-1)
            """
        assert lines(source) == [4]

    def test_a_tensor_that_an_own_object_gave(self) -> None:
        """What an object of one's own returns is a tensor again."""
        source = """\
            class Attention:
                def softmax(self, x): ...
                def forward(self, x):
                    return self(x).softmax(-1)
            """
        assert lines(source) == [4]

    def test_a_method_that_self_does_not_define(self) -> None:
        """`self.softmax` is one's own only where the file says so."""
        source = "class T(torch.Tensor):\n    def f(self):\n        return self.softmax(-1)"
        assert lines("import torch\n" + source) == [4]

    def test_a_built_in_behind_an_attribute(self) -> None:
        """Storing a module of torch in an object hides nothing."""
        source = "class A:\n    F = torch.nn.functional\n    def f(self, x):\n        "
        assert lines(f"import torch\n{source}return self.F.rms_norm(x, (4,))") == [5]

    def test_a_name_that_only_the_class_has_replaced(self) -> None:
        """What a class calls a name is not what its methods call it."""
        source = "from torch import softmax as s\nclass A:\n    s = None\n    def f(self, x): s(x)"
        assert lines(source) == [1, 4]

    def test_hits_come_by_line(self) -> None:
        """Hits are listed from the top of the file, also those in functions."""
        source = "def f(x):\n    return x.softmax(0)\ny = x.softmax(1)\nz = x.log_softmax(1)"
        assert lines(source) == [2, 3, 4]


RIGHT = {
    "softmax by hand": """\
        import torch
        def softmax(x, dim=-1):
            '''Like torch.softmax(x, dim) and F.softmax.'''
            # x.softmax(dim) would do, but is banned: torch.nn.functional.softmax
            shifted = (x - x.amax(dim, keepdim=True)).exp()
            return shifted / shifted.sum(dim, keepdim=True)
        def attention(q, k, v):
            return softmax(q @ k.mT) @ v
        """,
    "softmax by logsumexp": """\
        import torch
        def softmax(x, dim=-1):
            return (x - torch.logsumexp(x, dim, keepdim=True)).exp() + x.logsumexp(0) * 0
        """,
    "an own softmax instead of an imported one": """\
        from torch.nn.functional import softmax
        def softmax(x, dim=-1):
            return x.exp()
        y = softmax(1)
        """,
    "an own softmax that is defined last": """\
        def attention(x):
            return softmax(x)
        def softmax(x):
            return x.exp()
        """,
    "an own softmax from another exercise": """\
        from .ex03_attention import softmax
        from . import ex03_attention
        def attention(x):
            return softmax(x) + ex03_attention.softmax(x)
        """,
    "an own method": """\
        from torch import nn
        class Base(nn.Module):
            def softmax(self, x):
                return x.exp()
        class Attention(Base):
            def __init__(self):
                super().__init__()
                self.scaled_dot_product_attention = self.softmax
            def softmax(self, x):
                return super().softmax(x) + self.rms_norm(x)
            def forward(self, x):
                return self.softmax(x) + self.scaled_dot_product_attention(x)
            rms_norm: object
        attention = Attention()
        y = attention.softmax(1) + Attention.softmax(attention, 1)
        """,
    "an own module of the same name": """\
        import torch
        from torch import nn
        class RMSNorm(nn.Module):
            def __init__(self, dim, eps=1e-5):
                super().__init__()
                self.weight = nn.Parameter(torch.ones(dim))
                self.norm_eps = eps
            def forward(self, x):
                return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, True) + self.norm_eps)
        class Block(nn.Module):
            def __init__(self, config):
                super().__init__()
                self.rms_norm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
            def forward(self, x):
                return self.rms_norm(x)
        """,
    "a parameter of the same name": """\
        def attention(x, softmax, rms_norm=None):
            return softmax(rms_norm(x)), [softmax for softmax in x]
        """,
    "an own optimizer": """\
        import math
        import torch
        from torch.optim import Optimizer
        from torch.optim.lr_scheduler import LambdaLR
        class AdamW(Optimizer):
            def __init__(self, params, lr: float):
                super().__init__(params, {"lr": lr})
            @torch.no_grad()
            def step(self, closure=None):
                for group in self.param_groups:
                    torch._foreach_mul_(group["params"], 1 - group["lr"])
        class SGD(__import__("torch.optim").optim.Optimizer):
            pass
        def clip_grad_norm_(parameters, max_norm):
            norm = torch.nn.utils.clip_grad_value_
            total = torch.linalg.vector_norm(torch.stack([p.grad.norm() for p in parameters]))
            return total
        def train(model: torch.nn.Module, optimizer: torch.optim.AdamW) -> torch.optim.SGD:
            clip_grad_norm_(model.parameters(), 1.0)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(AdamW(model.parameters(), 1), 2)
        """,
    "names in strings": """\
        message = "use torch.softmax(x) or F.softmax"
        names = ["softmax", "rms_norm", "tokenizers"]
        table = {"softmax": 1}["softmax"] + dict(softmax=2)["softmax"] + table.get("softmax")
        has = hasattr(message, "softmax")
        raise ValueError("softmax: got 1, want 2; import tokenizers")
        """,
    "asking for a type": """\
        from torch import nn
        def initialise(module: nn.RMSNorm):
            if isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
                module.weight: nn.RMSNorm = 1
        """,
    "a comparison that only a script run makes": """\
        import torch
        def softmax(x): ...
        if __name__ == "__main__":
            from torch.optim import AdamW
            print(softmax(1) - torch.softmax(1, -1))
        """,
    "other losses and activations": """\
        import torch.nn.functional as F
        def loss(logits, labels):
            return F.cross_entropy(F.silu(logits), labels) + F.normalize(logits).logsumexp(-1)
        """,
    "regular expressions instead of a tokenizer": """\
        import regex
        class Tokenizer:
            tokenizers = []
            def encode(self, text):
                return [tokenizers for tokenizers in self.tokenizers]
        """,
    "an object of an own class": """\
        class Block:
            def rms_norm(self, x): ...
        def forward(block, x):
            return block.rms_norm(x)
        """,
    "an import that an own function replaces": """\
        from torch import softmax
        def attention(x):
            return softmax(x)
        def softmax(x): ...
        """,
    "an import that a function does not use": """\
        def attention(x):
            from torch import softmax
            return x
        """,
    "a name that a handler or a pattern binds": """\
        def attention(x):
            from torch import rms_norm, softmax
            def inner(x):
                try:
                    return x
                except ValueError as softmax:
                    print(softmax)
            def other(x):
                match x:
                    case [rms_norm, *softmax]:
                        return rms_norm + softmax
            return inner(x) + other(x)
        """,
    "a comprehension with a name of its own": """\
        def attention(rows):
            from torch import softmax
            return [softmax for softmax in rows]
        """,
    "a lone surrogate": "softmax = '\ud800'",
    "nothing": "",
    "no Python": "def softmax(x:\n",
    "null bytes": "\0",
}


class TestSourceAllows:
    @pytest.mark.parametrize("name", RIGHT)
    def test_right_code(self, name: str) -> None:
        """What the file defines itself, and what is not code, is nobody's built-in."""
        assert scan_source(dedent(RIGHT[name]), ALL) == []

    def test_what_is_not_banned(self) -> None:
        """A ban of one family says nothing of the others."""
        source = "import torch.nn.functional as F\ny = F.log_softmax(x, -1); F.layer_norm(x, (4,))"
        assert lines(source, SOFTMAX, RMS_NORM) == []

    def test_nothing_where_nothing_is_banned(self) -> None:
        """Without bans everything is allowed."""
        assert scan_source("import torch\ntorch.softmax(x, -1)", []) == []


def numbered(line: str, size: int) -> str:
    """The line with the numbers 0, 1, 2 ... in it, up to some characters."""
    return "".join(line.format(i=i, j=i + 1) for i in range(size // len(line)))


def repeated(line: str, size: int) -> str:
    return line * (size // len(line))


START = "import torch as a\nimport torch.nn.functional as F\n"
EVALUATED = "c = '" + "a.b;" * 200 + "'\n"
BOMBS: dict[str, Callable[[int], str]] = {
    "attributes": lambda n: START + repeated("a = a.a\n", n),
    "attributes in branches": lambda n: START + repeated("if x: a = a.b\n", n),
    "texts": lambda n: "a = 's'\n" + repeated("a = a + a\n", n),
    "texts that differ": lambda n: "a = b = 's'\n" + repeated("if x: a = a + b\n", n),
    "chains": lambda n: START + repeated("a" + ".b" * 90 + "\n", n),
    "chains of nothing known": lambda n: repeated("z" + ".b" * 90 + "\n", n),
    "functions": lambda n: numbered("def f{j}(x): return f{i}(x.y)\n", n),
    "functions in functions": lambda n: (
        "".join(" " * i + "def f():\n" for i in range(60)) + repeated(" " * 60 + "a;b;c\n", n)
    ),
    "scopes": lambda n: repeated("lambda: " * 60 + "z\n", n),
    "classes": lambda n: (
        numbered("class C{j}(C{i}): pass\n", n // 2) + numbered("C{i}().z\n", n // 2)
    ),
    "classes with methods": lambda n: numbered(
        "class C{j}(C{i}):\n def m(self): return self.q{i}\n", n
    ),
    "classes in classes": lambda n: (
        "".join(" " * i + f"class C{i}:\n" for i in range(60)) + repeated(" " * 60 + "y.z = 1\n", n)
    ),
    "braces": lambda n: "a = f'" + "{b}" * (n // 3) + "'\n",
    "a dictionary": lambda n: "d = {" + numbered("'{i}': {i}, ", n) + "}\n",
    "imports": lambda n: numbered("import torch.x{i} as y{i}\n", n),
    "aliases": lambda n: "import torch as v0\n" + numbered("v{j} = v{i}\n", n),
    "stars": lambda n: numbered("from torch.m{i} import *\n", n // 2) + numbered("z{i}\n", n // 2),
    "one star": lambda n: "from torch import *\n" + numbered("z{i}\n", n),
    "namespaces": lambda n: START + repeated("a = vars(a)['b']\n", n),
    "names in a text": lambda n: (
        START + "c = '" + "b." * 400 + "b'\n" + repeated("getattr(a, c)\n", n)
    ),
    "sources in a text": lambda n: START + EVALUATED + repeated("eval(c)\n", n),
}


def calls_of_scanning(source: str) -> int:
    """How many functions a scan calls, those in C too: what it takes on any machine."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        with contextlib.suppress(UnreadableSource):
            scan_source(source, ALL)
    finally:
        sys.setprofile(None)
    return calls


class TestHostileSource:
    def test_an_unknown_ban_is_an_error_of_the_syllabus(self) -> None:
        """A ban whose spellings nobody listed is refused instead of never firing."""
        with pytest.raises(
            ValueError, match=r"torch\.nn\.functional\.gelu.*grader/observation/bans/spellings\.py"
        ):
            scan_source("", ["torch.nn.functional.gelu"])
        with pytest.raises(ValueError, match=r"torch\.optim\.Optimizer"):
            BanWatch(["torch.optim.Optimizer"], [FILE])

    @pytest.mark.parametrize(
        "expression", ["x" + ".a" * 5_000, "+".join(["1"] * 10_000), "lambda: " * 1_500 + "x"]
    )
    def test_what_cannot_be_read_is_never_clean(self, expression: str) -> None:
        """A file made too deep to be read is reported, not passed."""
        with pytest.raises(UnreadableSource, match="nests too deeply"):
            scan_source(f"y = {expression}\ny.softmax(-1)", ALL)

    @pytest.mark.parametrize(
        "source",
        [
            "a = 'softmax'\n" + "a = a + a\n" * 5_000,
            "import torch as a\n" + "a = a.a\n" * 20_000,
            "a = ''\n" + "".join(f"if a:\n    a = a + '{i}'\n" for i in range(5_000)),
            "a = 'eval(a);eval(a)'\neval(a)",
            "a = 'pass'\n"
            + "".join(f"a{i} = 'eval(a{i + 1});eval(a{i + 1})'\n" for i in range(40))
            + "eval(a0)",
        ],
    )
    @pytest.mark.timeout(600)
    def test_a_source_bomb_stays_small(self, source: str) -> None:
        """Values that double with every line are given up, not followed."""
        assert scan_source(source, ALL) == []

    @pytest.mark.parametrize("bomb", BOMBS)
    def test_the_work_grows_with_the_length_alone(self, bomb: str) -> None:
        """Four times the source takes four times the calls, or is refused as too tangled."""
        calls = [calls_of_scanning(BOMBS[bomb](size)) for size in (4_000, 16_000)]
        assert calls[1] < 5 * calls[0] + 400_000
        assert calls[1] < 100 * 16_000

    def test_star_imports_have_an_end(self) -> None:
        stars = [f"from torch.m{n} import *\n" for n in range(17)]
        assert scan_source("".join(stars[:16]) + "softmax(x)", ALL)
        with pytest.raises(UnreadableSource, match="too tangled"):
            scan_source("".join(stars) + "softmax(x)", ALL)


def family_names(pattern: str) -> set[str]:
    """The public and private names of torch that look like members of a family."""
    places: list[Any] = [torch, F, torch.nn, torch.Tensor, torch.special, torch.nn.utils]
    places += [torch._C._nn, torch.masked]
    schemas = torch._C._jit_get_all_schemas()
    names = {name for place in places for name in dir(place)}
    names |= {schema.name.removeprefix("aten::") for schema in schemas}
    return {n for n in names if re.search(pattern, n, re.IGNORECASE) and "::" not in n}


class TestFamilies:
    @pytest.mark.parametrize(
        ("ban", "pattern", "decided_otherwise"),
        [
            # Derivatives alone, and a layer with tables of its own.
            (
                SOFTMAX,
                "(?<!log_)(?<!log)softm(ax|in)",
                r".*softmax_backward.*|_get_softmax_dim|adaptive.*",
            ),
            (LOG_SOFTMAX, "log_?softmax", "_.*backward_data|AdaptiveLog.*"),
            (ATTENTION, "dot_product_.*attention|multi_?head|^transformer", ""),
            (RMS_NORM, "rms_?norm", ""),
            (LAYER_NORM, "layer_?norm", ""),
            (CLIP, "clip_grad.*norm|total_norm", ""),
            (OPTIM, "fused_(adam|sgd|adagrad)", ""),
        ],
    )
    def test_no_name_of_torch_is_forgotten(
        self, ban: str, pattern: str, decided_otherwise: str
    ) -> None:
        """Every name of this torch that looks like a family's is in it or decided to be out."""
        names = family_names(pattern)
        assert len(names) >= 2
        out = {name for name in names if not scan_source(f"import torch\ntorch.nn.{name}", [ban])}
        assert out == {
            name for name in names if re.fullmatch(decided_otherwise, name, re.IGNORECASE)
        }

    def test_every_optimizer_is_one(self) -> None:
        """Each subclass of the base class that torch brings is banned, the base class is not."""
        found = {name for name in dir(torch.optim) if isinstance(getattr(torch.optim, name), type)}
        assert len(found) > 10
        for name in found:
            hits = scan_source(f"import torch.optim as o\no.{name}", [OPTIM])
            assert bool(hits) == (name != "Optimizer"), name


def answer(source: str, file: str = FILE) -> ModuleType:
    """A module of the learner's, as the loader makes it."""
    module = ModuleType("ex03_attention")
    exec(compile(dedent(source), file, "exec"), module.__dict__)
    return module


def inputs() -> dict[str, Any]:
    parameter = torch.nn.Parameter(torch.ones(3))
    parameter.grad = torch.ones(3)
    torch.manual_seed(0)
    return {"x": torch.randn(3, 4), "q": torch.randn(1, 1, 3, 4), "p": [parameter]}


def watched(run: Callable[[], object], *bans: str) -> tuple[BanHit, ...]:
    with BanWatch(bans or ALL, {FILE}) as watch:
        run()
    return watch.hits


class TestRunFinds:
    @pytest.mark.parametrize(("ban", "spelling"), [*SPELLINGS, *AT_RUN_TIME])
    def test_every_spelling(self, ban: str, spelling: str) -> None:
        """A call is seen under every name, with its line in the learner's file."""
        module = answer(f"{IMPORTS}def answer(x, q, p):\n    return {spelling}\n")
        hits = watched(partial(module.answer, **inputs()), ban)
        assert [(hit.file, hit.line, hit.ban) for hit in hits] == [(FILE, 6, ban)]

    @pytest.mark.parametrize("evasion", EVASIONS)
    def test_every_evasion(self, evasion: str) -> None:
        """However the function was come by, its call is seen."""
        module = answer(f"{IMPORTS}def answer(x):\n    return {evasion}\n")
        hits = watched(partial(module.answer, inputs()["x"]), SOFTMAX)
        assert [(hit.line, hit.ban) for hit in hits] == [(6, SOFTMAX)]

    def test_a_call_while_the_module_is_loaded(self) -> None:
        """A call at import counts, also under a context of the learner's making."""
        source = "import torch\nwith torch.no_grad():\n    y = torch.ones(2).softmax(0)\n"
        assert [hit.line for hit in watched(lambda: answer(source))] == [3]

    def test_a_call_from_another_function_of_the_file(self) -> None:
        """The line is the one that calls the built-in, not the one that the scenario called."""
        module = answer("def inner(x):\n    return x.softmax(0)\ndef outer(x):\n    inner(x)\n")
        assert [hit.line for hit in watched(partial(module.outer, torch.ones(2)))] == [2]

    def test_each_line_once(self) -> None:
        """A loop that calls the built-in is one hit."""
        module = answer(
            "def f(x):\n    for _ in range(9):\n        x.softmax(0)\n    x.softmax(0)\n"
        )
        assert [hit.line for hit in watched(partial(module.f, torch.ones(2)))] == [3, 4]

    def test_what_the_learner_wrote_is_named(self) -> None:
        """Where one built-in calls another, the hit names the one in the learner's line."""
        module = answer("import torch\ndef f(x):\n    return torch.nn.Softmax(0)(x)\n")
        (hit,) = watched(partial(module.f, torch.ones(2)), SOFTMAX)
        assert hit.spelling.startswith("torch.nn.modules.activation.Softmax")

    def test_functions_have_their_public_name(self) -> None:
        """The message can show the name under which torch documents the function."""
        source = (
            "import torch.nn.functional as F\ndef f(x):\n    return F.scaled_dot_product_attention"
        )
        module = answer(f"{source}(x, x, x)\n")
        (hit,) = watched(partial(module.f, inputs()["q"]), ATTENTION)
        assert hit.spelling == "torch.nn.functional.scaled_dot_product_attention"

    def test_a_built_in_that_is_the_answer(self) -> None:
        """What the answer hands out is looked at by itself, since only the scenario calls it."""
        for handed_out in (
            torch.nn.RMSNorm,
            F.rms_norm,
            partial(F.rms_norm, normalized_shape=(4,)),
            type("RMSNorm", (torch.nn.RMSNorm,), {"__module__": "ex01"}),
        ):
            watch = BanWatch(ALL, {FILE})
            watch.look_at(handed_out, FILE)
            assert [(hit.ban, hit.file) for hit in watch.hits] == [(RMS_NORM, FILE)]

    def test_a_call_below_another_watch_of_the_grader(self) -> None:
        """What else the grader watches with stands between the call and this watch, and passes."""
        module = answer("def f(x):\n    return x.softmax(0)\n")
        with BanWatch([SOFTMAX], {FILE}) as watch, BanWatch(ALL, ()), CostMeter():
            module.f(torch.ones(2))
        assert [hit.line for hit in watch.hits] == [2]


class TestRunAllows:
    def test_the_scenarios_own_calls(self) -> None:
        """What the test itself calls is no affair of the learner's."""

        def scenario() -> None:
            torch.softmax(torch.ones(3), 0)
            torch.nn.MultiheadAttention(4, 2)(*[torch.ones(3, 4)] * 3)
            parameter = torch.nn.Parameter(torch.ones(3))
            parameter.grad = torch.ones(3)
            torch.nn.utils.clip_grad_norm_([parameter], 1.0)
            torch.optim.AdamW([parameter]).step()

        assert watched(scenario) == ()

    def test_calls_of_what_the_learner_was_given(self) -> None:
        """A model or callback that the scenario hands in may call what it likes."""
        module = answer("def generate(model, x):\n    return model(x)\n")
        other = answer("import torch\ndef f(x):\n    return x.softmax(-1)\n", "solutions/ex03.py")
        x = torch.ones(3)
        given: list[Callable[..., object]] = [lambda x: x.softmax(-1), other.f]
        for model in given:
            assert watched(partial(module.generate, model, x)) == ()

    def test_right_answers(self) -> None:
        """Softmax, norm, attention, optimizer and clipping by hand are never flagged."""
        module = answer(
            """\
            import torch
            from torch.optim import Optimizer
            def softmax(x):
                return (x - torch.logsumexp(x, -1, keepdim=True)).exp()
            def attention(q, k, v):
                scores = (q @ k.mT).masked_fill(torch.ones(3, 3).triu(1).bool(), -torch.inf)
                return torch.nan_to_num(softmax(scores)) @ v
            class RMSNorm(torch.nn.Module):
                def forward(self, x):
                    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
            class AdamW(Optimizer):
                def __init__(self, params):
                    super().__init__(params, {"lr": 0.1})
                @torch.no_grad()
                def step(self, closure=None):
                    for group in self.param_groups:
                        for p in group["params"]:
                            p.addcdiv_(p.grad, p.grad.sqrt(), value=-group["lr"])
            def clip_grad_norm_(parameters, max_norm):
                norm = torch.linalg.vector_norm(torch.stack([p.grad.norm() for p in parameters]))
                for p in parameters:
                    p.grad.mul_((max_norm / norm).clamp(max=1))
                return norm
            def train(p):
                optimizer = AdamW(p)
                schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
                clip_grad_norm_(p, 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                optimizer.load_state_dict(optimizer.state_dict())
            """
        )
        given = inputs()

        def scenario() -> None:
            q = given["q"].requires_grad_()
            module.attention(q, q, q).sum().backward()
            module.RMSNorm()(given["x"])
            module.train(given["p"])

        assert watched(scenario) == ()
        for name in ("softmax", "RMSNorm", "AdamW", "clip_grad_norm_"):
            watch = BanWatch(ALL, {FILE})
            watch.look_at(getattr(module, name))
            assert watch.hits == ()

    def test_a_family_that_is_not_banned(self) -> None:
        """A ban of one family says nothing of the others."""
        module = answer("def f(x):\n    return x.log_softmax(0)\n")
        assert watched(partial(module.f, torch.ones(2)), SOFTMAX, RMS_NORM) == ()

    def test_nothing_is_seen_outside_the_block(self) -> None:
        """The watch ends with its block, also after an exception, and can be entered again."""
        module = answer("def f(x):\n    return x.softmax(0)\n")
        watch = BanWatch([SOFTMAX], {FILE})
        with pytest.raises(ZeroDivisionError), watch:
            raise ZeroDivisionError
        module.f(torch.ones(2))
        assert watch.hits == ()
        with watch:
            module.f(torch.ones(2))
        assert len(watch.hits) == 1

    def test_results_are_the_same_as_without_a_watch(self) -> None:
        """Watching changes no value."""
        module = answer("def f(x):\n    return x.softmax(0)\n")
        x = inputs()["x"]
        plain = module.f(x)
        with BanWatch(ALL, {FILE}):
            assert torch.equal(module.f(x), plain)


def found(source: str, *bans: str, scenario: Callable[..., object] | None = None) -> list[int]:
    """The lines that either detector finds, where a scenario runs an answer as the grader does."""
    text = dedent(source)
    module, interruption, _ = load(Answer("exercises", Source("ex03_attention", FILE, text)))
    assert module is not None, interruption
    given = inputs()  # a request copies its inputs without their gradients
    request = Request(scenario or (lambda m: m.answer(**given)), {}, bans=bans)
    seen, _ = observe(module, request, frozenset({FILE}))
    assert seen.interruption is None, seen.interruption
    return sorted({hit.line for hit in (*scan_source(text, bans), *seen.banned)})


class TestBothTogetherFind:
    """What one detector cannot see, the other does."""

    @pytest.mark.parametrize(("ban", "spelling"), AT_RUN_TIME)
    def test_every_spelling(self, ban: str, spelling: str) -> None:
        source = f"{IMPORTS}def answer(x, q, p):\n    {spelling}\n"
        assert found(source, ban) == [6]

    @pytest.mark.parametrize("evasion", EVASIONS)
    def test_every_evasion(self, evasion: str) -> None:
        source = f"{IMPORTS}def answer(x, q, p):\n    return {evasion}\n"
        assert found(source, SOFTMAX) == [6]

    def test_a_name_of_the_file_by_its_string(self) -> None:
        """`globals()` reaches what the file has imported."""
        source = """\
            def answer(x, q, p):
                globals()['s'](x, -1)
            from torch import softmax as s
            """
        assert found(source, SOFTMAX) == [2, 3]

    def test_a_call_in_a_backward(self) -> None:
        """The engine hides who calls in a backward pass, but not what is written there."""
        source = """\
            import torch
            class Identity(torch.autograd.Function):
                @staticmethod
                def forward(ctx, x):
                    return x.clone()
                @staticmethod
                def backward(ctx, grad):
                    return grad.softmax(0)
            def answer(x, q, p):
                Identity.apply(x.requires_grad_()).sum().backward()
            """
        assert found(source, SOFTMAX) == [8]

    def test_calls_where_functions_are_hidden(self) -> None:
        """Switching torch's function modes off hides nothing that is written."""
        source = """\
            import torch, torch.nn.functional as F
            def answer(x, q, p):
                with torch._C.DisableTorchFunction():
                    F.scaled_dot_product_attention(q, q, q)
                    F.layer_norm(x, (4,))
                    return x.softmax(-1)
            """
        assert found(source, *ALL) == [4, 5, 6]

    @pytest.mark.parametrize(
        "definition",
        [
            "answer = operator.methodcaller('soft' + 'max', -1)",
            "answer = torch.vmap(getattr(torch.special, 'soft' + 'max'), (0, None))",
            "answer = functools.wraps(len)(getattr(F, 'soft' + 'max'))",
            "answer = functools.singledispatch(getattr(F, 'soft' + 'max'))",
            "answer = eval('lambda x, dim: x.soft' + 'max(dim)')",
            "exec('def answer(x, dim): return x.soft' + 'max(dim)')",
            "exec('def answer(x, dim): return x.soft' + 'max(dim)', globals())",
            "exec('class answer:\\n def call(self, x): return x.soft' + 'max(0)')",
        ],
    )
    def test_what_no_line_of_the_file_calls(self, definition: str) -> None:
        """What the answer hands out is the answer, even if none of its own lines is in between."""

        def scenario(module: Any) -> object:
            if "class" in definition:
                return module.answer().call(torch.ones(2))
            args = () if "methodcaller" in definition else (-1,)
            return module.answer(torch.ones(2, 2), *args)

        assert found(f"{IMPORTS}{definition}\n", SOFTMAX, scenario=scenario) == [1]

    def test_an_import_by_its_string(self) -> None:
        """A library leaves no trace in torch, so the scan reads the names of modules."""
        source = "import importlib as i\ndef answer(x, q, p):\n    return x\n"
        assert found(source, TOKENIZERS) == []
        assert found(f"{source}    i.import_module('tokenizers')\n", TOKENIZERS) == [4]

    @pytest.mark.parametrize(
        "source",
        [
            "from torch.nn.functional import silu as answer",
            "import functools, torch; answer = functools.partial(torch.logsumexp, dim=-1)",
            "def answer(x, then=None): return then(x) if then else x",
        ],
    )
    def test_nothing_of_what_the_scenario_does_with_the_answer(self, source: str) -> None:
        """What the test calls around the answer, or has it call, is not the answer's."""

        def scenario(module: Any) -> object:
            softmax = [lambda y: y.softmax(-1)] if "then" in source else []
            return module.answer(torch.ones(2, 2), *softmax).softmax(-1)

        assert found(source, SOFTMAX, scenario=scenario) == []


def test_what_runs_beside_an_answer_is_transparent_and_nothing_else_of_the_grader() -> None:
    """A module in another folder would make the learner's calls look like the grader's own, or the
    grader's like the learner's."""
    files = {str(file) for file in Path(grader.__file__).parent.rglob("*.py")}
    beside = {
        str(import_module(module.name).__file__)
        for module in walk_packages(observation.__path__, "grader.observation.")
    } | {str(observation.__file__)}
    assert len(beside) > 12
    assert {file for file in files if _is_transparent(file)} == beside


def test_watching_imports_neither_the_compiler_nor_sympy() -> None:
    """Watching stays clear of every slow import."""
    program = (
        "import sys, torch\n"
        "from grader.observation.bans import BanWatch\n"
        f"with BanWatch({ALL!r}, ['<string>']) as watch:\n"
        "    torch.ones(3).softmax(0)\n"
        "    with torch.inference_mode(): torch.nn.functional.layer_norm(torch.ones(3), (3,))\n"
        "assert [hit.line for hit in watch.hits] == [4, 5], watch.hits\n"
        "slow = [m for m in sys.modules if m.split('.')[0] == 'sympy'"
        " or m.startswith('torch._dynamo')]\n"
        "assert not slow, slow\n"
        "with BanWatch(['torch.softmax'], ['elsewhere.py']) as watch:\n"
        "    torch.ones(3).softmax(0)\n"
        "assert not watch.hits, watch.hits\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
