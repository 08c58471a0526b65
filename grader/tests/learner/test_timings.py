"""What a learner's benchmarks measure is kept, and the report draws it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from grader.course.course import Course
from grader.course.syllabus import ROOT
from grader.learner.report.pictures.times import timed_pictures
from grader.learner.timings import Timing, read_timings, timings_file
from grader.proof.figures.terminal import copied_course

EXERCISE = Course.load(ROOT).syllabus.find("ex06")
TESTS = "tests/test_06_flash_attention.py"
FEW = "forward and float32 and (128 or 256) and not backward"


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course in which ex06 is solved."""
    made = copied_course(ROOT, tmp_path_factory.mktemp("timing") / "course")
    shutil.copy(ROOT / "solutions" / "ex06_flash_attention.py", made / "exercises")
    return made


def run(course: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    # pytest-benchmark measures nothing beside pytest-xdist, which may well run these tests here.
    alone = {name: value for name, value in os.environ.items() if "XDIST" not in name}
    done = subprocess.run(command, cwd=course, env=alone, capture_output=True, text=True)
    return done.stdout + done.stderr


def measured(tokens: int, seconds: float = 0.001, **noted: Any) -> dict[str, Any]:
    """A benchmark as pytest-benchmark writes it, as far as we read it."""
    beside = {"device": "cpu", "direction": "forward", "dtype": "float32", "kind": "yours"}
    return {
        "extra_info": beside | {"tokens": tokens} | noted,
        "stats": {"median": seconds},
    }


def written(root: Path, *benchmarks: dict[str, Any], text: str | None = None) -> Path:
    file = timings_file(EXERCISE, root)
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "benchmarks": benchmarks,
        "datetime": "2026-11-30T10:00:00",
        "machine_info": {"cpu": {"brand_raw": "A processor"}},
    }
    file.write_text(json.dumps(content) if text is None else text)
    return file


def test_benchmarks_of_one_exercise_are_kept_and_drawn(course: Path) -> None:
    assert "6 passed" in run(course, TESTS, "--benchmark-only", "-k", FEW)
    timings = read_timings(timings_file(EXERCISE, course))
    assert timings is not None and len(timings.all) == 6
    assert {each.kind for each in timings.all} == {"manual", "yours", "torch"}
    assert {each.tokens for each in timings.all} == {128, 256}
    ((exercise, picture),) = timed_pictures([EXERCISE], course)
    assert exercise == EXERCISE.id and picture.svg.startswith("<svg")
    for word in ("manual", "yours", "torch", timings.machine, timings.day):
        assert word in picture.caption


def test_nothing_is_kept_of_others_answers_or_where_another_file_is_asked_for(
    course: Path, tmp_path: Path
) -> None:
    file = written(course, text="as it was")
    benchmarks = ["--benchmark-only", "-k", f"{FEW} and 128"]
    assert "3 passed" in run(course, TESTS, *benchmarks, "--impl=solutions")
    other = tmp_path / "mine.json"
    assert "3 passed" in run(course, TESTS, *benchmarks, f"--benchmark-json={other}")
    assert read_timings(other) is not None and file.read_text() == "as it was"


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{", "[" * 100_000, '{"benchmarks": []}', '{"benchmarks": [{}]}'],
    ids=range(7),
)
def test_a_file_that_says_nothing_is_no_timing(tmp_path: Path, text: str) -> None:
    assert read_timings(written(tmp_path, text=text)) is None
    assert list(timed_pictures([EXERCISE], tmp_path)) == []


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_nor_are_seconds_that_are_none(tmp_path: Path, seconds: float) -> None:
    assert read_timings(written(tmp_path, measured(128), measured(256, seconds))) is None


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    timings = read_timings(written(tmp_path, measured(128, 0.5, kind="manual")))
    assert timings is not None
    assert (timings.machine, timings.day) == ("A processor", "2026-11-30")
    assert timings.all == (Timing("manual", "forward", "float32", 128, 0.5),)


def test_one_length_is_no_line(tmp_path: Path) -> None:
    written(tmp_path, measured(128), measured(128, kind="manual"))
    assert list(timed_pictures([EXERCISE], tmp_path)) == []


def test_float32_is_drawn_where_several_dtypes_were_measured(tmp_path: Path) -> None:
    written(
        tmp_path,
        *(measured(tokens, 9.0, dtype="bfloat16") for tokens in (128, 256)),
        *(measured(tokens, 0.002) for tokens in (128, 256)),
    )
    ((_, picture),) = timed_pictures([EXERCISE], tmp_path)
    assert "float32" in picture.caption and "yours 2 ms" in picture.caption
    assert "9" not in picture.caption.replace("2026", "")


def test_a_lesson_s_picture_is_a_file_of_its_own(tmp_path: Path) -> None:
    source, target = written(tmp_path, measured(128), measured(256)), tmp_path / "picture.svg"
    module = "grader.learner.report.pictures.times"
    command = [sys.executable, "-m", module, str(source), str(target)]
    assert "yours 1 ms" in subprocess.check_output(command, text=True)
    svg = target.read_text()
    assert "--ink: #" in svg and "background: white" in svg
    source.write_text("{}")
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 1 and "want pytest-benchmark's JSON" in refused.stderr
