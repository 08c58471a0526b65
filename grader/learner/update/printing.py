"""What `grader update` prints."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from grader.messages.catalog import say
from grader.messages.console import Console

if TYPE_CHECKING:
    from grader.learner.update.merge import Change, Update


def update_begins(console: Console, source: str | None) -> None:
    """Where the newer course comes from: a remote may take a while to answer."""
    console.advice([say("report.update_begins", source=source or say("report.the_remote"))])


def updated(console: Console, update: Update, root: Path, *, dry_run: bool) -> None:
    """What happened to each exercise, how many other files changed, and where backups are."""
    if all(change.kind in ("kept", "left") for change in update.changes):
        console.lines([say("report.update_nothing", course=update.course.name)])
    for change in update.changes:
        if change.exercise:
            console.lines([f"  {change.exercise:16} {_happened(change)}"])
    rest = Counter(change.kind for change in update.changes if not change.exercise)
    changed = rest.total() - rest["left"]
    if changed:
        new, gone = rest["new"], rest["removed"]
        console.lines([say("report.update_others", count=changed, new=new, gone=gone)])
    for name, backup in update.backups.items():
        place = backup.relative_to(root).as_posix()
        console.lines([say("report.update_backup", file=name, backup=place)])
    if update.dependencies_changed:
        console.advice([say("report.update_install")])
    if update.branch_moved is False:
        console.advice([say("report.update_branch")])
    if dry_run:
        console.lines([say("report.update_dry_run")])


def _happened(change: Change) -> str:
    """What an update did to an exercise."""
    match change.kind:
        case "new":
            return say("report.update_new")
        case "updated":
            return say("report.update_updated")
        case "merged":
            return say("report.update_merged")
        case "kept" if change.other:
            return say("report.update_still_beside", file=change.other)
        case "kept":
            return say("report.update_kept")
        case "beside":
            return say("report.update_beside", file=change.other)
        case "renamed":
            return say("report.update_renamed", file=change.other)
        case "split":
            return say("report.update_split", file=change.other)
        case "removed":
            return say("report.update_removed")
        case _:
            return say("report.update_left")
