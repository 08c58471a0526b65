"""What torch imports only when it is first used, which takes seconds that no answer should pay for.

Optimizers, `torch.func` and checkpointing bring the whole compiler along, a gradient that is handed
to `backward` brings sympy. Whether an answer uses them is read off its text before its clock runs.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable

_COMPILER = re.compile(
    r"\boptim\b|torch\.func\b|torch import func|functorch|\b(v|j)jp\b|\bjac(rev|fwd)|vmap"
    r"|checkpoint|(?<!\bre\.)(?<!\bregex\.)\bcompiler?\b|make_fx|FlopCounter|DispatchMode"
    r"|torch_dispatch|FakeTensor|profile|export|scheduler|swa_utils|dynamo"
)
_SYMBOLS = re.compile(
    r"\.backward\(\s*[^)\s]|autograd\.grad\(|grad_outputs|gradcheck|assert_close|jit\.trace|sympy"
    r"|[\"']meta[\"']"
)


def late_imports(text: str) -> tuple[str, ...]:
    """The modules to import before an answer of this text is run."""
    compiler = ("torch._dynamo",) if _COMPILER.search(text) else ()
    return (*compiler, "sympy") if compiler or _SYMBOLS.search(text) else ()


def import_now(modules: Iterable[str]) -> None:
    """Import modules by their names; those that are there cost nothing."""
    for module in modules:
        importlib.import_module(module)
