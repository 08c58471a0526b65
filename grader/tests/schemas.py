"""The JSON schemas of the grader, which refer to each other."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from grader.course.syllabus import ROOT

FOLDER = ROOT / "grader" / "schemas"


def validator(name: str) -> Callable[[object], None]:
    """What raises for content that a schema does not allow; content goes through JSON first."""
    jsonschema = pytest.importorskip("jsonschema")
    referencing = pytest.importorskip("referencing")
    schemas = {file.name: json.loads(file.read_text()) for file in FOLDER.glob("*.schema.json")}
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    known = [(n, referencing.Resource.from_contents(s)) for n, s in schemas.items()]
    registry = referencing.Registry().with_resources(known)
    check = jsonschema.Draft202012Validator(schemas[f"{name}.schema.json"], registry=registry)

    def validate(content: Any) -> None:
        check.validate(json.loads(json.dumps(content)))

    return validate
