"""The figures of latency: what a learner waits for after `pytest tests/test_02_rope.py`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import entry_points
from pathlib import Path

from grader.proof.figures.figure import Figure, Measured
from grader.proof.figures.timing import interleaved

_LEARNERS_PLUGINS = ("minimind-course-early", "timeout", "benchmark", "anyio")
"""The plugins of pytest that the course's installation brings; maintainers have more. The last one
comes with watchfiles."""
_SLOW_MODULES = ("transformers", "matplotlib", "sympy", "torch._dynamo", "torch._inductor")


def figures(root: Path, quick: bool) -> Measured:
    """How much longer the tests of ex02 take than a file with one trivial torch test."""
    test_file = root / "tests" / "test_02_rope.py"
    with tempfile.TemporaryDirectory() as folder:
        floor_file = Path(folder) / "test_floor.py"
        floor_file.write_text(
            "import torch\n\n\ndef test_one():\n    assert torch.ones(1).sum() == 1\n"
        )
        (Path(folder) / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
        python = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        python += [f"-pno:{name}" for name in _maintainers_plugins()]
        commands = {
            "import torch": [sys.executable, "-c", "import torch"],
            "floor": [*python, str(floor_file)],
            "solution": [*python, "--impl=solutions", str(test_file)],
        }
        folders = dict.fromkeys(commands, Path(folder)) | {"solution": root}
        times = yield from interleaved(commands, folders, quick)
    for name, seconds in times.items():
        yield Figure(f"latency.{name}.median", statistics.median(seconds), "s")
    ratios = [s / f for s, f in zip(times["solution"], times["floor"], strict=True)]
    yield Figure("latency.solution/floor", statistics.median(ratios), "x", 0.9)
    yield Figure("latency.slow_modules_imported", _slow_modules(root, test_file), "modules", 0)


def _maintainers_plugins() -> list[str]:
    installed = {plugin.name for plugin in entry_points(group="pytest11")}
    return sorted(installed.difference(_LEARNERS_PLUGINS))


def _slow_modules(root: Path, test_file: Path) -> float:
    program = (
        "import sys, pytest; code = pytest.main(sys.argv[1:]); "
        f"slow = [name for name in {_SLOW_MODULES!r} if name in sys.modules]; "
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
