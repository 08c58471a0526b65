"""How not to grade: the submission is put into the course, and what pytest says is believed.

Run as `naive_grader.py COURSE SUBMISSION RESULT`. The red team's attacks are tried on it, to see
that they are attacks.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from fractions import Fraction
from pathlib import Path


def main(course: Path, submission: Path, result: Path) -> None:
    shutil.copytree(submission, course, dirs_exist_ok=True)
    report = course / "report.xml"
    exercise = next(course.glob("ex*.py"), Path("ex02_rope.py")).stem
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "--impl=.", f"--junitxml={report}"),
            f"tests/test_{exercise.removeprefix('ex')}.py",
        ],
        cwd=course,
        env=os.environ | {"PYTHONPATH": str(course)},
    )
    memory_kb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    tests = ran(report)
    found = {
        "code": done.returncode,
        "share": str(share(done.returncode, tests)),
        "tests": len(tests),
        "memory_mb": memory_kb // 1024,
    }
    result.write_text(json.dumps(found))


def ran(report: Path) -> list[ElementTree.Element]:
    """The tests that ran, as far as one can believe the report."""
    try:
        return ElementTree.parse(report).getroot().findall(".//testcase")
    except (OSError, ElementTree.ParseError):
        return []


def share(code: int, tests: list[ElementTree.Element]) -> Fraction:
    """The part of the tests that passed, each counting the same."""
    if code == 0:
        return Fraction(1)
    passed = sum(test.find("failure") is None and test.find("error") is None for test in tests)
    return Fraction(passed, len(tests)) if tests else Fraction(0)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
