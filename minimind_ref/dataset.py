"""Rows of tokens and their labels: the reference for ex14.

A row for pretraining is that of MiniMind's ``PretrainDataset``. The chat format is ChatML, as in
Qwen3 and MiniMind-3, without their default system message. Replies are labelled from behind the
header to the end of their end marker, as MiniMind's ``SFTDataset`` does.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

IGNORED = -100
"""The label that `torch.nn.functional.cross_entropy` leaves out by default."""

START, END = "<|im_start|>", "<|im_end|>"


def pretrain_example(
    ids: list[int], max_length: int, *, bos: int, eos: int, pad: int
) -> tuple[Tensor, Tensor]:
    """A row of a text, with both markers, and its labels: -100 on the padding.

    Args:
        ids: the tokens of the text; those that do not fit between the markers are left out.
        max_length: of the row.
        bos: stands first.
        eos: stands behind the text.
        pad: fills the row.

    Returns:
        ``(input_ids, labels)``, each ``[max_length]``.
    """
    used = min(len(ids), max_length - 2) + 2
    input_ids = torch.full((max_length,), pad, dtype=torch.long)
    input_ids[0], input_ids[used - 1] = bos, eos
    input_ids[1 : used - 1] = torch.tensor(ids[: used - 2], dtype=torch.long)
    is_padding = torch.arange(max_length) >= used
    return input_ids, input_ids.masked_fill(is_padding, IGNORED)


def render_chat(messages: list[dict[str, str]], add_generation_prompt: bool = False) -> str:
    """A conversation in ChatML, with the beginning of an answer if that is asked for."""
    parts: list[str] = []
    for message in messages:
        parts += [START, message["role"], "\n", message["content"], END, "\n"]
    if add_generation_prompt:
        parts += [START, "assistant", "\n"]
    return "".join(parts)


def sft_labels(
    input_ids: list[int], header_ids: list[int], end_ids: list[int], *, pad: int
) -> Tensor:
    """Labels of a conversation: its replies with their end markers, -100 elsewhere.

    Args:
        input_ids: the conversation, perhaps cut off or padded at the end.
        header_ids: what comes before a reply.
        end_ids: what ends it.
        pad: at the end of the row it is padding where the last reply was cut off.

    Returns:
        ``[len(input_ids)]``.
    """
    length = len(input_ids)
    padding = sum(1 for _ in itertools.takewhile(lambda token: token == pad, input_ids[::-1]))
    learned = [False] * length
    began = -1  # where the reply at hand began, -1 outside replies
    here = 0
    while here < length:
        if began < 0:
            is_header = input_ids[here : here + len(header_ids)] == header_ids
            here += len(header_ids) if is_header else 1
            began = here if is_header else -1
        elif input_ids[here : here + len(end_ids)] == end_ids:
            here += len(end_ids)
            learned[began:here] = [True] * (here - began)
            began = -1
        else:
            here += 1
    if began >= 0:
        end = max(began, length - padding)
        learned[began:end] = [True] * (end - began)
    tokens = torch.tensor(input_ids, dtype=torch.long)
    return tokens.masked_fill(~torch.tensor(learned, dtype=torch.bool), IGNORED)


def pack(sequences: list[list[int]], max_length: int, eos: int) -> list[Tensor]:
    """Blocks of ``max_length`` tokens of all sequences joined, each followed by eos.

    The last block may be shorter.
    """
    stream = list(itertools.chain.from_iterable([*sequence, eos] for sequence in sequences))
    blocks = torch.split(torch.tensor(stream, dtype=torch.long), max_length)
    return [block.clone() for block in blocks if len(block)]
