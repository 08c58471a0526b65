"""Turn the text of an answer into a module, together with the files it may import.

Runs beside learner code, in the learner's process or in a worker that holds only torch, so it
imports nothing but the standard library.
"""

from __future__ import annotations

import linecache
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
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
    """The one file that is tested and the files it may import as `.name`.

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


def load_answer(answer: Answer) -> ModuleType:
    """Execute an answer and return its module; its siblings are executed when it imports them.

    Whatever the learner's file raises on import passes through unchanged.
    """
    forget(answer.package)
    package = ModuleType(answer.package)
    package.__path__ = []  # relative imports work and find nothing but what is put there
    sys.modules[answer.package] = package
    sys.meta_path.insert(0, _Siblings(answer))
    return _execute(answer.package, answer.source)


def forget(package: str) -> None:
    """Remove a package loaded earlier, so that no state of it survives into the next one."""
    for name in vars(sys.modules.pop(package, object)).copy():
        sys.modules.pop(f"{package}.{name}", None)
    sys.meta_path[:] = [
        finder
        for finder in sys.meta_path
        if not (isinstance(finder, _Siblings) and finder.package == package)
    ]


class _Siblings(MetaPathFinder, Loader):
    """Finds the files that an answer may import, and loads one when it is asked for."""

    def __init__(self, answer: Answer) -> None:
        self.package = answer.package
        self._sources = {f"{answer.package}.{s.name}": s for s in answer.siblings}

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in self._sources:
            return None
        return ModuleSpec(name, self, origin=self._sources[name].path)

    def exec_module(self, module: ModuleType) -> None:
        _run(module, self._sources[module.__name__])


def install_config(config: Source) -> None:
    """Make `minimind_ref.config` importable where the rest of the reference must not be."""
    package = ModuleType(REFERENCE_PACKAGE)
    package.__path__ = []
    sys.modules[REFERENCE_PACKAGE] = package
    _execute(REFERENCE_PACKAGE, config)


def _execute(package: str, source: Source) -> ModuleType:
    full_name = f"{package}.{source.name}"
    module = ModuleType(full_name)
    module.__package__ = package
    # In sys.modules before it runs: dataclasses under postponed annotations look themselves up.
    sys.modules[full_name] = module
    setattr(sys.modules[package], source.name, module)
    _run(module, source)
    return module


def _run(module: ModuleType, source: Source) -> None:
    module.__file__ = source.path
    linecache.cache[source.path] = (
        len(source.text),
        None,
        source.text.splitlines(keepends=True),
        source.path,
    )
    exec(_compiled(source.text, source.path), module.__dict__)


@lru_cache(maxsize=256)
def _compiled(text: str, path: str) -> CodeType:
    """The same answers are loaded again and again by the course check."""
    return compile(text, path, "exec", dont_inherit=True)
