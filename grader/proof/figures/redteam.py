"""The figures of the red team: what all attacks come to, and whether they still are attacks."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

from grader.isolation.launch import start_zygote
from grader.isolation.machine import is_offered
from grader.proof.figures.figure import Figure, Measured, stages
from grader.proof.redteam.attack import RedTeam, Result
from grader.proof.redteam.cases import Case, read_cases
from grader.proof.redteam.naive import Naive, NaiveGrader

_QUICK_ATTACKS = {"light": 3, "full": 1, "process": 1, "naive": 1}
"""How many attacks a quick run draws for each grader."""


def figures(root: Path, quick: bool) -> Measured:
    """Attack in every profile that this machine offers, then attack a naive grader."""
    cases = read_cases(root)

    def drawn(grader: str, suitable: list[Case]) -> list[Case]:
        return random.sample(suitable, _QUICK_ATTACKS[grader]) if quick else suitable

    yield Figure("redteam.cases", len(cases), "attacks")
    zygote = start_zygote(root)
    team = RedTeam(root, zygote)
    for profile in ("light", "full", "process"):
        if is_offered(profile):
            results = []
            suitable = [case for case in cases if profile in case.profiles]
            for stage, case in stages(f"attacks on {profile}", drawn(profile, suitable)):
                yield stage
                results.append(team.attack(case, profile))
            yield from _attacked(f"redteam.{profile}", results)
    if zygote is not None:
        zygote.close()
    grader = NaiveGrader(root)
    attacks: list[Naive] = []
    suitable = [case for case in cases if not case.is_too_dangerous]
    for stage, case in stages("attacks on a naive grader", drawn("naive", suitable)):
        yield stage
        attacks.append(grader.attack(case))
    yield Figure("redteam.naive.cases", len(attacks), "attacks")
    yield Figure("redteam.naive.successful", sum(bool(a.signs) for a in attacks), "attacks")
    yield from _rotted(attacks)


def _rotted(attacks: Sequence[Naive]) -> Measured:
    """How many attacks show nothing any more, and which: they did something else than they say."""
    rotted = [attack for attack in attacks if attack.rotted]
    yield Figure("redteam.naive.rotted", len(rotted), "attacks", 0)
    for attack in rotted:
        did = "; ".join(attack.signs) or "it did nothing"
        yield Figure(f"redteam.naive.{attack.case.name}: {did}", 1, "", 0)


def _attacked(name: str, results: Sequence[Result]) -> Measured:
    yield Figure(f"{name}.cases", len(results), "attacks")
    yield Figure(f"{name}.points won for values", _total(r.undeserved for r in results), "", 0)
    yield Figure(f"{name}.surviving", _total(len(r.surviving) for r in results), "processes", 0)
    yield Figure(f"{name}.changed", _total(len(r.changed) for r in results), "files", 0)
    unrewarded = _total(not r.honest for r in results)
    yield Figure(f"{name}.honest without full marks", unrewarded, "submissions", 0)
    yield Figure(f"{name}.longer than limit + 1 s", _total(r.is_late for r in results), "runs", 0)
    yield Figure(f"{name}.longest answer", max(r.spent for r in results), "s")
    yield Figure(f"{name}.longest judgement", max(r.judged for r in results), "s")
    otherwise = _total(bool(r.complaints) for r in results)
    yield Figure(f"{name}.another verdict or an invalid report", otherwise, "runs", 0)
    for result in results:
        for problem in result.problems():
            yield Figure(f"{name}.{result.case.name}: {problem}", 1, "", 0)


def _total(values: Iterable[float | Fraction]) -> float:
    return float(sum(values))
