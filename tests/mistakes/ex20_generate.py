"""Wrong answers to ex20_generate: each class is the solution with one change.

A class holds definitions that replace the solution's own; its docstring ends the sentence
"these are exactly the numbers you get if ...".
"""

import torch


class stops_at_the_first_eos:
    """all rows stop as soon as one of them has finished; go on until all have"""

    def _is_over(ids, finished, plan):
        return bool(finished.any())


class stops_with_the_first_row:
    """all rows stop as soon as the first one has finished; go on until all have"""

    def _is_over(ids, finished, plan):
        return bool(finished[0])


class stops_only_where_all_end_at_once:
    """writing stops only if all rows write eos in the same step; stop as soon as each has written
    one in any step"""

    def _is_over(ids, finished, plan):
        return plan.eos is not None and bool((ids[:, -1] == plan.eos).all())


class for_one_row_alone:
    """the tokens of a step are compared with eos by item(), which works for one row only; compare
    the tensor, and keep a bool for each row"""

    def _now_finished(finished, tokens, plan):
        return torch.tensor([plan.eos is not None and tokens.item() == plan.eos])


class never_stops:
    """steps are made after all rows have finished; stop then"""

    def _is_over(ids, finished, plan):
        return False


class stops_a_step_late:
    """one more step is made after all rows have finished; stop right after the step in which the
    last one does"""

    def _write(model, ids, mask, plan):
        finished, past = _nobody(ids, plan), None
        for _ in range(plan.steps):
            logits, past = _read(model, ids, mask, past, plan)
            tokens = plan.choose(logits, seen_ids=_seen(ids, mask))
            tokens = _waiting(tokens, finished, plan)
            ids, mask = _appended(ids, tokens), _longer(mask, tokens, plan)
            _tell(tokens, plan)
            if _is_over(ids, finished, plan):
                break
            finished = _now_finished(finished, tokens, plan)
        return ids


class stops_at_an_eos_anywhere:
    """writing stops when every row has an eos somewhere, in its prompt too; only those that it has
    written should count"""

    def _is_over(ids, finished, plan):
        return plan.eos is not None and bool((ids == plan.eos).any(dim=1).all())


class finished_rows_go_on:
    """a row that has finished goes on writing; from then on its tokens should be pad_token_id"""

    def _waiting(tokens, finished, plan):
        return tokens


class finished_for_one_step:
    """only the last step says who has finished, so that a row goes on after one padding token; once
    finished, it should stay so"""

    def _now_finished(finished, tokens, plan):
        return finished if plan.eos is None else tokens == plan.eos


class finished_by_a_pad_token:
    """a row finishes also when it writes pad_token_id; only eos_token_id should finish it"""

    def _now_finished(finished, tokens, plan):
        finished = finished | (tokens == plan.pad)
        return finished if plan.eos is None else finished | (tokens == plan.eos)


class finished_by_an_eos_in_the_prompt:
    """a row with an eos in its prompt has finished before it begins; only one that it writes should
    finish it"""

    def _nobody(ids, plan):
        if plan.eos is None:
            return torch.zeros(len(ids), dtype=torch.bool)
        return (ids == plan.eos).any(dim=1)


class finished_by_an_eos_at_the_end_of_the_prompt:
    """a row whose prompt ends with an eos has finished before it begins; only one that it writes
    should finish it"""

    def _nobody(ids, plan):
        if plan.eos is None:
            return torch.zeros(len(ids), dtype=torch.bool)
        return ids[:, -1] == plan.eos


class eos_replaced_by_padding:
    """the eos itself becomes padding; it should stay, and padding come after it"""

    def _write(model, ids, mask, plan):
        finished, past = _nobody(ids, plan), None
        for _ in range(plan.steps):
            logits, past = _read(model, ids, mask, past, plan)
            tokens = plan.choose(logits, seen_ids=_seen(ids, mask))
            finished = _now_finished(finished, tokens, plan)
            tokens = _waiting(tokens, finished, plan)
            ids, mask = _appended(ids, tokens), _longer(mask, tokens, plan)
            _tell(tokens, plan)
            if _is_over(ids, finished, plan):
                break
        return ids


class eos_repeated:
    """a row that has finished repeats its eos; its later tokens should be pad_token_id"""

    def _waiting(tokens, finished, plan):
        return tokens if plan.eos is None else tokens.masked_fill(finished, plan.eos)


class padded_with_0:
    """rows that have finished are padded with 0; take pad_token_id"""

    def _waiting(tokens, finished, plan):
        return tokens.masked_fill(finished, 0)


class padding_of_0_left_out:
    """finished rows go on where pad_token_id is 0, since 0 is false; 0 should be padding like any
    other token"""

    def _waiting(tokens, finished, plan):
        return tokens.masked_fill(finished, plan.pad) if plan.pad else tokens


class writing_ends_if_on_token_says_so:
    """writing ends where on_token returns something true; what it returns should make no
    difference"""

    def _write(model, ids, mask, plan):
        finished, past = _nobody(ids, plan), None
        for _ in range(plan.steps):
            logits, past = _read(model, ids, mask, past, plan)
            tokens = _waiting(plan.choose(logits, seen_ids=_seen(ids, mask)), finished, plan)
            ids, mask = _appended(ids, tokens), _longer(mask, tokens, plan)
            finished = _now_finished(finished, tokens, plan)
            if (plan.on_token and plan.on_token(tokens)) or _is_over(ids, finished, plan):
                break
        return ids


class padding_put_in_at_the_end:
    """padding is put in after the last step, so that on_token gets what finished rows go on to
    write; put it in step by step"""

    def _write(model, ids, mask, plan):
        finished, past, width = _nobody(ids, plan), None, ids.shape[1]
        for _ in range(plan.steps):
            logits, past = _read(model, ids, mask, past, plan)
            tokens = plan.choose(logits, seen_ids=_seen(ids, mask))
            ids, mask = _appended(ids, tokens), _longer(mask, tokens, plan)
            finished = _now_finished(finished, tokens, plan)
            _tell(tokens, plan)
            if _is_over(ids, finished, plan):
                break
        ends = _now_finished(torch.zeros_like(ids[:, width:]) > 0, ids[:, width:], plan).long()
        late = ends.cumsum(dim=1) - ends > 0
        return torch.cat((ids[:, :width], ids[:, width:].masked_fill(late, plan.pad)), dim=1)


class eos_of_0_ignored:
    """an eos_token_id of 0 counts as none, since 0 is false; compare it with None"""

    def _now_finished(finished, tokens, plan):
        return finished | (tokens == plan.eos) if plan.eos else finished


class last_eos_dropped:
    """the step in which the last row finishes is not appended; its eos belongs to the text"""

    def _write(model, ids, mask, plan):
        finished, past = _nobody(ids, plan), None
        for _ in range(plan.steps):
            logits, past = _read(model, ids, mask, past, plan)
            tokens = plan.choose(logits, seen_ids=_seen(ids, mask))
            tokens = _waiting(tokens, finished, plan)
            finished = _now_finished(finished, tokens, plan)
            if _is_over(ids, finished, plan):
                break
            ids, mask = _appended(ids, tokens), _longer(mask, tokens, plan)
            _tell(tokens, plan)
        return ids


class new_tokens_alone_returned:
    """only what was written is returned; the prompts should stand before it"""

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
        choose = _chooser(temperature, top_k, top_p, repetition_penalty, generator)
        plan = _Plan(choose, max_new_tokens, eos_token_id, pad_token_id, use_cache, on_token)
        ids, mask = _rows(input_ids, attention_mask, num_return_sequences)
        return _write(model, ids, mask, plan)[:, ids.shape[1] :]


class steps_counted_with_the_prompt:
    """max_new_tokens is taken for the length of the whole text; it should count new tokens only"""

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
        choose = _chooser(temperature, top_k, top_p, repetition_penalty, generator)
        steps = max_new_tokens - input_ids.shape[1]
        plan = _Plan(choose, steps, eos_token_id, pad_token_id, use_cache, on_token)
        ids, mask = _rows(input_ids, attention_mask, num_return_sequences)
        return _write(model, ids, mask, plan)


class one_step_too_few:
    """one step too few is made; make max_new_tokens of them"""

    def _write(model, ids, mask, plan):
        finished, past = _nobody(ids, plan), None
        for _ in range(plan.steps - 1):
            logits, past = _read(model, ids, mask, past, plan)
            tokens = plan.choose(logits, seen_ids=_seen(ids, mask))
            tokens = _waiting(tokens, finished, plan)
            ids, mask = _appended(ids, tokens), _longer(mask, tokens, plan)
            finished = _now_finished(finished, tokens, plan)
            _tell(tokens, plan)
            if _is_over(ids, finished, plan):
                break
        return ids


class one_step_too_many:
    """one step too many is made; make max_new_tokens of them"""

    def _write(model, ids, mask, plan):
        finished, past = _nobody(ids, plan), None
        for _ in range(plan.steps + 1):
            logits, past = _read(model, ids, mask, past, plan)
            tokens = plan.choose(logits, seen_ids=_seen(ids, mask))
            tokens = _waiting(tokens, finished, plan)
            ids, mask = _appended(ids, tokens), _longer(mask, tokens, plan)
            finished = _now_finished(finished, tokens, plan)
            _tell(tokens, plan)
            if _is_over(ids, finished, plan):
                break
        return ids


class cache_thrown_away:
    """the cache that the model returns is not used, so that the whole text is read in every step;
    hand it back as past_key_values, with the new tokens alone"""

    def _read(model, ids, mask, past, plan):
        with torch.no_grad():
            out = model(ids, attention_mask=mask, use_cache=plan.use_cache)
        return out.logits[:, -1], None


class cache_never_asked_for:
    """the model is never asked for a cache, so that the whole text is read in every step; pass
    use_cache=True on to it"""

    def _read(model, ids, mask, past, plan):
        with torch.no_grad():
            out = model(ids, attention_mask=mask)
        return out.logits[:, -1], None


class whole_text_read_with_the_cache:
    """the model is given a cache and also the whole text, most of which is in the cache; give it
    the new tokens alone"""

    def _unread(ids, past):
        return ids


class cache_of_the_prompt_kept:
    """the cache of the first step is used in all later ones; use the one that the last call
    returned"""

    def _write(model, ids, mask, plan):
        finished, past = _nobody(ids, plan), None
        for _ in range(plan.steps):
            logits, present = _read(model, ids, mask, past, plan)
            past = present if past is None else past
            tokens = plan.choose(logits, seen_ids=_seen(ids, mask))
            tokens = _waiting(tokens, finished, plan)
            ids, mask = _appended(ids, tokens), _longer(mask, tokens, plan)
            finished = _now_finished(finished, tokens, plan)
            _tell(tokens, plan)
            if _is_over(ids, finished, plan):
                break
        return ids


class cache_not_handed_on:
    """new tokens are read alone, but without the cache; pass it as past_key_values"""

    def _read(model, ids, mask, past, plan):
        with torch.no_grad():
            new = _unread(ids, past)
            out = model(new, attention_mask=mask, use_cache=plan.use_cache)
        return out.logits[:, -1], out.past_key_values


class cache_not_handed_on_nor_the_mask:
    """new tokens are read alone, without the cache and the mask; pass both"""

    def _read(model, ids, mask, past, plan):
        with torch.no_grad():
            if past is None:
                out = model(ids, attention_mask=mask, use_cache=plan.use_cache)
            else:
                out = model(ids[:, -1:], use_cache=plan.use_cache)
        return out.logits[:, -1], out.past_key_values


class token_before_the_last_read:
    """with a cache, the token before the last is read once more, and the new one is not; read
    ids[:, -1:] after the new token was appended"""

    def _unread(ids, past):
        return ids if past is None else ids[:, -2:-1]


class cache_in_any_case:
    """a cache is used even with use_cache=False; the model should read the whole text then"""

    def _read(model, ids, mask, past, plan):
        with torch.no_grad():
            new = _unread(ids, past)
            out = model(new, attention_mask=mask, past_key_values=past, use_cache=True)
        return out.logits[:, -1], out.past_key_values


class cache_asked_for_in_vain:
    """with use_cache=False the model is asked for a cache that is then thrown away; pass use_cache
    on to it"""

    def _read(model, ids, mask, past, plan):
        with torch.no_grad():
            new = _unread(ids, past)
            out = model(new, attention_mask=mask, past_key_values=past, use_cache=True)
        return out.logits[:, -1], out.past_key_values if plan.use_cache else None


class last_token_alone_without_a_cache:
    """without a cache the model reads the last token alone from the second step on, and knows
    nothing of the others; give it the whole text"""

    def _write(model, ids, mask, plan):
        finished, past, width = _nobody(ids, plan), None, ids.shape[1]
        for _ in range(plan.steps):
            unread = slice(None) if ids.shape[1] == width else slice(-1, None)
            with torch.no_grad():
                out = model(
                    ids[:, unread],
                    attention_mask=mask if plan.use_cache else mask[:, unread],
                    past_key_values=past,
                    use_cache=plan.use_cache,
                )
            logits, past = out.logits[:, -1], out.past_key_values
            tokens = plan.choose(logits, seen_ids=_seen(ids, mask))
            tokens = _waiting(tokens, finished, plan)
            ids, mask = _appended(ids, tokens), _longer(mask, tokens, plan)
            finished = _now_finished(finished, tokens, plan)
            _tell(tokens, plan)
            if _is_over(ids, finished, plan):
                break
        return ids


class cache_kept_between_calls:
    """the cache stays where it is after a call, and the next prompt is read after the last text;
    begin each call without one"""

    kept = [None]

    def _read(model, ids, mask, past, plan):
        with torch.no_grad():
            past = kept[0] if plan.use_cache else None
            out = model(
                _unread(ids, past),
                attention_mask=mask,
                past_key_values=past,
                use_cache=plan.use_cache,
            )
            kept[0] = out.past_key_values
        return out.logits[:, -1], out.past_key_values


class logits_of_the_first_position:
    """a token is chosen from the logits of the prompt's first position; take those of the last"""

    def _read(model, ids, mask, past, plan):
        with torch.no_grad():
            new = _unread(ids, past)
            out = model(new, attention_mask=mask, past_key_values=past, use_cache=plan.use_cache)
        return out.logits[:, 0], out.past_key_values


class as_if_padded_on_the_right:
    """logits are taken at the position that the number of real tokens gives, as if the padding
    were on the right; take those of the last position, in all rows"""

    def _read(model, ids, mask, past, plan):
        with torch.no_grad():
            new = _unread(ids, past)
            out = model(new, attention_mask=mask, past_key_values=past, use_cache=plan.use_cache)
        last = mask.sum(dim=1) - 1 if past is None else -1
        return out.logits[torch.arange(len(ids)), last], out.past_key_values


class mask_not_handed_on:
    """the model never gets the mask and attends to padding; pass it in every call"""

    def _read(model, ids, mask, past, plan):
        with torch.no_grad():
            out = model(_unread(ids, past), past_key_values=past, use_cache=plan.use_cache)
        return out.logits[:, -1], out.past_key_values


class mask_for_the_prompt_alone:
    """the mask is passed with the prompt only, and later tokens attend to padding; pass it in every
    call, extended by the new tokens"""

    def _read(model, ids, mask, past, plan):
        with torch.no_grad():
            out = model(
                _unread(ids, past),
                attention_mask=mask if past is None else None,
                past_key_values=past,
                use_cache=plan.use_cache,
            )
        return out.logits[:, -1], out.past_key_values


class mask_left_out_without_a_cache:
    """without a cache the mask is left out, and padding is attended to; pass it in any case"""

    def _read(model, ids, mask, past, plan):
        with torch.no_grad():
            out = model(
                _unread(ids, past),
                attention_mask=mask if plan.use_cache else None,
                past_key_values=past,
                use_cache=plan.use_cache,
            )
        return out.logits[:, -1], out.past_key_values


class mask_not_extended:
    """the mask stays as long as the prompt; append a column of ones for each new token"""

    def _longer(mask, tokens, plan):
        return mask


class mask_extended_by_zeros:
    """the mask is extended by zeros, so that new tokens are never attended to; append ones"""

    def _longer(mask, tokens, plan):
        return _appended(mask, torch.zeros_like(tokens))


class mask_of_the_last_token_alone:
    """with a cache the mask is of the new token alone; it should be over all tokens, cached ones
    too"""

    def _read(model, ids, mask, past, plan):
        with torch.no_grad():
            new = _unread(ids, past)
            mask = mask[:, -new.shape[1] :]
            out = model(new, attention_mask=mask, past_key_values=past, use_cache=plan.use_cache)
        return out.logits[:, -1], out.past_key_values


class mask_guessed_from_pad_token_id:
    """without a mask, tokens that equal pad_token_id are taken for padding; take all for real ones
    then"""

    def _write(model, ids, mask, plan):
        if bool(mask.all()):
            mask = (ids != plan.pad).long()
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


class mask_made_from_pad_token_id:
    """the mask is made by comparing all tokens with pad_token_id, whatever mask was given; use the
    given one, and ones for what was written"""

    def _read(model, ids, mask, past, plan):
        with torch.no_grad():
            out = model(
                _unread(ids, past),
                attention_mask=(ids != plan.pad).long(),
                past_key_values=past,
                use_cache=plan.use_cache,
            )
        return out.logits[:, -1], out.past_key_values


class written_padding_masked:
    """a token that was written is masked where it equals pad_token_id; its mask should be 1, like
    that of all others"""

    def _longer(mask, tokens, plan):
        return _appended(mask, (tokens != plan.pad).long())


class penalty_sees_padding:
    """the penalty sees the padding of the prompt; it should see real tokens only"""

    def _seen(ids, mask):
        return ids


class penalty_sees_token_0:
    """padding is replaced by 0 before the penalty, which is a token, too; put a token there that
    the row has seen"""

    def _seen(ids, mask):
        return ids * mask


class real_tokens_left_out_of_the_penalty:
    """the penalty leaves out real tokens that equal pad_token_id; leave out what the mask does"""

    def _write(model, ids, mask, plan):
        finished, past = _nobody(ids, plan), None
        for _ in range(plan.steps):
            logits, past = _read(model, ids, mask, past, plan)
            seen = [row[row != plan.pad] for row in ids]
            tokens = torch.cat(
                [
                    plan.choose(logits[row : row + 1], seen_ids=own[None])
                    for row, own in enumerate(seen)
                ]
            )
            tokens = _waiting(tokens, finished, plan)
            ids, mask = _appended(ids, tokens), _longer(mask, tokens, plan)
            finished = _now_finished(finished, tokens, plan)
            _tell(tokens, plan)
            if _is_over(ids, finished, plan):
                break
        return ids


class prompt_not_penalised:
    """the penalty sees only what was written; it should see the prompt, too"""

    def _write(model, ids, mask, plan):
        finished, past, width = _nobody(ids, plan), None, ids.shape[1]
        for _ in range(plan.steps):
            logits, past = _read(model, ids, mask, past, plan)
            tokens = plan.choose(logits, seen_ids=ids[:, width:])
            tokens = _waiting(tokens, finished, plan)
            ids, mask = _appended(ids, tokens), _longer(mask, tokens, plan)
            finished = _now_finished(finished, tokens, plan)
            _tell(tokens, plan)
            if _is_over(ids, finished, plan):
                break
        return ids


class written_tokens_not_penalised:
    """the penalty sees the prompt only; it should see what was written, too"""

    def _write(model, ids, mask, plan):
        finished, past, seen = _nobody(ids, plan), None, _seen(ids, mask)
        for _ in range(plan.steps):
            logits, past = _read(model, ids, mask, past, plan)
            tokens = plan.choose(logits, seen_ids=seen)
            tokens = _waiting(tokens, finished, plan)
            ids, mask = _appended(ids, tokens), _longer(mask, tokens, plan)
            finished = _now_finished(finished, tokens, plan)
            _tell(tokens, plan)
            if _is_over(ids, finished, plan):
                break
        return ids


class last_token_alone_penalised:
    """the penalty sees only the last token; it should see the whole text of the row"""

    def _seen(ids, mask):
        return ids[:, -1:]


class penalty_sees_what_the_model_reads:
    """the penalty sees what the model reads in the step, which with a cache is one token; it should
    see the whole text of the row"""

    def _write(model, ids, mask, plan):
        finished, past = _nobody(ids, plan), None
        for _ in range(plan.steps):
            unread = _unread(_seen(ids, mask), past)
            logits, past = _read(model, ids, mask, past, plan)
            tokens = plan.choose(logits, seen_ids=unread)
            tokens = _waiting(tokens, finished, plan)
            ids, mask = _appended(ids, tokens), _longer(mask, tokens, plan)
            finished = _now_finished(finished, tokens, plan)
            _tell(tokens, plan)
            if _is_over(ids, finished, plan):
                break
        return ids


class penalty_shared_by_all_rows:
    """the penalty sees the texts of all rows; each row should have its own"""

    def _seen(ids, mask):
        own = torch.where(mask.bool(), ids, ids[:, -1:])
        return own.reshape(1, -1).expand(len(ids), -1)


class copies_in_turns:
    """the copies of different prompts take turns; repeat_interleave puts all copies of the first
    prompt first"""

    def _rows(input_ids, attention_mask, n):
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return input_ids.repeat(n, 1), mask.repeat(n, 1)


class masks_in_turns:
    """the copies of the mask take turns and those of the prompts do not, so that rows get the masks
    of others; repeat both in the same way"""

    def _rows(input_ids, attention_mask, n):
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return input_ids.repeat_interleave(n, dim=0), mask.repeat(n, 1)


class cache_copied_in_turns:
    """the prompts are read once each, and the copies of the cache take turns, so that rows go on
    from the cache of others; copy it as the rows are copied"""

    copies = [1]

    def _rows(input_ids, attention_mask, n):
        copies[0] = n
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return input_ids.repeat_interleave(n, dim=0), mask.repeat_interleave(n, dim=0)

    def _read(model, ids, mask, past, plan):
        n = copies[0] if past is None and plan.use_cache else 1
        with torch.no_grad():
            out = model(
                _unread(ids, past)[::n],
                attention_mask=mask[::n],
                past_key_values=past,
                use_cache=plan.use_cache,
            )
        past = out.past_key_values and [
            (k.repeat(n, 1, 1, 1), v.repeat(n, 1, 1, 1)) for k, v in out.past_key_values
        ]
        return out.logits[:, -1].repeat_interleave(n, dim=0), past


class copies_on_an_axis_of_their_own:
    """the result is [B, n, S + new]; it should be [B·n, S + new]"""

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
        choose = _chooser(temperature, top_k, top_p, repetition_penalty, generator)
        plan = _Plan(choose, max_new_tokens, eos_token_id, pad_token_id, use_cache, on_token)
        ids, mask = _rows(input_ids, attention_mask, num_return_sequences)
        text = _write(model, ids, mask, plan)
        return text.view(len(input_ids), num_return_sequences, -1)


class mask_not_copied:
    """the mask is not copied with the prompts; it should have a row for each copy"""

    def _rows(input_ids, attention_mask, n):
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return input_ids.repeat_interleave(n, dim=0), mask


class copies_left_out:
    """each prompt is continued once, whatever num_return_sequences is; make so many copies of it"""

    def _rows(input_ids, attention_mask, n):
        return input_ids, torch.ones_like(input_ids) if attention_mask is None else attention_mask


class copies_share_their_draws:
    """copies of a prompt are all given the same draw; each should draw for itself"""

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
        n = num_return_sequences
        chosen = _chooser(temperature, top_k, top_p, repetition_penalty, generator)

        def choose(logits, seen_ids):
            return chosen(logits[::n], seen_ids=seen_ids[::n]).repeat_interleave(n)

        plan = _Plan(choose, max_new_tokens, eos_token_id, pad_token_id, use_cache, on_token)
        ids, mask = _rows(input_ids, attention_mask, n)
        return _write(model, ids, mask, plan)


class generator_set_back_in_each_step:
    """the generator is set back in each step, which then draws by the same random numbers; let it
    run on"""

    def _chooser(temperature, top_k, top_p, penalty, generator):
        state = torch.get_rng_state() if generator is None else generator.get_state()

        def choose(logits, seen_ids):
            if generator is None:
                torch.set_rng_state(state)
            else:
                generator.set_state(state)
            return sample(
                logits,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                repetition_penalty=penalty,
                seen_ids=seen_ids,
                generator=generator,
            )

        return choose


class generator_left_out:
    """the generator does not reach sample; pass it on"""

    def _chooser(temperature, top_k, top_p, penalty, generator):
        return partial(
            sample, temperature=temperature, top_k=top_k, top_p=top_p, repetition_penalty=penalty
        )


class temperature_left_out:
    """the temperature does not reach sample; pass it on"""

    def _chooser(temperature, top_k, top_p, penalty, generator):
        return partial(
            sample, top_k=top_k, top_p=top_p, repetition_penalty=penalty, generator=generator
        )


class top_k_left_out:
    """top_k does not reach sample; pass it on"""

    def _chooser(temperature, top_k, top_p, penalty, generator):
        return partial(
            sample,
            temperature=temperature,
            top_p=top_p,
            repetition_penalty=penalty,
            generator=generator,
        )


class top_p_left_out:
    """top_p does not reach sample; pass it on"""

    def _chooser(temperature, top_k, top_p, penalty, generator):
        return partial(
            sample,
            temperature=temperature,
            top_k=top_k,
            repetition_penalty=penalty,
            generator=generator,
        )


class penalty_left_out:
    """there is no repetition penalty; pass it to sample, and with it the tokens seen"""

    def _chooser(temperature, top_k, top_p, penalty, generator):
        return partial(
            sample, temperature=temperature, top_k=top_k, top_p=top_p, generator=generator
        )


class no_penalty_when_greedy:
    """with a temperature of 0 the largest logit is taken before the penalty; apply the penalty
    first"""

    def _chooser(temperature, top_k, top_p, penalty, generator):
        def choose(logits, seen_ids):
            if temperature == 0:
                return logits.argmax(dim=-1)
            return sample(
                logits,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                repetition_penalty=penalty,
                seen_ids=seen_ids,
                generator=generator,
            )

        return choose


class temperature_of_0_taken_for_1:
    """a temperature of 0 is false and so replaced by 1, which draws; pass 0 on to sample, which is
    greedy then"""

    def _chooser(temperature, top_k, top_p, penalty, generator):
        return partial(
            sample,
            temperature=temperature or 1.0,
            top_k=top_k,
            top_p=top_p,
            repetition_penalty=penalty,
            generator=generator,
        )


class temperature_twice:
    """the logits are divided by the temperature and then given to sample, which divides them again;
    leave it to sample"""

    def _chooser(temperature, top_k, top_p, penalty, generator):
        def choose(logits, seen_ids):
            return sample(
                logits / (temperature or 1.0),
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                repetition_penalty=penalty,
                seen_ids=seen_ids,
                generator=generator,
            )

        return choose


class penalty_twice:
    """the penalty is applied and then given to sample, which applies it again; leave it to
    sample"""

    def _chooser(temperature, top_k, top_p, penalty, generator):
        def choose(logits, seen_ids):
            old = logits.gather(1, seen_ids)
            new = torch.where(old < 0, old * penalty, old / penalty)
            return sample(
                logits.scatter(1, seen_ids, new),
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                repetition_penalty=penalty,
                seen_ids=seen_ids,
                generator=generator,
            )

        return choose


class always_greedy:
    """the likeliest token is taken in every step, whatever the temperature is; let sample draw"""

    def _chooser(temperature, top_k, top_p, penalty, generator):
        return partial(sample, temperature=0.0, repetition_penalty=penalty)


class on_token_in_the_end:
    """on_token is called when the text is complete; call it in each step"""

    def _tell(tokens, plan):
        pass

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
        choose = _chooser(temperature, top_k, top_p, repetition_penalty, generator)
        plan = _Plan(choose, max_new_tokens, eos_token_id, pad_token_id, use_cache, on_token)
        ids, mask = _rows(input_ids, attention_mask, num_return_sequences)
        text = _write(model, ids, mask, plan)
        for column in text[:, ids.shape[1] :].unbind(dim=1):
            if on_token is not None:
                on_token(column)
        return text


class on_token_gets_a_column:
    """on_token gets a column [B·n, 1]; it should get [B·n]"""

    def _tell(tokens, plan):
        if plan.on_token is not None:
            plan.on_token(tokens[:, None])


class on_token_gets_a_list:
    """on_token gets a list of numbers; it should get the tensor"""

    def _tell(tokens, plan):
        if plan.on_token is not None:
            plan.on_token(tokens.tolist())


class on_token_for_each_row:
    """on_token is called for each row; it should get the tokens of all rows at once"""

    def _tell(tokens, plan):
        if plan.on_token is not None:
            for token in tokens:
                plan.on_token(token)


class on_token_gets_the_text:
    """on_token gets all that has been written so far; it should get the tokens of the step alone"""

    def _write(model, ids, mask, plan):
        finished, past = _nobody(ids, plan), None
        for _ in range(plan.steps):
            logits, past = _read(model, ids, mask, past, plan)
            tokens = plan.choose(logits, seen_ids=_seen(ids, mask))
            tokens = _waiting(tokens, finished, plan)
            ids, mask = _appended(ids, tokens), _longer(mask, tokens, plan)
            finished = _now_finished(finished, tokens, plan)
            _tell(ids, plan)
            if _is_over(ids, finished, plan):
                break
        return ids


class on_token_before_the_padding:
    """on_token gets what finished rows would have written; it should get their padding"""

    def _write(model, ids, mask, plan):
        finished, past = _nobody(ids, plan), None
        for _ in range(plan.steps):
            logits, past = _read(model, ids, mask, past, plan)
            tokens = plan.choose(logits, seen_ids=_seen(ids, mask))
            _tell(tokens, plan)
            tokens = _waiting(tokens, finished, plan)
            ids, mask = _appended(ids, tokens), _longer(mask, tokens, plan)
            finished = _now_finished(finished, tokens, plan)
            if _is_over(ids, finished, plan):
                break
        return ids


class on_token_without_the_last_step:
    """on_token is not called for the step in which the last row finishes; call it before you
    stop"""

    def _write(model, ids, mask, plan):
        finished, past = _nobody(ids, plan), None
        for _ in range(plan.steps):
            logits, past = _read(model, ids, mask, past, plan)
            tokens = plan.choose(logits, seen_ids=_seen(ids, mask))
            tokens = _waiting(tokens, finished, plan)
            ids, mask = _appended(ids, tokens), _longer(mask, tokens, plan)
            finished = _now_finished(finished, tokens, plan)
            if _is_over(ids, finished, plan):
                break
            _tell(tokens, plan)
        return ids


class on_token_for_the_prompt:
    """on_token is called with the tokens of the prompt, too; it should get new ones only"""

    def _write(model, ids, mask, plan):
        finished, past = _nobody(ids, plan), None
        for column in ids.unbind(dim=1):
            _tell(column, plan)
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


class on_token_without_finished_rows:
    """on_token gets the tokens of rows that are still writing; it should get those of all rows"""

    def _write(model, ids, mask, plan):
        finished, past = _nobody(ids, plan), None
        for _ in range(plan.steps):
            logits, past = _read(model, ids, mask, past, plan)
            tokens = plan.choose(logits, seen_ids=_seen(ids, mask))
            tokens = _waiting(tokens, finished, plan)
            ids, mask = _appended(ids, tokens), _longer(mask, tokens, plan)
            _tell(tokens[~finished], plan)
            finished = _now_finished(finished, tokens, plan)
            if _is_over(ids, finished, plan):
                break
        return ids


class on_token_gets_one_tensor:
    """on_token gets the same tensor in each step, which then has the tokens of the next; give it a
    new one"""

    def _write(model, ids, mask, plan):
        finished, past, told = _nobody(ids, plan), None, torch.empty_like(ids[:, 0])
        for _ in range(plan.steps):
            logits, past = _read(model, ids, mask, past, plan)
            tokens = plan.choose(logits, seen_ids=_seen(ids, mask))
            tokens = told.copy_(_waiting(tokens, finished, plan))
            ids, mask = _appended(ids, tokens), _longer(mask, tokens, plan)
            finished = _now_finished(finished, tokens, plan)
            _tell(tokens, plan)
            if _is_over(ids, finished, plan):
                break
        return ids


class left_in_eval_mode:
    """the model is left in eval mode; leave its flag alone, or set it back"""

    def _read(model, ids, mask, past, plan):
        model.eval()
        with torch.no_grad():
            out = model(
                _unread(ids, past),
                attention_mask=mask,
                past_key_values=past,
                use_cache=plan.use_cache,
            )
        return out.logits[:, -1], out.past_key_values


class left_in_training_mode:
    """the model is left in training mode, even if it was in eval mode before; leave its flag alone,
    or set back what it was"""

    def _read(model, ids, mask, past, plan):
        model.eval()
        with torch.no_grad():
            out = model(
                _unread(ids, past),
                attention_mask=mask,
                past_key_values=past,
                use_cache=plan.use_cache,
            )
        model.train()
        return out.logits[:, -1], out.past_key_values


class grad_mode_left_off:
    """gradients are switched off for good; use torch.no_grad() as a context, which sets the mode
    back"""

    def _read(model, ids, mask, past, plan):
        torch.set_grad_enabled(False)
        out = model(
            _unread(ids, past),
            attention_mask=mask,
            past_key_values=past,
            use_cache=plan.use_cache,
        )
        return out.logits[:, -1], out.past_key_values


class parameters_left_frozen:
    """the parameters are left with requires_grad=False; use torch.no_grad() and leave them alone"""

    def _read(model, ids, mask, past, plan):
        model.requires_grad_(False)
        with torch.no_grad():
            out = model(
                _unread(ids, past),
                attention_mask=mask,
                past_key_values=past,
                use_cache=plan.use_cache,
            )
        return out.logits[:, -1], out.past_key_values
