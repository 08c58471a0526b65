"""Right answers to ex20_generate, written differently: each must pass every test."""

from types import SimpleNamespace

import torch
from torch.nn import functional as F


class as_transformers_does:
    """numbers instead of bools say who is unfinished; eval mode for the time of writing"""

    @torch.no_grad()
    def generate(
        model,
        input_ids,
        *,
        attention_mask=None,
        max_new_tokens,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        eos_token_id=None,
        pad_token_id=0,
        use_cache=True,
        num_return_sequences=1,
        generator=None,
        on_token=None,
    ):
        flags = {module: module.training for module in model.modules()}
        model.eval()
        if attention_mask is None:
            attention_mask = input_ids.new_ones(input_ids.shape)
        if num_return_sequences > 1:
            input_ids = input_ids.repeat_interleave(num_return_sequences, dim=0)
            attention_mask = attention_mask.repeat_interleave(num_return_sequences, dim=0)
        unfinished = input_ids.new_ones(input_ids.shape[0])
        past_key_values = None
        stop_at = input_ids.shape[1] + max_new_tokens
        while True:
            fed = input_ids if past_key_values is None else input_ids[:, -1].unsqueeze(-1)
            outputs = model(
                fed,
                attention_mask=attention_mask,
                past_key_values=past_key_values,
                use_cache=use_cache,
            )
            past_key_values = outputs.past_key_values
            first_real = attention_mask.argmax(dim=1, keepdim=True)
            seen = torch.where(attention_mask == 1, input_ids, input_ids.gather(1, first_real))
            next_tokens = sample(
                outputs.logits[:, -1, :],
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                repetition_penalty=repetition_penalty,
                seen_ids=seen,
                generator=generator,
            )
            if eos_token_id is not None:
                next_tokens = next_tokens * unfinished + pad_token_id * (1 - unfinished)
            input_ids = torch.cat([input_ids, next_tokens[:, None]], dim=-1)
            attention_mask = torch.cat(
                [attention_mask, attention_mask.new_ones((attention_mask.shape[0], 1))], dim=-1
            )
            if on_token is not None:
                on_token(next_tokens)
            if eos_token_id is not None:
                unfinished = unfinished.mul(next_tokens.ne(eos_token_id).long())
            if unfinished.max() == 0 or input_ids.shape[1] >= stop_at:
                break
        for module, flag in flags.items():
            module.training = flag
        return input_ids


class as_minimind_does:
    """the cache says what has been read; under inference mode; positional arguments"""

    def generate(
        model,
        input_ids,
        *,
        attention_mask=None,
        max_new_tokens,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        eos_token_id=None,
        pad_token_id=0,
        use_cache=True,
        num_return_sequences=1,
        generator=None,
        on_token=None,
    ):
        with torch.inference_mode():
            rows, n = input_ids.shape[0], num_return_sequences
            ids = torch.stack([input_ids[i // n] for i in range(rows * n)])
            mask = None
            if attention_mask is not None:
                mask = torch.stack([attention_mask[i // n] for i in range(rows * n)])
            finished = torch.zeros(rows * n, dtype=torch.bool, device=ids.device)
            past = None
            for _ in range(max_new_tokens):
                past_len = past[0][0].shape[1] if past else 0
                outputs = model(ids[:, past_len:], mask, past, use_cache)
                past = outputs.past_key_values if use_cache else None
                logits = outputs.logits[:, -1, :]
                if repetition_penalty != 1.0:
                    logits = logits.clone()
                    for i in range(rows * n):
                        own = ids[i] if mask is None else ids[i][mask[i].bool()]
                        seen = torch.unique(own)
                        score = logits[i, seen]
                        logits[i, seen] = torch.where(
                            score > 0, score / repetition_penalty, score * repetition_penalty
                        )
                token = sample(
                    logits, temperature=temperature, top_k=top_k, top_p=top_p, generator=generator
                )
                if eos_token_id is not None:
                    token = torch.where(finished, token.new_full((rows * n,), pad_token_id), token)
                ids = torch.cat([ids, token.unsqueeze(-1)], dim=-1)
                if mask is not None:
                    mask = torch.cat([mask, mask.new_ones(mask.shape[0], 1)], -1)
                if on_token:
                    on_token(token)
                if eos_token_id is not None:
                    finished |= token.eq(eos_token_id)
                    if finished.all():
                        break
        return ids


class each_row_by_itself:
    """padding is cut off, each row has a cache of its own, and no mask is needed"""

    def _next(model, text, past, use_cache):
        read = past[0][0].shape[1] if past else 0
        with torch.no_grad():
            out = model(torch.tensor([text[read:]]), past_key_values=past, use_cache=use_cache)
        return out.logits[0, -1:], out.past_key_values

    def generate(
        model,
        input_ids,
        *,
        attention_mask=None,
        max_new_tokens,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        eos_token_id=None,
        pad_token_id=0,
        use_cache=True,
        num_return_sequences=1,
        generator=None,
        on_token=None,
    ):
        texts = []
        for number, row in enumerate(input_ids.tolist()):
            real = len(row) if attention_mask is None else int(attention_mask[number].sum())
            for _ in range(num_return_sequences):
                texts.append(SimpleNamespace(own=row[len(row) - real :], past=None, over=False))
        columns = []
        while len(columns) < max_new_tokens and not all(text.over for text in texts):
            column = []
            for text in texts:
                if text.over:
                    column.append(pad_token_id)
                    continue
                logits, text.past = _next(model, text.own, text.past, use_cache)
                (token,) = sample(
                    logits,
                    temperature=temperature,
                    top_k=top_k,
                    top_p=top_p,
                    repetition_penalty=repetition_penalty,
                    seen_ids=torch.tensor([text.own]),
                    generator=generator,
                ).tolist()
                text.own.append(token)
                text.over = token == eos_token_id
                column.append(token)
            columns.append(torch.tensor(column))
            if on_token is not None:
                on_token(columns[-1].clone())
        prompts = input_ids.repeat_interleave(num_return_sequences, dim=0)
        return torch.cat((prompts, torch.stack(columns, dim=1)), dim=1)


class finished_rows_leave:
    """the prompts are read once each, the cache is copied, and finished rows leave the batch"""

    def _cache(past, change):
        return past and tuple((change(k), change(v)) for k, v in past)

    def generate(
        model,
        input_ids,
        *,
        attention_mask=None,
        max_new_tokens,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        eos_token_id=None,
        pad_token_id=0,
        use_cache=True,
        num_return_sequences=1,
        generator=None,
        on_token=None,
    ):
        n, width = num_return_sequences, input_ids.shape[1]
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        with torch.no_grad():
            out = model(input_ids, attention_mask=mask, use_cache=use_cache, logits_to_keep=1)
        place = torch.arange(len(input_ids)).repeat_interleave(n)
        logits, past = out.logits[place, -1], _cache(out.past_key_values, lambda t: t[place])
        text = F.pad(input_ids[place], (0, max_new_tokens), value=pad_token_id)
        real = F.pad(mask[place], (0, max_new_tokens), value=1)
        alive = torch.arange(len(text))
        for end in range(width, width + max_new_tokens):
            seen = text[alive, :end].masked_fill(real[alive, :end] == 0, 0)
            seen = torch.where(real[alive, :end] == 0, text[alive, width - 1 : width], seen)
            tokens = sample(
                logits,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                repetition_penalty=repetition_penalty,
                seen_ids=seen,
                generator=generator,
            )
            text[alive, end] = tokens
            if on_token is not None:
                on_token(text[:, end].clone())
            if eos_token_id is not None:
                going = tokens != eos_token_id
                alive, past = alive[going], _cache(past, lambda t, going=going: t[going])
            if len(alive) == 0 or end + 1 == width + max_new_tokens:
                break
            new = text[alive, end : end + 1] if use_cache else text[alive, : end + 1]
            with torch.no_grad():
                out = model(
                    new,
                    attention_mask=real[alive, : end + 1],
                    past_key_values=past,
                    use_cache=use_cache,
                )
            logits, past = out.logits[:, -1], out.past_key_values
        return text[:, : end + 1]


class a_generator_of_steps:
    """a Python generator yields the steps, and generate only collects them; the model runs in the
    caller's grad mode and also reads the last token"""

    def _steps(model, ids, mask, choose, pad, eos, use_cache):
        over = torch.zeros(len(ids), dtype=torch.bool)
        out = model(ids, attention_mask=mask, use_cache=use_cache)
        while not over.all():
            logits = out.logits[:, -1].detach()
            token = torch.stack(
                [
                    choose(
                        logits[row : row + 1],
                        seen_ids=ids[row : row + 1][mask[row : row + 1] > 0][None],
                    )[0]
                    for row in range(len(ids))
                ]
            )
            token[over] = pad
            yield token
            ids = torch.hstack((ids, token[:, None]))
            mask = F.pad(mask, (0, 1), value=1)
            if eos is not None:
                over = over.logical_or(token == eos)
            if use_cache:
                out = model(
                    input_ids=token[:, None],
                    attention_mask=mask.bool(),
                    past_key_values=out.past_key_values,
                    use_cache=True,
                )
            else:
                out = model(input_ids=ids, attention_mask=mask.float())

    def generate(
        model,
        input_ids,
        *,
        attention_mask=None,
        max_new_tokens,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        eos_token_id=None,
        pad_token_id=0,
        use_cache=True,
        num_return_sequences=1,
        generator=None,
        on_token=None,
    ):
        training = model.training
        model.eval()
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        ids = input_ids[:, None].expand(-1, num_return_sequences, -1).flatten(0, 1)
        mask = mask[:, None].expand(-1, num_return_sequences, -1).flatten(0, 1)
        choose = _chooser(temperature, top_k, top_p, repetition_penalty, generator)
        columns = [ids]
        for token in _steps(model, ids, mask, choose, pad_token_id, eos_token_id, use_cache):
            if on_token is not None:
                on_token(token)
            columns.append(token[:, None])
            if len(columns) > max_new_tokens:
                break
        model.train(training)
        return torch.cat(columns, dim=1)
