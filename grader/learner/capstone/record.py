"""What a training leaves on the disk, so that it can go on, be talked to, and be looked at.

    .grader/capstone/run.json         its recipe and text, what came out, samples before and after
    .grader/capstone/tokens.json      vocabulary, and the text as rows of ids
    .grader/capstone/losses.csv       step, loss, gradient norm and seconds of each step
    .grader/capstone/checkpoint.pt    what the learner's save_checkpoint writes

Reading it imports no torch: the report looks at it, too.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from grader.course.files import replace_file

FOLDER = Path(".grader") / "capstone"
BACKUPS = Path(".grader") / "backups"
VERSION = 1


@dataclass(frozen=True)
class Step:
    """One update: `seconds` are counted from the first step, pauses left out."""

    loss: float
    norm: float
    seconds: float


def recent(steps: Sequence[Step], window: int) -> float:
    """The mean loss of the last steps."""
    last = steps[-window:]
    return sum(step.loss for step in last) / len(last)


@dataclass(frozen=True)
class Sample:
    """What the model wrote after `prompt`; `score` is None where nobody can tell."""

    prompt: str
    text: str
    score: float | None = None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Samples:
    """Some texts of one moment, with the mean score of all that were written then."""

    shown: tuple[Sample, ...] = ()
    count: int = 0
    score: float | None = None


@dataclass(frozen=True)
class Run:
    """One training: what it was asked to do and what came of it.

    `file` is the text's name, empty for the course's own corpus, and `digest` its SHA-256. It is
    `finished` once it has reached its target or its last step; `reached` tells which.
    """

    impl: str
    recipe: dict[str, Any]
    file: str = ""
    digest: str = ""
    parameters: int = 0
    began: float = 0.0
    step: int = 0
    finished: bool = False
    reached: bool = False
    before: Samples = field(default_factory=Samples)
    after: Samples = field(default_factory=Samples)


class Record:
    """The folder of the training in one copy of the course."""

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER
        self._backups = root / BACKUPS

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def run(self) -> Run | None:
        """The training that is kept; None where there is none that this version can read."""
        try:
            content = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
            if content.pop("version") != VERSION:
                return None
            before, after = _samples(content.pop("before")), _samples(content.pop("after"))
            return Run(**content, before=before, after=after)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def keep_run(self, run: Run) -> None:
        content = {"version": VERSION, **asdict(run)}
        text = json.dumps(content, ensure_ascii=False, indent=1)
        replace_file(self.folder / "run.json", text.encode())

    def tokens(self) -> tuple[dict[int, bytes], list[tuple[bytes, bytes]], list[list[int]]]:
        """Tokens, merges, and the text in rows of ids. Raises OSError or ValueError."""
        content = json.loads((self.folder / "tokens.json").read_text(encoding="utf-8"))
        vocab = {number: _bytes(token) for number, token in enumerate(content["vocab"])}
        merges = [(_bytes(left), _bytes(right)) for left, right in content["merges"]]
        return vocab, merges, content["rows"]

    def keep_tokens(
        self,
        vocab: dict[int, bytes],
        merges: Sequence[tuple[bytes, bytes]],
        rows: Sequence[list[int]],
    ) -> None:
        content = {
            "vocab": [_text(vocab[number]) for number in range(len(vocab))],
            "merges": [[_text(left), _text(right)] for left, right in merges],
            "rows": list(rows),
        }
        replace_file(self.folder / "tokens.json", json.dumps(content).encode())

    def steps(self) -> list[Step]:
        """The steps so far; none where the file is not there."""
        try:
            text = (self.folder / "losses.csv").read_text(encoding="utf-8")
            return [Step(*map(float, row[1:])) for row in list(csv.reader(io.StringIO(text)))[1:]]
        except (OSError, ValueError, TypeError):
            return []

    def keep_steps(self, steps: Sequence[Step]) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("step", "loss", "norm", "seconds"))
        for number, step in enumerate(steps, start=1):
            writer.writerow((number, f"{step.loss:.6g}", f"{step.norm:.4g}", f"{step.seconds:.2f}"))
        replace_file(self.folder / "losses.csv", text.getvalue().encode())

    def put_away(self) -> Path | None:
        """Move everything to the backups; where to, or None where there was nothing."""
        if not self.folder.exists():
            return None
        self._backups.mkdir(parents=True, exist_ok=True)
        name = time.strftime("capstone-%Y%m%d-%H%M%S")
        backup = next(
            path
            for number in range(1000)
            if not (path := self._backups / (f"{name}-{number}" if number else name)).exists()
        )
        self.folder.rename(backup)
        return backup


def _samples(content: dict[str, Any]) -> Samples:
    shown = tuple(
        Sample(one["prompt"], one["text"], one["score"], tuple(one["faults"]))
        for one in content["shown"]
    )
    return Samples(shown, content["count"], content["score"])


def _text(token: bytes) -> str:
    return base64.b16encode(token).decode()


def _bytes(text: str) -> bytes:
    return base64.b16decode(text)
