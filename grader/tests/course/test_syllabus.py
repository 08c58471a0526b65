"""The syllabus is read whole, refused when it is wrong, and found under every name people use."""

import re
import subprocess
import sys
from collections import Counter
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from grader.course.syllabus import (
    ROOT,
    Exercise,
    HintLadder,
    Syllabus,
    SyllabusError,
    UnknownExercise,
)
from grader.course.syllabus_file import FEWEST_MISTAKES, load, parse
from grader.learner.hints import unwritten_functions

HEAD = """
version = 1
[[parts]]
id = 1
title = "Foundations"
[[parts]]
id = 2
title = "Architecture"
[[parts]]
id = 6
title = "Later"
planned = "Distillation."
[[paths]]
id = "core"
title = "The model"
exercises = ["ex01_norm", "ex03_attention"]
"""


CAPSTONE = """
[capstone]
title = "A model"
minutes = 30
lesson = "lessons/21.md"
prerequisites = ["ex01_norm"]
"""

LEVELS = '["first", """\\nsecond\\n""", "third"]'
HINTS = f'about = "norm"\nlevels = {LEVELS}'


def entry(exercise: str, part: int = 1, prerequisites: str = "") -> str:
    """One exercise of a syllabus."""
    return f"""
[[exercises]]
id = "{exercise}"
title = "Title of {exercise}"
part = {part}
points = 100
minutes = 40
prerequisites = [{prerequisites}]
bans = ["torch.softmax"]
fact = "A fact."
read = ["A paper"]
[exercises.limits]
seconds = 0.5
memory_mb = 2048
[[exercises.hints]]
{HINTS}
[[exercises.hints]]
about = "Layer.forward"
levels = ["fourth", "fifth"]
"""


SYLLABUS = (
    HEAD
    + entry("ex01_norm")
    + entry("ex02_rope")
    + entry("ex03_attention", prerequisites='"ex02_rope"')
    + entry("ex05_kv_cache", prerequisites='"ex01_norm", "ex03_attention"')
    + entry("ex10_block", part=2, prerequisites='"ex05_kv_cache"')
)


@pytest.fixture
def syllabus() -> Syllabus:
    return parse(SYLLABUS)


def changed(old: str, new: str, exercise: str = "") -> str:
    """The good syllabus with one thing changed, in the entry of `exercise` if one is named."""
    head, mark, rest = SYLLABUS.partition(f'id = "{exercise}"') if exercise else ("", "", SYLLABUS)
    assert old in rest, "this change would change nothing"
    return head + mark + rest.replace(old, new, 1)


def test_the_course_has_a_valid_syllabus() -> None:
    """The syllabus that ships with the grader passes its own validation."""
    course = load()
    assert [part.id for part in course.parts] == [1, 2, 3, 4, 5, 6, 7]
    assert [path.id for path in course.paths] == ["quick", "core", "full"]
    assert course.find("rope").points == 100


def test_an_entry_is_read_as_it_is_written(syllabus: Syllabus) -> None:
    """Every field of an exercise arrives under its own name."""
    exercise = syllabus.exercises[2]
    assert (exercise.id, exercise.title) == ("ex03_attention", "Title of ex03_attention")
    assert (exercise.part, exercise.points, exercise.minutes) == (1, 100, 40)
    assert exercise.prerequisites == ("ex02_rope",)
    assert exercise.bans == ("torch.softmax",)
    assert exercise.hints == (
        HintLadder("norm", ("first", "second", "third")),
        HintLadder("Layer.forward", ("fourth", "fifth")),
    )
    assert exercise.hint_count == 5
    assert (exercise.fact, exercise.read) == ("A fact.", ("A paper",))
    assert (exercise.limits.seconds, exercise.limits.memory_mb) == (0.5, 2048)
    assert exercise.limits.files_mb == 0
    assert syllabus.parts[2].planned == "Distillation."


def test_a_loaded_curriculum_cannot_be_changed(syllabus: Syllabus) -> None:
    """Nothing that runs later can raise the points of an exercise."""
    exercise = syllabus.exercises[0]
    whole = (syllabus, syllabus.parts[0], syllabus.paths[0])
    for thing in (*whole, exercise, exercise.limits, exercise.paths(ROOT)):
        for field in vars(thing):
            with pytest.raises(FrozenInstanceError):
                setattr(thing, field, 1000)


def test_every_file_name_follows_from_the_id(syllabus: Syllabus, tmp_path: Path) -> None:
    """The paths of an exercise are computed, under the root that is asked for."""
    exercise = syllabus.find("ex05_kv_cache")
    assert (exercise.short, exercise.number, exercise.name) == ("ex05", "05", "kv_cache")
    assert exercise.answer_file == "ex05_kv_cache.py"
    paths = exercise.paths(tmp_path)
    assert {name: path.relative_to(tmp_path).as_posix() for name, path in vars(paths).items()} == {
        "stub": "exercises/ex05_kv_cache.py",
        "pristine": "grader/pristine/ex05_kv_cache.py",
        "solution": "solutions/ex05_kv_cache.py",
        "reference": "minimind_ref/kv_cache.py",
        "test_file": "tests/test_05_kv_cache.py",
        "mistakes": "tests/mistakes/ex05_kv_cache.py",
        "alternatives": "tests/alternatives/ex05_kv_cache.py",
        "roundings": "tests/roundings/ex05_kv_cache.py",
        "equivalent": "tests/equivalent/ex05_kv_cache.toml",
        "lesson": "lessons/05_kv_cache.md",
    }


WITHOUT_HINTS = entry("ex11_model", part=2).partition("[[exercises.hints]]")[0]
NO_PATHS = SYLLABUS.partition("[[paths]]")[0] + SYLLABUS[SYLLABUS.index("[[exercises]]") :]

WRONG = {
    "other version": (
        changed("version = 1", "version = 2"),
        ["s.toml, field version", "got 2", "want 1"],
    ),
    "version missing": (changed("version = 1", ""), ["field version", "got nothing"]),
    "unknown key on top": (
        changed("version = 1", "version = 1\nauthor = 'me'"),
        [
            "s.toml, field author",
            "unknown key",
            "one of capstone, exercises, experiments, parts, paths, version",
        ],
    ),
    "not TOML": (changed("version = 1", "version ="), ["s.toml", "not TOML", "line 2"]),
    "no exercises": (HEAD, ["field exercises", "got nothing", "[[exercises]]"]),
    "no paths": ("paths = []" + NO_PATHS, ["field paths", "got []", "[[paths]]"]),
    "paths not a list": ("paths = 3" + NO_PATHS, ["field paths", "got 3", "[[paths]]"]),
    "title not text": (
        changed('"Title of ex02_rope"', "2"),
        ["exercise ex02_rope, field title", "got 2", "some text"],
    ),
    "seconds as text": (
        changed("seconds = 0.5", 'seconds = "1"', "ex02_rope"),
        ["exercise ex02_rope, field limits, field seconds", "got '1'"],
    ),
    "exercises not tables": (
        "exercises = [1]\n" + HEAD,
        ["s.toml, field exercises", "got 1", "[[exercises]]"],
    ),
    "id without a number": (
        changed("ex02_rope", "rope"),
        ["exercise rope, field id", "got 'rope'", "ex02_rope"],
    ),
    "id missing": (changed('id = "ex02_rope"', ""), ["exercise #2, field id", "got nothing"]),
    "title blank": (
        changed('"Title of ex02_rope"', '" "'),
        ["exercise ex02_rope, field title", "got ' '", "some text"],
    ),
    "points negative": (
        changed("points = 100", "points = -5", "ex02_rope"),
        ["exercise ex02_rope, field points", "got -5", "a positive whole number"],
    ),
    "points zero": (changed("points = 100", "points = 0", "ex02_rope"), ["got 0"]),
    "points fractional": (changed("points = 100", "points = 1.5", "ex02_rope"), ["got 1.5"]),
    "points true": (changed("points = 100", "points = true", "ex02_rope"), ["got True"]),
    "points not a number": (changed("points = 100", "points = nan", "ex02_rope"), ["got nan"]),
    "minutes as text": (
        changed("minutes = 40", 'minutes = "40"', "ex02_rope"),
        ["exercise ex02_rope, field minutes", "got '40'"],
    ),
    "seconds endless": (
        changed("seconds = 0.5", "seconds = inf", "ex02_rope"),
        ["exercise ex02_rope, field limits, field seconds", "got inf", "a positive number"],
    ),
    "seconds true": (changed("seconds = 0.5", "seconds = true", "ex02_rope"), ["got True"]),
    "seconds zero": (changed("seconds = 0.5", "seconds = 0", "ex02_rope"), ["got 0"]),
    "limits not a table": (
        changed("[exercises.limits]\nseconds = 0.5\nmemory_mb = 2048", "limits = 3", "ex02_rope"),
        ["exercise ex02_rope, field limits", "got 3", "a table"],
    ),
    "files zero": (
        changed("memory_mb = 2048", "memory_mb = 2048\nfiles_mb = 0", "ex02_rope"),
        ["exercise ex02_rope, field limits, field files_mb", "got 0"],
    ),
    "unknown limit": (
        changed("memory_mb = 2048", "memory_mb = 2048\nmemory_gb = 2", "ex02_rope"),
        ["exercise ex02_rope, field limits, field memory_gb", "files_mb, memory_mb, seconds"],
    ),
    "unknown key": (
        changed('fact = "A fact."', 'fact = "A fact."\nhint = "typo"', "ex02_rope"),
        ["exercise ex02_rope, field hint", "unknown key", "hints"],
    ),
    "unknown key of a part": (
        changed('planned = "Distillation."', 'plan = "Distillation."'),
        ["part 6, field plan", "unknown key", "planned"],
    ),
    "unknown key of a path": (
        changed('title = "The model"', 'title = "The model"\nhours = 2'),
        ["path core, field hours", "unknown key"],
    ),
    "no hints": (
        SYLLABUS + WITHOUT_HINTS,
        ["exercise ex11_model, field hints", "got nothing", "[[exercises.hints]] table"],
    ),
    "hints as a list of texts": (
        SYLLABUS + WITHOUT_HINTS.replace("fact =", 'hints = ["a", "b"]\nfact ='),
        ["exercise ex11_model, field hints", "got 'a'", "[[exercises.hints]] table"],
    ),
    "one hint": (
        changed(LEVELS, '["first"]', "ex02_rope"),
        ["exercise ex02_rope: hints about norm, field levels", "got ['first']", "2 to 4 hints"],
    ),
    "five hints": (
        changed(LEVELS, '["a", "b", "c", "d", "e"]', "ex02_rope"),
        ["exercise ex02_rope: hints about norm, field levels", "2 to 4 hints"],
    ),
    "same hint twice": (
        changed(LEVELS, '["a", "b", "a "]', "ex02_rope"),
        ["exercise ex02_rope: hints about norm, field levels", "different texts"],
    ),
    "hints as one text": (
        changed(LEVELS, '"first"', "ex02_rope"),
        ["exercise ex02_rope: hints about norm, field levels", "got 'first'", "a list"],
    ),
    "blank hint": (
        changed(LEVELS, '["first", "second", " "]', "ex02_rope"),
        ["exercise ex02_rope: hints about norm, field levels", "different texts"],
    ),
    "numbers for hints": (
        changed(LEVELS, "[1, 2, 3]", "ex02_rope"),
        ["exercise ex02_rope: hints about norm, field levels", "got [1, 2, 3]"],
    ),
    "hints about nothing": (
        changed('about = "norm"', "", "ex02_rope"),
        ["exercise ex02_rope: hints about #1, field about", "got nothing"],
    ),
    "hints about no name": (
        changed('"norm"', '"norm()"', "ex02_rope"),
        ["exercise ex02_rope: hints about norm(), field about", "got 'norm()'", "a function"],
    ),
    "hints about a private function": (
        changed('"Layer.forward"', '"Layer._scale"', "ex02_rope"),
        ["exercise ex02_rope: hints about Layer._scale, field about", "a method"],
    ),
    "hints about one function twice": (
        changed('"Layer.forward"', '"norm"', "ex02_rope"),
        ["exercise ex02_rope: hints about norm, field about", "got 'norm'", "another function"],
    ),
    "unknown key of hints": (
        changed('about = "norm"', 'about = "norm"\nlevel = 1', "ex02_rope"),
        ["exercise ex02_rope: hints about norm, field level", "unknown key", "about, levels"],
    ),
    "ban that is no name": (
        changed("torch.softmax", "torch.softmax()", "ex02_rope"),
        ["exercise ex02_rope, field bans", "got 'torch.softmax()'", "a dotted name"],
    ),
    "no mistakes wanted": (
        changed('fact = "A fact."', 'fact = "A fact."\nfewest_mistakes = 0', "ex02_rope"),
        ["exercise ex02_rope, field fewest_mistakes", "got 0", "a positive whole number"],
    ),
    "same id twice": (
        SYLLABUS + entry("ex10_block", part=2),
        ["exercise ex10_block, field id", "got 'ex10_block'", "another than"],
    ),
    "same number twice": (
        SYLLABUS + entry("ex10_model", part=2),
        ["exercise ex10_model, field number", "got '10'", "ex10_block"],
    ),
    "same name twice": (
        SYLLABUS + entry("ex11_rope", part=2),
        ["exercise ex11_rope, field name", "got 'rope'", "ex02_rope"],
    ),
    "same part twice": (
        changed('id = 2\ntitle = "Architecture"', 'id = 1\ntitle = "Architecture"'),
        ["part 1, field id"],
    ),
    "same path twice": (
        SYLLABUS + '[[paths]]\nid = "core"\ntitle = "T"\nexercises = []\n',
        ["path core, field id"],
    ),
    "unknown part": (
        changed("part = 1", "part = 3", "ex02_rope"),
        ["exercise ex02_rope, field part", "got 3", "one of 1, 2, 6"],
    ),
    "part only planned": (
        changed("part = 2", "part = 6", "ex10_block"),
        ["exercise ex10_block, field part", "got 6", "`planned`"],
    ),
    "part before an earlier one": (
        SYLLABUS + entry("ex11_model", part=1),
        ["exercise ex11_model, field part", "got 1", "2 or more, as ex10_block has"],
    ),
    "number out of order": (
        SYLLABUS + entry("ex09_moe", part=2),
        ["exercise ex09_moe, field number", "got 09", "more than 10"],
    ),
    "unknown prerequisite": (
        changed('"ex02_rope"]', '"ex04_gqa"]'),
        ["exercise ex03_attention, field prerequisites", "got 'ex04_gqa'", "one of ex01_norm"],
    ),
    "prerequisite that comes later": (
        changed("prerequisites = []", 'prerequisites = ["ex10_block"]', "ex02_rope").replace(
            '["ex02_rope"]', "[]"
        ),
        ["exercise ex02_rope, field prerequisites", "got 'ex10_block'", "comes earlier"],
    ),
    "cycle": (
        changed("prerequisites = []", 'prerequisites = ["ex03_attention"]', "ex02_rope"),
        ["exercise ex02_rope, field prerequisites", "cycle", "ex02_rope -> ex03_attention"],
    ),
    "prerequisite of itself": (
        changed("prerequisites = []", 'prerequisites = ["ex02_rope"]', "ex02_rope"),
        ["exercise ex02_rope, field prerequisites", "cycle", "ex02_rope -> ex02_rope"],
    ),
    "unknown experiment in a path": (
        changed("[[paths]]", '[[paths]]\nexperiments = ["gone"]'),
        ["path core, field experiments", "got 'gone'", "one of"],
    ),
    "experiment of no exercise": (
        SYLLABUS + '[[experiments]]\nid = "a"\ntitle = "A"\nminutes = 1\nexercise = "ex99_x"\n',
        ["experiment a, field exercise", "got 'ex99_x'", "one of ex01_norm"],
    ),
    "same experiment twice": (
        SYLLABUS
        + 2 * '[[experiments]]\nid = "a"\ntitle = "A"\nminutes = 1\nexercise = "ex02_rope"\n',
        ["experiment a, field id", "got 'a'", "another than"],
    ),
    "unknown exercise in a path": (
        changed('["ex01_norm", ', '["ex04_gqa", '),
        ["path core, field exercises", "got 'ex04_gqa'", "one of ex01_norm"],
    ),
    "path in another order": (
        changed('"ex01_norm", "ex03_attention"', '"ex03_attention", "ex01_norm"'),
        ["path core, field exercises", "this order: ['ex01_norm', 'ex03_attention']"],
    ),
    "path with minutes of its own": (
        changed('title = "The model"', 'title = "The model"\nminutes = 80'),
        [
            "path core, field minutes",
            "got an unknown key",
            "one of capstone, exercises, experiments, id, title",
        ],
    ),
    "path with a capstone that there is not": (
        changed('title = "The model"', 'title = "The model"\ncapstone = true'),
        ["path core, field capstone", "got True", "a table [capstone]"],
    ),
    "capstone that is neither there nor not": (
        changed('title = "The model"', 'title = "The model"\ncapstone = 1'),
        ["path core, field capstone", "got 1", "true or false"],
    ),
    "capstone of an exercise that there is not": (
        changed("[[paths]]", CAPSTONE.replace("ex01_norm", "ex04_gqa") + "[[paths]]"),
        ["capstone, field prerequisites", "got 'ex04_gqa'", "one of ex01_norm"],
    ),
    "capstone with points": (
        changed("[[paths]]", CAPSTONE + "points = 50\n[[paths]]"),
        ["field capstone, field points", "an unknown key"],
    ),
}


@pytest.mark.parametrize(("text", "parts"), WRONG.values(), ids=WRONG)
def test_a_wrong_syllabus_is_refused_by_field(text: str, parts: list[str]) -> None:
    """Each error names the file, the entry, the field, what it got and what is wanted."""
    with pytest.raises(SyllabusError) as caught:
        parse(text, "s.toml")
    assert str(caught.value).startswith("s.toml")
    for part in parts:
        assert part in str(caught.value)


def test_an_exercise_may_want_more_known_mistakes_than_others() -> None:
    wanted = changed('fact = "A fact."', 'fact = "A fact."\nfewest_mistakes = 12', "ex02_rope")
    fewest = {exercise.id: exercise.fewest_mistakes for exercise in parse(wanted).exercises}
    assert fewest.pop("ex02_rope") == 12
    assert set(fewest.values()) == {FEWEST_MISTAKES}


def test_a_method_without_hints_of_its_own_is_in_those_about_its_class() -> None:
    """A name as Python gives it leads to the hints about it, if there are any."""
    ladders = tuple(HintLadder(about, ("a", "b")) for about in ("Cache", "Cache.append", "norm"))
    exercise = replace(parse(SYLLABUS).exercises[0], hints=ladders)
    found = {
        name: ladder.about if (ladder := exercise.hints_about(name)) else None
        for name in ("norm", "Cache", "Cache.__init__", "Cache.append", "Cache.reset", "other", "")
    }
    assert found == {
        "norm": "norm",
        "Cache": "Cache",
        "Cache.__init__": "Cache",
        "Cache.append": "Cache.append",
        "Cache.reset": "Cache",
        "other": None,
        "": None,
    }


@pytest.mark.parametrize("exercise", load().exercises, ids=lambda exercise: exercise.id)
class TestTheCoursesHints:
    def test_they_are_about_all_that_the_stub_asks_for_in_its_order(
        self, exercise: Exercise
    ) -> None:
        asked = unwritten_functions(exercise.paths(ROOT).pristine)
        found = [exercise.hints_about(name) for name in asked]
        assert None not in found, asked
        assert tuple(dict.fromkeys(found)) == exercise.hints

    def test_they_fit_into_a_terminal_of_80_columns(self, exercise: Exercise) -> None:
        lines = [
            line for hints in exercise.hints for text in hints.levels for line in text.splitlines()
        ]
        assert [line for line in lines if len(line) > 80 or line != line.rstrip()] == []


def test_no_two_hints_of_the_course_say_the_same() -> None:
    """What is long enough to be a sentence stands in one hint only."""
    texts = [text for e in load().exercises for hints in e.hints for text in hints.levels]
    phrases = Counter(
        phrase
        for text in texts
        for phrase in {p.strip() for p in re.split(r"[.?!:]\s", " ".join(text.split()))}
        if len(phrase) > 30
    )
    assert [phrase for phrase, count in phrases.items() if count > 1] == []


def test_a_missing_syllabus_is_named(tmp_path: Path) -> None:
    """A folder that is no course says which file it lacks."""
    with pytest.raises(SyllabusError, match=r"curriculum\.toml: got no such file"):
        load(tmp_path)


def test_a_syllabus_in_another_encoding_is_named(tmp_path: Path) -> None:
    """Text that is not UTF-8 is an error of the syllabus, not of the grader."""
    file = tmp_path / "grader" / "curriculum.toml"
    file.parent.mkdir()
    file.write_bytes(SYLLABUS.encode("utf-16"))
    with pytest.raises(SyllabusError, match=r"curriculum\.toml: got .*want text in UTF-8"):
        load(tmp_path)


def test_each_course_folder_has_its_own_syllabus(tmp_path: Path) -> None:
    """Loading one root never answers with another root's exercises, and reads each only once."""
    file = tmp_path / "grader" / "curriculum.toml"
    file.parent.mkdir()
    file.write_text(SYLLABUS, encoding="utf-8")
    assert len(load(tmp_path).exercises) == 5
    assert load(tmp_path) is load(tmp_path / "grader" / "..")
    assert load(ROOT) is load() is not load(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "ex05_kv_cache",
        "ex05",
        "EX05",
        "ex5",
        "05",
        "5",
        " 5 ",
        "kv_cache",
        "05_kv_cache",
        "exercises/ex05_kv_cache.py",
        "exercises\\ex05_kv_cache.py",
        "./tests/test_05_kv_cache.py",
        "/home/ada/course/tests/test_05_kv_cache.py",
        "tests/test_05_kv_cache.py::test_chunks[3/4]",
        "minimind_ref/kv_cache.py",
        "lessons/05_kv_cache.md",
    ],
)
def test_an_exercise_is_found_by_every_name_it_has(syllabus: Syllabus, text: str) -> None:
    """Ids, numbers, names, files and test ids all lead to the same exercise."""
    assert syllabus.find(text).id == "ex05_kv_cache"


def test_ten_is_not_one(syllabus: Syllabus) -> None:
    """A number's zeros are dropped from its front only."""
    assert syllabus.find("10").id == "ex10_block"
    assert syllabus.find("1").id == "ex01_norm"


@pytest.mark.parametrize("text", ["ropee", "kv", "0", "", "e", "99", "test_", "ex05_rope"])
def test_a_wrong_name_is_never_guessed(syllabus: Syllabus, text: str) -> None:
    """A name that is only nearly right is refused, with what was asked and the next command."""
    with pytest.raises(UnknownExercise) as caught:
        syllabus.find(text)
    assert repr(text) in str(caught.value)
    assert "next: grader list" in str(caught.value)


def test_a_wrong_name_is_answered_with_the_nearest(syllabus: Syllabus) -> None:
    """The nearest exercise comes first, and a short syllabus is listed whole."""
    with pytest.raises(UnknownExercise) as caught:
        syllabus.find("exercises/ex05_kvcache.py")
    message = str(caught.value)
    assert "did you mean ex05_kv_cache" in message
    assert "known: ex01_norm, ex02_rope, ex03_attention, ex05_kv_cache, ex10_block" in message


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("ropee", "ex02_rope"),
        ("atention", "ex03_attention"),
        ("kvcache", "ex05_kv_cache"),
        ("cache", "ex05_kv_cache"),
        ("ex03_rope", "ex02_rope"),
        ("ex04_atention", "ex03_attention"),
    ],
)
def test_a_slip_of_the_finger_is_understood(syllabus: Syllabus, text: str, near: str) -> None:
    with pytest.raises(UnknownExercise, match=f"did you mean {near}\\?"):
        syllabus.find(text)


@pytest.mark.parametrize("text", ["banana", "router", "ex06", "ex0", "6", "he", "minimal", ""])
def test_what_is_far_off_is_no_slip(syllabus: Syllabus, text: str) -> None:
    """Another number is another exercise, and half of the letters are no name."""
    with pytest.raises(UnknownExercise) as caught:
        syllabus.find(text)
    assert "did you mean" not in str(caught.value)


def test_a_long_syllabus_is_not_listed_in_an_error() -> None:
    """With many exercises, `grader list` is the place to read them."""
    names = ["moe", "loss", "chat", "data", "tile", "head", "mask", "step", "plan"]
    long = HEAD.replace('"ex01_norm", "ex03_attention"', "")
    long += "".join(entry(f"ex{n:02}_{name}") for n, name in enumerate(names, start=1))
    with pytest.raises(UnknownExercise) as caught:
        parse(long).find("nothing like it")
    assert str(caught.value) == ("no exercise is called 'nothing like it'\n  next: grader list")


def test_the_closure_holds_all_that_an_exercise_builds_on(syllabus: Syllabus) -> None:
    """Prerequisites of prerequisites count, each once, in the order of the course."""
    ids = [exercise.id for exercise in syllabus.closure(syllabus.find("ex10"))]
    assert ids == ["ex01_norm", "ex02_rope", "ex03_attention", "ex05_kv_cache"]
    ids = [exercise.id for exercise in syllabus.closure(syllabus.find("ex03"))]
    assert ids == ["ex02_rope"]
    assert syllabus.closure(syllabus.find("ex02")) == ()


def test_the_syllabus_needs_the_standard_library_only() -> None:
    """Reading it stays off every slow import, so that no command waits for torch."""
    script = (
        "import sys; before = set(sys.modules); from grader.course.syllabus_file import load\n"
        "load(); print(*sorted({m.partition('.')[0] for m in set(sys.modules) - before}))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(run.stdout.split()) - {"grader"}
    assert "tomllib" in loaded
    assert loaded <= set(sys.stdlib_module_names)
    assert not loaded & {"difflib", "graphlib"}, "only error messages need these"
