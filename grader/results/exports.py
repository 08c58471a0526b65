"""The report for other programs: JUnit for build servers, a badge for a project's page. Pure."""

from __future__ import annotations

import datetime
import xml.etree.ElementTree as ET

from grader.learner.report.portfolio import ExerciseRecord, Portfolio
from grader.messages.console import points
from grader.messages.sanitize import harmless


def junit(portfolio: Portfolio) -> str:
    """JUnit's XML: a suite for every exercise, and in it a case for every test.

    An exercise that has not been started is one case, skipped.
    """
    root = ET.Element("testsuites", name="MiniMind")
    for record in portfolio.records:
        root.append(_suite(record))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(record: ExerciseRecord) -> ET.Element:
    name, result = record.exercise.id, record.standing.result
    suite = ET.Element("testsuite", name=name)
    if result is None:
        suite.attrib |= {"tests": "1", "failures": "0", "errors": "0", "skipped": "1"}
        case = ET.SubElement(suite, "testcase", classname=name, name="not started")
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
        case = ET.SubElement(suite, "testcase", classname=name, name=harmless(test.test))
        if not test.passed:
            failure = ET.SubElement(case, "failure", message=harmless(test.verdict))
            failure.text = harmless(test.sentence)
    return suite


def badge(portfolio: Portfolio) -> dict[str, object]:
    """What https://shields.io makes a badge of, by its endpoint."""
    share = portfolio.points / portfolio.possible if portfolio.possible else 0
    colour = "brightgreen" if share == 1 else "blue" if share else "lightgrey"
    return {
        "schemaVersion": 1,
        "label": "MiniMind",
        "message": f"{points(portfolio.points)} of {portfolio.possible} points",
        "color": colour,
    }
