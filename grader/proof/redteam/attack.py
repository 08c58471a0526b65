"""The red team: attacks on the grader, and what each comes to.

A case is a folder under `grader/tests/redteam`: a submission, and a `case.toml` that says what it
tries and what must be said of it. Each is graded as any submission is, and by a naive grader that
runs pytest in one process and believes what comes out: there the attack must succeed, or it proves
nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from grader.classroom.grade import Grade, grade
from grader.course.course import Course
from grader.course.syllabus import Limits
from grader.isolation.launch import Zygote, start_zygote
from grader.isolation.sandbox import PROFILES
from grader.messages.sanitize import harmless
from grader.observation.kind import Kind
from grader.proof.redteam.processes import Patience, below, processes
from grader.results.record import VERSION, ExerciseResult

CASES = Path("grader") / "tests" / "redteam"
AIMS = ("end", "values", "steal", "exhaust", "host")
LIMITS = Limits(seconds=2.0, memory_mb=768)
"""What an attack may use; enough for a right answer, and short to wait for."""
SLACK = 1.0
"""Processor seconds that an answer, or the judge's work on it, may take beyond the limit."""

_SETTLING = 0.3
"""Processor seconds of ours in which what was killed has as many turns as we to end."""
_NAIVE_BUSY, _NAIVE_IDLE = 15.0, 15.0
"""Processor seconds after which the naive grader hangs, and seconds in which it only sleeps."""
_LOOK = 0.4
_NAIVE_MEMORY = 6 << 30
_MUCH_MEMORY_MB = 1200
_MUCH_OUTPUT = 1 << 20
_NOBODY = 65534
_NO_WORKER = (1 << 22) + 1
"""An id that no process has: Linux gives none above this."""
_SECRET = "REDTEAM_SECRET"
_REACHED = "REACHED"
"""What an attack says that has got somewhere."""
_ACTS = re.compile("\x1b|\x9b|\u202e|\u200b|^\\s*::(error|notice|set-output)|##vso\\[", re.M)


@dataclass(frozen=True)
class Case:
    """An attack and what must come of it.

    `verdict` begins the verdict of every test that matches `test`, `message` is found in what one
    of them says; both are regular expressions. `naive` is "succeeds", or why it cannot succeed
    even against a naive grader. `points` are those that it deserves: its numbers are right.
    `profiles` are those that promise to stop it. `special` says how to make an answer that cannot
    lie in a repository, such as a pipe.
    """

    name: str
    folder: Path
    title: str
    aim: str
    verdict: str
    naive: str
    points: Fraction
    message: str = ""
    test: str = "rotate_half_is"
    exercise: str = "ex02_rope"
    profiles: tuple[str, ...] = PROFILES
    special: Mapping[str, Any] = field(default_factory=dict)

    @property
    def succeeds_naively(self) -> bool:
        return self.naive == "succeeds"

    @property
    def is_too_dangerous(self) -> bool:
        return self.naive.startswith("too dangerous")


@dataclass(frozen=True)
class Result:
    """What came of an attack under one profile; `complaints` say in words what should not be.

    `spent` are the processor seconds of the answer's workers, `judged` those of the judge.
    """

    case: Case
    profile: str
    grade: Grade
    spent: float
    judged: float
    surviving: tuple[str, ...]
    changed: tuple[str, ...]
    honest: bool
    complaints: tuple[str, ...]

    @property
    def undeserved(self) -> Fraction:
        return max(Fraction(0), self.grade.earned - self.case.points)

    @property
    def is_late(self) -> bool:
        return max(self.spent, self.judged) > LIMITS.seconds + SLACK

    def problems(self) -> list[str]:
        """Everything that is wrong, in words."""
        found = list(self.complaints)
        if self.grade.earned != self.case.points:
            found.append(f"it won {self.grade.earned} points, want {self.case.points}")
        if self.is_late:
            took = f"{self.spent:.1f} s and the judge {self.judged:.1f} s of the processor"
            found.append(f"it took {took}, want {LIMITS.seconds + SLACK:g} s at most")
        if self.surviving:
            found.append(f"left running: {', '.join(self.surviving)}")
        if self.changed:
            found.append(f"files changed: {', '.join(self.changed)}")
        if not self.honest:
            found.append("the honest submission after it did not get full marks")
        return found


@dataclass(frozen=True)
class Naive:
    """What an attack did to the naive grader: `signs` of its success, and what was printed."""

    case: Case
    signs: tuple[str, ...]
    printed: str

    @property
    def rotted(self) -> bool:
        """Whether the attack no longer does what it is there for, or more than it says."""
        return bool(self.signs) != self.case.succeeds_naively


def read_cases(root: Path) -> list[Case]:
    """All cases, by name."""
    return [_case(file) for file in sorted((root / CASES).glob("*/case.toml"))]


def _case(file: Path) -> Case:
    table = tomllib.loads(file.read_text(encoding="utf-8"))
    points = Fraction(table.pop("points"))
    profiles = tuple(table.pop("profiles", PROFILES))
    case = Case(
        name=file.parent.name, folder=file.parent, points=points, profiles=profiles, **table
    )
    if case.aim not in AIMS:
        raise ValueError(f"{file}: aim is {case.aim!r}, want one of {', '.join(AIMS)}")
    return case


def submitted(case: Case, into: Path, root: Path) -> Path:
    """The submission's folder, made anew under `into`; `root` is the course's."""
    folder = into / str(case.special.get("folder", case.name))
    shutil.copytree(case.folder, folder, ignore=shutil.ignore_patterns("case.toml"))
    answer = folder / f"{case.exercise}.py"
    match case.special:
        case {"kind": "repeated", "text": text, "times": times}:
            before, after = case.special.get("before", ""), case.special.get("after", "")
            answer.write_text(before + text * times + after)
        case {"kind": "bytes", "hex": digits}:
            answer.write_bytes(bytes.fromhex(digits))
        case {"kind": "link", "target": target}:
            answer.symlink_to(target.format(root=root))
        case {"kind": "fifo"}:
            os.mkfifo(answer)
        case {"kind": "folder"}:
            answer.mkdir()
    return folder


class RedTeam:
    """Grades one attack after the other, and an honest submission after each.

    Orphans of the attacks become children of this process, so that none is overlooked.
    """

    def __init__(self, root: Path, zygote: Zygote | None = None) -> None:
        self._root = root
        self._zygote = self._own_zygote = zygote
        os.environ[_SECRET] = self._secret = secrets.token_hex(8)
        _adopt_orphans()
        if zygote is None:
            self._zygote = self._own_zygote = start_zygote(root)
        else:
            self._own_zygote = None

    def close(self) -> None:
        if self._own_zygote is not None:
            self._own_zygote.close()

    def attack(self, case: Case, profile: str) -> Result:
        """Grade an attack; once more where files changed, as others may be at work on them.

        Raises ValueError for a profile that does not promise to stop it: it might really do it.
        """
        if profile not in case.profiles:
            raise ValueError(f"{case.name} is for {', '.join(case.profiles)}, not for {profile}")
        result = self._attack(case, profile)
        return self._attack(case, profile) if result.changed else result

    def _attack(self, case: Case, profile: str) -> Result:
        processes, files = _below(os.getpid()), _contents(self._root)
        with tempfile.TemporaryDirectory() as scratch:
            folder = submitted(case, Path(scratch), self._root)
            handed_in = _contents(folder)
            spent, judged = self._workers_seconds(), time.process_time()
            graded = self._graded(folder, case, profile, LIMITS)
            judged = time.process_time() - judged
            spent = self._workers_seconds() - spent
            surviving = _settled(processes)
            changed = (*_differences(files, _contents(self._root)), *_left_behind(Path(scratch)))
            changed += _differences(handed_in, _contents(folder))
            complaints = tuple(self._complaints(case, graded))
            honest = self._is_honest_work_rewarded(case, Path(scratch), profile)
        return Result(
            case,
            profile,
            graded,
            spent,
            judged,
            tuple(surviving.values()),
            changed,
            honest,
            complaints,
        )

    def _graded(self, folder: Path, case: Case, profile: str, limits: Limits | None) -> Grade:
        course = _only(Course.load(self._root), case.exercise, limits)
        return grade(folder, course, profile=profile, zygote=self._zygote)

    def _workers_seconds(self) -> float:
        """Processor seconds of all workers so far, as the system has counted them, not the judge.

        It counts those that were waited for: so was everyone, once a later request is answered.
        """
        if self._zygote is None:
            return 0.0
        self._zygote.reap(_NO_WORKER)()
        return processes()[self._zygote.pid].seconds

    def _is_honest_work_rewarded(self, case: Case, scratch: Path, profile: str) -> bool:
        folder = scratch / "honest"
        folder.mkdir()
        shutil.copy(self._root / "solutions" / f"{case.exercise}.py", folder)
        graded = self._graded(folder, case, profile, None)
        return graded.earned == graded.points

    def _complaints(self, case: Case, graded: Grade) -> Iterator[str]:
        tests = [t for t in graded.results[0].tests if re.search(case.test, t.test)]
        if not tests:
            yield f"no test matches {case.test!r}"
        for test in tests:
            if not re.match(case.verdict, test.verdict.public):
                yield f"the verdict is {test.verdict.public!r}, want {case.verdict!r}: {test}"
        if not any(re.search(case.message, "\n".join(test.message)) for test in tests):
            yield f"no message matches {case.message!r}: {tests[0].message}"
        yield from complaints_about(graded)
        told = "\n".join(line for r in graded.results for t in r.tests for line in t.message)
        for hidden in (self._secret, str(graded.seed), _REACHED):
            if hidden in told:
                yield f"a message tells {hidden!r}"


def _only(course: Course, name: str, limits: Limits | None) -> Course:
    exercise = course.syllabus.find(name)
    if limits is not None:
        exercise = replace(exercise, limits=limits)
    return replace(course, syllabus=replace(course.syllabus, exercises=(exercise,)))


def complaints_about(graded: Grade) -> Iterator[str]:
    """What is wrong with a result as a result: its form, its sums, and text that acts."""
    report = json.loads(json.dumps(graded.as_json()))
    if report["version"] != VERSION:
        yield f"its version is {report['version']!r}, want {VERSION}"
    exercises = report["exercises"]
    total = sum((Fraction(exercise["earned"]) for exercise in exercises), Fraction(0))
    if Fraction(report["earned"]) != total:
        yield f"it earned {report['earned']} points, its exercises {total}"
    for exercise, result in zip(exercises, graded.results, strict=True):
        if not 0 <= Fraction(exercise["earned"]) <= exercise["points"]:
            name, earned = exercise["exercise"], exercise["earned"]
            yield f"{name} has {earned} of {exercise['points']} points"
        if ExerciseResult.from_json(exercise) != result:
            yield f"{exercise['exercise']} does not come back from its JSON as it was"
        for test in exercise["tests"]:
            if test["public"] != Kind(test["verdict"]).public:
                yield f"a test that is {test['verdict']!r} and {test['public']!r}"
            if test["passed"] != (test["public"] == "passed"):
                yield f"a test that passed={test['passed']} and is {test['public']!r}"
    for text in _texts(report):
        if harmless(text) != text:
            yield f"a text that acts or is too long: {text[:100]!r}"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


class NaiveGrader:
    """Runs attacks against the naive grader, in throw-away copies of the course and of a home.

    Each has limits, an end and, where this is root, a user without rights.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._secret = secrets.token_hex(8)
        self._user = _user_without_rights()
        _adopt_orphans()

    def attack(self, case: Case) -> Naive:
        """Let an attack loose and look for what it did."""
        processes = _below(os.getpid())
        with tempfile.TemporaryDirectory() as folder:
            scratch = Path(folder)
            course, home = self._copies(scratch)
            try:
                submission = submitted(case, scratch / "submissions", course)
            except OSError as error:
                return Naive(case, (f"{type(error).__name__} before it began",), "")
            files = _contents(course)
            _give_away(scratch, self._user)
            printed, ended = self._run(course, submission, home, scratch)
            survivors = _settled(processes)
            signs = tuple(self._signs(case, scratch, printed, ended))
            if survivors:
                signs += (f"left running: {', '.join(survivors.values())}",)
                _end(processes)
            changed = set(_differences(files, _contents(course)))
            changed -= set(_contents(submission)) | {"report.xml"}
            changed |= set(_left_behind(scratch, home))
            if changed:
                signs += (f"files: {', '.join(sorted(changed)[:3])}",)
        return Naive(case, signs, printed)

    def _copies(self, scratch: Path) -> tuple[Path, Path]:
        course, home = scratch / "course", scratch / "home"
        ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info")
        shutil.copytree(self._root, course, ignore=ignored)
        shutil.rmtree(course / "grader" / "tests", ignore_errors=True)
        syllabus = course / "grader" / "curriculum.toml"
        syllabus.write_text(re.sub(r"(?m)^seconds = \d+", "seconds = 4", syllabus.read_text()))
        (home / "tmp").mkdir(parents=True)
        (home / ".secret").write_text(self._secret)
        return course, home

    def _run(self, course: Path, submission: Path, home: Path, scratch: Path) -> tuple[str, bool]:
        """What was printed, and whether it came to an end by itself."""
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "OMP_NUM_THREADS": "1",
            _SECRET: self._secret,
        }
        program = self._root / "grader" / "tests" / "naive_grader.py"
        output = scratch / "printed.txt"
        with output.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, program, course, submission, scratch / "result.json"],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=home,
                start_new_session=True,
                **self._user,
            )
            _confine(process.pid)
            patience = Patience(process.pid, busy=_NAIVE_BUSY, idle=_NAIVE_IDLE)
            ended = False
            while not ended and not patience.is_over():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK)
                    ended = True
            if not ended:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return output.read_bytes().decode(errors="replace"), ended

    def _signs(self, case: Case, scratch: Path, printed: str, ended: bool) -> Iterator[str]:
        """What shows that an attack had success, processes and files aside."""
        result_file = scratch / "result.json"
        report = scratch / "course" / "report.xml"
        told = printed + (report.read_text(errors="replace") if report.is_file() else "")
        if not ended:
            yield "it hung"
        elif not result_file.exists():
            yield "the grader died"
        else:
            result = json.loads(result_file.read_text())
            if Fraction(result["share"]) * 100 > case.points:
                yield f"it won {float(Fraction(result['share'])):.0%}"
            if result["code"] not in (0, 1) or not report.is_file():
                yield f"pytest ended with {result['code']}, and not as it should"
            if result["memory_mb"] > _MUCH_MEMORY_MB:
                yield f"it took {result['memory_mb']} MB"
        if self._secret in told:
            yield "it told the secret"
        if _REACHED in printed:
            yield "it reached what it wanted"
        if len(told) > _MUCH_OUTPUT:
            yield f"it printed {len(told)} characters"
        if _ACTS.search(printed):
            yield "what it printed acts on a terminal or a CI server"


def _adopt_orphans() -> None:
    """Become the parent of every process below this one that loses its own (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def _below(pid: int) -> dict[int, str]:
    """The names of the processes that one has started and that are still there."""
    return {pid: process.name for pid, process in below(pid).items()}


def _settled(before: Mapping[int, str]) -> dict[int, str]:
    """The processes that were not there before and do not end by themselves within moments."""
    end = time.process_time() + _SETTLING
    while True:
        found = {pid: name for pid, name in _below(os.getpid()).items() if pid not in before}
        if not found or time.process_time() > end:
            return found
        time.sleep(0.02)


def _end(before: Mapping[int, str]) -> None:
    """Kill what an attack has left running below this process."""
    for _ in range(100):
        remaining = [pid for pid in _below(os.getpid()) if pid not in before]
        for pid in remaining:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                continue
        if not remaining:
            return


def _contents(folder: Path) -> dict[str, str]:
    """A digest of every regular file, but for caches and hidden folders."""
    found: dict[str, str] = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [n for n in folders if not n.startswith(".") and n != "__pycache__"]
        for name in names:
            path = Path(parent, name)
            if path.is_file() and not path.is_symlink():
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[path.relative_to(folder).as_posix()] = digest
    return found


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    paths = {**before, **after}
    return tuple(path for path in paths if before.get(path) != after.get(path))


def _left_behind(*folders: Path) -> tuple[str, ...]:
    """Files of the attacks' own, where they try to put them."""
    places = [*folders, *(folder / "tmp" for folder in folders), Path("/tmp"), Path("/dev/shm")]
    found = {path for place in places if place.is_dir() for path in place.glob("redteam-*")}
    for path in found:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return tuple(path.name for path in found)


def _user_without_rights() -> dict[str, Any]:
    """Whom root may run a process as, for `Popen`; nobody else where Python itself is root's."""
    nobody: dict[str, Any] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
    if os.geteuid() != 0:
        return {}
    try:
        subprocess.run([sys.executable, "-c", ""], check=True, stderr=subprocess.DEVNULL, **nobody)
    except (OSError, subprocess.CalledProcessError):
        return {}
    return nobody


def _give_away(folder: Path, user: Mapping[str, Any]) -> None:
    """Let a user have a folder and all that is in it."""
    if user:
        for parent, folders, names in os.walk(folder):
            for path in (parent, *(os.path.join(parent, name) for name in (*folders, *names))):
                os.chown(path, _NOBODY, _NOBODY, follow_symlinks=False)


def _confine(pid: int) -> None:
    """Limit what a process and those that it starts may take."""
    if sys.platform == "linux":
        import resource

        for limit, value in (
            (resource.RLIMIT_AS, _NAIVE_MEMORY),
            (resource.RLIMIT_FSIZE, 256 << 20),
            (resource.RLIMIT_CORE, 0),
        ):
            resource.prlimit(pid, limit, (value, value))
