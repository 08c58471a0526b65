"""The project's own figures: measured, never guessed, each by one name.

Times are ratios within one run, for machines differ and are shared.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_ROUNDS = 15
_BANNED_MODULES = ("transformers", "matplotlib", "sympy", "torch._dynamo", "torch._inductor")


@dataclass(frozen=True)
class Figure:
    """One number: `limit` is what it may be at most, None where it is for information."""

    name: str
    value: float
    unit: str
    limit: float | None = None

    @property
    def ok(self) -> bool | None:
        return None if self.limit is None else self.value <= self.limit


def latency(root: Path) -> Iterator[Figure]:
    """What `pytest tests/test_02_rope.py` takes over a file with one trivial torch test."""
    test_file = root / "tests" / "test_02_rope.py"
    with tempfile.TemporaryDirectory() as folder:
        floor_file = Path(folder) / "test_floor.py"
        floor_file.write_text(
            "import torch\n\n\ndef test_one():\n    assert torch.ones(1).sum() == 1\n"
        )
        (Path(folder) / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
        python = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        commands = {
            "import torch": [sys.executable, "-c", "import torch"],
            "floor": [*python, str(floor_file)],
            "solution": [*python, "--impl=solutions", str(test_file)],
        }
        times = _interleaved(commands, Path(folder), root)
    for name, seconds in times.items():
        yield Figure(f"latency.{name}.median", statistics.median(seconds), "s")
    ratios = [s / f for s, f in zip(times["solution"], times["floor"], strict=True)]
    yield Figure("latency.solution/floor", statistics.median(ratios), "x", 1.25)
    yield Figure("latency.slow_modules_imported", _slow_modules(root, test_file), "modules", 0)


def _interleaved(
    commands: dict[str, list[str]], folder: Path, root: Path
) -> dict[str, list[float]]:
    """Seconds of each command, one after the other in every round, so that load hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for round_number in range(_ROUNDS + 1):
        for name, command in commands.items():
            cwd = root if name == "solution" else folder
            started = time.perf_counter()
            subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL)
            if round_number:  # the first round warms the file cache
                times[name].append(time.perf_counter() - started)
    return times


def _slow_modules(root: Path, test_file: Path) -> float:
    program = (
        "import sys, pytest; code = pytest.main(sys.argv[1:]); "
        f"slow = [name for name in {_BANNED_MODULES!r} if name in sys.modules]; "
        "print('SLOW', *slow); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "-q", "--impl=solutions", str(test_file)],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("SLOW"))
    return float(len(line.split()) - 1)


FIGURES: dict[str, Callable[[Path], Iterator[Figure]]] = {"latency": latency}
