"""The language of the corpus: its words, its plots, and which forms belong together.

A plot is a row of steps, and a step a few sentences that say the same. In braces stand slots. What
a slot holds follows from the story's world, such as who its hero is: names, colours and counts are
chosen, and pronouns, articles, plurals, measure words and results agree with them.

`corpus` writes stories with this, and reads them back to find what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

World = Mapping[str, str]
"""What was chosen for one story, such as {"hero": "Tom", "noun": "kite"}."""


@dataclass(frozen=True, eq=False)
class Language:
    """The words of one language.

    Attributes:
        between: what stands between two sentences.
        slots: everything that may stand in each slot.
        forms: what has to stand in the slots of a world, of which not all may be known.
        meaning: for the slots by which a choice is known, that choice, and its value by the form.
    """

    between: str
    slots: Mapping[str, tuple[str, ...]]
    forms: Callable[[World], dict[str, str]]
    meaning: Mapping[str, tuple[str, Mapping[str, str]]]

    def values(self, choice: str) -> tuple[str, ...]:
        """What can be chosen."""
        known = (values for of, values in self.meaning.values() if of == choice)
        return tuple(dict.fromkeys(next(known).values()))


@dataclass(frozen=True, eq=False)
class Plot:
    """One kind of story.

    Attributes:
        name: what people may call it.
        language: its words.
        uses: the choices that its world consists of.
        steps: its sentences in order, each in several wordings.
        counts: how the two numbers become the third, +1, -1, or 0 where nothing is counted.
    """

    name: str
    language: Language
    uses: tuple[str, ...]
    steps: tuple[tuple[str, ...], ...]
    counts: int = 0


MOST = 5
"""The largest number that is added or taken away."""

_HE, _SHE = ("Tom", "Ben", "Leo"), ("Mia", "Anna", "Zoe")
_COLOURS = ("red", "blue", "green", "orange")
_NOUNS = ("ball", "kite", "hat", "book", "boat")
_PLACES = ("park", "river", "school", "beach")
_PLURALS = {"apple": "apples", "pear": "pears", "egg": "eggs", "peach": "peaches"}

_TA, _TA_FEMALE = ("小明", "小刚", "大伟"), ("小红", "小丽", "阿雪")
_MEASURES = {"球": "个", "风筝": "只", "帽子": "顶", "书": "本", "小船": "条"}
_FOOD_MEASURES = {"苹果": "个", "鱼": "条", "饼": "块", "花": "朵"}
_COLOURS_IN_CHINESE = ("红色", "蓝色", "绿色", "黄色")
_PLACES_IN_CHINESE = ("公园", "河边", "学校", "海边")
_DIGITS = "零一二三四五六七八九"


def numeral(number: int) -> str:
    """A number from 0 to 99 in Chinese."""
    tens, ones = divmod(number, 10)
    if not tens:
        return _DIGITS[ones]
    return ("" if tens == 1 else _DIGITS[tens]) + "十" + (_DIGITS[ones] if ones else "")


def counted(number: int) -> str:
    """The same before a measure word, where two is 两."""
    return "两" if number == 2 else numeral(number)


def _english(world: World) -> dict[str, str]:
    forms = dict(world)
    if "hero" in world:
        male = world["hero"] in _HE
        he, him, his = ("he", "him", "his") if male else ("she", "her", "her")
        forms |= {"he": he, "He": he.capitalize(), "him": him, "his": his}
    if "colour" in world:
        forms["a"] = "an" if world["colour"][0] in "aeiou" else "a"
    for number in {"n", "m", "k"} & world.keys():
        if "food" in world:
            one = world["food"]
            forms[f"food_{number}"] = one if world[number] == "1" else _PLURALS[one]
    return forms


def _chinese(world: World) -> dict[str, str]:
    forms = dict(world)
    if "hero" in world:
        forms["he"] = "他" if world["hero"] in _TA else "她"
    if "noun" in world:
        forms["a"] = "一" + _MEASURES[world["noun"]]
    if "food" in world:
        forms["measure"] = _FOOD_MEASURES[world["food"]]
    for number in {"n", "m", "k"} & world.keys():
        forms[number] = counted(int(world[number]))
        forms[f"{number}_alone"] = numeral(int(world[number]))
    return forms


def _itself(values: Iterable[str]) -> dict[str, str]:
    return {value: value for value in values}


_NUMBERS = tuple(str(number) for number in range(1, 2 * MOST + 1))
_FOODS = _itself(_PLURALS) | {many: one for one, many in _PLURALS.items()}
_NAMES = _itself(_HE + _SHE)

ENGLISH = Language(
    between=" ",
    slots={
        "hero": tuple(_NAMES),
        "friend": tuple(_NAMES),
        "he": ("he", "she"),
        "He": ("He", "She"),
        "him": ("him", "her"),
        "his": ("his", "her"),
        "a": ("a", "an"),
        "colour": _COLOURS,
        "noun": _NOUNS,
        "place": _PLACES,
        **dict.fromkeys(("n", "m", "k"), _NUMBERS),
        **dict.fromkeys(("food_n", "food_m", "food_k"), tuple(_FOODS)),
    },
    forms=_english,
    meaning={
        "hero": ("hero", _NAMES),
        "friend": ("friend", _NAMES),
        "colour": ("colour", _itself(_COLOURS)),
        "noun": ("noun", _itself(_NOUNS)),
        "place": ("place", _itself(_PLACES)),
        "n": ("n", _itself(_NUMBERS)),
        "m": ("m", _itself(_NUMBERS)),
        "food_n": ("food", _FOODS),
        "food_m": ("food", _FOODS),
        "food_k": ("food", _FOODS),
    },
)

_CHINESE_NAMES = _itself(_TA + _TA_FEMALE)
_COUNTED = {counted(int(number)): number for number in _NUMBERS}
_ALONE = {numeral(int(number)): number for number in _NUMBERS}

CHINESE = Language(
    between="",
    slots={
        "hero": tuple(_CHINESE_NAMES),
        "friend": tuple(_CHINESE_NAMES),
        "he": ("他", "她"),
        "a": tuple(f"一{measure}" for measure in dict.fromkeys(_MEASURES.values())),
        "colour": _COLOURS_IN_CHINESE,
        "noun": tuple(_MEASURES),
        "place": _PLACES_IN_CHINESE,
        "food": tuple(_FOOD_MEASURES),
        "measure": tuple(dict.fromkeys(_FOOD_MEASURES.values())),
        # 二 where 两 belongs, and the other way round, is a word in the wrong form.
        **dict.fromkeys(("n", "m", "k"), tuple(_ALONE | _COUNTED)),
        **dict.fromkeys(("n_alone", "m_alone", "k_alone"), tuple(_ALONE | _COUNTED)),
    },
    forms=_chinese,
    meaning={
        "hero": ("hero", _CHINESE_NAMES),
        "friend": ("friend", _CHINESE_NAMES),
        "colour": ("colour", _itself(_COLOURS_IN_CHINESE)),
        "noun": ("noun", _itself(_MEASURES)),
        "place": ("place", _itself(_PLACES_IN_CHINESE)),
        "n": ("n", _ALONE | _COUNTED),
        "m": ("m", _ALONE | _COUNTED),
        "food": ("food", _itself(_FOOD_MEASURES)),
    },
)

_THING = ("hero", "friend", "colour", "noun", "place")
_COUNT = ("hero", "friend", "food", "n", "m")

PLOTS = (
    Plot(
        "a thing is lost",
        ENGLISH,
        _THING,
        (
            ("{hero} had {a} {colour} {noun}.", "Once {hero} got {a} {colour} {noun}."),
            ("{He} took the {noun} to the {place}.", "One day {he} played at the {place}."),
            ("But then {he} lost it.", "There {he} could not find the {noun}."),
            ("{hero} was sad.", "So {hero} cried."),
            ("Soon {friend} came to the {place}.", "Then {he} met {friend}."),
            (
                '"Is this your {colour} {noun}?" asked {friend}.',
                '{friend} asked: "Did you lose {a} {colour} {noun}?"',
            ),
            ('"Yes, it is my {noun}!" said {hero}.', '{hero} said: "Yes, thank you, {friend}!"'),
            (
                "{He} took {his} {noun} and went home.",
                "Now {hero} was happy with {his} {colour} {noun}.",
            ),
        ),
    ),
    Plot(
        "a gift",
        ENGLISH,
        _THING,
        (
            ("{hero} wanted {a} {colour} {noun}.", "{hero} had no {noun}."),
            ("{He} looked for one at the {place}.", "So {he} went to the {place}."),
            ("There {he} met {friend}.", "{friend} was at the {place}, too."),
            ('"I have {a} {colour} {noun}," said {friend}.', '"Look, {hero}!" said {friend}.'),
            (
                '"It is for you, {hero}."',
                '"You can have this {colour} {noun}."',
            ),
            (
                '"Thank you, {friend}!" said {hero}.',
                "{hero} thanked {friend} and took the {noun}.",
            ),
            (
                "Now {he} has {a} {colour} {noun}.",
                "{hero} loves {his} {colour} {noun}.",
            ),
        ),
    ),
    Plot(
        "some more",
        ENGLISH,
        _COUNT,
        (
            ("{hero} had {n} {food_n}.", "{hero} found {n} {food_n}."),
            (
                "{friend} gave {him} {m} more {food_m}.",
                "Then {he} got {m} more {food_m} from {friend}.",
            ),
            ('"How many do you have?" asked {friend}.', "{friend} asked {him} to count them."),
            ("{n} + {m} = {k}.", "{hero} counted: {n} + {m} = {k}."),
            ('"I have {k} {food_k}," said {hero}.', "So {he} had {k} {food_k}."),
        ),
        counts=1,
    ),
    Plot(
        "some less",
        ENGLISH,
        _COUNT,
        (
            ("{hero} had {n} {food_n}.", "{hero} found {n} {food_n}."),
            ("{He} gave {m} {food_m} to {friend}.", "{friend} was hungry and ate {m} {food_m}."),
            ('"How many are left?" asked {friend}.', "{friend} asked {him} to count the rest."),
            ("{n} - {m} = {k}.", "{hero} counted: {n} - {m} = {k}."),
            ('"I have {k} {food_k} left," said {hero}.', "So {he} had {k} {food_k} left."),
        ),
        counts=-1,
    ),
    Plot(
        "丢东西",
        CHINESE,
        _THING,
        (
            ("{hero}有{a}{colour}的{noun}。", "有一天，{hero}得到了{a}{colour}的{noun}。"),
            ("{he}带着{noun}去了{place}。", "{he}去{place}玩。"),
            ("可是{noun}不见了。", "{he}找不到{noun}了。"),
            ("{hero}很难过。", "{hero}哭了。"),
            ("后来{friend}来到{place}。", "这时{he}遇见了{friend}。"),
            (
                "{friend}问：“这是你的{colour}的{noun}吗？”",
                "“你丢了{a}{colour}的{noun}吗？”{friend}问。",
            ),
            ("{hero}说：“是的，这是我的{noun}！”", "“谢谢你，{friend}！”{hero}说。"),
            ("{he}拿着{noun}回家了。", "{hero}又有了{colour}的{noun}，{he}很高兴。"),
        ),
    ),
    Plot(
        "礼物",
        CHINESE,
        _THING,
        (
            ("{hero}想要{a}{colour}的{noun}。", "{hero}没有{noun}。"),
            ("{he}去{place}找。", "于是{he}来到{place}。"),
            ("{he}在那里遇见了{friend}。", "{friend}也在{place}。"),
            ("{friend}说：“我有{a}{colour}的{noun}。”", "“{hero}，你看！”{friend}说。"),
            ("“这是给你的，{hero}。”", "“这{colour}的{noun}送给你。”"),
            ("{hero}说：“谢谢你，{friend}！”", "{hero}谢了{friend}，收下了{noun}。"),
            ("现在{he}有{a}{colour}的{noun}了。", "{hero}很喜欢{he}的{colour}的{noun}。"),
        ),
    ),
    Plot(
        "增加",
        CHINESE,
        _COUNT,
        (
            ("{hero}有{n}{measure}{food}。", "{hero}买了{n}{measure}{food}。"),
            ("{friend}又给了{he}{m}{measure}。", "{he}又从{friend}那里得到{m}{measure}。"),
            ("“你有多少？”{friend}问。", "{friend}请{he}数一数。"),
            (
                "{hero}数了数：{n_alone}＋{m_alone}＝{k_alone}。",
                "{n_alone}＋{m_alone}＝{k_alone}。",
            ),
            ("{hero}说：“我有{k}{measure}{food}。”", "现在{he}有{k}{measure}{food}。"),
        ),
        counts=1,
    ),
    Plot(
        "减少",
        CHINESE,
        _COUNT,
        (
            ("{hero}有{n}{measure}{food}。", "{hero}买了{n}{measure}{food}。"),
            ("{he}给了{friend}{m}{measure}。", "{friend}拿走了{m}{measure}。"),
            ("“还剩多少？”{friend}问。", "{friend}请{he}数一数剩下的。"),
            (
                "{hero}数了数：{n_alone}－{m_alone}＝{k_alone}。",
                "{n_alone}－{m_alone}＝{k_alone}。",
            ),
            ("{hero}说：“我还有{k}{measure}{food}。”", "现在{he}还有{k}{measure}{food}。"),
        ),
        counts=-1,
    ),
)
