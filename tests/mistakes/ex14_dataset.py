"""Wrong answers to ex14_dataset: each class is the solution with one change.

A class holds definitions that replace the solution's own; its docstring ends the sentence
"these are exactly the numbers you get if ...".
"""

import torch


class every_pad_id_hidden:
    """every token that equals pad gets the label -100, in the text and at eos, too; hide only what
    stands behind eos"""

    def pretrain_example(ids, max_length, *, bos, eos, pad):
        input_ids = _long(_filled(_between_markers(ids, max_length, bos, eos), max_length, pad))
        return input_ids, torch.where(input_ids == pad, _IGNORED, input_ids)


class pads_hidden_from_the_first_on:
    """everything from the first token that equals pad on gets the label -100; count the tokens of
    the row, and hide what stands behind eos"""

    def pretrain_example(ids, max_length, *, bos, eos, pad):
        row = _filled(_between_markers(ids, max_length, bos, eos), max_length, pad)
        first = row.index(pad) if pad in row else max_length
        return _long(row), _long(_filled(row[:first], max_length, _IGNORED))


class trailing_pads_hidden:
    """the whole run of pad at the end of a row gets the label -100, also where the text ends with
    that id or eos equals it; count the tokens of the row, and hide what stands behind eos"""

    def pretrain_example(ids, max_length, *, bos, eos, pad):
        row = _filled(_between_markers(ids, max_length, bos, eos), max_length, pad)
        end = max_length
        while end and row[end - 1] == pad:
            end -= 1
        return _long(row), _long(_filled(row[:end], max_length, _IGNORED))


class padding_is_a_label:
    """padding has its id as a label; the labels of padding should be -100"""

    def pretrain_example(ids, max_length, *, bos, eos, pad):
        row = _filled(_between_markers(ids, max_length, bos, eos), max_length, pad)
        return _long(row), _long(row)


class first_padding_is_a_label:
    """the first padding after eos is a label, too; labels end with eos"""

    def pretrain_example(ids, max_length, *, bos, eos, pad):
        row = _between_markers(ids, max_length, bos, eos)
        labels = (row + [pad])[:max_length]
        return _long(_filled(row, max_length, pad)), _long(_filled(labels, max_length, _IGNORED))


class labels_share_memory:
    """the labels are the same tensor as input_ids, so that -100 stands in both; make two tensors"""

    def pretrain_example(ids, max_length, *, bos, eos, pad):
        row = _between_markers(ids, max_length, bos, eos)
        labels = input_ids = _long(_filled(row, max_length, pad))
        labels[len(row) :] = _IGNORED
        return input_ids, labels


class padding_of_zeros:
    """the labels of padding are 0; they should be -100, since 0 is a token"""

    def pretrain_example(ids, max_length, *, bos, eos, pad):
        row = _between_markers(ids, max_length, bos, eos)
        return _long(_filled(row, max_length, pad)), _long(_filled(row, max_length, 0))


class padding_of_minus_one:
    """the labels of padding are -1; they should be -100, which the loss leaves out"""

    def pretrain_example(ids, max_length, *, bos, eos, pad):
        row = _between_markers(ids, max_length, bos, eos)
        return _long(_filled(row, max_length, pad)), _long(_filled(row, max_length, -1))


class bos_is_no_label:
    """bos has the label -100; only padding has, the loss does not ask for the first token anyway"""

    def pretrain_example(ids, max_length, *, bos, eos, pad):
        row = _between_markers(ids, max_length, bos, eos)
        labels = [_IGNORED, *row[1:]]
        return _long(_filled(row, max_length, pad)), _long(_filled(labels, max_length, _IGNORED))


class eos_is_no_label:
    """eos has the label -100, so that a model never learns to stop; only padding has that label"""

    def pretrain_example(ids, max_length, *, bos, eos, pad):
        row = _between_markers(ids, max_length, bos, eos)
        labels = _filled(row[:-1], max_length, _IGNORED)
        return _long(_filled(row, max_length, pad)), _long(labels)


class labels_shifted:
    """the labels are shifted by one, the next token at each place; do not shift them, the loss
    does"""

    def pretrain_example(ids, max_length, *, bos, eos, pad):
        row = _between_markers(ids, max_length, bos, eos)
        labels = _filled(row[1:], max_length, _IGNORED)
        return _long(_filled(row, max_length, pad)), _long(labels)


class row_shorter_by_one:
    """input_ids lacks the last token and labels the first, already shifted; both should have
    max_length tokens"""

    def pretrain_example(ids, max_length, *, bos, eos, pad):
        row = _between_markers(ids, max_length, bos, eos)
        full, labels = _filled(row, max_length, pad), _filled(row, max_length, _IGNORED)
        return _long(full[:-1]), _long(labels[1:])


class eos_cut_off:
    """a long text is cut after its markers were added, so that eos is lost; cut the text to
    max_length - 2 tokens first"""

    def _between_markers(ids, max_length, bos, eos):
        return [bos, *ids, eos][:max_length]


class last_tokens_kept:
    """of a long text the last tokens are kept; keep the first max_length - 2"""

    def _between_markers(ids, max_length, bos, eos):
        return [bos, *ids[max(0, len(ids) - (max_length - 2)) :], eos]


class room_for_the_markers_forgotten:
    """max_length tokens of the text are kept and both markers added, so that rows are too long;
    keep max_length - 2"""

    def _between_markers(ids, max_length, bos, eos):
        return [bos, *ids[:max_length], eos]


class room_for_one_marker:
    """max_length - 1 tokens of the text are kept, so that rows are too long by one; keep
    max_length - 2, there are two markers"""

    def _between_markers(ids, max_length, bos, eos):
        return [bos, *ids[: max_length - 1], eos]


class one_token_too_few:
    """a long text keeps max_length - 3 tokens; keep max_length - 2"""

    def _between_markers(ids, max_length, bos, eos):
        return [bos, *ids[: max_length - 3], eos]


class no_bos:
    """bos is missing; put it before the text"""

    def _between_markers(ids, max_length, bos, eos):
        return [*ids[: max_length - 1], eos]


class no_eos:
    """eos is missing; put it behind the text"""

    def _between_markers(ids, max_length, bos, eos):
        return [bos, *ids[: max_length - 1]]


class markers_swapped:
    """eos stands first and bos behind the text; begin with bos and end with eos"""

    def _between_markers(ids, max_length, bos, eos):
        return [eos, *ids[: max_length - 2], bos]


class markers_not_repeated:
    """bos or eos is left out where the text begins or ends with that id already; add both to every
    text"""

    def _between_markers(ids, max_length, bos, eos):
        text = ids[: max_length - 2]
        before = [] if text[:1] == [bos] else [bos]
        after = [] if text[-1:] == [eos] else [eos]
        return [*before, *text, *after]


class text_ends_at_eos:
    """a text is cut at the first eos inside it; a token that equals eos is a token like all
    others"""

    def _between_markers(ids, max_length, bos, eos):
        text = ids[: ids.index(eos)] if eos in ids else ids
        return [bos, *text[: max_length - 2], eos]


class text_without_pads:
    """tokens of the text that equal pad are left out; keep them, padding is a place and not an
    id"""

    def pretrain_example(ids, max_length, *, bos, eos, pad):
        row = _between_markers([token for token in ids if token != pad], max_length, bos, eos)
        labels = _long(_filled(row, max_length, _IGNORED))
        return _long(_filled(row, max_length, pad)), labels


class padding_in_front:
    """padding stands before the text; put it behind eos"""

    def _filled(row, max_length, filler):
        return [filler] * (max_length - len(row)) + row


class padding_before_eos:
    """padding stands between the text and eos, at the end of the row; eos comes right after the
    text"""

    def pretrain_example(ids, max_length, *, bos, eos, pad):
        row = _between_markers(ids, max_length, bos, eos)[:-1]
        input_ids = [*_filled(row, max_length - 1, pad), eos]
        return _long(input_ids), _long([*_filled(row, max_length - 1, _IGNORED), eos])


class padded_with_eos:
    """rows are filled with eos; fill them with pad"""

    def pretrain_example(ids, max_length, *, bos, eos, pad):
        row = _between_markers(ids, max_length, bos, eos)
        return _long(_filled(row, max_length, eos)), _long(_filled(row, max_length, _IGNORED))


class not_padded:
    """short rows are not filled; add pad up to max_length"""

    def _filled(row, max_length, filler):
        return row


class int32_ids:
    """the tensors are int32; they should be torch.long, as embeddings and losses want them"""

    def _long(ids):
        return torch.tensor(ids, dtype=torch.int32)


class float_ids:
    """the tensors are float32, as torch.Tensor(ids) makes them; they should be torch.long"""

    def _long(ids):
        return torch.Tensor(ids)


class dtype_left_to_torch:
    """the dtype is left to torch, which makes float32 of an empty list; ask for torch.long"""

    def _long(ids):
        return torch.tensor(ids)


class lists_returned:
    """lists are returned; make tensors of torch.long"""

    def _long(ids):
        return ids


class markers_written_into_the_text:
    """bos and eos are put into the list of the caller; make a new list"""

    def _between_markers(ids, max_length, bos, eos):
        del ids[max_length - 2 :]
        ids.insert(0, bos)
        ids.append(eos)
        return ids


class content_stripped:
    """contents are stripped; keep every space and newline"""

    def _rendered(message):
        return f"<|im_start|>{message['role']}\n{message['content'].strip()}<|im_end|>\n"


class content_stripped_on_the_left:
    """spaces and newlines at the beginning of a content are lost; keep them"""

    def _rendered(message):
        return f"<|im_start|>{message['role']}\n{message['content'].lstrip()}<|im_end|>\n"


class content_stripped_on_the_right:
    """spaces and newlines at the end of a content are lost; keep them"""

    def _rendered(message):
        return f"<|im_start|>{message['role']}\n{message['content'].rstrip()}<|im_end|>\n"


class assistant_content_stripped:
    """what the assistant says is stripped, and nobody else; keep every space and newline"""

    def _rendered(message):
        content = message["content"]
        content = content.strip() if message["role"] == "assistant" else content
        return f"<|im_start|>{message['role']}\n{content}<|im_end|>\n"


class no_newline_after_a_message:
    """the newline after the end marker is missing; every message ends with a newline"""

    def _rendered(message):
        return f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>"


class no_newline_at_the_end:
    """the last message has no newline after its end marker, as join leaves it; every message ends
    with one"""

    def render_chat(messages, add_generation_prompt=False):
        text = "\n".join(_rendered(message)[:-1] for message in messages)
        return text + "\n<|im_start|>assistant\n" if add_generation_prompt else text


class newlines_as_two_characters:
    r"""a backslash and an n stand where a newline should, as in a raw string; write the newline
    itself"""

    def _rendered(message):
        return rf"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n"


class no_newline_after_the_role:
    """a space stands between role and content; put a newline there"""

    def _rendered(message):
        return f"<|im_start|>{message['role']} {message['content']}<|im_end|>\n"


class newline_before_the_end_marker:
    """a newline stands between content and end marker; nothing does"""

    def _rendered(message):
        return f"<|im_start|>{message['role']}\n{message['content']}\n<|im_end|>\n"


class blank_line_between_messages:
    """an empty line stands between messages; one newline is enough"""

    def _rendered(message):
        return f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n\n"


class newline_after_the_start_marker:
    """a newline stands between start marker and role; nothing does"""

    def _rendered(message):
        return f"<|im_start|>\n{message['role']}\n{message['content']}<|im_end|>\n"


class bos_in_front:
    """the text begins with <s>; begin with the first message"""

    def render_chat(messages, add_generation_prompt=False):
        text = "<s>" + "".join(map(_rendered, messages))
        return text + "<|im_start|>assistant\n" if add_generation_prompt else text


class default_system_message:
    """a system message is added where the first message is none; add nothing"""

    def render_chat(messages, add_generation_prompt=False):
        if messages[0]["role"] != "system":
            messages = [{"role": "system", "content": "You are a helpful assistant."}, *messages]
        text = "".join(map(_rendered, messages))
        return text + "<|im_start|>assistant\n" if add_generation_prompt else text


class empty_system_message:
    """an empty system message is added where the first message is none; add nothing"""

    def render_chat(messages, add_generation_prompt=False):
        if messages[0]["role"] != "system":
            messages = [{"role": "system", "content": ""}, *messages]
        text = "".join(map(_rendered, messages))
        return text + "<|im_start|>assistant\n" if add_generation_prompt else text


class system_messages_first:
    """system messages are moved to the front; keep the order of the list"""

    def render_chat(messages, add_generation_prompt=False):
        messages = sorted(messages, key=lambda message: message["role"] != "system")
        text = "".join(map(_rendered, messages))
        return text + "<|im_start|>assistant\n" if add_generation_prompt else text


class system_messages_left_out:
    """system messages are left out after the first message; render all"""

    def render_chat(messages, add_generation_prompt=False):
        kept = [m for place, m in enumerate(messages) if place == 0 or m["role"] != "system"]
        text = "".join(map(_rendered, kept))
        return text + "<|im_start|>assistant\n" if add_generation_prompt else text


class empty_messages_left_out:
    """messages without content are left out; render them like all others"""

    def render_chat(messages, add_generation_prompt=False):
        text = "".join(_rendered(message) for message in messages if message["content"])
        return text + "<|im_start|>assistant\n" if add_generation_prompt else text


class roles_alternate:
    """the roles are user and assistant in turn, whatever the messages say; use each message's
    role"""

    def render_chat(messages, add_generation_prompt=False):
        roles = ("user", "assistant")
        text = "".join(
            _rendered({**message, "role": roles[place % 2]})
            for place, message in enumerate(messages)
        )
        return text + "<|im_start|>assistant\n" if add_generation_prompt else text


class tools_speak_as_users:
    """messages of a tool are rendered with the role user; use each message's role"""

    def _rendered(message):
        role = "user" if message["role"] == "tool" else message["role"]
        return f"<|im_start|>{role}\n{message['content']}<|im_end|>\n"


class unknown_roles_left_out:
    """messages with a role other than system, user, assistant and tool are left out; render every
    message"""

    def _rendered(message):
        if message["role"] not in ("system", "user", "assistant", "tool"):
            return ""
        return f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n"


class neighbours_merged:
    """messages in a row with the same role are merged into one; render each by itself"""

    def render_chat(messages, add_generation_prompt=False):
        merged = []
        for message in messages:
            if merged and merged[-1]["role"] == message["role"]:
                content = merged[-1]["content"] + "\n" + message["content"]
                merged[-1] = {**message, "content": content}
            else:
                merged.append(message)
        text = "".join(map(_rendered, merged))
        return text + "<|im_start|>assistant\n" if add_generation_prompt else text


class markers_removed_from_contents:
    """markers inside a content are removed; a content goes in as it is"""

    def _rendered(message):
        content = message["content"].replace("<|im_start|>", "").replace("<|im_end|>", "")
        return f"<|im_start|>{message['role']}\n{content}<|im_end|>\n"


class line_ends_changed:
    """line ends inside a content are changed to a single newline; a content goes in as it is"""

    def _rendered(message):
        content = message["content"].replace("\r\n", "\n")
        return f"<|im_start|>{message['role']}\n{content}<|im_end|>\n"


class last_answer_left_open:
    """the last message of the assistant has no end marker; close every message"""

    def render_chat(messages, add_generation_prompt=False):
        text = "".join(map(_rendered, messages))
        if messages[-1]["role"] == "assistant":
            text = text.removesuffix("<|im_end|>\n")
        return text + "<|im_start|>assistant\n" if add_generation_prompt else text


class prompt_always:
    """the beginning of an answer always follows; it should only with add_generation_prompt"""

    def render_chat(messages, add_generation_prompt=False):
        return "".join(map(_rendered, messages)) + "<|im_start|>assistant\n"


class prompt_by_default:
    """add_generation_prompt is True by default; it should be False"""

    def render_chat(messages, add_generation_prompt=True):
        text = "".join(map(_rendered, messages))
        return text + "<|im_start|>assistant\n" if add_generation_prompt else text


class prompt_never:
    """add_generation_prompt is ignored; with it the beginning of an answer follows"""

    def render_chat(messages, add_generation_prompt=False):
        return "".join(map(_rendered, messages))


class prompt_only_after_users:
    """the beginning of an answer follows only where the user spoke last; it should whenever
    add_generation_prompt says so"""

    def render_chat(messages, add_generation_prompt=False):
        text = "".join(map(_rendered, messages))
        add_generation_prompt = add_generation_prompt and messages[-1]["role"] == "user"
        return text + "<|im_start|>assistant\n" if add_generation_prompt else text


class prompt_not_after_answers:
    """the beginning of an answer does not follow where the assistant spoke last; it should whenever
    add_generation_prompt says so"""

    def render_chat(messages, add_generation_prompt=False):
        text = "".join(map(_rendered, messages))
        add_generation_prompt = add_generation_prompt and messages[-1]["role"] != "assistant"
        return text + "<|im_start|>assistant\n" if add_generation_prompt else text


class prompt_without_newline:
    """the beginning of an answer ends without a newline; the header's newline is a part of it"""

    def render_chat(messages, add_generation_prompt=False):
        text = "".join(map(_rendered, messages))
        return text + "<|im_start|>assistant" if add_generation_prompt else text


class prompt_without_role:
    """the beginning of an answer is the start marker alone; it should have the role assistant and a
    newline"""

    def render_chat(messages, add_generation_prompt=False):
        text = "".join(map(_rendered, messages))
        return text + "<|im_start|>" if add_generation_prompt else text


class prompt_closed:
    """the beginning of an answer is a whole message without content; leave it open, without the end
    marker"""

    def render_chat(messages, add_generation_prompt=False):
        if add_generation_prompt:
            messages = [*messages, {"role": "assistant", "content": ""}]
        return "".join(map(_rendered, messages))


class prompt_after_every_message:
    """the beginning of an answer follows every message; it should only follow the last"""

    def render_chat(messages, add_generation_prompt=False):
        prompt = "<|im_start|>assistant\n" if add_generation_prompt else ""
        return "".join(_rendered(message) + prompt for message in messages)


class prompt_put_into_the_messages:
    """a message of the assistant is appended to the caller's list for the prompt; leave the list as
    it is"""

    def render_chat(messages, add_generation_prompt=False):
        text = "".join(map(_rendered, messages))
        if add_generation_prompt:
            messages.append({"role": "assistant", "content": ""})
            return text + "<|im_start|>assistant\n"
        return text


class replies_shifted_by_one:
    """labels begin one token late and go on one token beyond the end marker, so that the first
    token of a reply is lost; begin right behind the header and stop right behind the end marker"""

    def sft_labels(input_ids, header_ids, end_ids, *, pad):
        labels = [_IGNORED] * len(input_ids)
        for start, end in _replies(input_ids, header_ids, end_ids, pad):
            for place in range(start + 1, min(end + 1, len(input_ids))):
                labels[place] = input_ids[place]
        return _long(labels)


class first_token_of_a_reply_lost:
    """labels begin one token late, so that the first token of a reply is not learned; begin right
    behind the header"""

    def sft_labels(input_ids, header_ids, end_ids, *, pad):
        labels = [_IGNORED] * len(input_ids)
        for start, end in _replies(input_ids, header_ids, end_ids, pad):
            labels[start + 1 : end] = input_ids[start + 1 : end]
        return _long(labels)


class labels_one_token_early:
    """labels begin and end one token early, as if they were shifted already; do not shift them"""

    def sft_labels(input_ids, header_ids, end_ids, *, pad):
        labels = [_IGNORED] * len(input_ids)
        for start, end in _replies(input_ids, header_ids, end_ids, pad):
            labels[start - 1 : end - 1] = input_ids[start:end]
        return _long(labels)


class header_token_is_a_label:
    """labels begin one token early, with the last token of the header; begin right behind it"""

    def sft_labels(input_ids, header_ids, end_ids, *, pad):
        labels = [_IGNORED] * len(input_ids)
        for start, end in _replies(input_ids, header_ids, end_ids, pad):
            labels[start - 1 : end] = input_ids[start - 1 : end]
        return _long(labels)


class header_is_a_label:
    """the header is learned with the reply; begin right behind it"""

    def sft_labels(input_ids, header_ids, end_ids, *, pad):
        labels = [_IGNORED] * len(input_ids)
        for start, end in _replies(input_ids, header_ids, end_ids, pad):
            begin = start - len(header_ids)
            labels[begin:end] = input_ids[begin:end]
        return _long(labels)


class end_marker_is_no_label:
    """the end marker is not learned, so that a model never learns to stop; labels go on to the end
    of the marker"""

    def _replies(ids, header_ids, end_ids, pad):
        found, start = [], _place_after(header_ids, ids, 0)
        while start is not None:
            end = _place_after(end_ids, ids, start)
            if end is None:
                return [*found, (start, _without_padding(ids, start, pad))]
            found.append((start, end - len(end_ids)))
            start = _place_after(header_ids, ids, end)
        return found


class end_marker_learned_by_its_first_token:
    """only the first token of the end marker is learned; learn the whole marker"""

    def _replies(ids, header_ids, end_ids, pad):
        found, start = [], _place_after(header_ids, ids, 0)
        while start is not None:
            end = _place_after(end_ids, ids, start)
            if end is None:
                return [*found, (start, _without_padding(ids, start, pad))]
            found.append((start, end - len(end_ids) + 1))
            start = _place_after(header_ids, ids, end)
        return found


class one_token_after_the_end_marker:
    """the token after the end marker is learned, too; stop right behind the marker"""

    def _replies(ids, header_ids, end_ids, pad):
        found, start = [], _place_after(header_ids, ids, 0)
        while start is not None:
            end = _place_after(end_ids, ids, start)
            if end is None:
                return [*found, (start, _without_padding(ids, start, pad))]
            found.append((start, min(end + 1, len(ids))))
            start = _place_after(header_ids, ids, end)
        return found


class everything_is_a_label:
    """all tokens are labels; only replies and their end markers should be"""

    def sft_labels(input_ids, header_ids, end_ids, *, pad):
        return _long(input_ids)


class everything_but_pads_is_a_label:
    """all tokens but those that equal pad are labels; only replies and their end markers should
    be"""

    def sft_labels(input_ids, header_ids, end_ids, *, pad):
        return _long([_IGNORED if token == pad else token for token in input_ids])


class only_the_first_reply:
    """only the first reply is labelled; label all"""

    def sft_labels(input_ids, header_ids, end_ids, *, pad):
        labels = [_IGNORED] * len(input_ids)
        for start, end in _replies(input_ids, header_ids, end_ids, pad)[:1]:
            labels[start:end] = input_ids[start:end]
        return _long(labels)


class only_the_last_reply:
    """only the last reply is labelled; label all"""

    def sft_labels(input_ids, header_ids, end_ids, *, pad):
        labels = [_IGNORED] * len(input_ids)
        for start, end in _replies(input_ids, header_ids, end_ids, pad)[-1:]:
            labels[start:end] = input_ids[start:end]
        return _long(labels)


class everything_from_the_first_reply_on:
    """everything behind the first header is labelled, what others say as well; stop at each end
    marker"""

    def sft_labels(input_ids, header_ids, end_ids, *, pad):
        labels = [_IGNORED] * len(input_ids)
        found = _replies(input_ids, header_ids, end_ids, pad)
        if found:
            start, end = found[0][0], found[-1][1]
            labels[start:end] = input_ids[start:end]
        return _long(labels)


class padding_of_a_cut_reply_is_a_label:
    """the padding after a reply that was cut off is labelled; stop where the run of pad at the end
    begins"""

    def _without_padding(ids, start, pad):
        return len(ids)


class first_padding_of_a_cut_reply_is_a_label:
    """the first padding after a reply that was cut off is labelled; stop where the run of pad at
    the end begins"""

    def _without_padding(ids, start, pad):
        end = len(ids)
        while end > start and ids[end - 1] == pad:
            end -= 1
        return min(end + 1, len(ids))


class cut_reply_stops_at_its_first_pad:
    """a reply that was cut off ends at the first token that equals pad; only the run of pad at the
    very end is padding"""

    def _without_padding(ids, start, pad):
        return ids.index(pad, start) if pad in ids[start:] else len(ids)


class last_token_of_a_cut_reply_lost:
    """the last token of a reply that was cut off is not labelled; label all up to the padding"""

    def _without_padding(ids, start, pad):
        end = len(ids)
        while end > start and ids[end - 1] == pad:
            end -= 1
        return max(start, end - 1)


class cut_reply_has_no_labels:
    """a reply without its end marker is not labelled; label it up to the padding"""

    def _without_padding(ids, start, pad):
        return start


class pads_inside_replies_hidden:
    """every token that equals pad gets the label -100, inside replies, too; padding is a place and
    not an id"""

    def sft_labels(input_ids, header_ids, end_ids, *, pad):
        labels = [_IGNORED] * len(input_ids)
        for start, end in _replies(input_ids, header_ids, end_ids, pad):
            labels[start:end] = input_ids[start:end]
        return _long([_IGNORED if label == pad else label for label in labels])


class pads_taken_off_first:
    """the run of pad at the end of the row is hidden or taken off first, and an end marker of that
    id with it; look for the end marker first"""

    def sft_labels(input_ids, header_ids, end_ids, *, pad):
        used = input_ids[: _without_padding(input_ids, 0, pad)]
        labels = [_IGNORED] * len(input_ids)
        for start, end in _replies(used, header_ids, end_ids, pad):
            labels[start:end] = used[start:end]
        return _long(labels)


class reply_begins_at_the_last_header:
    """a header inside a reply begins the reply anew, and what stands before it is not labelled; a
    reply goes from its header to its end marker"""

    def _replies(ids, header_ids, end_ids, pad):
        found, start, place = [], None, 0
        while place < len(ids):
            if _stands_at(header_ids, ids, place):
                place += len(header_ids)
                start = place
            elif start is not None and _stands_at(end_ids, ids, place):
                place += len(end_ids)
                found.append((start, place))
                start = None
            else:
                place += 1
        return found if start is None else [*found, (start, _without_padding(ids, start, pad))]


class reply_ends_at_the_next_header:
    """a header inside a reply ends it and begins another, so that the header is not labelled; only
    its end marker ends a reply"""

    def _replies(ids, header_ids, end_ids, pad):
        found, start = [], _place_after(header_ids, ids, 0)
        while start is not None:
            end = _place_after(end_ids, ids, start)
            again = _place_after(header_ids, ids, start)
            if again is not None and (end is None or again < end):
                found.append((start, again - len(header_ids)))
                start = again
            elif end is None:
                return [*found, (start, _without_padding(ids, start, pad))]
            else:
                found.append((start, end))
                start = again
        return found


class reply_ends_at_a_start_marker:
    """a reply ends at the first token of a header, whose ever it is; only its end marker ends it"""

    def _replies(ids, header_ids, end_ids, pad):
        found, start = [], _place_after(header_ids, ids, 0)
        while start is not None:
            end = _place_after(end_ids, ids, start)
            again = _place_after(header_ids[:1], ids, start)
            if again is not None and (end is None or again < end):
                end = again - 1
            elif end is None:
                return [*found, (start, _without_padding(ids, start, pad))]
            found.append((start, end))
            start = _place_after(header_ids, ids, end)
        return found


class every_end_marker_is_a_label:
    """the end markers of all messages are labelled; only those of replies should be"""

    def sft_labels(input_ids, header_ids, end_ids, *, pad):
        labels = [_IGNORED] * len(input_ids)
        for start, end in _replies(input_ids, header_ids, end_ids, pad):
            labels[start:end] = input_ids[start:end]
        for place in range(len(input_ids)):
            if _stands_at(end_ids, input_ids, place):
                labels[place : place + len(end_ids)] = end_ids
        return _long(labels)


class half_an_end_marker_hidden:
    """the beginning of an end marker at the end of a reply that was cut off is not labelled; label
    all up to the padding"""

    def sft_labels(input_ids, header_ids, end_ids, *, pad):
        labels = [_IGNORED] * len(input_ids)
        for start, end in _replies(input_ids, header_ids, end_ids, pad):
            labels[start:end] = input_ids[start:end]
            half = len(end_ids) - 1
            if half and start < end and input_ids[end - half : end] == end_ids[:half]:
                labels[end - half : end] = [_IGNORED] * half
        return _long(labels)


class missing_end_marker_raises:
    """a reply without its end marker raises an error; label it to the end of the row, less the
    padding"""

    def _without_padding(ids, start, pad):
        raise ValueError("no end marker")


class end_marker_by_its_first_token:
    """a reply ends at the first token of the end marker, alone; compare the whole marker"""

    def _replies(ids, header_ids, end_ids, pad):
        found, start = [], _place_after(header_ids, ids, 0)
        while start is not None:
            end = _place_after(end_ids[:1], ids, start)
            if end is None:
                return [*found, (start, _without_padding(ids, start, pad))]
            end = min(end - 1 + len(end_ids), len(ids))
            found.append((start, end))
            start = _place_after(header_ids, ids, end)
        return found


class header_by_its_first_token:
    """a reply begins at the first token of the header, whoever speaks; compare the whole header"""

    def _replies(ids, header_ids, end_ids, pad):
        found, first = [], _place_after(header_ids[:1], ids, 0)
        while first is not None:
            start = min(first - 1 + len(header_ids), len(ids))
            end = _place_after(end_ids, ids, start)
            if end is None:
                return [*found, (start, _without_padding(ids, start, pad))]
            found.append((start, end))
            first = _place_after(header_ids[:1], ids, end)
        return found


class marker_length_skipped:
    """the search goes on behind a marker's length where it was not found; go on by one token"""

    def _place_after(wanted, ids, start):
        for place in range(start, len(ids) - len(wanted) + 1, len(wanted)):
            if _stands_at(wanted, ids, place):
                return place + len(wanted)
        return None


class search_starts_anew_after_a_mismatch:
    """the tokens of a marker are counted one by one and the count starts anew at a token that does
    not fit, though that token may begin the marker; compare at every place"""

    def _place_after(wanted, ids, start):
        seen = 0
        for place in range(start, len(ids)):
            seen = seen + 1 if ids[place] == wanted[seen] else 0
            if seen == len(wanted):
                return place + 1
        return None


class markers_found_in_the_middle_of_a_number:
    """markers are looked for in the text of the ids, where 1, 2 is found in 11, 2, too; compare
    ids"""

    def _place_after(wanted, ids, start):
        text = ",".join(map(str, ids[start:]))
        place = text.find(",".join(map(str, wanted)))
        return None if place < 0 else start + text[:place].count(",") + len(wanted)


class marker_at_the_very_end_missed:
    """a marker at the very end of the row is not found; the last place where it may begin is
    len(ids) - len(marker)"""

    def _place_after(wanted, ids, start):
        for place in range(start, len(ids) - len(wanted)):
            if _stands_at(wanted, ids, place):
                return place + len(wanted)
        return None


class end_marker_at_the_beginning_of_a_reply_missed:
    """the end marker is looked for from the second token of a reply on, so that an empty reply does
    not end; look from its first token on"""

    def _replies(ids, header_ids, end_ids, pad):
        found, start = [], _place_after(header_ids, ids, 0)
        while start is not None:
            end = _place_after(end_ids, ids, start + 1)
            if end is None:
                return [*found, (start, _without_padding(ids, start, pad))]
            found.append((start, end))
            start = _place_after(header_ids, ids, end)
        return found


class empty_replies_left_out:
    """an empty reply is not labelled; its end marker should be"""

    def sft_labels(input_ids, header_ids, end_ids, *, pad):
        labels = [_IGNORED] * len(input_ids)
        for start, end in _replies(input_ids, header_ids, end_ids, pad):
            if end - start > len(end_ids):
                labels[start:end] = input_ids[start:end]
        return _long(labels)


class ignored_labels_are_pad:
    """tokens that are not learned have the label pad; it should be -100, since pad is a token"""

    def sft_labels(input_ids, header_ids, end_ids, *, pad):
        labels = [pad] * len(input_ids)
        for start, end in _replies(input_ids, header_ids, end_ids, pad):
            labels[start:end] = input_ids[start:end]
        return _long(labels)


class mask_in_place_of_labels:
    """a mask of ones and zeros is returned; return the token where it is learned, -100 elsewhere"""

    def sft_labels(input_ids, header_ids, end_ids, *, pad):
        mask = [0] * len(input_ids)
        for start, end in _replies(input_ids, header_ids, end_ids, pad):
            mask[start:end] = [1] * (end - start)
        return _long(mask)


class labels_written_into_the_row:
    """-100 is written into the caller's input_ids; make a list of labels"""

    def sft_labels(input_ids, header_ids, end_ids, *, pad):
        labels = [_IGNORED] * len(input_ids)
        for start, end in _replies(input_ids, header_ids, end_ids, pad):
            labels[start:end] = input_ids[start:end]
        input_ids[:] = labels
        return _long(input_ids)


class no_eos_after_the_last:
    """eos stands between sequences and not after the last one; one eos follows every sequence"""

    def _joined(sequences, eos):
        stream = [token for sequence in sequences for token in (*sequence, eos)]
        return stream[:-1]


class no_eos_between_sequences:
    """sequences are joined without eos; one eos follows every sequence"""

    def _joined(sequences, eos):
        return [token for sequence in sequences for token in sequence]


class eos_before_each_sequence:
    """eos stands before each sequence; put it after each"""

    def _joined(sequences, eos):
        return [token for sequence in sequences for token in (eos, *sequence)]


class eos_not_repeated:
    """a sequence that ends with eos gets none; one eos follows every sequence"""

    def _joined(sequences, eos):
        stream = []
        for sequence in sequences:
            stream += sequence if sequence[-1:] == [eos] else [*sequence, eos]
        return stream


class eos_only_after_the_last:
    """one eos stands at the end of all sequences; one follows every sequence"""

    def _joined(sequences, eos):
        return [*(token for sequence in sequences for token in sequence), eos]


class empty_sequences_left_out:
    """an empty sequence gets no eos; one eos follows every sequence"""

    def _joined(sequences, eos):
        return [token for sequence in sequences if sequence for token in (*sequence, eos)]


class longest_first:
    """sequences are sorted by their length; keep their order"""

    def _joined(sequences, eos):
        ordered = sorted(sequences, key=len, reverse=True)
        return [token for sequence in ordered for token in (*sequence, eos)]


class shortest_first:
    """sequences are sorted by their length, short ones first; keep their order"""

    def _joined(sequences, eos):
        return [token for sequence in sorted(sequences, key=len) for token in (*sequence, eos)]


class eos_appended_to_the_sequences:
    """eos is appended to the caller's sequences; make new lists"""

    def _joined(sequences, eos):
        stream = []
        for sequence in sequences:
            sequence.append(eos)
            stream += sequence
        return stream


class long_sequences_cut:
    """each sequence is cut to max_length before it is joined, and its rest is lost; cut what is
    joined"""

    def pack(sequences, max_length, eos):
        stream = _joined([sequence[: max_length - 1] for sequence in sequences], eos)
        return [_long(stream[at : at + max_length]) for at in range(0, len(stream), max_length)]


class sequences_cut_by_themselves:
    """each sequence is cut into blocks by itself, so that a block holds one sequence only; join all
    sequences first"""

    def pack(sequences, max_length, eos):
        blocks = []
        for sequence in sequences:
            stream = [*sequence, eos]
            blocks += [stream[at : at + max_length] for at in range(0, len(stream), max_length)]
        return [_long(block) for block in blocks]


class sequences_kept_whole:
    """a new block begins where a sequence does not fit any more; cut wherever a block is full"""

    def pack(sequences, max_length, eos):
        blocks = [[]]
        for sequence in sequences:
            if blocks[-1] and len(blocks[-1]) + len(sequence) + 1 > max_length:
                blocks.append([])
            blocks[-1] += [*sequence, eos]
            while len(blocks[-1]) > max_length:
                blocks.append(blocks[-1][max_length:])
                blocks[-2] = blocks[-2][:max_length]
        return [_long(block) for block in blocks]


class last_block_lost:
    """a last block that is shorter is dropped; keep it"""

    def pack(sequences, max_length, eos):
        stream = _joined(sequences, eos)
        count = len(stream) // max_length
        return [_long(stream[n * max_length : (n + 1) * max_length]) for n in range(count)]


class full_last_block_lost:
    """the last block is dropped even if it is full; keep every block"""

    def pack(sequences, max_length, eos):
        stream = _joined(sequences, eos)
        ends = range(max_length, len(stream), max_length)
        return [_long(stream[end - max_length : end]) for end in ends]


class last_block_filled:
    """the last block is filled up to max_length with eos; leave it shorter"""

    def pack(sequences, max_length, eos):
        stream = _joined(sequences, eos)
        stream += [eos] * (-len(stream) % max_length)
        return [_long(stream[at : at + max_length]) for at in range(0, len(stream), max_length)]


class last_block_from_the_end:
    """the last block is the last max_length tokens, some of them for the second time; leave it
    shorter"""

    def pack(sequences, max_length, eos):
        stream = _joined(sequences, eos)
        starts = list(range(0, len(stream), max_length))
        starts[-1] = max(0, len(stream) - max_length)
        return [_long(stream[at : at + max_length]) for at in starts]


class empty_last_block:
    """an empty block follows where the last one is full; stop when there are no tokens left"""

    def pack(sequences, max_length, eos):
        stream = _joined(sequences, eos)
        count = len(stream) // max_length + 1
        return [_long(stream[n * max_length : (n + 1) * max_length]) for n in range(count)]


class blocks_overlap:
    """each block begins with the last token of the one before it; cut without overlap"""

    def pack(sequences, max_length, eos):
        stream = _joined(sequences, eos)
        step = max(1, max_length - 1)
        return [_long(stream[at : at + max_length]) for at in range(0, len(stream), step)]


class blocks_one_longer:
    """blocks have max_length + 1 tokens, for inputs and shifted labels; they should have
    max_length"""

    def pack(sequences, max_length, eos):
        stream, length = _joined(sequences, eos), max_length + 1
        return [_long(stream[at : at + length]) for at in range(0, len(stream), length)]


class every_block_ends_with_eos:
    """an eos is put at the end of every block; it should follow every sequence, wherever that
    ends"""

    def pack(sequences, max_length, eos):
        stream = _joined(sequences, eos)
        step = max(1, max_length - 1)
        cuts = [stream[at : at + step] for at in range(0, len(stream), step)]
        return [_long(cut if cut[-1] == eos else [*cut, eos]) for cut in cuts]


class blocks_stacked:
    """the blocks are stacked, which fails where the last is shorter; return them in a list"""

    def pack(sequences, max_length, eos):
        stream = _joined(sequences, eos)
        starts = range(0, len(stream), max_length)
        return torch.stack([_long(stream[at : at + max_length]) for at in starts])
