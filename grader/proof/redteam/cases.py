"""The attacks on the grader: what each one hands in, and what the grader must say of it.

A case is a folder below `grader/tests/redteam`: a submission, and a `case.toml` that says what it
tries and what must come of it.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from grader.isolation.sandbox import PROFILES

CASES = Path("grader") / "tests" / "redteam"
AIMS = ("end", "values", "steal", "exhaust", "host")
SECRET = "REDTEAM_SECRET"
"""The environment variable with a secret of the grader's, which attacks try to read."""
REACHED = "REACHED"
"""What an attack prints once it has got where it wanted to."""


@dataclass(frozen=True)
class Case:
    """An attack and what must come of it.

    `verdict` begins the verdict of every test that matches `test`, `message` is found in what one
    of them says; both are regular expressions. `naive` is "succeeds", or why it cannot succeed
    even against a naive grader. `points` are those that it deserves: its numbers are right.
    `profiles` are those that promise to stop it. `special` says how to make an answer that cannot
    lie in a repository, such as a pipe.
    """

    name: str
    folder: Path
    title: str
    aim: str
    verdict: str
    naive: str
    points: Fraction
    message: str = ""
    test: str = "rotate_half_is"
    exercise: str = "ex02_rope"
    profiles: tuple[str, ...] = PROFILES
    special: Mapping[str, Any] = field(default_factory=dict)

    @property
    def succeeds_naively(self) -> bool:
        return self.naive == "succeeds"

    @property
    def is_too_dangerous(self) -> bool:
        return self.naive.startswith("too dangerous")


def read_cases(root: Path) -> list[Case]:
    """All cases, by name."""
    return [_case(file) for file in sorted((root / CASES).glob("*/case.toml"))]


def _case(file: Path) -> Case:
    table = tomllib.loads(file.read_text(encoding="utf-8"))
    points = Fraction(table.pop("points"))
    profiles = tuple(table.pop("profiles", PROFILES))
    case = Case(
        name=file.parent.name, folder=file.parent, points=points, profiles=profiles, **table
    )
    if case.aim not in AIMS:
        raise ValueError(f"{file}: aim is {case.aim!r}, want one of {', '.join(AIMS)}")
    return case


def submitted(case: Case, into: Path, root: Path) -> Path:
    """The submission's folder, made anew under `into`; `root` is the course's."""
    folder = into / str(case.special.get("folder", case.name))
    shutil.copytree(case.folder, folder, ignore=shutil.ignore_patterns("case.toml"))
    answer = folder / f"{case.exercise}.py"
    match case.special:
        case {"kind": "repeated", "text": text, "times": times}:
            before, after = case.special.get("before", ""), case.special.get("after", "")
            answer.write_text(before + text * times + after)
        case {"kind": "bytes", "hex": digits}:
            answer.write_bytes(bytes.fromhex(digits))
        case {"kind": "link", "target": target}:
            answer.symlink_to(target.format(root=root))
        case {"kind": "fifo"}:
            os.mkfifo(answer)
        case {"kind": "folder"}:
            answer.mkdir()
    return folder
