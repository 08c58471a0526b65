"""Writing text with a model and its cache: the reference for ex20.

The loop is that of ``transformers`` (generation/utils.py, `_sample`), with left-padded prompts and
rows that wait for each other; the order of several sequences per prompt is that of its
`_expand_inputs_for_generation`.

The prompts are read once each, however many sequences are asked for, and it is the cache that is
copied. Text is written into a page that is as long as it may become, and filled with padding from
the start, so that a row which has finished need only be left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .sampling import sample


def _expanded(past: Sequence[tuple[Tensor, Tensor]] | None, n: int) -> Any:
    """A cache of B rows as one of B·n rows."""
    if past is None:
        return None
    return [(k.repeat_interleave(n, dim=0), v.repeat_interleave(n, dim=0)) for k, v in past]


def generate(
    model: nn.Module,
    input_ids: Tensor,
    *,
    attention_mask: Tensor | None = None,
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
) -> Tensor:
    """Continue prompts ``[B, S]`` by at most `max_new_tokens` each.

    Args:
        model: a MiniMindForCausalLM.
        input_ids: ``[B, S]``, padded on the left.
        attention_mask: ``[B, S]``, 0 for padding; without it all tokens are real.
        max_new_tokens: the most steps.
        temperature, top_k, top_p, repetition_penalty, generator: as in `sample`.
        eos_token_id: ends a row once it is written.
        pad_token_id: what follows in rows that have ended.
        use_cache: whether to keep keys and values, or to read everything in each step.
        num_return_sequences: n, sequences per prompt.
        on_token: gets the tokens ``[B·n]`` of each step.

    Returns:
        ``[B·n, S + new]`` long; all sequences of the first prompt first.
    """
    (prompts, width), n = input_ids.shape, num_return_sequences
    most = width + max_new_tokens
    page = input_ids.new_full((prompts * n, most), pad_token_id)
    page[:, :width] = input_ids.repeat_interleave(n, dim=0)
    real = torch.ones_like(page)
    if attention_mask is not None:
        real[:, :width] = attention_mask.repeat_interleave(n, dim=0)
    writing = torch.ones(len(page), dtype=torch.bool, device=page.device)

    with torch.no_grad():
        out = model(page[::n, :width], attention_mask=real[::n, :width], use_cache=use_cache)
    logits, past = out.logits[:, -1].repeat_interleave(n, 0), _expanded(out.past_key_values, n)
    for end in range(width, most):
        own = real[:, :end] > 0
        tokens = sample(
            logits,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            repetition_penalty=repetition_penalty,
            seen_ids=page[:, :end].where(own, page[:, width - 1 : width]),
            generator=generator,
        )
        page[writing, end] = tokens[writing]
        if on_token is not None:
            on_token(page[:, end].clone())
        if eos_token_id is not None:
            writing &= tokens != eos_token_id
        if end + 1 == most or not writing.any():
            break
        new = slice(end if use_cache else 0, end + 1)
        with torch.no_grad():
            out = model(
                page[:, new],
                attention_mask=real[:, : end + 1],
                past_key_values=past,
                use_cache=use_cache,
            )
        logits, past = out.logits[:, -1], out.past_key_values
    return page[:, : end + 1].clone()
