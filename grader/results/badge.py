"""Points as a badge for a project's page."""

from __future__ import annotations

from fractions import Fraction

from grader.messages import quantities


def badge(points: Fraction, possible: int) -> dict[str, object]:
    """The JSON that the endpoint badge of https://shields.io reads."""
    share = points / possible if possible else 0
    colour = "brightgreen" if share == 1 else "blue" if share else "lightgrey"
    return {
        "schemaVersion": 1,
        "label": "MiniMind",
        "message": f"{quantities.points(points)} of {possible} points",
        "color": colour,
    }
