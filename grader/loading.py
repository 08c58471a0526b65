"""Turn the text of an answer into a module, together with the files it may import.

Runs beside learner code, in the learner's process or in a worker that holds only torch, so it
imports nothing but the standard library.
"""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, ModuleType

REFERENCE_PACKAGE = "minimind_ref"


@dataclass(frozen=True)
class Source:
    """One Python file as text.

    `name` is the module's name ("ex02_rope"), `path` is what messages call the file.
    """

    name: str
    path: str
    text: str


@dataclass(frozen=True)
class Answer:
    """The one file that is tested and the files it may import as `.name`, in import order.

    `own` names the siblings that are the learner's too (`--own`): their frames are shown, and a
    stub among them counts as an unfinished prerequisite.
    """

    package: str
    source: Source
    siblings: tuple[Source, ...] = ()
    own: frozenset[str] = frozenset()

    @property
    def learner_files(self) -> frozenset[str]:
        """The paths whose frames belong to the learner."""
        own = {sibling.path for sibling in self.siblings if sibling.name in self.own}
        return frozenset(own | {self.source.path})


class ForbiddenImport(ImportError):
    """The answer imports something that is not part of an answer; the message says what to do."""


def load_answer(answer: Answer) -> ModuleType:
    """Execute an answer's siblings and then the answer, and return its module.

    Whatever the learner's file raises on import passes through unchanged.
    """
    forget(answer.package)
    package = ModuleType(answer.package)
    package.__path__ = []  # relative imports work and find nothing but what is put there
    sys.modules[answer.package] = package
    for sibling in answer.siblings:
        _execute(answer.package, sibling)
    return _execute(answer.package, answer.source)


def forget(package: str) -> None:
    """Remove a package loaded earlier, so that no state of it survives into the next one."""
    for name in vars(sys.modules.pop(package, object)).copy():
        sys.modules.pop(f"{package}.{name}", None)


def install_config(config: Source) -> None:
    """Make `minimind_ref.config` importable where the rest of the reference must not be."""
    package = ModuleType(REFERENCE_PACKAGE)
    package.__path__ = []
    sys.modules[REFERENCE_PACKAGE] = package
    _execute(REFERENCE_PACKAGE, config)


def forbid_imports(answer: Answer) -> None:
    """Refuse what an answer may not import, with the sentence that a learner needs.

    Raises ForbiddenImport. A file that does not parse passes: compiling it says more.
    """
    try:
        tree = ast.parse(answer.source.text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    siblings = {sibling.name for sibling in answer.siblings}
    for module, line in _imports(tree, answer.package):
        sentence = _refusal(module, answer, siblings)
        if sentence:
            raise ForbiddenImport(f"{answer.source.path}:{line} {sentence}")


def _refusal(module: str, answer: Answer, siblings: set[str]) -> str | None:
    top, _, rest = module.partition(".")
    if top == answer.package:
        name = rest.partition(".")[0]
        if not name or name in siblings or name == answer.source.name:
            return None
        return (
            f"imports .{name}, which is not handed to this exercise: an answer is one file, "
            f"so move what it needs into {answer.source.name}.py"
        )
    if top == REFERENCE_PACKAGE and module not in (
        REFERENCE_PACKAGE,
        f"{REFERENCE_PACKAGE}.config",
    ):
        return f"imports {module}: of the reference only minimind_ref.config may be imported"
    if top in ("solutions", "tests", "grader"):
        return f"imports {module}, which is not part of an answer: write it in this file"
    return None


def _imports(tree: ast.Module, package: str) -> Iterator[tuple[str, int]]:
    """Every module that an import statement names, absolute, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = f"{package}.{base}" if base else package
            if base in (package, REFERENCE_PACKAGE):  # `from . import ex01_rmsnorm`
                for alias in node.names:
                    yield f"{base}.{alias.name}", node.lineno
            else:
                yield base, node.lineno


def _execute(package: str, source: Source) -> ModuleType:
    full_name = f"{package}.{source.name}"
    module = ModuleType(full_name)
    module.__package__ = package
    module.__file__ = source.path
    # In sys.modules before it runs: dataclasses under postponed annotations look themselves up.
    sys.modules[full_name] = module
    setattr(sys.modules[package], source.name, module)
    linecache.cache[source.path] = (
        len(source.text),
        None,
        source.text.splitlines(keepends=True),
        source.path,
    )
    exec(_compiled(source.text, source.path), module.__dict__)
    return module


@lru_cache(maxsize=256)
def _compiled(text: str, path: str) -> CodeType:
    """The same answers are loaded again and again by the course check."""
    return compile(text, path, "exec", dont_inherit=True)
