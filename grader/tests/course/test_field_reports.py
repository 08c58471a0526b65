"""What `docs/field-reports.md` points to is there."""

import re

import pytest

from grader.course.syllabus import ROOT
from grader.course.syllabus_file import load
from grader.course.variants import read_variants

SECTIONS = dict(
    re.findall(
        r"^## (\w+)\n(.*?)(?=^## |\Z)",
        (ROOT / "docs" / "field-reports.md").read_text(encoding="utf-8"),
        flags=re.MULTILINE | re.DOTALL,
    )
)


@pytest.mark.parametrize("exercise", SECTIONS)
def test_every_report_became_an_answer(exercise: str) -> None:
    paths = load(ROOT).find(exercise).paths(ROOT)
    known = {v.id for file in (paths.mistakes, paths.alternatives) for v in read_variants(file)}
    rows = [row for row in SECTIONS[exercise].splitlines() if row.startswith("| ")][1:]
    assert len(rows) >= 8
    for row in rows:
        named = set(re.findall(r"\b[a-z]+(?:_[a-z0-9]+)+\b", row.split("|")[3]))
        assert named & known or "oracle" in row, f"nothing of {named} is known: {row}"
