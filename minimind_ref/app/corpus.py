"""Texts to learn from, made by a seed, and a strict reader that says what is wrong with a text.

A text is a short story or a few sums, in English or in Chinese. All of them together are small
enough for a small model to learn in minutes and too many to be learned by heart: it has to find out
that a story's hero keeps the name, the pronoun and the kite, and what 3 + 4 is.

    texts = make_corpus(4000, seed=0)
    check(texts[0]).score      # 1.0
    check("Tom had a an red")  # score near 0, and `faults` says why

The reader knows the language of the corpus and no other. It is what `stories` writes, read
backwards; so a text is without fault exactly if the corpus could have it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from .stories import MOST, PLOTS, Language, Plot, World, numeral

FAULT_COSTS = 0.3
"""Each fault leaves so much of a text's score: one is enough for a text to be bad."""

_LINES = 3
"""Sums in a text of sums."""
_SUMS = 0.4
"""The share of the texts that are sums alone."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        kind: "sentence" for words that make no sentence of the story at that place, "missing" for
            a sentence that does not come, "end" for a text that stops too early, "sum" for a
            result that is not right, else the slot whose word is not right, such as "he".
        where: the sentence, or the beginning of it.
        got: the word that stands there; empty where nothing does.
        want: the word that belongs there; empty where several might.
    """

    kind: str
    where: str
    got: str = ""
    want: str = ""

    def __str__(self) -> str:
        where = f"“{self.where}”"
        if self.kind == "empty":
            return "there is no text"
        if self.kind == "end":
            return f"the text stops after {where}, before its end"
        if self.kind == "missing":
            return f"before {where} something is missing"
        if self.kind == "sentence":
            return f"{where} is not a sentence that can stand there"
        if self.kind == "sum":
            return f"{where}: got {self.got}, but it is {self.want}"
        if self.kind == "friend" and not self.want:
            return f"{where}: the friend and the hero are both called {self.got}"
        if not self.want:
            return f"{where}: {self.got} is not enough for what follows"
        return f"{where}: got “{self.got}”, want “{self.want}” as before"


@dataclass(frozen=True)
class Reading:
    """What the reader says about one text.

    Attributes:
        kind: the plot that it follows most nearly, or "sums".
        faults: all that is wrong, in the order of the text.
        recognised: whether there is one sentence or sum in it that the corpus could have.
    """

    kind: str
    faults: tuple[Fault, ...]
    recognised: bool = True

    @property
    def strayed(self) -> int:
        """How often the text leaves its plot; the other faults are single words."""
        return sum(fault.kind in ("sentence", "missing", "end") for fault in self.faults)

    @property
    def score(self) -> float:
        """1 for a text without fault; each fault leaves ``FAULT_COSTS`` of it. 0 for mere noise."""
        return float(FAULT_COSTS ** len(self.faults)) if self.recognised else 0.0


def make_corpus(count: int, seed: int = 0) -> list[str]:
    """So many texts; equal seeds give equal texts, and a longer corpus begins with a shorter one.

    Args:
        count: how many.
        seed: of all that is chosen.
    """
    chance = random.Random(f"corpus {seed}")
    return [make_text(chance) for _ in range(count)]


def make_text(chance: random.Random) -> str:
    """One text."""
    if chance.random() < _SUMS:
        return _sums(chance)
    plot = chance.choice(PLOTS)
    forms = plot.language.forms(_world(plot, chance))
    sentences = (chance.choice(step).format_map(forms) for step in plot.steps)
    return plot.language.between.join(sentences)


def check(text: str) -> Reading:
    """Read one text; spaces around it do not count."""
    text = text.strip()
    if not text:
        return Reading("", (Fault("empty", ""),), recognised=False)
    readings = [_read_sums(text), *(_read_story(text, plot) for plot in PLOTS)]
    # A story with a wrong name in it is nearer to its own plot than to one with other sentences.
    return min(readings, key=lambda reading: (reading.strayed, len(reading.faults)))


def score(texts: Sequence[str]) -> float:
    """The mean score of some texts, 0 for none."""
    return sum(check(text).score for text in texts) / max(1, len(texts))


def _world(plot: Plot, chance: random.Random) -> World:
    world = {choice: chance.choice(plot.language.values(choice)) for choice in plot.uses}
    while world["friend"] == world["hero"]:
        world["friend"] = chance.choice(plot.language.values("friend"))
    if plot.counts:
        one, other = chance.randint(1, MOST), chance.randint(1, MOST)
        world |= {"n": str(one if plot.counts > 0 else one + other), "m": str(other)}
    return _with_result(plot, world)


def _with_result(plot: Plot, world: World) -> dict[str, str]:
    """A world with the result of what is counted in it."""
    if not plot.counts or not {"n", "m"} <= world.keys():
        return dict(world)
    return {**world, "k": str(int(world["n"]) + plot.counts * int(world["m"]))}


@dataclass(frozen=True)
class _Word:
    """A word found in a slot, and the sentence that it stands in."""

    slot: str
    form: str
    sentence: str


def _read_story(text: str, plot: Plot) -> Reading:
    faults, words = _read_sentences(text, plot)
    # No sentence is without a slot.
    return Reading(plot.name, (*faults, *_disagreements(words, plot)), recognised=bool(words))


def _read_sentences(text: str, plot: Plot) -> tuple[list[Fault], list[_Word]]:
    """What does not follow the plot, and the words that stand in its slots."""
    faults: list[Fault] = []
    words: list[_Word] = []
    between, here, step = plot.language.between, 0, 0
    last = ""
    while step < len(plot.steps) and here < len(text):
        start = here
        if here and text.startswith(between, here):
            start += len(between)
        found, at = _match(plot, step, text, start), step
        if found is None:
            found, at = _next_sentence(plot, step, text, start)
            skipped = text[start : found.start() if found else None].strip()
            if skipped:
                faults.append(Fault("sentence", _short(skipped)))
            if found is None:
                break
            lost = at - step - bool(skipped)
            faults += [Fault("missing", found[0])] * lost
        elif here and start == here and between:
            faults.append(Fault("sentence", _short(text[here:])))
        last, here, step = found[0], found.end(), at + 1
        words += [_Word(slot, form, last) for slot, form in _slots(found)]
    if rest := text[here:].strip():
        if step == len(plot.steps) or not faults or faults[-1].kind != "sentence":
            faults.append(Fault("sentence", _short(rest)))
    faults += [Fault("end", _short(last or text))] * (len(plot.steps) - step)
    return faults, words


def _next_sentence(
    plot: Plot, step: int, text: str, start: int
) -> tuple[re.Match[str] | None, int]:
    """Where the plot goes on after something that does not belong there, and with which step."""
    later = [
        (found, at)
        for at in range(step, len(plot.steps))
        for wording in plot.steps[at]
        if (found := _pattern(wording, plot.language).search(text, start))
    ]
    return min(later, key=lambda one: (one[0].start(), one[1]), default=(None, step))


def _match(plot: Plot, step: int, text: str, start: int) -> re.Match[str] | None:
    wordings = (_pattern(wording, plot.language) for wording in plot.steps[step])
    found = (match for pattern in wordings if (match := pattern.match(text, start)))
    return max(found, key=lambda match: match.end(), default=None)


_SLOT = re.compile(r"\{(\w+)\}")


@cache
def _pattern(wording: str, language: Language) -> re.Pattern[str]:
    """A sentence with any word in each slot; groups are called by the slot and its number."""
    parts: list[str] = []
    for number, part in enumerate(_SLOT.split(wording)):
        if number % 2:
            forms = sorted(language.slots[part], key=len, reverse=True)
            parts.append(f"(?P<{part}__{number}>{'|'.join(forms)})")
        else:
            parts.append(re.escape(part))
    return re.compile("".join(parts))


def _slots(found: re.Match[str]) -> Iterator[tuple[str, str]]:
    for name, form in found.groupdict().items():
        yield name.partition("__")[0], form


def _disagreements(words: Sequence[_Word], plot: Plot) -> Iterator[Fault]:
    """Words that are not those of the story's world, which is known by the first of each kind."""
    language = plot.language
    known: dict[str, str] = {}
    for word in words:
        if word.slot in language.meaning:
            choice, values = language.meaning[word.slot]
            known.setdefault(choice, values[word.form])
    result = _with_result(plot, known).get("k", "1")
    if known.get("friend") == known.get("hero"):
        yield Fault("friend", words[0].sentence if words else "", known.get("hero", ""))
    if int(result) < 1:
        yield Fault("n", words[0].sentence, known["n"])
    forms = language.forms(_with_result(plot, known))
    for word in words:
        want = forms.get(word.slot, word.form)
        if word.form != want:
            yield Fault(word.slot, word.sentence, word.form, want)


@dataclass(frozen=True)
class _Notation:
    """How sums are written in one language."""

    numbers: tuple[str, ...]
    signs: tuple[str, str]
    equal: str
    brackets: tuple[str, str]
    end: str
    between: str

    def line(self, sides: Sequence[str]) -> str:
        return self.equal.join(sides) + self.end

    def pair(self, first: int, sign: int, second: int) -> str:
        """A sum or a difference, such as "3 + 4"."""
        return self.numbers[first] + self.signs[sign < 0] + self.numbers[second]

    def bracket(self, first: int, sign: int, second: int, then: int, third: int) -> str:
        """Such as "(3 + 4) - 2"."""
        opened, closed = self.brackets
        inside = self.pair(first, sign, second)
        return f"{opened}{inside}{closed}{self.signs[then < 0]}{self.numbers[third]}"


_DIGITS = _Notation(
    tuple(str(n) for n in range(2 * MOST + 1)), (" + ", " - "), " = ", ("(", ")"), "", "\n"
)
_IDEOGRAPHS = _Notation(
    tuple(numeral(n) for n in range(2 * MOST + 1)), ("＋", "－"), "＝", ("（", "）"), "。", ""
)


def _sums(chance: random.Random) -> str:
    notation = chance.choice((_DIGITS, _IDEOGRAPHS))
    lines = (_sum(notation, chance) for _ in range(_LINES))
    return notation.between.join(lines)


def _sum(notation: _Notation, chance: random.Random) -> str:
    first, sign, second = _pair(chance)
    result = first + sign * second
    if chance.random() < 0.5:
        return notation.line((notation.pair(first, sign, second), notation.numbers[result]))
    then = 1 if result < MOST and chance.random() < 0.5 else -1
    third = chance.randint(0, MOST if then > 0 else min(result, MOST))
    return notation.line(
        (
            notation.bracket(first, sign, second, then, third),
            notation.pair(result, then, third),
            notation.numbers[result + then * third],
        )
    )


def _pair(chance: random.Random) -> tuple[int, int, int]:
    """Two numbers and the sign between them, with a result from 0 to 2 · MOST."""
    one, other = chance.randint(1, MOST), chance.randint(1, MOST)
    return (one, 1, other) if chance.random() < 0.5 else (one + other, -1, other)


def _read_sums(text: str) -> Reading:
    notation = _IDEOGRAPHS if re.search(r"[\u4e00-\u9fff]", text) else _DIGITS
    if notation.end:
        lines = [line + notation.end for line in text.split(notation.end)]
        lines[-1] = lines[-1].removesuffix(notation.end)
        lines = [line for line in lines if line]
    else:
        lines = text.split(notation.between)
    faults = [fault for line in lines[:_LINES] for fault in _faults_of_sum(line, notation)]
    recognised = sum(fault.kind == "sentence" for fault in faults) < len(lines[:_LINES])
    faults += [Fault("sentence", _short(line)) for line in lines[_LINES:]]
    faults += [Fault("end", _short(lines[-1]))] * (_LINES - len(lines))
    return Reading("sums", tuple(faults), recognised)


def _faults_of_sum(line: str, notation: _Notation) -> Iterator[Fault]:
    simple, bracket = _sum_patterns(notation)
    values = {text: number for number, text in enumerate(notation.numbers)}
    plus = notation.signs[0]

    def result(first: str, sign: str, second: str) -> int:
        return values[first] + (1 if sign == plus else -1) * values[second]

    if found := simple.fullmatch(line):
        first, sign, second, got = found.groups()
        steps = [(got, result(first, sign, second))]
    elif found := bracket.fullmatch(line):
        first, sign, second, then, third, middle, again, repeated, got = found.groups()
        if (again, repeated) != (then, third):
            yield Fault("sum", _short(line), (again + repeated).strip(), (then + third).strip())
        steps = [(middle, result(first, sign, second)), (got, result(middle, again, repeated))]
    else:
        yield Fault("sentence", _short(line))
        return
    for got, want in steps:
        if values[got] != want:
            in_words = notation.numbers[want] if 0 <= want < len(values) else str(want)
            yield Fault("sum", _short(line), got, in_words)


@cache
def _sum_patterns(notation: _Notation) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """ "3 + 4 = 7" and "(3 + 4) - 2 = 7 - 2 = 5"."""
    number = f"({'|'.join(sorted(notation.numbers, key=len, reverse=True))})"
    sign = f"({'|'.join(map(re.escape, notation.signs))})"
    opened, closed = map(re.escape, notation.brackets)
    pair, equal, end = f"{number}{sign}{number}", notation.equal, re.escape(notation.end)
    return (
        re.compile(f"{pair}{equal}{number}{end}"),
        re.compile(f"{opened}{pair}{closed}{sign}{number}{equal}{pair}{equal}{number}{end}"),
    )


_LONGEST = 60


def _short(text: str) -> str:
    """The beginning of a text, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"
