"""Right answers to ex14_dataset, written differently: each must pass every test."""

import itertools
import re

import torch
from torch.nn import functional as F


class with_tensors_throughout:
    """rows are filled in tensors, and markers found with unfold"""

    def pretrain_example(ids, max_length, *, bos, eos, pad):
        text = torch.tensor([bos] + ids[: max(max_length - 2, 0)] + [eos])
        input_ids = F.pad(text, (0, max_length - text.numel()), value=pad)
        labels = input_ids.clone()
        labels[text.numel() :] = -100
        return input_ids, labels

    def _places(tokens, marker):
        if tokens.numel() < len(marker):
            return []
        windows = tokens.unfold(0, len(marker), 1)
        return (windows == torch.tensor(marker)).all(dim=1).nonzero().flatten().tolist()

    def sft_labels(input_ids, header_ids, end_ids, *, pad):
        tokens = torch.tensor(input_ids, dtype=torch.long)
        labels = torch.full_like(tokens, -100)
        ends = _places(tokens, end_ids)
        free = 0
        for header in _places(tokens, header_ids):
            if header < free:
                continue
            start = header + len(header_ids)
            end = next((place + len(end_ids) for place in ends if place >= start), None)
            if end is None:
                real = (tokens != pad).nonzero().flatten()
                end = max(start, int(real[-1]) + 1)
            labels[start:end] = tokens[start:end]
            free = end
        return labels

    def pack(sequences, max_length, eos):
        parts = [torch.tensor([*sequence, eos]) for sequence in sequences]
        return list(torch.cat(parts).split(max_length)) if parts else []


class as_minimind_does:
    """in the manner of MiniMind's own dataset, with two indices that walk along the row"""

    def pretrain_example(ids, max_length, *, bos, eos, pad):
        tokens = [bos] + ids[: max_length - 2] + [eos]
        real = len(tokens)
        input_ids = torch.tensor(tokens + [pad] * (max_length - real), dtype=torch.long)
        labels = input_ids.clone()
        labels[real:] = -100
        return input_ids, labels

    def sft_labels(input_ids, header_ids, end_ids, *, pad):
        labels = [-100] * len(input_ids)
        i = 0
        while i < len(input_ids):
            if input_ids[i : i + len(header_ids)] == header_ids:
                start = i + len(header_ids)
                end = start
                while end < len(input_ids):
                    if input_ids[end : end + len(end_ids)] == end_ids:
                        break
                    end += 1
                complete = end < len(input_ids)
                stop = end + len(end_ids) if complete else end
                if not complete:
                    while stop > start and input_ids[stop - 1] == pad:
                        stop -= 1
                for j in range(start, stop):
                    labels[j] = input_ids[j]
                i = stop if complete else len(input_ids)
            else:
                i += 1
        return torch.tensor(labels, dtype=torch.long)

    def pack(sequences, max_length, eos):
        buffer, blocks = [], []
        for sequence in sequences:
            buffer.extend(sequence)
            buffer.append(eos)
            while len(buffer) >= max_length:
                blocks.append(torch.LongTensor(buffer[:max_length]))
                buffer = buffer[max_length:]
        if buffer:
            blocks.append(torch.LongTensor(buffer))
        return blocks


class token_by_token:
    """one token after the other: states, queues and generators"""

    def pretrain_example(ids, max_length, *, bos, eos, pad):
        inputs, labels = [], []
        for place in range(max_length):
            if place == 0:
                token, label = bos, bos
            elif place <= len(ids) and place < max_length - 1:
                token = label = ids[place - 1]
            elif place == min(len(ids), max_length - 2) + 1:
                token, label = eos, eos
            else:
                token, label = pad, -100
            inputs.append(token)
            labels.append(label)
        return torch.tensor(inputs), torch.tensor(labels)

    def render_chat(messages, add_generation_prompt=False):
        lines = ""
        for message in messages:
            lines += "<|im_start|>" + message.get("role") + "\n"
            lines += message.get("content") + "<|im_end|>" + "\n"
        if add_generation_prompt:
            lines += "<|im_start|>assistant\n"
        return lines

    def sft_labels(input_ids, header_ids, end_ids, *, pad):
        labels, reply = [], None
        seen = []
        for token in input_ids:
            seen.append(token)
            if reply is None:
                labels.append(-100)
                if len(seen) >= len(header_ids) and seen[-len(header_ids) :] == header_ids:
                    reply, seen = len(labels), []
            else:
                labels.append(token)
                if len(seen) >= len(end_ids) and seen[-len(end_ids) :] == end_ids:
                    reply, seen = None, []
        if reply is not None:
            place = len(labels)
            while place > reply and input_ids[place - 1] == pad:
                place -= 1
                labels[place] = -100
        return torch.tensor(labels, dtype=torch.long)

    def pack(sequences, max_length, eos):
        stream = itertools.chain(*(itertools.chain(s, [eos]) for s in sequences))
        blocks = []
        while block := list(itertools.islice(stream, max_length)):
            blocks.append(torch.tensor(block))
        return blocks


class by_regular_expressions:
    """ids become characters of a string, and replies are found by a pattern"""

    def render_chat(messages, add_generation_prompt=False):
        text = ""
        for message in messages:
            text += "<|im_start|>{}\n{}<|im_end|>\n".format(message["role"], message["content"])
        return f"{text}<|im_start|>assistant\n" if add_generation_prompt is True else text

    def sft_labels(input_ids, header_ids, end_ids, *, pad):
        row, header, end = ("".join(map(chr, ids)) for ids in (input_ids, header_ids, end_ids))
        header, end, filler = re.escape(header), re.escape(end), re.escape(chr(pad))
        pattern = f"{header}((?s:.*?){end}|(?s:.*?)(?={filler}*\\Z))"
        labels = torch.full((len(row),), -100)
        for match in re.finditer(pattern, row):
            start, stop = match.span(1)
            labels[start:stop] = torch.tensor(input_ids[start:stop], dtype=torch.long)
        return labels

    def pack(sequences, max_length, eos):
        blocks = []
        for token in itertools.chain.from_iterable([*s, eos] for s in sequences):
            if not blocks or len(blocks[-1]) == max_length:
                blocks.append([])
            blocks[-1].append(token)
        return [torch.as_tensor(block) for block in blocks]
