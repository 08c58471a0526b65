"""What a learner has chosen and watched in this copy of the course: `.grader/settings.json`.

Settings are a convenience. A file that is missing, unreadable or written by another version never
stops a command: what it does not say is as it was at first.
"""

from __future__ import annotations

import json
from pathlib import Path

from grader.course.course import Course
from grader.course.files import replace_file
from grader.course.syllabus import Experiment, LearningPath

SETTINGS = Path(".grader") / "settings.json"


def chosen_path(course: Course) -> LearningPath:
    """The learning path that was chosen; the longest, which is the whole course, at first."""
    wanted = _read(course.root).get("path")
    longest = max(course.syllabus.paths, key=lambda path: path.minutes)
    return next((path for path in course.syllabus.paths if path.id == wanted), longest)


def choose_path(path: LearningPath, root: Path) -> None:
    """Remember the path. Raises OSError where the folder cannot be written."""
    _change(root, path=path.id)


def unseen_experiments(course: Course, path: LearningPath) -> tuple[Experiment, ...]:
    """The experiments of a path that were not watched to their end yet."""
    seen = seen_experiments(course.root)
    return tuple(e for e in course.syllabus.experiments_on(path) if e.id not in seen)


def remember_experiment(experiment: Experiment, root: Path) -> None:
    """Remember that it was watched. Raises OSError where the folder cannot be written."""
    seen = seen_experiments(root)
    if experiment.id not in seen:
        _change(root, experiments=[*seen, experiment.id])


def seen_experiments(root: Path) -> list[str]:
    """The ids of the experiments that were watched to their end."""
    seen = _read(root).get("experiments")
    return [name for name in seen if isinstance(name, str)] if isinstance(seen, list) else []


def _change(root: Path, **changes: object) -> None:
    content = json.dumps(_read(root) | changes, indent=1, ensure_ascii=False)
    replace_file(root / SETTINGS, content.encode("utf-8") + b"\n")


def _read(root: Path) -> dict[str, object]:
    try:
        content = json.loads((root / SETTINGS).read_text(encoding="utf-8"))
    # A text that is not UTF-8 or not JSON is a ValueError too; JSON may also nest without end.
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
