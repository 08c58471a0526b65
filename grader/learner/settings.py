"""What a learner has chosen for this copy of the course: `.grader/settings.json`.

Settings are a convenience. A file that is missing, unreadable or written by another version never
stops a command: what it does not say is as it was at first.
"""

from __future__ import annotations

import json
from pathlib import Path

from grader.course.course import Course
from grader.course.files import replace_file
from grader.course.syllabus import LearningPath

SETTINGS = Path(".grader") / "settings.json"


def chosen_path(course: Course) -> LearningPath:
    """The learning path that was chosen; the longest, which is the whole course, at first."""
    wanted = _read(course.root).get("path")
    longest = max(course.syllabus.paths, key=lambda path: path.minutes)
    return next((path for path in course.syllabus.paths if path.id == wanted), longest)


def choose_path(path: LearningPath, root: Path) -> None:
    """Remember the path. Raises OSError where the folder cannot be written."""
    content = json.dumps(_read(root) | {"path": path.id}, indent=1, ensure_ascii=False)
    replace_file(root / SETTINGS, content.encode("utf-8") + b"\n")


def _read(root: Path) -> dict[str, object]:
    try:
        content = json.loads((root / SETTINGS).read_text(encoding="utf-8"))
    # A text that is not UTF-8 or not JSON is a ValueError too; JSON may also nest without end.
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
