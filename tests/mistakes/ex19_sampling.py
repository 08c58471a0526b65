"""Wrong answers to ex19_sampling: each class is the solution with one change.

A class holds definitions that replace the solution's own; its docstring ends the sentence
"these are exactly the numbers you get if ...".
"""

import torch


class multiplied_by_the_temperature:
    """logits are multiplied by the temperature; divide them by it"""

    def apply_temperature(logits, temperature):
        return logits * temperature


class temperature_of_probabilities:
    """apply_temperature returns probabilities; it should return logits, logits / temperature"""

    def apply_temperature(logits, temperature):
        return (_widen(logits) / temperature).softmax(dim=-1).to(logits.dtype)


class log_probabilities_over_temperature:
    """the log-probabilities are divided by the temperature; divide the logits themselves"""

    def apply_temperature(logits, temperature):
        return (_widen(logits).log_softmax(dim=-1) / temperature).to(logits.dtype)


class temperature_ignored:
    """the temperature is not used; divide the logits by it"""

    def apply_temperature(logits, temperature):
        return logits.clone()


class temperature_in_place:
    """the logits are divided in place, so that the caller's change as well; make new ones"""

    def apply_temperature(logits, temperature):
        return logits.div_(temperature)


class temperature_widens:
    """apply_temperature returns float32 for half precision; cast back to the dtype of the logits"""

    def apply_temperature(logits, temperature):
        return _widen(logits) / temperature


class penalty_always_divides:
    """negative logits are divided by the penalty as well, which makes seen tokens likelier;
    multiply those"""

    def apply_repetition_penalty(logits, seen_ids, penalty):
        return torch.where(_seen(logits, seen_ids), logits / penalty, logits)


class penalty_always_multiplies:
    """positive logits are multiplied by the penalty as well, which makes seen tokens likelier;
    divide those"""

    def apply_repetition_penalty(logits, seen_ids, penalty):
        return torch.where(_seen(logits, seen_ids), logits * penalty, logits)


class penalty_exchanged:
    """positive logits are multiplied and negative ones divided; exchange the two"""

    def apply_repetition_penalty(logits, seen_ids, penalty):
        penalised = torch.where(logits < 0, logits / penalty, logits * penalty)
        return torch.where(_seen(logits, seen_ids), penalised, logits)


class penalty_subtracted:
    """the penalty is subtracted; divide positive logits by it and multiply negative ones"""

    def apply_repetition_penalty(logits, seen_ids, penalty):
        return torch.where(_seen(logits, seen_ids), logits - penalty, logits)


class log_of_the_penalty_subtracted:
    """the log of the penalty is subtracted, as if probabilities were divided; divide positive
    logits by it and multiply negative ones"""

    def apply_repetition_penalty(logits, seen_ids, penalty):
        by = torch.tensor(penalty, dtype=logits.dtype).log()
        return torch.where(_seen(logits, seen_ids), logits - by, logits)


class negative_logits_not_penalised:
    """seen tokens with negative logits are left as they are; multiply those by the penalty"""

    def apply_repetition_penalty(logits, seen_ids, penalty):
        penalised = torch.where(logits > 0, logits / penalty, logits)
        return torch.where(_seen(logits, seen_ids), penalised, logits)


class penalised_by_count:
    """a token that was seen n times is penalised n times; once is enough"""

    def apply_repetition_penalty(logits, seen_ids, penalty):
        logits = logits.clone()
        for row, ids in enumerate(seen_ids.tolist()):
            for token in ids:
                old = logits[row, token].clone()
                logits[row, token] = old / penalty if old > 0 else old * penalty
        return logits


class penalty_shared_by_all_rows:
    """tokens are penalised in all rows where one row has seen them; each row has seen its own"""

    def apply_repetition_penalty(logits, seen_ids, penalty):
        penalised = torch.where(logits > 0, logits / penalty, logits * penalty)
        seen = _seen(logits, seen_ids).any(dim=0, keepdim=True)
        return torch.where(seen, penalised, logits)


class penalty_of_the_first_row:
    """in all rows the tokens are penalised that the first row has seen; each row has seen its
    own"""

    def apply_repetition_penalty(logits, seen_ids, penalty):
        penalised = torch.where(logits > 0, logits / penalty, logits * penalty)
        return torch.where(_seen(logits, seen_ids)[:1], penalised, logits)


class all_tokens_penalised:
    """all tokens are penalised, seen or not; penalise only those in seen_ids"""

    def apply_repetition_penalty(logits, seen_ids, penalty):
        return torch.where(logits > 0, logits / penalty, logits * penalty)


class last_token_alone_penalised:
    """only the last of the seen tokens is penalised; penalise all of them"""

    def apply_repetition_penalty(logits, seen_ids, penalty):
        penalised = torch.where(logits > 0, logits / penalty, logits * penalty)
        return torch.where(_seen(logits, seen_ids[:, -1:]), penalised, logits)


class seen_tokens_forbidden:
    """seen tokens become -inf; make them less likely by the penalty"""

    def apply_repetition_penalty(logits, seen_ids, penalty):
        return _only(logits, ~_seen(logits, seen_ids))


class penalty_in_place:
    """seen tokens' logits are changed in place, in the caller's tensor; make new ones"""

    def apply_repetition_penalty(logits, seen_ids, penalty):
        old = logits.gather(1, seen_ids)
        return logits.scatter_(1, seen_ids, torch.where(old > 0, old / penalty, old * penalty))


class penalty_without_gradient:
    """the penalised logits are detached; leave them in the graph"""

    def apply_repetition_penalty(logits, seen_ids, penalty):
        penalised = torch.where(logits > 0, logits / penalty, logits * penalty)
        return torch.where(_seen(logits, seen_ids), penalised, logits).detach()


class k_exactly:
    """exactly k tokens are kept, whichever of equal ones topk puts first; keep all that are as
    likely as the k-th"""

    def top_k_filter(logits, k):
        if k <= 0 or k > logits.shape[-1]:
            return logits.clone()
        best = logits.topk(k, dim=-1)
        return torch.full_like(logits, float("-inf")).scatter(1, best.indices, best.values)


class ties_dropped:
    """tokens as likely as the k-th are dropped, it and all; keep what is not below it"""

    def top_k_filter(logits, k):
        if k <= 0 or k > logits.shape[-1]:
            return logits.clone()
        smallest = logits.topk(k, dim=-1).values[:, -1:]
        return _only(logits, logits > smallest)


class k_plus_one:
    """k + 1 tokens are kept; the threshold should be the k-th largest logit"""

    def top_k_filter(logits, k):
        if k <= 0 or k >= logits.shape[-1]:
            return logits.clone()
        smallest = logits.topk(k + 1, dim=-1).values[:, -1:]
        return _only(logits, logits >= smallest)


class k_smallest_kept:
    """the k smallest logits are kept; keep the largest"""

    def top_k_filter(logits, k):
        if k <= 0 or k > logits.shape[-1]:
            return logits.clone()
        largest = logits.topk(k, dim=-1, largest=False).values[:, -1:]
        return _only(logits, logits <= largest)


class largest_dropped:
    """the k largest logits are what becomes -inf; keep these and drop the others"""

    def top_k_filter(logits, k):
        if k <= 0 or k > logits.shape[-1]:
            return logits.clone()
        smallest = logits.topk(k, dim=-1).values[:, -1:]
        return _only(logits, logits < smallest)


class threshold_of_the_first_row:
    """all rows are cut at the threshold of the first; each row has its own"""

    def top_k_filter(logits, k):
        if k <= 0 or k > logits.shape[-1]:
            return logits.clone()
        smallest = logits.topk(k, dim=-1).values[0, -1]
        return _only(logits, logits >= smallest)


class lowest_threshold_of_the_batch:
    """all rows are cut at the lowest of their thresholds, values.min(); each row has its own"""

    def top_k_filter(logits, k):
        if k <= 0 or k > logits.shape[-1]:
            return logits.clone()
        smallest = logits.topk(k, dim=-1).values.min()
        return _only(logits, logits >= smallest)


class k_larger_than_the_vocabulary:
    """a k larger than the vocabulary is handed to topk, which raises an error; keep all tokens
    then"""

    def top_k_filter(logits, k):
        if k <= 0:
            return logits.clone()
        smallest = logits.topk(k, dim=-1).values[:, -1:]
        return _only(logits, logits >= smallest)


class k_of_0_keeps_nothing:
    """a k of 0 or less keeps no token; it should keep all"""

    def top_k_filter(logits, k):
        if k <= 0:
            return torch.full_like(logits, float("-inf"))
        if k > logits.shape[-1]:
            return logits.clone()
        smallest = logits.topk(k, dim=-1).values[:, -1:]
        return _only(logits, logits >= smallest)


class k_of_0_keeps_one:
    """a k of 0 or less keeps one token; it should keep all"""

    def top_k_filter(logits, k):
        k = min(max(k, 1), logits.shape[-1])
        smallest = logits.topk(k, dim=-1).values[:, -1:]
        return _only(logits, logits >= smallest)


class negative_k_keeps_one:
    """a negative k keeps one token; it should keep all, as 0 does"""

    def top_k_filter(logits, k):
        if k == 0 or k > logits.shape[-1]:
            return logits.clone()
        smallest = logits.topk(max(k, 1), dim=-1).values[:, -1:]
        return _only(logits, logits >= smallest)


class zeros_in_place_of_minus_inf:
    """what top-k drops becomes 0, which is a logit like any other; it should be -inf"""

    def top_k_filter(logits, k):
        if k <= 0 or k > logits.shape[-1]:
            return logits.clone()
        smallest = logits.topk(k, dim=-1).values[:, -1:]
        return logits.masked_fill(logits < smallest, 0.0)


class large_negative_number_in_top_k:
    """what top-k drops becomes -1e4, a number; it should be -inf"""

    def top_k_filter(logits, k):
        if k <= 0 or k > logits.shape[-1]:
            return logits.clone()
        smallest = logits.topk(k, dim=-1).values[:, -1:]
        return logits.masked_fill(logits < smallest, -1e4)


class top_k_in_place:
    """top-k writes -inf into the caller's logits; make new ones"""

    def top_k_filter(logits, k):
        if k <= 0 or k > logits.shape[-1]:
            return logits
        smallest = logits.topk(k, dim=-1).values[:, -1:]
        return logits.masked_fill_(logits < smallest, float("-inf"))


class probabilities_in_top_k:
    """top_k_filter returns probabilities; it should return logits"""

    def top_k_filter(logits, k):
        if k <= 0 or k > logits.shape[-1]:
            return _widen(logits).softmax(dim=-1).to(logits.dtype)
        smallest = logits.topk(k, dim=-1).values[:, -1:]
        kept = _only(logits, logits >= smallest)
        return _widen(kept).softmax(dim=-1).to(logits.dtype)


class token_that_crosses_p_dropped:
    """the token whose mass crosses p is dropped, so that less than p is left; keep a token if the
    mass before it has not reached p"""

    def _in_nucleus(likely, p):
        keep = likely.cumsum(dim=-1) <= p
        keep[:, 0] = True
        return keep


class token_that_reaches_p_dropped:
    """the token whose mass crosses p is dropped, and the one that just reaches it, too; keep a
    token if the mass before it has not reached p"""

    def _in_nucleus(likely, p):
        keep = likely.cumsum(dim=-1) < p
        keep[:, 0] = True
        return keep


class one_too_many_at_exactly_p:
    """one token too many is kept where the mass is exactly p; a mass of exactly p is enough"""

    def _in_nucleus(likely, p):
        keep = likely.cumsum(dim=-1) - likely <= p
        keep[:, 0] = True
        return keep


class two_beyond_p:
    """one token is kept after the one that crosses p; the one that crosses it is the last"""

    def _in_nucleus(likely, p):
        inside = likely.cumsum(dim=-1) - likely < p
        keep = inside.roll(1, dims=-1) | inside
        keep[:, 0] = True
        return keep


class mask_of_sorted_places_used:
    """the mask of the sorted tokens is used on the logits, which are not sorted; scatter it back to
    where the tokens stand"""

    def top_p_filter(logits, p):
        if p >= 1:
            return logits.clone()
        likely = _widen(logits).softmax(dim=-1).sort(dim=-1, descending=True).values
        return _only(logits, _in_nucleus(likely, p))


class mask_gathered:
    """the mask of the sorted tokens is gathered by their numbers, which sorts it once more; scatter
    it instead"""

    def top_p_filter(logits, p):
        if p >= 1:
            return logits.clone()
        likely, tokens = _widen(logits).softmax(dim=-1).sort(dim=-1, descending=True)
        return _only(logits, _in_nucleus(likely, p).gather(1, tokens))


class sorted_logits_returned:
    """top_p_filter returns its logits sorted; each should be at its token's place"""

    def top_p_filter(logits, p):
        if p >= 1:
            return logits.clone()
        likely, tokens = _widen(logits).softmax(dim=-1).sort(dim=-1, descending=True)
        return _only(logits.gather(1, tokens), _in_nucleus(likely, p))


class probabilities_not_sorted:
    """masses are added up in the order of the vocabulary; sort the probabilities first"""

    def top_p_filter(logits, p):
        if p >= 1:
            return logits.clone()
        return _only(logits, _in_nucleus(_widen(logits).softmax(dim=-1), p))


class least_likely_first:
    """masses are added up from the least likely token on; begin with the most likely"""

    def top_p_filter(logits, p):
        if p >= 1:
            return logits.clone()
        likely, tokens = _widen(logits).softmax(dim=-1).sort(dim=-1)
        keep = torch.zeros_like(logits, dtype=torch.bool)
        return _only(logits, keep.scatter(1, tokens, _in_nucleus(likely, p)))


class first_row_is_kept:
    """keep[0] = True keeps all tokens of the first row; keep the first place of every row, keep[:,
    0]"""

    def _in_nucleus(likely, p):
        keep = likely.cumsum(dim=-1) - likely < p
        keep[0] = True
        return keep


class nothing_kept_for_a_p_of_0:
    """a p of 0 or less keeps no token; the most likely one should stay"""

    def _in_nucleus(likely, p):
        return likely.cumsum(dim=-1) - likely < p


class all_kept_for_a_p_of_0:
    """a p of 0 or less keeps all tokens, as if there were no filter; one should stay"""

    def top_p_filter(logits, p):
        if p >= 1 or p <= 0:
            return logits.clone()
        likely, tokens = _widen(logits).softmax(dim=-1).sort(dim=-1, descending=True)
        keep = torch.zeros_like(logits, dtype=torch.bool)
        return _only(logits, keep.scatter(1, tokens, _in_nucleus(likely, p)))


class nothing_kept_for_a_small_p:
    """tokens are dropped while their mass from the least likely on is at most 1 - p, which rounds
    to 1 for a small p, so that none is left; keep one in any case"""

    def top_p_filter(logits, p):
        if p >= 1:
            return logits.clone()
        likely, tokens = _widen(logits).softmax(dim=-1).sort(dim=-1)
        mass = likely.cumsum(dim=-1) / likely.sum(dim=-1, keepdim=True)
        keep = mass > torch.tensor(1 - p, dtype=mass.dtype)
        return _only(logits, torch.zeros_like(keep).scatter(1, tokens, keep))


class p_of_1_drops_what_rounds_to_nothing:
    """a p of 1 is taken for a mass that a sum of roundings may reach too early; return all logits
    for a p of 1 or more"""

    def top_p_filter(logits, p):
        likely, tokens = _widen(logits).softmax(dim=-1).sort(dim=-1, descending=True)
        keep = torch.zeros_like(logits, dtype=torch.bool)
        return _only(logits, keep.scatter(1, tokens, _in_nucleus(likely, min(p, 1.0))))


class masses_in_half_precision:
    """probabilities and their sums are computed in the dtype of the logits; widen those first"""

    def top_p_filter(logits, p):
        if p >= 1:
            return logits.clone()
        likely, tokens = logits.softmax(dim=-1).sort(dim=-1, descending=True)
        keep = torch.zeros_like(logits, dtype=torch.bool)
        return _only(logits, keep.scatter(1, tokens, _in_nucleus(likely, p)))


class least_probability_for_mass:
    """tokens stay if their own probability is at least 1 - p; add up probabilities from the most
    likely token on"""

    def top_p_filter(logits, p):
        if p >= 1:
            return logits.clone()
        likely = _widen(logits).softmax(dim=-1)
        return _only(logits, (likely >= 1 - p) | (likely == likely.amax(dim=-1, keepdim=True)))


class share_of_the_vocabulary:
    """a share p of the vocabulary is kept, whatever the probabilities are; keep tokens until their
    mass reaches p"""

    def top_p_filter(logits, p):
        if p >= 1:
            return logits.clone()
        return top_k_filter(logits, max(1, int(p * logits.shape[-1])))


class logits_added_up:
    """logits are added up in place of probabilities; take their softmax first"""

    def top_p_filter(logits, p):
        if p >= 1:
            return logits.clone()
        best, tokens = _widen(logits).sort(dim=-1, descending=True)
        keep = torch.zeros_like(logits, dtype=torch.bool)
        return _only(logits, keep.scatter(1, tokens, _in_nucleus(best, p)))


class log_probabilities_in_top_p:
    """top_p_filter returns log-probabilities for what it keeps; return the logits as they are"""

    def top_p_filter(logits, p):
        likely, tokens = _widen(logits).softmax(dim=-1).sort(dim=-1, descending=True)
        keep = torch.zeros_like(logits, dtype=torch.bool)
        keep = keep.scatter(1, tokens, _in_nucleus(likely, p)) | (p >= 1)
        return _only(_widen(logits).log_softmax(dim=-1).to(logits.dtype), keep)


class large_negative_number_in_top_p:
    """what top-p drops becomes -1e4, a number; it should be -inf"""

    def top_p_filter(logits, p):
        if p >= 1:
            return logits.clone()
        likely, tokens = _widen(logits).softmax(dim=-1).sort(dim=-1, descending=True)
        keep = torch.zeros_like(logits, dtype=torch.bool)
        keep = keep.scatter(1, tokens, _in_nucleus(likely, p))
        return logits.masked_fill(~keep, -1e4)


class top_p_in_place:
    """top-p writes -inf into the caller's logits; make new ones"""

    def top_p_filter(logits, p):
        if p >= 1:
            return logits
        likely, tokens = _widen(logits).softmax(dim=-1).sort(dim=-1, descending=True)
        keep = torch.zeros_like(logits, dtype=torch.bool)
        keep = keep.scatter(1, tokens, _in_nucleus(likely, p))
        return logits.masked_fill_(~keep, float("-inf"))


class temperature_last:
    """the temperature is applied after top-p, which then sees other probabilities than are drawn
    from; apply it before the filters"""

    def sample(
        logits,
        *,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        seen_ids=None,
        generator=None,
    ):
        if seen_ids is not None:
            logits = apply_repetition_penalty(logits, seen_ids, repetition_penalty)
        if temperature == 0:
            return logits.argmax(dim=-1)
        logits = top_p_filter(top_k_filter(logits, top_k), top_p)
        return _draw(_widen(apply_temperature(logits, temperature)).softmax(dim=-1), generator)


class top_p_before_top_k:
    """top-p comes before top-k; it should see what top-k has left"""

    def sample(
        logits,
        *,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        seen_ids=None,
        generator=None,
    ):
        if seen_ids is not None:
            logits = apply_repetition_penalty(logits, seen_ids, repetition_penalty)
        if temperature == 0:
            return logits.argmax(dim=-1)
        logits = apply_temperature(logits, temperature)
        logits = top_k_filter(top_p_filter(logits, top_p), top_k)
        return _draw(_widen(logits).softmax(dim=-1), generator)


class penalty_last:
    """the penalty comes after the filters, so that it can remove no token; it should come first"""

    def sample(
        logits,
        *,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        seen_ids=None,
        generator=None,
    ):
        if temperature == 0:
            if seen_ids is not None:
                logits = apply_repetition_penalty(logits, seen_ids, repetition_penalty)
            return logits.argmax(dim=-1)
        logits = apply_temperature(logits, temperature)
        logits = top_p_filter(top_k_filter(logits, top_k), top_p)
        if seen_ids is not None:
            logits = apply_repetition_penalty(logits, seen_ids, repetition_penalty)
        return _draw(_widen(logits).softmax(dim=-1), generator)


class greedy_before_the_penalty:
    """with a temperature of 0 the most likely token is taken before the penalty; it still
    applies"""

    def sample(
        logits,
        *,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        seen_ids=None,
        generator=None,
    ):
        if temperature == 0:
            return logits.argmax(dim=-1)
        if seen_ids is not None:
            logits = apply_repetition_penalty(logits, seen_ids, repetition_penalty)
        logits = apply_temperature(logits, temperature)
        logits = top_p_filter(top_k_filter(logits, top_k), top_p)
        return _draw(_widen(logits).softmax(dim=-1), generator)


class divided_by_a_temperature_of_0:
    """logits are divided by a temperature of 0, and nothing can be drawn from what comes of it;
    take the largest logit then"""

    def sample(
        logits,
        *,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        seen_ids=None,
        generator=None,
    ):
        if seen_ids is not None:
            logits = apply_repetition_penalty(logits, seen_ids, repetition_penalty)
        logits = apply_temperature(logits, temperature)
        logits = top_p_filter(top_k_filter(logits, top_k), top_p)
        return _draw(_widen(logits).softmax(dim=-1), generator)


class temperature_of_0_for_1:
    """a temperature of 0 is taken for none, so that tokens are drawn; take the largest logit
    then"""

    def sample(
        logits,
        *,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        seen_ids=None,
        generator=None,
    ):
        if seen_ids is not None:
            logits = apply_repetition_penalty(logits, seen_ids, repetition_penalty)
        logits = apply_temperature(logits, temperature or 1.0)
        logits = top_p_filter(top_k_filter(logits, top_k), top_p)
        return _draw(_widen(logits).softmax(dim=-1), generator)


class temperature_left_out:
    """sample does not apply the temperature unless it is 0; divide the logits by it"""

    def sample(
        logits,
        *,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        seen_ids=None,
        generator=None,
    ):
        if seen_ids is not None:
            logits = apply_repetition_penalty(logits, seen_ids, repetition_penalty)
        if temperature == 0:
            return logits.argmax(dim=-1)
        logits = top_p_filter(top_k_filter(logits, top_k), top_p)
        return _draw(_widen(logits).softmax(dim=-1), generator)


class greedy_below_1:
    """a temperature below 1 takes the most likely token; only one of 0 does"""

    def sample(
        logits,
        *,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        seen_ids=None,
        generator=None,
    ):
        if seen_ids is not None:
            logits = apply_repetition_penalty(logits, seen_ids, repetition_penalty)
        if temperature < 1:
            return logits.argmax(dim=-1)
        logits = apply_temperature(logits, temperature)
        logits = top_p_filter(top_k_filter(logits, top_k), top_p)
        return _draw(_widen(logits).softmax(dim=-1), generator)


class always_the_most_likely:
    """the most likely token is always taken; draw by the probabilities, unless the temperature is
    0"""

    def _draw(probabilities, generator):
        return probabilities.argmax(dim=-1)


class all_that_is_left_alike:
    """all tokens that are left are drawn with the same probability; draw by their probabilities"""

    def _draw(probabilities, generator):
        alike = (probabilities > 0).to(probabilities.dtype)
        return torch.multinomial(alike, num_samples=1, generator=generator).squeeze(1)


class one_number_for_all_rows:
    """one random number serves all rows, so that equal rows draw the same token; draw one for each
    row"""

    def _draw(probabilities, generator):
        number = torch.rand(1, 1, generator=generator, dtype=probabilities.dtype)
        mass = probabilities.cumsum(dim=-1) / probabilities.sum(dim=-1, keepdim=True)
        chosen = (mass <= number).sum(dim=-1)
        return torch.where(
            probabilities.gather(1, chosen[:, None])[:, 0] > 0, chosen, probabilities.argmax(dim=-1)
        )


class place_in_the_sorted_row:
    """what is returned is the token's place among the sorted ones; return its number in the
    vocabulary"""

    def sample(
        logits,
        *,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        seen_ids=None,
        generator=None,
    ):
        if seen_ids is not None:
            logits = apply_repetition_penalty(logits, seen_ids, repetition_penalty)
        if temperature == 0:
            return logits.argmax(dim=-1)
        logits = apply_temperature(logits, temperature)
        logits = top_p_filter(top_k_filter(logits, top_k), top_p)
        likely = _widen(logits).softmax(dim=-1).sort(dim=-1, descending=True).values
        return _draw(likely, generator)


class a_column:
    """the tokens come as a column, [B, 1], as multinomial gives them; return [B]"""

    def _draw(probabilities, generator):
        return torch.multinomial(probabilities, num_samples=1, generator=generator)


class one_token_for_the_batch:
    """only the first row's token is returned; return one for each row"""

    def _draw(probabilities, generator):
        return torch.multinomial(probabilities[0], num_samples=1, generator=generator)


class generator_not_used:
    """random numbers come from torch's own generator although another was given; hand the generator
    on"""

    def _draw(probabilities, generator):
        return torch.multinomial(probabilities, num_samples=1).squeeze(1)


class a_generator_of_its_own:
    """without a generator, numbers come from a new one with a fixed seed, so that every call draws
    the same; draw from torch's own"""

    def _draw(probabilities, generator):
        if generator is None:
            generator = torch.Generator().manual_seed(0)
        return torch.multinomial(probabilities, num_samples=1, generator=generator).squeeze(1)


class generator_set_back:
    """the generator's seed is set again in each call, so that every call draws the same; leave it
    where it is"""

    def _draw(probabilities, generator):
        if generator is not None:
            generator.manual_seed(generator.initial_seed())
        return torch.multinomial(probabilities, num_samples=1, generator=generator).squeeze(1)


class softmax_over_the_rows:
    """the softmax is taken over the rows of the batch, dim=0; take it over the vocabulary,
    dim=-1"""

    def sample(
        logits,
        *,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        seen_ids=None,
        generator=None,
    ):
        if seen_ids is not None:
            logits = apply_repetition_penalty(logits, seen_ids, repetition_penalty)
        if temperature == 0:
            return logits.argmax(dim=-1)
        logits = apply_temperature(logits, temperature)
        logits = top_p_filter(top_k_filter(logits, top_k), top_p)
        return _draw(_widen(logits).softmax(dim=0).nan_to_num(0.0), generator)


class softmax_twice:
    """the softmax is taken twice, so that all tokens come closer and dropped ones come back; take
    it once"""

    def _draw(probabilities, generator):
        likely = probabilities.softmax(dim=-1)
        return torch.multinomial(likely, num_samples=1, generator=generator).squeeze(1)


class penalty_without_seen_ids:
    """without seen_ids all tokens are penalised; there should be no penalty then"""

    def sample(
        logits,
        *,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        seen_ids=None,
        generator=None,
    ):
        if seen_ids is None:
            seen_ids = torch.arange(logits.shape[1], device=logits.device).expand(len(logits), -1)
        logits = apply_repetition_penalty(logits, seen_ids, repetition_penalty)
        if temperature == 0:
            return logits.argmax(dim=-1)
        logits = apply_temperature(logits, temperature)
        logits = top_p_filter(top_k_filter(logits, top_k), top_p)
        return _draw(_widen(logits).softmax(dim=-1), generator)


class top_k_left_out:
    """sample does not apply top-k; apply it after the temperature"""

    def sample(
        logits,
        *,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        seen_ids=None,
        generator=None,
    ):
        if seen_ids is not None:
            logits = apply_repetition_penalty(logits, seen_ids, repetition_penalty)
        if temperature == 0:
            return logits.argmax(dim=-1)
        logits = top_p_filter(apply_temperature(logits, temperature), top_p)
        return _draw(_widen(logits).softmax(dim=-1), generator)


class top_p_left_out_after_top_k:
    """top-p is applied only where there is no top-k; apply both"""

    def sample(
        logits,
        *,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        repetition_penalty=1.0,
        seen_ids=None,
        generator=None,
    ):
        if seen_ids is not None:
            logits = apply_repetition_penalty(logits, seen_ids, repetition_penalty)
        if temperature == 0:
            return logits.argmax(dim=-1)
        logits = apply_temperature(logits, temperature)
        logits = top_k_filter(logits, top_k) if top_k > 0 else top_p_filter(logits, top_p)
        return _draw(_widen(logits).softmax(dim=-1), generator)
