"""What the judge of `grader watch` says of one run: one line of JSON between two processes."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from grader.learner.history import RunRecord


@dataclass(frozen=True)
class Verdict:
    """One run of one exercise's tests.

    `number` is that of the request. `lines` are what there is to say about the failures, `printed`
    what the answer printed meanwhile. Where nothing could be run there is no record, and `problem`
    says why.
    """

    number: int
    exercise: str
    problem: str = ""
    record: RunRecord | None = None
    lines: tuple[str, ...] = ()
    printed: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        """Whether every test passed."""
        return self.record is not None and self.record.done

    def packed(self) -> bytes:
        """The verdict as a line."""
        return json.dumps(dataclasses.asdict(self)).encode() + b"\n"

    @classmethod
    def unpacked(cls, line: bytes) -> Verdict:
        """The verdict that a line holds."""
        fields = json.loads(line)
        for name in ("lines", "printed"):
            fields[name] = tuple(fields[name])
        if fields["record"] is not None:
            fields["record"] = _record(fields["record"])
        return cls(**fields)


def _record(fields: dict[str, object]) -> RunRecord:
    verdicts = fields.pop("verdicts")
    assert isinstance(verdicts, list)
    pairs = tuple((str(test), str(verdict)) for test, verdict in verdicts)
    for name in ("mistakes", "failing"):
        fields[name] = tuple(fields[name])  # type: ignore[arg-type]
    return RunRecord(verdicts=pairs, **fields)  # type: ignore[arg-type]
