"""Every sentence that the course says to a learner, in English and in Chinese.

A language is one file of `texts/`; a sentence is found by its key there and written by
`str.format`. What the course is made of (lessons, hints, the tests' sentences, the mistakes') is
English in every language. Imports nothing outside the standard library: every command waits for it.
"""

from __future__ import annotations

import locale
import os
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

VARIABLE = "GRADER_LANG"
LANGUAGES = ("en", "zh")
TEXTS = Path(__file__).parent / "texts"

_LOCALE_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")


def say(key: str, /, **values: object) -> str:
    """The sentence of a key, such as "messages.recursion", in the language of the moment."""
    return sentences(language())[key].format(**values)


def language(environment: Mapping[str, str] = os.environ) -> str:
    """The language that GRADER_LANG names, else that of the locale; English where neither does."""
    asked = environment.get(VARIABLE, "")
    if asked:
        return _named_by(asked)
    for variable in _LOCALE_VARIABLES:
        if environment.get(variable):
            return _named_by(environment[variable])
    # Windows and macOS know a locale where no variable names it.
    return _named_by(locale.getlocale()[0] or "")


def misnamed_language(environment: Mapping[str, str] = os.environ) -> str:
    """What GRADER_LANG asks for where the course does not speak it; empty where all is well."""
    asked = environment.get(VARIABLE, "")
    return "" if not asked or asked.lower().startswith(LANGUAGES) else asked


def translated(key: str, english: str) -> str:
    """A text whose English stands where it is used, in the language of the moment.

    Titles stand in the syllabus; the help of a command stands in the program, where click wants it.
    """
    return sentences(language()).get(key, english)


def reworded(description: str) -> str:
    """A value as `observation.calls.describe` describes it, in the language of the moment.

    The answer's process describes values in English: it has no catalog.
    """
    for pattern, words in _rewordings(language()).items():
        description = re.sub(pattern, words, description)
    return description


@cache
def _rewordings(language: str) -> dict[str, str]:
    prefix = "rewordings."
    known = sentences(language).items()
    return {key.removeprefix(prefix): text for key, text in known if key.startswith(prefix)}


@cache
def sentences(language: str) -> dict[str, str]:
    """All sentences of a language by their keys, "section.name"."""
    file = TEXTS / f"{language}.toml"
    sections = tomllib.loads(file.read_text(encoding="utf-8"))
    return {
        f"{section}.{name}": text
        for section, texts in sections.items()
        for name, text in texts.items()
    }


def _named_by(locale_name: str) -> str:
    """The language of "zh_CN.UTF-8", "zh-Hans" and, on Windows, "Chinese (Simplified)_China"."""
    name = locale_name.lower()
    return "zh" if name.startswith(("zh", "chinese")) else "en"
