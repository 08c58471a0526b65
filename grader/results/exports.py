"""The report for other programs: JUnit for build servers, a badge for a project's page. Pure."""

from __future__ import annotations

import datetime
import xml.etree.ElementTree as ET

from grader.learner.report.portfolio import Account, Work
from grader.messages.console import points
from grader.messages.sanitize import harmless


def junit(account: Account) -> str:
    """JUnit's XML: a suite for every exercise, and in it a case for every test.

    An exercise that has not been started is one case, skipped.
    """
    root = ET.Element("testsuites", name="MiniMind")
    for work in account.works:
        root.append(_suite(work))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(work: Work) -> ET.Element:
    name, result = work.exercise.id, work.standing.result
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


def badge(account: Account) -> dict[str, object]:
    """What https://shields.io makes a badge of, by its endpoint."""
    share = account.points / account.possible if account.possible else 0
    colour = "brightgreen" if share == 1 else "blue" if share else "lightgrey"
    return {
        "schemaVersion": 1,
        "label": "MiniMind",
        "message": f"{points(account.points)} of {account.possible} points",
        "color": colour,
    }
