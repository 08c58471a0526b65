"""The figures of the reference as a program: `python -m minimind_ref bench`, told as figures."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from grader.proof.figures.figure import Figure, Measured, Stage


def figures(root: Path, quick: bool) -> Measured:
    """Speeds beside transformers and the machine's own rates, each with the limit it has there.

    A figure here has a limit that it must not exceed, so what should be large is given as its
    inverse: `1 / (…)`.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "figures.json")
        command = [sys.executable, "-m", "minimind_ref", "bench", "--json", str(file)]
        yield Stage("runs of python -m minimind_ref bench", 0, 1)
        subprocess.run(
            [*command, *(["--quick"] if quick else [])],
            cwd=root,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        rows = json.loads(file.read_text("utf-8"))
    for row in rows:
        limit = None if quick else row["limit"]
        if limit is None or row["at_most"]:
            yield Figure(f"reference.{row['name']}", row["value"], row["unit"], limit)
        else:
            yield Figure(f"reference.1 / ({row['name']})", 1 / row["value"], "x", 1 / limit)
