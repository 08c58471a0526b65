"""Known wrong answers and other right ones, as the text of whole answers.

A file under `tests/mistakes/` or `tests/alternatives/` holds classes. Each is a namespace of
definitions that replace those of the solution: its name is the id, its docstring the sentence,
its body what is put after the solution's text. The classes are read, never imported. Files under
`tests/roundings/` have the same form and change the reference: other correct ways to compute it,
which round differently and so widen the tolerance.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from grader.observation.answer import Answer, Source, load_answer


class VariantError(ValueError):
    """A file of mistakes or alternatives is not in the form that it must have."""


@dataclass(frozen=True)
class Variant:
    """One known answer: `sentence` says what it does and, for a mistake, what is right.

    `undetectable` is the proof that no CPU input tells it from a right answer; such a mistake is
    listed, not counted.
    """

    id: str
    sentence: str
    definitions: str
    undetectable: str | None = None

    def applied_to(self, solution: Source) -> Source:
        """The solution with this variant's definitions put over its own."""
        text = f"{solution.text}\n\n{self.definitions}"
        return Source(solution.name, f"{solution.path}#{self.id}", text)


@cache
def read_variants(path: Path) -> tuple[Variant, ...]:
    """The variants in a file, in its order; none if there is no such file."""
    if not path.exists():
        return ()
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, str(path))
    imports = "\n".join(_shared_imports(tree, text))
    variants = [
        _variant(node, text, imports, path) for node in tree.body if isinstance(node, ast.ClassDef)
    ]
    ids = [variant.id for variant in variants]
    for name in ids:
        if ids.count(name) > 1:
            raise VariantError(f"{path}: {name} is defined twice; ids are unique")
    return tuple(variants)


def _shared_imports(tree: ast.Module, text: str) -> Iterator[str]:
    """The file's imports, but for those from the solution, whose names are there already."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield ast.get_source_segment(text, node) or ""
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            if not (node.module or "").startswith("solutions"):
                yield ast.get_source_segment(text, node) or ""


def _variant(node: ast.ClassDef, text: str, imports: str, path: Path) -> Variant:
    where = f"{path}:{node.lineno} {node.name}"
    sentence = ast.get_docstring(node)
    if not sentence:
        raise VariantError(f"{where}: a docstring is missing: the sentence that a learner reads")
    body = node.body[1:]
    undetectable = None
    if body and isinstance(body[0], ast.Assign):
        if ast.unparse(body[0].targets[0]) == "UNDETECTABLE":
            undetectable = str(ast.literal_eval(body[0].value))
            body = body[1:]
    if not body:
        raise VariantError(f"{where}: no definitions: it must replace something of the solution")
    lines = text.splitlines()
    first = min([body[0].lineno, *(d.lineno for d in getattr(body[0], "decorator_list", ()))])
    block = textwrap.dedent("\n".join(lines[first - 1 : body[-1].end_lineno]))
    return Variant(node.name, " ".join(sentence.split()), f"{imports}\n\n{block}\n", undetectable)


def load_variant(variant: Variant, solution: Answer) -> ModuleType:
    """A module of a solution changed by a variant, in a package of its own."""
    answer = Answer(
        f"_{variant.id}", variant.applied_to(solution.source), solution.siblings, solution.own
    )
    return load_answer(answer)
