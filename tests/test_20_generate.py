"""ex20_generate: facts about writing text with a model and its cache.

The model is a toy whose logits follow from every token that it attends to, and from how far back it
stands: one token too many, too few or at another place, and it says something else. It counts what
it reads. Prompts are chosen by following it in plain numbers, so that each says what it is for.
"""

from types import SimpleNamespace

import pytest
import torch

TOKENS = 14
STATES = 97
"""A prime, so that any one token that is added, missing or another leads to another state."""
FARTHEST = 64
COPIES = 200
"""A token of probability 0.17 is missing in so many draws with a probability of 0.83²⁰⁰ < 1e-16."""


class Toy(torch.nn.Module):
    """A model with ex11's forward: two layers that add up what they attend to, and a table.

    Keys are the codes of tokens, values the positions of the padded row. As with RoPE, what a token
    adds depends on its distance only. The sum is a row of the table: the logits.
    """

    def __init__(self, numbers):
        super().__init__()
        self.codes, self.weights = numbers["codes"].clone(), numbers["weights"].clone()
        self.table = torch.nn.Parameter(numbers["table"].clone())
        self.part = torch.nn.Identity()
        self.read = 0  # tokens, over all rows and calls
        self.asked = self.given = 0  # calls that asked for a cache, and that were given one

    def forward(
        self,
        input_ids,
        attention_mask=None,
        past_key_values=None,
        use_cache=False,
        logits_to_keep=0,
        labels=None,
    ):
        rows, new = input_ids.shape
        self.read += rows * new
        self.asked += bool(use_cache)
        self.given += past_key_values is not None
        first = 0 if past_key_values is None else past_key_values[0][0].shape[1]
        if attention_mask is None:
            attention_mask = input_ids.new_ones(rows, first + new)
        if attention_mask.shape != (rows, first + new):
            got, want = list(attention_mask.shape), [rows, first + new]
            tokens = f"for {first} cached and {new} new tokens"
            raise ValueError(f"attention_mask: got the shape {got}, want {want} {tokens}")
        places = torch.arange(first, first + new, device=input_ids.device)
        sums, presents = 0, []
        for layer, weights in enumerate(self.weights):
            k = self.codes[input_ids][:, :, None, None].expand(rows, new, 2, 3)
            v = places.to(k.dtype)[None, :, None, None].expand(rows, new, 2, 3)
            if past_key_values is not None:
                past_k, past_v = past_key_values[layer]
                k, v = torch.cat((past_k, k), dim=1), torch.cat((past_v, v), dim=1)
            presents.append((k, v))
            back = places[:, None] - v[:, None, :, 1, 2].long()
            allowed = (back >= 0) & (attention_mask[:, None, :] != 0)
            sums = sums + (weights[back.clamp(min=0)] * k[:, None, :, 0, 1] * allowed).sum(-1)
        logits = self.part(self.table[sums.long() % STATES])
        return SimpleNamespace(
            loss=None,
            logits=logits[:, -logits_to_keep:],
            aux_loss=logits.new_zeros(()),
            past_key_values=tuple(presents) if use_cache else None,
            hidden_states=sums[..., None],
        )


def numbers_of(rng, likely=(), share=0.25):
    """A toy's numbers: each state has all tokens at odd logits, which no penalty here makes equal.

    `likely` are tokens that are the first choice in a share of all states, each in others.
    """
    table = 2.0 * rng.uniform(STATES, TOKENS).argsort(dim=1) + 1 - TOKENS
    states, count = rng.permutation(STATES), int(share * STATES)
    for place, token in enumerate(likely):
        table[states[place * count : (place + 1) * count], token] = TOKENS + 1.0
    return {
        "codes": (1 + rng.permutation(STATES - 1)[:TOKENS]).float(),
        "weights": rng.integers(1, STATES, 2, FARTHEST).float(),
        "table": table,
    }


def by_law(rng, law):
    """The numbers of a toy that has one law in all states, its tokens in a random order."""
    order = rng.permutation(TOKENS)[: len(law)]
    logits = torch.full((TOKENS,), -torch.inf)
    logits[order] = torch.tensor(law).log()
    return numbers_of(rng) | {"table": logits.repeat(STATES, 1)}


def everything(prompt, written):
    """What the penalty is about: the prompt and what was written."""
    return {*prompt, *written}


def follow(numbers, prompt, steps, penalty=1.0, seen=everything):
    """What the toy writes, greedily, after a prompt without padding."""
    codes, table = numbers["codes"].long().tolist(), numbers["table"].tolist()
    weights = numbers["weights"].sum(dim=0).long().tolist()
    written = []
    for _ in range(steps):
        text = [*prompt, *written]
        state = sum(codes[token] * weights[back] for back, token in enumerate(text[::-1])) % STATES
        logits = list(table[state])
        for token in seen(prompt, written):
            logits[token] = (
                logits[token] * penalty if logits[token] < 0 else logits[token] / penalty
            )
        written.append(max(range(TOKENS), key=logits.__getitem__))
    return written


def prompt_such_that(rng, length, fits=None, *, but=(), start=(), end=()):
    """A random prompt that fits, between a given start and end, without some tokens elsewhere."""
    tokens = [token for token in range(TOKENS) if token not in but]
    for _ in range(40):
        drawn = rng.integers(0, len(tokens), 150, length - len(start) - len(end)).tolist()
        for places in drawn:
            prompt = [*start, *(tokens[place] for place in places), *end]
            if fits is None or fits(prompt):
                return prompt
    raise LookupError("no such prompt: give it another length")


def finishing(rng, numbers, length, eos, step, pad=0, first=None, **options):
    """A prompt whose row writes its first eos at a step, and no padding right after it.

    With `first` that is the token it writes at once.
    """

    def fits(prompt):
        written = follow(numbers, prompt, step + 2)
        begins = first is None or written[0] == first
        ends = eos in written and written.index(eos) + 1 == step
        return begins and ends and pad not in written[step:]

    return prompt_such_that(rng, length, fits, **({"but": (eos, pad)} | options))


def endless(rng, numbers, length, eos, steps, but=()):
    """A prompt whose row writes no eos in so many steps."""

    def fits(prompt):
        return eos not in follow(numbers, prompt, steps)

    return prompt_such_that(rng, length, fits, but=(0, eos, *but))


def padded(prompts, pad):
    """Prompts as ``[B, S]`` with padding on the left, and their mask."""
    width = max(map(len, prompts))
    ids = [[pad] * (width - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids), torch.tensor(mask)


def outside(text, prompts, numbers):
    """The tokens that were written though the toy's law has none of them, in order."""
    possible = numbers["table"][0] > -torch.inf
    return sorted({token for token in ever(text, prompts) if not possible[token]})


def ever(text, prompts):
    """The tokens that were written at all, in order."""
    return text[:, prompts.shape[1] :].unique().tolist()


def alike(one, other):
    return isinstance(one, torch.Tensor) and torch.equal(one, other)


BOTH_WAYS = {"with a cache": True, "without a cache": False}


@pytest.mark.weight(2)
def test_each_token_follows_from_all_before_it(check, rng):
    """Every token follows from the whole text before it, with a cache as without one."""

    def written(lm, numbers, prompts, single):
        found = {}
        for name, use_cache in BOTH_WAYS.items():
            options = {"temperature": 0.0, "use_cache": use_cache}
            found[name] = lm.generate(Toy(numbers), prompts, max_new_tokens=5, **options)
            found[f"one row of one token, {name}"] = lm.generate(
                Toy(numbers), single, max_new_tokens=6, **options
            )
        found["one step"] = lm.generate(Toy(numbers), prompts, max_new_tokens=1, temperature=0.0)
        return found

    check(
        written,
        numbers_of(rng),
        rng.integers(1, TOKENS, 3, 6),
        rng.integers(1, TOKENS, 1, 1),
    )


@pytest.mark.weight(3)
def test_the_model_reads_each_token_once(check, rng):
    """With a cache the model reads the prompt once, and then one token per row and step."""

    def counted(lm, numbers, prompts, eos):
        found = {}
        for name, most, n, end, steps in (
            ("six steps", 6, 1, None, 6),
            ("three texts from each", 4, 3, None, 4),
            ("finished at step 3", 30, 1, eos, 3),
        ):
            model, rows = Toy(numbers), n * len(prompts)
            text = lm.generate(
                model,
                prompts,
                max_new_tokens=most,
                temperature=0.0,
                eos_token_id=end,
                num_return_sequences=n,
            )
            allowed = rows * (prompts.shape[1] + steps)
            found |= {
                f"columns, {name}": text.shape[1],
                f"tokens read too many, {name}": max(0, model.read - allowed),
                f"the model was asked for a cache, {name}": model.asked > 0,
            }
            if n == 1:  # the order of copies is another test's business
                found[f"text, {name}"] = text
        return found

    eos = int(rng.integers(1, TOKENS))
    numbers = numbers_of(rng, [eos])
    rows = [finishing(rng, numbers, 5, eos, 3) for _ in range(2)]
    check(counted, numbers, torch.tensor(rows), eos)


def test_without_a_cache_the_model_reads_everything(check, rng):
    """With use_cache=False the model gets the whole text in each step, and never a cache."""

    def counted(lm, numbers, prompts, steps):
        model, (rows, width) = Toy(numbers), prompts.shape
        options = {"temperature": 0.0, "use_cache": False}
        text = lm.generate(model, prompts, max_new_tokens=steps, **options)
        allowed = sum(rows * (width + step) for step in range(steps + 1))
        return {
            "text": text,
            "calls that ask for a cache": model.asked,
            "calls with a cache": model.given,
            "tokens read too many": max(0, model.read - allowed),
        }

    check(counted, numbers_of(rng), rng.integers(1, TOKENS, 3, 5), 6)


@pytest.mark.weight(3)
def test_padded_rows_write_what_they_write_alone(check, rng):
    """Rows that are padded on the left write what they write alone, without padding."""

    def together(lm, numbers, prompts, other, mask, pad):
        found, wider = {}, torch.nn.functional.pad(prompts, (2, 0), value=pad)
        cases = {
            "": (prompts, mask),
            ", anything as padding": (other, mask),
            ", padding in every row": (wider, torch.nn.functional.pad(mask, (2, 0))),
        }
        for name, use_cache in BOTH_WAYS.items():
            for which, (ids, real) in cases.items():
                found[f"{name}{which}"] = lm.generate(
                    Toy(numbers),
                    ids,
                    attention_mask=real,
                    max_new_tokens=4,
                    temperature=0.0,
                    pad_token_id=pad,
                    use_cache=use_cache,
                )
        return found

    pad = int(rng.integers(1, TOKENS))
    rows = [prompt_such_that(rng, length, but=(pad,)) for length in (3, 6, 1, 4)]
    prompts, mask = padded(rows, pad)
    other = torch.where(mask == 1, prompts, rng.integers(0, TOKENS, *prompts.shape))
    check(together, numbers_of(rng), prompts, other, mask, pad)


@pytest.mark.weight(2)
def test_a_real_token_may_equal_the_padding(check, rng):
    """Padding is where the mask is 0 and nowhere else: real tokens may equal pad_token_id."""

    def written(lm, numbers, prompts, padded_prompts, mask, pad):
        options = {"max_new_tokens": 5, "temperature": 0.0}
        return {
            "no mask": lm.generate(Toy(numbers), prompts, **options),
            "no mask, pad_token_id given": lm.generate(
                Toy(numbers), prompts, pad_token_id=pad, **options
            ),
            "a mask": lm.generate(
                Toy(numbers), padded_prompts, attention_mask=mask, pad_token_id=pad, **options
            ),
        }

    pad = int(rng.integers(1, TOKENS))
    numbers = numbers_of(rng, [0, pad], share=0.2)

    def writes_both(prompt):
        early = follow(numbers, prompt, 4)
        return 0 in early and pad in early

    rows = [
        prompt_such_that(rng, 6, writes_both, start=(0, 0, pad)),
        prompt_such_that(rng, 6, writes_both, start=(pad,), end=(0,)),
        prompt_such_that(rng, 6, writes_both, start=(pad, pad), end=(pad,)),
    ]
    shorter = [rows[0][2:], rows[1], rows[2][1:]]
    check(written, numbers, torch.tensor(rows), *padded(shorter, pad), pad)


@pytest.mark.weight(3)
def test_a_row_finishes_with_its_eos(check, rng):
    """A row keeps its first eos and has padding after it; when all have one, nothing follows."""

    def finished(lm, numbers, prompts, from_0, eos, pad):
        def text(rows, most, **options):
            return lm.generate(Toy(numbers), rows, max_new_tokens=most, temperature=0.0, **options)

        ids = {"eos_token_id": eos, "pad_token_id": pad}
        return {
            "at steps 2, 1 and 4": text(prompts[:3], 20, **ids),
            "at steps 2, 1 and 4, no cache": text(prompts[:3], 20, use_cache=False, **ids),
            "one row does not finish": text(prompts, 6, eos_token_id=eos),
            "padding is eos": text(prompts, 6, eos_token_id=eos, pad_token_id=eos),
            "eos is 0": text(from_0, 20, eos_token_id=0, pad_token_id=pad),
            "no eos_token_id": text(prompts, 6, pad_token_id=pad),
        }

    eos, pad = (1 + rng.permutation(TOKENS - 1)[:2]).tolist()
    numbers = numbers_of(rng, [eos, 0, pad], share=0.2)
    but = {"but": (0, eos, pad)}
    rows = [
        finishing(rng, numbers, 5, eos, 2, pad, **but),
        finishing(rng, numbers, 5, eos, 1, pad, **but),
        finishing(rng, numbers, 5, eos, 4, pad, first=pad, **but),
        endless(rng, numbers, 5, eos, 6, (pad,)),
    ]
    from_0 = [finishing(rng, numbers, 4, 0, step, pad) for step in (3, 2)]
    check(finished, numbers, torch.tensor(rows), torch.tensor(from_0), eos, pad)


@pytest.mark.weight(2)
def test_an_eos_in_the_prompt_finishes_nothing(check, rng):
    """A row finishes with an eos that it writes; one in its prompt is a token like any other."""

    def written(lm, numbers, prompts, eos, pad):
        options = {"temperature": 0.0, "eos_token_id": eos, "pad_token_id": pad}
        return {
            "some rows": lm.generate(Toy(numbers), prompts, max_new_tokens=9, **options),
            "an eos in all rows": lm.generate(
                Toy(numbers), prompts[:3], max_new_tokens=9, **options
            ),
        }

    eos, pad, other = rng.permutation(TOKENS)[:3].tolist()
    numbers = numbers_of(rng, [eos])
    rows = [
        finishing(rng, numbers, 6, eos, 3, pad, start=(eos,)),
        finishing(rng, numbers, 6, eos, 2, pad, end=(eos,)),
        finishing(rng, numbers, 6, eos, 4, pad, start=(eos,), end=(eos, other)),
        finishing(rng, numbers, 6, eos, 5, pad),
    ]
    check(written, numbers, torch.tensor(rows), eos, pad)


def apart(numbers, steps, penalty, *wrong):
    """Whether what is written with the penalty differs from what is written with each wrong set.

    And from what is written with the penalty twice.
    """

    def fits(prompt):
        right = follow(numbers, prompt, steps, penalty)
        if right == follow(numbers, prompt, steps, penalty**2):
            return False
        others = (follow(numbers, prompt, steps, penalty, seen) for seen in wrong)
        return all(other != right for other in others)

    return fits


@pytest.mark.weight(2)
def test_the_penalty_sees_a_rows_own_text(check, rng):
    """The repetition penalty is about the row's prompt and about all that it has written."""

    def written(lm, numbers, prompts, penalty):
        options = {"max_new_tokens": 7, "temperature": 0.0}
        return {
            "text": lm.generate(Toy(numbers), prompts, repetition_penalty=penalty, **options),
            "text, no cache": lm.generate(
                Toy(numbers), prompts, repetition_penalty=penalty, use_cache=False, **options
            ),
            "no penalty": lm.generate(Toy(numbers), prompts, **options),
        }

    numbers, penalty = numbers_of(rng), 1.7
    fits = apart(
        numbers,
        7,
        penalty,
        lambda prompt, written: (),
        lambda prompt, written: {*prompt},
        lambda prompt, written: {*written},
        lambda prompt, written: {(*prompt, *written)[-1]},
        lambda prompt, written: {*prompt[1:], *written},
        lambda prompt, written: {*prompt, *written[:-1]},
        lambda prompt, written: {*written[-1:]} if written else {*prompt},
    )
    rows = [prompt_such_that(rng, 4, fits, but=(0,)) for _ in range(3)]
    check(written, numbers, torch.tensor(rows), penalty)


@pytest.mark.weight(2)
def test_the_penalty_never_sees_padding(check, rng):
    """The repetition penalty leaves padding alone, and takes a real token that equals it."""

    def written(lm, numbers, prompts, mask, pad, penalty):
        return lm.generate(
            Toy(numbers),
            prompts,
            attention_mask=mask,
            max_new_tokens=6,
            temperature=0.0,
            repetition_penalty=penalty,
            pad_token_id=pad,
        )

    pad, penalty = int(rng.integers(1, TOKENS)), 1.7
    numbers = numbers_of(rng, [0, pad], share=0.2)
    with_padding = apart(
        numbers,
        6,
        penalty,
        lambda prompt, written: {*prompt, *written, pad},
        lambda prompt, written: {*prompt, *written, 0},
    )
    without = apart(numbers, 6, penalty, lambda prompt, written: {*prompt, *written} - {pad})
    rows = [
        prompt_such_that(rng, 4, with_padding, but=(pad,)),
        prompt_such_that(rng, 6, without, end=(pad,)),
        prompt_such_that(rng, 3, with_padding, but=(pad,)),
    ]
    check(written, numbers, *padded(rows, pad), pad, penalty)


@pytest.mark.weight(2)
def test_copies_of_a_prompt_stand_together(check, rng):
    """With num_return_sequences=n, the n texts from the first prompt come first."""

    def written(lm, numbers, prompts, mask):
        told = []
        text = lm.generate(
            Toy(numbers),
            prompts,
            attention_mask=mask,
            max_new_tokens=4,
            temperature=0.0,
            num_return_sequences=3,
            on_token=told.append,
        )
        return {"text": text, "tokens told": len(told[0])}

    rows = [prompt_such_that(rng, length, but=(0,)) for length in (3, 5)]
    check(written, numbers_of(rng), *padded(rows, 0))


@pytest.mark.weight(2)
def test_each_row_and_step_draws_anew(check, rng):
    """Every copy draws for itself in every step, from the generator or from torch's own."""

    def drawn(lm, numbers, prompts, seed):
        def text(generator=None):
            return lm.generate(
                Toy(numbers),
                prompts,
                max_new_tokens=5,
                num_return_sequences=4,
                generator=generator,
            )

        given = torch.Generator(prompts.device).manual_seed(seed)
        first, second = text(given), text(given)
        again = text(torch.Generator(prompts.device).manual_seed(seed))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            own, next_own = text(), text()
            torch.manual_seed(seed)
            own_again = text()
        new = first[:, prompts.shape[1] :].reshape(2, 4, 5)
        return {
            "copies of a prompt are the same": bool((new == new[:, :1]).all()),
            "copies of two prompts are the same": bool((new == new[:1]).all()),
            "steps are the same": bool((new == new[:, :, :1]).all()),
            "one seed, one text": alike(first, again),
            "a second call writes the same": alike(first, second),
            "one seed of torch's own, one text": alike(own, own_again),
            "a second call without a generator writes the same": alike(own, next_own),
            "impossible tokens": outside(torch.cat((first, own)), prompts, numbers),
            "shape": list(first.shape),
            "prompts": sorted(first[:, : prompts.shape[1]].flatten().tolist()),
        }

    numbers, prompts = by_law(rng, [1 / 7] * 7), rng.integers(1, TOKENS, 2, 3)
    check(drawn, numbers, prompts, int(rng.integers(0, 2**31)))


@pytest.mark.weight(2)
def test_options_reach_the_choice(check, rng):
    """Temperature, top-k, top-p and penalty are those of sample, with its defaults."""

    def choices(lm, even, steep, steeper, prompts, seen, seed):
        def text(numbers, ids=prompts, steps=1, n=COPIES, **options):
            generator = torch.Generator(prompts.device).manual_seed(seed)
            return lm.generate(
                Toy(numbers),
                ids,
                max_new_tokens=steps,
                num_return_sequences=n,
                generator=generator,
                **options,
            )

        named = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0}
        by_default, by_name = text(even, steps=12, n=9), text(even, steps=12, n=9, **named)
        return {
            "with top_k=2": ever(text(even, top_k=2), prompts),
            "with top_p=0.6": ever(text(even, top_p=0.6), prompts),
            "with a temperature of 0.01": ever(text(even, temperature=0.01), prompts),
            "with a temperature of 60": ever(text(steep, temperature=60.0), prompts),
            "with a temperature of 1": ever(text(steep, temperature=1.0), prompts),
            "with a temperature of 30": ever(text(steeper, temperature=30.0), prompts),
            "with a penalty of 60": ever(text(steep, seen, repetition_penalty=60.0), prompts),
            "the defaults are those of sample": alike(by_default, by_name),
        }

    even, steep = by_law(rng, [0.5, 0.3, 0.2]), numbers_of(rng)
    order = 1 + rng.permutation(TOKENS - 1)
    logits = torch.full((TOKENS,), -torch.inf)
    logits[order[:4]] = torch.tensor([140.0, 80.0, 80.1, 79.9])
    steep["table"] = logits.repeat(STATES, 1)
    # Over 30 the gap is 40, so that one token comes; over 30 twice it is 1.3.
    steeper = steep | {"table": 20.0 * steep["table"]}
    seed = int(rng.integers(0, 2**31))
    check(choices, even, steep, steeper, order[None, 5:7], order[None, :2], seed)


@pytest.mark.weight(2)
def test_on_token_gets_every_step(check, rng):
    """on_token gets the tokens of all rows in each step, as they are appended."""

    def streamed(lm, numbers, prompts, eos, pad):
        model, kept, copied, read = Toy(numbers), [], [], []

        def on_token(tokens):
            kept.append(tokens)
            copied.append(tokens.clone())
            read.append(model.read)
            return len(read) != 2  # which makes no difference

        text = lm.generate(
            model,
            prompts,
            max_new_tokens=9,
            temperature=0.0,
            eos_token_id=eos,
            pad_token_id=pad,
            on_token=on_token,
        )
        return {
            "text": text,
            "calls": len(copied),
            "tokens": torch.stack(copied),
            "tokens, kept until the end": torch.stack(kept),
            "all calls come when the text is complete": read[0] == model.read,
        }

    eos, pad = rng.permutation(TOKENS)[:2].tolist()
    numbers = numbers_of(rng, [eos])
    rows = [finishing(rng, numbers, 4, eos, step, pad) for step in (2, 5, 1)]
    check(streamed, numbers, torch.tensor(rows), eos, pad)


def test_the_model_is_left_as_it_was(check, rng):
    """The model's training flag is as before, and so is torch's grad mode."""

    def flags(lm, numbers, prompts):
        found = {}
        for name in ("training", "eval"):
            model = Toy(numbers).train(name == "training")
            text = lm.generate(model, prompts, max_new_tokens=2, temperature=0.0)
            found |= {
                f"text, {name}": text,
                f"flags, {name}": [model.training, model.part.training],
                f"the table can be trained, {name}": model.table.requires_grad,
            }
        with torch.no_grad():
            lm.generate(Toy(numbers), prompts, max_new_tokens=2, temperature=0.0)
            found["grad mode is on after a call without it"] = torch.is_grad_enabled()
        return found

    check(flags, numbers_of(rng), rng.integers(1, TOKENS, 2, 3))
