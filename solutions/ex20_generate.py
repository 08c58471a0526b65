"""ex20: writing text.

The model says how likely each token is to come next, and ``sample`` of ex19 chooses one. Writing
means to do this again and again: each token is appended, and the model reads it before it says what
comes after it.

    prompt        read at once, its keys and values are kept in a cache
    each step     logits of the last position → a token for each row → appended
                  the model reads only this token, the rest is in the cache

All rows of a batch write at once, a token per step. What makes it difficult is that rows differ:

    their prompts are not of one length, so the shorter ones have padding on the left,
    they finish at different steps, and who has finished waits for the others,
    and several texts may be asked for from one prompt.

None of this may be seen in what a row writes: it is what it would write alone.

Axes: B prompts of S tokens, n texts from each of them, V vocabulary. No function here modifies an
argument.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from .ex19_sampling import sample


# BEGIN SOLUTION
@dataclass(frozen=True)
class _Plan:
    """What stays the same in all steps of a text."""

    choose: Callable[..., torch.Tensor]
    steps: int
    eos: int | None
    pad: int
    use_cache: bool
    on_token: Callable[..., object] | None


def _chooser(
    temperature: float,
    top_k: int,
    top_p: float,
    penalty: float,
    generator: torch.Generator | None,
) -> Callable[..., torch.Tensor]:
    """`sample` with all but the logits and what has been seen."""
    return partial(
        sample,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        repetition_penalty=penalty,
        generator=generator,
    )


def _rows(
    input_ids: torch.Tensor, attention_mask: torch.Tensor | None, n: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The prompts n times each, all copies of the first one first, and their mask."""
    mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    return input_ids.repeat_interleave(n, dim=0), mask.repeat_interleave(n, dim=0)


def _unread(ids: torch.Tensor, past: Any) -> torch.Tensor:
    """The tokens that the model has not read yet: the last ones alone where there is a cache."""
    return ids if past is None else ids[:, -1:]


def _read(
    model: torch.nn.Module, ids: torch.Tensor, mask: torch.Tensor, past: Any, plan: _Plan
) -> tuple[torch.Tensor, Any]:
    """What the model says after the last token: logits ``[rows, V]``, and its cache, if any."""
    with torch.no_grad():
        out = model(
            _unread(ids, past),
            attention_mask=mask,
            past_key_values=past,
            use_cache=plan.use_cache,
            logits_to_keep=1,
        )
    return out.logits[:, -1], out.past_key_values


def _seen(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Each row's real tokens; in the place of padding stands one that the row has seen anyway."""
    return torch.where(mask.bool(), ids, ids[:, -1:])


def _waiting(tokens: torch.Tensor, finished: torch.Tensor, plan: _Plan) -> torch.Tensor:
    """The tokens of a step, padding in rows that had finished before it."""
    return tokens.masked_fill(finished, plan.pad)


def _appended(rows: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    return torch.cat((rows, column[:, None]), dim=1)


def _longer(mask: torch.Tensor, tokens: torch.Tensor, plan: _Plan) -> torch.Tensor:
    """The mask of a text with one more token in each row, which is a real one whatever it is."""
    return _appended(mask, torch.ones_like(tokens))


def _nobody(ids: torch.Tensor, plan: _Plan) -> torch.Tensor:
    """Before the first step no row has finished, whatever is in its prompt."""
    return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)


def _now_finished(finished: torch.Tensor, tokens: torch.Tensor, plan: _Plan) -> torch.Tensor:
    """Who has finished, with the tokens of this step."""
    return finished if plan.eos is None else finished | (tokens == plan.eos)


def _is_over(ids: torch.Tensor, finished: torch.Tensor, plan: _Plan) -> bool:
    return bool(finished.all())


def _tell(tokens: torch.Tensor, plan: _Plan) -> None:
    if plan.on_token is not None:
        plan.on_token(tokens)


def _write(
    model: torch.nn.Module, ids: torch.Tensor, mask: torch.Tensor, plan: _Plan
) -> torch.Tensor:
    """The rows with what is written after them, a column for each step."""
    finished, past = _nobody(ids, plan), None
    for _ in range(plan.steps):
        logits, past = _read(model, ids, mask, past, plan)
        tokens = plan.choose(logits, seen_ids=_seen(ids, mask))
        tokens = _waiting(tokens, finished, plan)
        ids, mask = _appended(ids, tokens), _longer(mask, tokens, plan)
        finished = _now_finished(finished, tokens, plan)
        _tell(tokens, plan)
        if _is_over(ids, finished, plan):
            break
    return ids


# END SOLUTION


def generate(
    model: torch.nn.Module,
    input_ids: torch.Tensor,
    *,
    attention_mask: torch.Tensor | None = None,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    repetition_penalty: float = 1.0,
    eos_token_id: int | None = None,
    pad_token_id: int = 0,
    use_cache: bool = True,
    num_return_sequences: int = 1,
    generator: torch.Generator | None = None,
    on_token: Callable[..., object] | None = None,
) -> torch.Tensor:
    """Continue prompts, a token per row and step.

    The model is called as in ex11: ``model(input_ids, attention_mask=…, past_key_values=…,
    use_cache=…)``, and also with ``logits_to_keep=…`` if you like. What it returns has ``logits``
    and ``past_key_values``: for each layer ``(k, v)``, each ``[rows, T, K, d]``, or None. Its mask
    is ``[rows, T]``, over cached and new tokens, and T is one more at each step.

    With ``use_cache`` the prompt is read once, and after that one token per row in each step: the
    one just written. Without it the model gets the whole sequence in each step, and neither gets
    nor returns a cache.

    Left-padded rows write what the same rows write alone, without padding. The model finds
    positions by itself; what it must be given is the mask. What stands at padded positions makes no
    difference. A token that was written is a real one, and so is every token of the prompt where
    there is no mask, even if it equals ``pad_token_id``.

    A row finishes when it writes ``eos_token_id``, which stays in the text. Its later columns are
    ``pad_token_id``; what the model is given for them is free. An eos in the prompt finishes
    nothing, nor does padding. When all rows have finished, no further step is made, so that the
    result may have fewer than S + max_new_tokens columns.

    Tokens are chosen as in ``sample`` of ex19. The penalty is about a row's own tokens: the real
    ones of its prompt and those that it has written, never padding.

    The model's training flag and torch's grad mode are afterwards as they were before.

    Args:
        model: as in ex11; its dropout is 0.
        input_ids: ``[B, S]``, torch.long.
        attention_mask: ``[B, S]``, torch.long: 1 for a real token and 0 for padding, which is on
            the left; each row has a real token. None: all tokens are real.
        max_new_tokens: the most steps, at least 1.
        temperature, top_k, top_p, repetition_penalty: as in ``sample``; a temperature of 0 is
            greedy.
        eos_token_id: a token of the vocabulary, which may be 0, or None: then no row finishes.
        pad_token_id: a token of the vocabulary, which may be eos_token_id itself.
        use_cache: see above.
        num_return_sequences: n, how many texts to write from each prompt; each copy draws for
            itself. The copies of the first prompt come first, then those of the second.
        generator: what random numbers are drawn from, or None, as in ``sample``.
        on_token: called once per step with the tokens ``[B·n]`` that the step appends, before the
            next step begins: padding in rows that had finished before. What it returns makes no
            difference.

    Returns:
        ``[B·n, S + new]``, torch.long: the prompts with their padding, then a column for each step.
    """
    # BEGIN SOLUTION
    choose = _chooser(temperature, top_k, top_p, repetition_penalty, generator)
    plan = _Plan(choose, max_new_tokens, eos_token_id, pad_token_id, use_cache, on_token)
    ids, mask = _rows(input_ids, attention_mask, num_return_sequences)
    return _write(model, ids, mask, plan)
    # END SOLUTION
