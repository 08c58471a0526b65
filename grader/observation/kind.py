"""The one vocabulary of verdicts: every way in which a test can end.

Standard library alone: the history and the kept results are read where torch is not imported.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """How a test ended; the text is what histories, kept results, exports and frames contain."""

    PASSED = "passed"

    # Why there are no outputs, as the answer's own process can see it.
    NOT_IMPLEMENTED = "not implemented"
    MISSING = "missing"
    EXCEPTION = "exception"
    UNUSABLE = "unusable"
    RECURSION = "recursion"
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY = "out of memory"
    EXITED = "exited"
    FORBIDDEN = "forbidden"
    CANNOT_LOAD = "cannot load"
    SYNTAX = "syntax"

    # The same, as only the judge can know it.
    NO_FILE = "no file"
    FORBIDDEN_IMPORT = "forbidden import"
    OUT_OF_TIME = "out of time"
    CRASHED = "crashed"
    PROTOCOL = "protocol"
    NOT_GRADED = "not graded"

    # What is wrong with the outputs, with what was done beside them, or with what that cost.
    TYPE = "type"
    PLAIN_VALUE = "plain value"
    SHAPE = "shape"
    DTYPE = "dtype"
    NOT_FINITE = "not finite"
    VALUE = "value"
    GRADIENT = "gradient"
    MODIFIED = "modified"
    DISTURBED = "disturbed"
    BANNED = "banned"
    COST = "cost"
    PROPERTY = "property"

    @property
    def worker_may_report(self) -> bool:
        """Whether a worker can find this out itself, so that its word for it counts.

        All others are the judge's: a worker that reports one of them is lying.
        """
        return self in _REPORTED_BY_WORKERS

    @property
    def about_the_file(self) -> bool:
        """Whether the file as a whole is at fault, so that every test fails for this reason."""
        return self in _ABOUT_THE_FILE

    @property
    def by_chance(self) -> bool:
        """Whether a busy machine, or one short of memory, may be the cause: run again to know."""
        return self in _BY_CHANCE

    @property
    def nothing_ran(self) -> bool:
        """Whether nothing was run that a function of the answer could be blamed for."""
        return self in _NOTHING_RAN

    @property
    def fits_any_mistake(self) -> bool:
        """Whether a run that ended like this neither supports nor rules out a known mistake.

        Any answer can be unfinished, or too slow, whatever else is wrong with it.
        """
        return self in _FITS_ANY_MISTAKE

    @property
    def is_numeric(self) -> bool:
        """Whether numbers of the right type and shape are off, so that it can be said how far."""
        return self in (Kind.VALUE, Kind.GRADIENT)

    @property
    def public(self) -> str:
        """The word for it in a grade: few of them, for people who do not know the grader."""
        return _PUBLIC.get(self, "failed")


_REPORTED_BY_WORKERS = frozenset(
    {
        *(Kind.NOT_IMPLEMENTED, Kind.MISSING, Kind.EXCEPTION, Kind.UNUSABLE, Kind.RECURSION),
        *(Kind.TIMED_OUT, Kind.OUT_OF_MEMORY, Kind.EXITED, Kind.FORBIDDEN),
        *(Kind.CANNOT_LOAD, Kind.SYNTAX),
    }
)
_ABOUT_THE_FILE = frozenset({Kind.NO_FILE, Kind.FORBIDDEN_IMPORT, Kind.CANNOT_LOAD, Kind.SYNTAX})
_BY_CHANCE = frozenset(
    {Kind.NOT_GRADED, Kind.TIMED_OUT, Kind.OUT_OF_TIME, Kind.OUT_OF_MEMORY, Kind.CRASHED}
)
_NOTHING_RAN = frozenset({Kind.NO_FILE, Kind.FORBIDDEN_IMPORT, Kind.OUT_OF_TIME, Kind.NOT_GRADED})
_FITS_ANY_MISTAKE = _NOTHING_RAN | {
    *(Kind.NOT_IMPLEMENTED, Kind.MISSING, Kind.TIMED_OUT, Kind.OUT_OF_MEMORY),
    *(Kind.FORBIDDEN, Kind.CRASHED, Kind.EXITED, Kind.PROTOCOL),
}
_PUBLIC = {
    Kind.PASSED: "passed",
    Kind.NOT_IMPLEMENTED: "not implemented",
    Kind.NO_FILE: "not implemented",
    Kind.MISSING: "not implemented",
    Kind.EXCEPTION: "error",
    Kind.UNUSABLE: "error",
    Kind.RECURSION: "error",
    Kind.CANNOT_LOAD: "error",
    Kind.SYNTAX: "error",
    Kind.FORBIDDEN_IMPORT: "error",
    Kind.TIMED_OUT: "timed out",
    Kind.OUT_OF_TIME: "timed out",
    Kind.OUT_OF_MEMORY: "out of memory",
    Kind.CRASHED: "crashed",
    Kind.EXITED: "exited",
    Kind.FORBIDDEN: "tried something forbidden",
    Kind.PROTOCOL: "protocol violation",
    Kind.NOT_GRADED: "not graded (our fault)",
    Kind.BANNED: "banned call",
}
