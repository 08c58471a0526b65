"""Results as JUnit's XML, which build servers read. Pure functions."""

from __future__ import annotations

import datetime
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import TYPE_CHECKING

from grader.messages.sanitize import sanitize_line

if TYPE_CHECKING:
    from grader.results.record import ExerciseResult


def junit(results: Iterable[tuple[str, ExerciseResult | None]]) -> str:
    """A suite for every exercise and in it a case for every test; `results` are (id, result).

    An exercise without a result has not been started: it is a single case, skipped.
    """
    root = ET.Element("testsuites", name="MiniMind")
    for exercise, result in results:
        root.append(_suite(exercise, result))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(exercise: str, result: ExerciseResult | None) -> ET.Element:
    suite = ET.Element("testsuite", name=exercise)
    if result is None:
        suite.attrib |= {"tests": "1", "failures": "0", "errors": "0", "skipped": "1"}
        case = ET.SubElement(suite, "testcase", classname=exercise, name="not started")
        ET.SubElement(case, "skipped", message="not started")
        return suite
    when = datetime.datetime.fromtimestamp(result.when, datetime.UTC)
    suite.attrib |= {
        "tests": str(len(result.tests)),
        "failures": str(len(result.tests) - result.passed),
        "errors": "0",
        "skipped": "0",
        "time": f"{result.seconds:.3f}",
        "timestamp": when.strftime("%Y-%m-%dT%H:%M:%S"),
    }
    for test in result.tests:
        case = ET.SubElement(suite, "testcase", classname=exercise, name=sanitize_line(test.test))
        if not test.passed:
            failure = ET.SubElement(case, "failure", message=sanitize_line(test.verdict))
            failure.text = sanitize_line(test.sentence)
    return suite
