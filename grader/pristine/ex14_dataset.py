"""ex14: from texts to training examples.

A language model is trained on rows of token ids. Which rows, and which of their tokens are to be
learned, is decided here: ``labels`` repeat a token where the model has to predict it, and are -100
where it has not, since the loss (ex15) leaves out -100. Labels are *not* shifted: position t of the
labels is about token t, and the loss compares it with what the model said at position t - 1.

You write four functions:

    pretrain_example   one text as one row of a fixed length: every token is learned
    render_chat        a conversation as one text, with markers that say who speaks
    sft_labels         a tokenized conversation: only what the assistant says is learned
    pack               many texts in rows without any padding

Token ids come in as lists of Python ints and go out as tensors of ``torch.long``. No function here
changes a list, a dict or a message that it is given.
"""

import torch


def pretrain_example(
    ids: list[int], max_length: int, *, bos: int, eos: int, pad: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Make one row of a text.

    The row is bos, the first ``max_length - 2`` of the ids (all, if there are fewer), eos, and then
    pad up to ``max_length``. So it always has both markers, also where the text was cut off.

    The labels are the same as the row, -100 where there is padding. Padding is a place, not an id:
    it is what stands behind eos. A token of the text that happens to have the id ``pad`` stays a
    label, and so does eos where ``eos`` and ``pad`` are the same number, as in many tokenizers.

    Args:
        ids: the tokens of the text, of any length, 0 included. Nothing in it is special: where it
            contains bos or eos itself, they are tokens like all others.
        max_length: the length of the row, 2 at least.
        bos: the id of the marker before the text.
        eos: the id of the marker after it.
        pad: the id that fills the row.

    Returns:
        ``(input_ids, labels)``, each ``[max_length]``, torch.long, with memory of their own:
        changing one does not change the other.
    """
    # your code here
    raise NotImplementedError


def render_chat(messages: list[dict[str, str]], add_generation_prompt: bool = False) -> str:
    r"""Write a conversation as one text, in the format ChatML.

    Every message becomes, in the order of the list,

        <|im_start|>{role}\n{content}<|im_end|>\n

    where ``\n`` is a newline. With ``add_generation_prompt`` the beginning of an answer follows,
    for the model to go on from there: ``<|im_start|>assistant\n``.

    Nothing is stripped and nothing is added: no system message, no space, no last newline less.
    A content goes in as it is, whatever is in it, and so does a role.

    Args:
        messages: dicts with the keys "role" ("system", "user", "assistant", "tool" …) and
        "content". add_generation_prompt: whether the beginning of an answer follows.
    """
    # your code here
    raise NotImplementedError


def sft_labels(
    input_ids: list[int], header_ids: list[int], end_ids: list[int], *, pad: int
) -> torch.Tensor:
    """Label what the assistant says in a tokenized conversation.

    A reply is what stands between the assistant's header (``<|im_start|>assistant\\n`` as tokens)
    and the next end marker (``<|im_end|>\\n``, say) after it. The header is not learned, the user
    and the program write it. The reply is, from its first token on, and so is its *whole* end
    marker: a model that never had to predict it does not know how to stop. All else is -100.

    * There may be several replies, and other messages before, between and after them. * A reply
    ends at its end marker and nowhere else: a header inside it is a part of it. * A reply may be
    empty: then the end marker alone is learned. * Where a row was cut off, the last reply has no
    end marker and goes on to the end of the row. If
      padding follows, that is the run of ``pad`` at the very end of the row, and it is never
      learned.
    * Padding is a place, not an id: a token ``pad`` anywhere else is a token like all others.

    Args:
        input_ids: the tokens of the conversation, perhaps cut off, perhaps with padding at the end.
        header_ids: the tokens of the header, one at least.
        end_ids: the tokens of the end marker, one at least.
        pad: the id that rows are filled with. It may be in the end marker, too.

    Returns:
        ``[len(input_ids)]``, torch.long: the token where it is learned, -100 elsewhere. Not
        shifted.
    """
    # your code here
    raise NotImplementedError


def pack(sequences: list[list[int]], max_length: int, eos: int) -> list[torch.Tensor]:
    """Put many texts into rows without padding.

    One eos goes after every sequence, the last one too, also if the sequence is empty or ends with
    that id already. All of it is joined in the order of the list and cut into blocks of
    ``max_length`` tokens, wherever the cuts fall. The last block may be shorter; it is neither
    filled nor lost. There are no empty blocks.

    Args:
        sequences: the tokens of each text.
        max_length: the length of a block, 1 at least.
        eos: the id of the marker between texts.

    Returns:
        The blocks, each a tensor ``[max_length]`` (the last one perhaps shorter), torch.long.
    """
    # your code here
    raise NotImplementedError
