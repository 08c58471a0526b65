"""The corpus: what it writes is without fault to its own strict reader, and little else is."""

import random

import pytest

from minimind_ref.app.corpus import check, make_corpus, make_text, score
from minimind_ref.app.stories import CHINESE, PLOTS

SEEDS = range(12)
LOW = 0.31
"""What one fault leaves of a score: a text as good as that is a bad one."""

LOST = (
    "Mia had a red kite. She took the kite to the park. But then she lost it. Mia was sad. "
    'Then she met Tom. "Is this your red kite?" asked Tom. "Yes, it is my kite!" said Mia. '
    "Now Mia was happy with her red kite."
)
MORE = (
    "Tom had 1 apple. Mia gave him 2 more apples. Mia asked him to count them. 1 + 2 = 3. "
    '"I have 3 apples," said Tom.'
)
GIFT = (
    "小明想要一只红色的风筝。他去公园找。他在那里遇见了小红。小红说：“我有一只红色的风筝。”"
    "“这是给你的，小明。”小明说：“谢谢你，小红！”现在他有一只红色的风筝了。"
)
FEWER = "小红有四个苹果。她给了小明两个。“还剩多少？”小明问。四－二＝二。现在她还有两个苹果。"
SUMS = "9 - 5 = 4\n(3 + 4) - 2 = 7 - 2 = 5\n5 + 5 = 10"
CHINESE_SUMS = "九－五＝四。（三＋四）－二＝七－二＝五。五＋五＝十。"
RIGHT = {
    "lost": LOST,
    "more": MORE,
    "gift": GIFT,
    "fewer": FEWER,
    "sums": SUMS,
    "Chinese sums": CHINESE_SUMS,
}


def faults(text: str) -> list[tuple[str, str, str]]:
    return [(fault.kind, fault.got, fault.want) for fault in check(text).faults]


class TestTexts:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_all_are_without_fault(self, seed: int) -> None:
        wrong = {text: check(text).faults for text in make_corpus(60, seed) if check(text).faults}
        assert wrong == {}

    def test_a_seed_decides_them_and_a_longer_corpus_begins_with_a_shorter(self) -> None:
        assert make_corpus(40, 7)[:20] == make_corpus(20, 7)
        assert make_corpus(20, 7) != make_corpus(20, 8)

    def test_they_are_of_every_kind_and_few_are_alike(self) -> None:
        texts = make_corpus(1000)
        kinds = [check(text).kind for text in texts]
        fewest = min(kinds.count(kind) for kind in ("sums", *(plot.name for plot in PLOTS)))
        assert fewest > 50
        assert len(set(texts)) > 980

    def test_every_wording_and_every_word_occurs(self) -> None:
        everything = "".join(make_corpus(1500))
        for language in {plot.language for plot in PLOTS}:
            for choice in ("hero", "colour", "noun", "place", "food"):
                assert [v for v in language.values(choice) if v not in everything] == []
        fixed = {
            part
            for plot in PLOTS
            for step in plot.steps
            for wording in step
            for part in wording.replace("{", "}").split("}")[::2]
        }
        assert [part for part in fixed if part not in everything] == []


class TestReader:
    @pytest.mark.parametrize("name", RIGHT)
    def test_a_right_text_has_no_fault(self, name: str) -> None:
        assert check(RIGHT[name]).faults == ()
        assert check(f"\n {RIGHT[name]}\n").score == 1

    @pytest.mark.parametrize(
        ("text", "old", "new", "fault"),
        [
            (LOST, "Then she met", "Then he met", ("he", "he", "she")),
            (LOST, "said Mia", "said Zoe", ("hero", "Zoe", "Mia")),
            (LOST, "my kite", "my boat", ("noun", "boat", "kite")),
            (LOST, "your red", "your blue", ("colour", "blue", "red")),
            (LOST, "had a red", "had an red", ("a", "an", "a")),
            (LOST, "with her red", "with his red", ("his", "his", "her")),
            (MORE, "1 + 2 = 3", "1 + 2 = 4", ("k", "4", "3")),
            (MORE, "1 + 2 = 3", "1 + 3 = 3", ("m", "3", "2")),
            (MORE, "1 apple.", "1 apples.", ("food_n", "apples", "apple")),
            (MORE, "3 apples", "3 pears", ("food_k", "pears", "apples")),
            (MORE, "gave him", "gave her", ("him", "her", "him")),
            (GIFT, "他去", "她去", ("he", "她", "他")),
            (GIFT, "要一只", "要一本", ("a", "一本", "一只")),
            (GIFT, "谢谢你，小红", "谢谢你，小丽", ("friend", "小丽", "小红")),
            (FEWER, "明两个", "明二个", ("m", "二", "两")),
            (FEWER, "四－二", "四－两", ("m_alone", "两", "二")),
            (FEWER, "有四个", "有四条", ("measure", "条", "个")),
            (FEWER, "＝二", "＝一", ("k_alone", "一", "二")),
            (SUMS, "9 - 5 = 4", "9 - 5 = 3", ("sum", "3", "4")),
            (SUMS, "= 7 - 2 = 5", "= 6 - 2 = 4", ("sum", "6", "7")),
            (SUMS, "= 7 - 2 = 5", "= 7 + 2 = 9", ("sum", "+ 2", "- 2")),
            (CHINESE_SUMS, "＝十。", "＝九。", ("sum", "九", "十")),
        ],
    )
    def test_one_wrong_word_is_named_and_costs_most_of_the_score(
        self, text: str, old: str, new: str, fault: tuple[str, str, str]
    ) -> None:
        assert old in text
        wrong = text.replace(old, new)
        assert faults(wrong) == [fault]
        assert check(wrong).score < LOW
        assert fault[1] in str(check(wrong).faults[0])

    def test_another_hero_in_the_first_sentence_contradicts_all_the_others(self) -> None:
        assert check(LOST.replace("Mia had", "Tom had")).score < 0.01

    def test_a_hero_who_meets_themself_is_named(self) -> None:
        themself = LOST.replace("Tom", "Mia")
        assert faults(themself) == [("friend", "Mia", "")]
        assert "both called Mia" in str(check(themself).faults[0])

    def test_nothing_can_be_taken_from_too_few(self) -> None:
        few = FEWER.replace("有四个", "有一个").replace("四减", "一减")
        assert ("n", "1", "") in faults(few) and check(few).score < LOW

    @pytest.mark.parametrize("name", RIGHT)
    def test_a_text_cut_off_anywhere_scores_low(self, name: str) -> None:
        text = RIGHT[name]
        cut = {end: check(text[:end]).score for end in range(len(text))}
        assert {end: score for end, score in cut.items() if score > LOW} == {}

    @pytest.mark.parametrize("name", RIGHT)
    def test_a_sentence_too_many_or_too_few_scores_low(self, name: str) -> None:
        text = RIGHT[name]
        assert check(text + text).score < LOW
        mark = next(mark for mark in (". ", "。", "\n") if mark in text)
        first, rest = text.split(mark, 1)
        assert check(rest).score < LOW
        assert check(first + mark + first + mark + rest).score < LOW

    @pytest.mark.parametrize("name", RIGHT)
    def test_shuffled_words_score_near_nothing(self, name: str) -> None:
        text = RIGHT[name]
        between = "" if any(sign in text for sign in "。") else " "
        words = text.split(between) if between else list(text)
        random.Random(name).shuffle(words)
        assert check(between.join(words)).score < 0.1

    def test_random_text_scores_nothing(self) -> None:
        chance = random.Random(0)
        letters = sorted(set("".join(RIGHT.values())))
        texts = ["".join(chance.choices(letters, k=chance.randint(1, 200))) for _ in range(50)]
        assert score(["", " \n", "hello", "你好", *texts]) < 0.01
        assert [str(fault) for fault in check("").faults[:1]] == ["there is no text"]

    def test_quotes_and_brackets_belong_together(self) -> None:
        for text in RIGHT.values():
            for mark in '"“”()（）':
                if mark in text:
                    assert check(text.replace(mark, "", 1)).score < LOW, (mark, text)

    @pytest.mark.parametrize("seed", SEEDS)
    def test_swapping_two_sentences_scores_low(self, seed: int) -> None:
        chance = random.Random(seed)
        plot = chance.choice([plot for plot in PLOTS if plot.language is CHINESE])
        text = make_text(chance)
        while check(text).kind != plot.name:
            text = make_text(chance)
        first, second, *rest = text.split("。")
        assert check("。".join((second, first, *rest))).score < LOW


def test_the_score_of_many_is_the_mean() -> None:
    assert score([LOST, LOST.replace("Then she", "Then he")]) == pytest.approx(0.65)
    assert score([]) == 0
