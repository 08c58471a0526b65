"""Wrong answers to ex15_loss: each class is the solution with one change.

A class holds definitions that replace the solution's own; its docstring ends the sentence
"these are exactly the numbers you get if ...".
"""

import torch
from torch.nn import functional as F


class not_shifted:
    """logits are compared with the label at their own position, which they have seen; compare those
    at s with the label at s + 1"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        return _total(logits, labels, ignore_index) / _count(labels, ignore_index)


class shifted_twice:
    """logits and labels are shifted by two positions, as if labels came shifted already; shift them
    once"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        logits, labels = logits[:, :-2], labels[:, 2:]
        return _total(logits, labels, ignore_index) / _count(labels, ignore_index)


class shifted_backwards:
    """the logits at s are compared with the label at s - 1; compare them with the label at s + 1:
    logits[:, :-1] and labels[:, 1:]"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        logits, labels = logits[:, 1:], labels[:, :-1]
        return _total(logits, labels, ignore_index) / _count(labels, ignore_index)


class rolled:
    """labels are rolled, so that the last logits are compared with the first label; cut both
    instead: logits[:, :-1] and labels[:, 1:]"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        labels = labels.roll(-1, dims=1)
        return _total(logits, labels, ignore_index) / _count(labels, ignore_index)


class shifted_after_flattening:
    """the batch is flattened before the shift, so that the end of a row is compared with the start
    of the next; shift first"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        logits, labels = logits.flatten(0, 1)[None, :-1], labels.flatten()[None, 1:]
        return _total(logits, labels, ignore_index) / _count(labels, ignore_index)


class only_labels_shifted:
    """labels lose their first column and logits their first, too, so that nothing is shifted;
    logits should lose their last"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        logits, labels = logits[:, 1:], labels[:, 1:]
        return _total(logits, labels, ignore_index) / _count(labels, ignore_index)


class mean_of_row_means:
    """the loss is the mean of the rows' means, a row without labels counting as 0; it should be the
    mean over all tokens that count"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        logits, labels = _shift(logits, labels)
        rows = [
            _total(x[None], y[None], ignore_index) / _count(y, ignore_index)
            for x, y in zip(logits, labels, strict=True)
        ]
        return torch.stack(rows).mean()


class mean_of_row_means_where_any_count:
    """the loss is the mean of the rows' means, without the rows that have no labels; it should be
    the mean over all tokens that count"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        logits, labels = _shift(logits, labels)
        rows = [
            _total(x[None], y[None], ignore_index) / _count(y, ignore_index)
            for x, y in zip(logits, labels, strict=True)
            if bool((y != ignore_index).any())
        ]
        return torch.stack(rows).mean() if rows else 0.0 * logits.sum()


class divided_by_all_tokens:
    """the sum is divided by all tokens; divide it by those that count"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        logits, labels = _shift(logits, labels)
        return _total(logits, labels, ignore_index) / max(labels.numel(), 1)


class divided_by_all_tokens_and_the_last:
    """the sum is divided by B · S; divide it by the number of shifted labels that count"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        return _total(*_shift(logits, labels), ignore_index) / labels.numel()


class first_labels_counted:
    """the labels that count are counted before the shift, the first of each row with them, which no
    logits are about; count them after it"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        return _total(*_shift(logits, labels), ignore_index) / _count(labels, ignore_index)


class sum_of_the_losses:
    """the loss is the sum over all tokens; divide it by the number of those that count"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        return _total(*_shift(logits, labels), ignore_index)


class divided_by_the_rows:
    """the sum is divided by the number of rows; divide it by the number of tokens that count"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        return _total(*_shift(logits, labels), ignore_index) / len(labels)


class nan_where_nothing_counts:
    """a batch without labels that count gives 0 / 0; divide by 1 there"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        logits, labels = _shift(logits, labels)
        return _total(logits, labels, ignore_index) / (labels != ignore_index).sum()


class no_graph_where_nothing_counts:
    """the 0 that is returned where no label counts does not depend on the logits, so that backward
    raises an error; return 0 times something of theirs, or divide their sum by 1"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        logits, labels = _shift(logits, labels)
        if not (labels != ignore_index).any():
            return _widen(logits.new_zeros(()))
        return _total(logits, labels, ignore_index) / _count(labels, ignore_index)


class always_ignores_minus_100:
    """-100 is what does not count, whatever ignore_index says; compare labels with ignore_index"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        logits, labels = _shift(logits, labels)
        return _total(logits, labels, -100) / _count(labels, -100)


class zero_ignored_too:
    """token 0 does not count either, as if it were padding; only ignore_index should be left out"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        logits, labels = _shift(logits, labels)
        labels = labels.masked_fill(labels == 0, ignore_index)
        return _total(logits, labels, ignore_index) / _count(labels, ignore_index)


class counts_by_another_number:
    """the sum leaves out the labels that equal ignore_index, but they are counted as if it were
    -100; count what the sum takes in"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        logits, labels = _shift(logits, labels)
        return _total(logits, labels, ignore_index) / _count(labels, -100)


class ignored_labels_are_token_0:
    """a label that does not count is taken for token 0 in the sum; multiply its loss by 0"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        logits, labels = _shift(logits, labels)
        tokens = labels.masked_fill(labels == ignore_index, 0)
        return _total(logits, tokens, -100) / _count(labels, ignore_index)


class mask_not_shifted:
    """whether a label counts is read one position too early, before the shift; shift the mask as
    the labels are shifted"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        counts = (labels != ignore_index)[:, :-1]
        logits, labels = _shift(logits, labels)
        tokens = labels.masked_fill(labels == ignore_index, 0)
        tokens = torch.where(counts, tokens, -1)
        return _total(logits, tokens, -1) / _count(tokens, -1)


class sign_forgotten:
    """the loss is the mean log-probability, without a minus; it should be minus that"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        logits, labels = _shift(logits, labels)
        return -_total(logits, labels, ignore_index) / _count(labels, ignore_index)


class softmax_before_cross_entropy:
    """cross_entropy gets probabilities and takes their softmax once more; give it the logits"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        logits, labels = _shift(logits, labels)
        likely = _widen(logits).softmax(dim=-1)
        return _total(likely, labels, ignore_index) / _count(labels, ignore_index)


class log_of_the_softmax:
    """the softmax is computed first and its log then, which is -inf where the softmax rounds to 0;
    use log_softmax or logsumexp"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        logits, labels = _shift(logits, labels)
        log_likely = _widen(logits).softmax(dim=-1).log()
        losses = F.nll_loss(
            log_likely.flatten(0, 1), labels.flatten(), ignore_index=ignore_index, reduction="sum"
        )
        return losses / _count(labels, ignore_index)


class log_of_the_softmax_and_a_little:
    """a little is added to the probabilities before the log, so that losses cannot be large; use
    log_softmax or logsumexp, which need no such help"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        logits, labels = _shift(logits, labels)
        log_likely = (_widen(logits).softmax(dim=-1) + 1e-8).log()
        losses = F.nll_loss(
            log_likely.flatten(0, 1), labels.flatten(), ignore_index=ignore_index, reduction="sum"
        )
        return losses / _count(labels, ignore_index)


class exp_of_large_logits:
    """exp is taken of the logits themselves, which is infinite from 89 on; subtract the row's
    maximum first, or use logsumexp"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        logits, labels = _shift(logits, labels)
        wide = _widen(logits)
        log_likely = wide - wide.exp().sum(dim=-1, keepdim=True).log()
        losses = F.nll_loss(
            log_likely.flatten(0, 1), labels.flatten(), ignore_index=ignore_index, reduction="sum"
        )
        return losses / _count(labels, ignore_index)


class computed_in_half_precision:
    """the loss is computed in the logits' dtype and widened at the end; widen the logits first"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        logits, labels = _shift(logits, labels)
        total = F.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=ignore_index, reduction="none"
        ).sum()
        return _widen(total / _count(labels, ignore_index))


class maximum_subtracted_in_half_precision:
    """the maximum is subtracted from the logits in their own dtype, before they are widened; widen
    the logits first"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        logits, labels = _shift(logits, labels)
        logits = logits - logits.amax(dim=-1, keepdim=True)
        return _total(logits, labels, ignore_index) / _count(labels, ignore_index)


class mean_computed_in_half_precision:
    """cross_entropy gets half precision logits and returns their mean in that dtype; widen the
    logits first"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        logits, labels = _shift(logits, labels)
        if not (labels != ignore_index).any():
            return _widen(0.0 * logits.sum())
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=ignore_index)


class cast_back:
    """the loss is cast back to the dtype of the logits; leave it in float32"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        narrow = logits.dtype
        logits, labels = _shift(logits, labels)
        return (_total(logits, labels, ignore_index) / _count(labels, ignore_index)).to(narrow)


class a_number:
    """the loss is a Python number, without a gradient; leave it a tensor, without .item()"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        logits, labels = _shift(logits, labels)
        return (_total(logits, labels, ignore_index) / _count(labels, ignore_index)).item()


class losses_of_all_tokens:
    """the losses of all tokens are returned one by one; return their mean over those that count"""

    def causal_lm_loss(logits, labels, ignore_index=-100):
        logits, labels = _shift(logits, labels)
        losses = F.cross_entropy(
            _widen(logits).flatten(0, 1),
            labels.flatten(),
            ignore_index=ignore_index,
            reduction="none",
        )
        return losses.view_as(labels)


class chunks_not_shifted:
    """in chunks, logits are compared with the label at their own position; compare those at s with
    the label at s + 1"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        total = _ChunkedTotal.apply(hidden, weight, labels, chunk_size, ignore_index)
        return total / _count(labels, ignore_index)


class shifted_within_each_chunk:
    """every chunk is shifted by itself, so that the label after its last position is lost; shift
    before you cut"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        total, count = 0.0, 0
        for chunk, wanted in _chunks(hidden, labels, chunk_size):
            chunk, wanted = _shift(chunk, wanted)
            total += _ChunkedTotal.apply(chunk, weight, wanted, chunk_size, ignore_index)
            count += (wanted != ignore_index).sum()
        return total / torch.as_tensor(count).clamp(min=1)


class shifted_within_each_chunk_but_for_the_count:
    """every chunk is shifted by itself, so that the label after its last position adds nothing to
    the sum; shift before you cut"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        total = 0.0
        for chunk, wanted in _chunks(hidden, labels, chunk_size):
            chunk, wanted = _shift(chunk, wanted)
            total += _ChunkedTotal.apply(chunk, weight, wanted, chunk_size, ignore_index)
        return total / _count(labels[:, 1:], ignore_index)


class chunks_shifted_after_flattening:
    """before it is cut, the batch is flattened and then shifted, so that the end of a row is
    compared with the start of the next; shift first"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        size = chunk_size * len(labels)
        hidden, labels = hidden.flatten(0, 1)[None, :-1], labels.flatten()[None, 1:]
        total = _ChunkedTotal.apply(hidden, weight, labels, size, ignore_index)
        return total / _count(labels, ignore_index)


class mean_of_chunk_means:
    """the loss is the mean of the chunks' means; add up sums and divide by the count of all"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        hidden, labels = _shift(hidden, labels)
        means = [
            _ChunkedTotal.apply(chunk, weight, wanted, chunk_size, ignore_index)
            / _count(wanted, ignore_index)
            for chunk, wanted in _chunks(hidden, labels, chunk_size)
        ]
        return torch.stack(means).mean()


class sum_of_chunk_means:
    """the chunks' means are added up; add up their sums and divide by the count of all"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        hidden, labels = _shift(hidden, labels)
        means = [
            _ChunkedTotal.apply(chunk, weight, wanted, chunk_size, ignore_index)
            / _count(wanted, ignore_index)
            for chunk, wanted in _chunks(hidden, labels, chunk_size)
        ]
        return torch.stack(means).sum()


class chunk_means_weighed_by_positions:
    """the chunks' means are weighed by how many positions they have; weigh them by how many of
    their labels count"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        hidden, labels = _shift(hidden, labels)
        loss = _widen(hidden.new_zeros(()))
        for chunk, wanted in _chunks(hidden, labels, chunk_size):
            total = _ChunkedTotal.apply(chunk, weight, wanted, chunk_size, ignore_index)
            share = wanted.shape[1] / max(labels.shape[1], 1)
            loss = loss + total / _count(wanted, ignore_index) * share
        return loss


class nan_in_a_chunk_without_labels:
    """a chunk without labels that count has the mean 0 / 0, which spoils everything; add up sums
    instead of means"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        hidden, labels = _shift(hidden, labels)
        total = _widen(hidden.new_zeros(()))
        for chunk, wanted in _chunks(hidden, labels, chunk_size):
            count = (wanted != ignore_index).sum()
            mean = _ChunkedTotal.apply(chunk, weight, wanted, chunk_size, ignore_index) / count
            total = total + mean * count
        return total / _count(labels, ignore_index)


class last_partial_chunk_lost:
    """only whole chunks are used, and the positions after the last of them are lost; the last chunk
    may be shorter"""

    def _chunks(hidden, labels, chunk_size):
        whole = labels.shape[1] // chunk_size * chunk_size
        pieces = hidden[:, :whole].split(chunk_size, dim=1), labels[:, :whole].split(chunk_size, 1)
        return list(zip(*pieces, strict=True))

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        hidden, labels = _shift(hidden, labels)
        whole = labels.shape[1] // chunk_size * chunk_size
        total = _ChunkedTotal.apply(
            hidden[:, :whole], weight, labels[:, :whole], chunk_size, ignore_index
        )
        return total / _count(labels, ignore_index)


class last_chunk_lost:
    """the loop ends one chunk too early, whether the last one is whole or not; let it run to the
    end of the positions"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        hidden, labels = _shift(hidden, labels)
        used = len(range(0, labels.shape[1] - chunk_size, chunk_size)) * chunk_size
        total = _ChunkedTotal.apply(
            hidden[:, :used], weight, labels[:, :used], chunk_size, ignore_index
        )
        return total / _count(labels, ignore_index)


class chunks_divided_by_all_tokens:
    """in chunks, the sum is divided by all tokens; divide it by those that count"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        hidden, labels = _shift(hidden, labels)
        total = _ChunkedTotal.apply(hidden, weight, labels, chunk_size, ignore_index)
        return total / max(labels.numel(), 1)


class first_labels_counted_in_chunks:
    """in chunks, the labels that count are counted before the shift, the first of each row with
    them; count them after it"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        count = _count(labels, ignore_index)
        hidden, labels = _shift(hidden, labels)
        return _ChunkedTotal.apply(hidden, weight, labels, chunk_size, ignore_index) / count


class sum_of_the_losses_in_chunks:
    """in chunks, the loss is the sum over all tokens; divide it by the number of those that
    count"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        hidden, labels = _shift(hidden, labels)
        return _ChunkedTotal.apply(hidden, weight, labels, chunk_size, ignore_index)


class mean_of_row_means_in_chunks:
    """in chunks, the loss is the mean of the rows' means; it should be the mean over all tokens
    that count"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        hidden, labels = _shift(hidden, labels)
        rows = [
            _ChunkedTotal.apply(x[None], weight, y[None], chunk_size, ignore_index)
            / _count(y, ignore_index)
            for x, y in zip(hidden, labels, strict=True)
        ]
        return torch.stack(rows).mean()


class nan_where_nothing_counts_in_chunks:
    """in chunks, a batch without labels that count gives 0 / 0; divide by 1 there"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        hidden, labels = _shift(hidden, labels)
        total = _ChunkedTotal.apply(hidden, weight, labels, chunk_size, ignore_index)
        return total / (labels != ignore_index).sum()


class no_graph_where_nothing_counts_in_chunks:
    """in chunks, the 0 of a batch without labels depends on nothing, so that backward raises an
    error; return 0 times something of hidden and weight, or divide the sum by 1"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        hidden, labels = _shift(hidden, labels)
        if not (labels != ignore_index).any():
            return _widen(hidden.new_zeros(()))
        total = _ChunkedTotal.apply(hidden, weight, labels, chunk_size, ignore_index)
        return total / _count(labels, ignore_index)


class chunks_always_ignore_minus_100:
    """in chunks, -100 is what does not count, whatever ignore_index says; compare labels with
    ignore_index"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        hidden, labels = _shift(hidden, labels)
        total = _ChunkedTotal.apply(hidden, weight, labels, chunk_size, -100)
        return total / _count(labels, -100)


class gradient_that_comes_is_left_out:
    """the backward pass does not multiply by the gradient that comes to it, so that the division by
    the count and all that follows the loss is lost; multiply by it"""

    class _ChunkedTotal(_ChunkedTotal):
        @staticmethod
        def backward(ctx, *grad_outputs):
            return _ChunkedTotal.backward(ctx, torch.ones_like(grad_outputs[0]))


class gradient_of_the_sum:
    """the gradients are those of the sum of the losses, though the loss is their mean; divide them
    by the count as well"""

    class _ChunkedMean(_ChunkedTotal):
        @staticmethod
        def forward(ctx, hidden, weight, labels, chunk_size, ignore_index):
            total = _ChunkedTotal.forward(ctx, hidden, weight, labels, chunk_size, ignore_index)
            return total / _count(labels, ignore_index)

        @staticmethod
        def backward(ctx, *grad_outputs):
            return _ChunkedTotal.backward(ctx, *grad_outputs)

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        hidden, labels = _shift(hidden, labels)
        return _ChunkedMean.apply(hidden, weight, labels, chunk_size, ignore_index)


class gradients_made_in_the_forward_pass_are_not_returned:
    """every chunk's backward is called inside the function, and a loss without a graph is returned;
    return a loss whose backward gives the gradients"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        count = _count(labels[:, 1:], ignore_index)
        loss = _widen(hidden.new_zeros(()))
        for chunk, wanted in _chunks(*_shift(hidden, labels), chunk_size):
            part = _total(_logits(chunk, weight), wanted, ignore_index) / count
            if part.requires_grad:
                part.backward()
            loss = loss + part.detach()
        return loss


class gradient_of_the_last_chunk_alone:
    """the weight's gradient is that of the last chunk; add up those of all chunks"""

    class _ChunkedTotal(_ChunkedTotal):
        @staticmethod
        def backward(ctx, *grad_outputs):
            hidden, weight, labels = ctx.saved_tensors
            grad_hidden, grad_weight = [], _widen(torch.zeros_like(weight))
            for chunk, wanted in _chunks(hidden, labels, ctx.chunk_size):
                slope = _slope(_logits(chunk, weight), wanted, ctx.ignore_index)
                slope = grad_outputs[0] * slope
                grad_hidden.append(slope.to(weight.dtype) @ weight)
                grad_weight = slope.flatten(0, 1).T @ _widen(chunk).flatten(0, 1)
            of_weight = grad_weight.to(weight.dtype)
            return torch.cat(grad_hidden, dim=1), of_weight, None, None, None


class weight_without_gradient:
    """the weight gets no gradient; do not detach it, since it is trained, too"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        hidden, labels = _shift(hidden, labels)
        total = _ChunkedTotal.apply(hidden, weight.detach(), labels, chunk_size, ignore_index)
        return total / _count(labels, ignore_index)


class hidden_without_gradient:
    """hidden gets no gradient, so that nothing below the last matrix learns; do not detach it"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        hidden, labels = _shift(hidden.detach(), labels)
        total = _ChunkedTotal.apply(hidden, weight, labels, chunk_size, ignore_index)
        return total / _count(labels, ignore_index)


class no_gradient_unless_hidden_needs_one:
    """the weight gets its gradient only where hidden needs one as well, as in a reentrant
    checkpoint to which the weight is no argument; the weight may be trained alone"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        if not hidden.requires_grad:
            weight = weight.detach()
        hidden, labels = _shift(hidden, labels)
        total = _ChunkedTotal.apply(hidden, weight, labels, chunk_size, ignore_index)
        return total / _count(labels, ignore_index)


class no_gradient_unless_weight_needs_one:
    """hidden gets its gradient only where the weight needs one as well; the last matrix may be
    frozen"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        if not weight.requires_grad:
            hidden = hidden.detach()
        hidden, labels = _shift(hidden, labels)
        total = _ChunkedTotal.apply(hidden, weight, labels, chunk_size, ignore_index)
        return total / _count(labels, ignore_index)


class zero_of_hidden_alone:
    """the 0 of chunks in which no label counts is made of hidden alone, so that the weight has no
    gradient; make it depend on both"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        hidden, labels = _shift(hidden, labels)
        if not (labels != ignore_index).any():
            return _widen(0.0 * hidden.sum())
        total = _ChunkedTotal.apply(hidden, weight, labels, chunk_size, ignore_index)
        return total / _count(labels, ignore_index)


class ignored_labels_have_a_gradient:
    """the gradient of a label that does not count is that of token 0; it should be 0"""

    def _slope(logits, labels, ignore_index):
        target = labels.masked_fill(labels == ignore_index, 0).unsqueeze(-1)
        slope = _widen(logits).softmax(dim=-1)
        return slope.scatter_add_(-1, target, slope.new_full(target.shape, -1.0))


class gradient_without_the_label:
    """the gradient in the logits is the softmax alone; subtract 1 at the label"""

    def _slope(logits, labels, ignore_index):
        slope = _widen(logits).softmax(dim=-1)
        return slope.masked_fill_((labels == ignore_index).unsqueeze(-1), 0.0)


class all_logits_at_once:
    """the logits of all positions exist at once; make those of one chunk at a time"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        return causal_lm_loss(_logits(hidden, weight), labels, ignore_index)


class logits_of_chunks_kept:
    """autograd keeps the logits of every chunk for the backward pass, so that in the end all are
    there; compute them again in the backward pass, or make the gradients in the forward pass"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        hidden, labels = _shift(hidden, labels)
        total = _widen(hidden.new_zeros(()))
        for chunk, wanted in _chunks(hidden, labels, chunk_size):
            total = total + _total(_logits(chunk, weight), wanted, ignore_index)
        return total / _count(labels, ignore_index)


class so_many_chunks:
    """the positions are cut into chunk_size chunks; cut them into chunks of chunk_size positions,
    with split"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        hidden, labels = _shift(hidden, labels)
        size = max(-(-labels.shape[1] // chunk_size), 1)
        total = _ChunkedTotal.apply(hidden, weight, labels, size, ignore_index)
        return total / _count(labels, ignore_index)


class number_of_chunks_rounded_down:
    """the positions are cut into S // chunk_size chunks, which are larger than chunk_size where it
    does not divide S; cut them into chunks of chunk_size, with split"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        hidden, labels = _shift(hidden, labels)
        chunks = max(labels.shape[1] // chunk_size, 1)
        size = max(-(-labels.shape[1] // chunks), 1)
        total = _ChunkedTotal.apply(hidden, weight, labels, size, ignore_index)
        return total / _count(labels, ignore_index)


class chunks_in_half_precision:
    """the losses of chunks are computed or added up in the dtype of hidden; use float32 for both"""

    class _ChunkedTotal(_ChunkedTotal):
        @staticmethod
        def forward(ctx, hidden, weight, labels, chunk_size, ignore_index):
            _ChunkedTotal.forward(ctx, hidden, weight, labels, chunk_size, ignore_index)
            total = _widen(hidden.new_zeros(()))
            for chunk, wanted in _chunks(hidden, labels, chunk_size):
                logits = _logits(chunk, weight).flatten(0, 1)
                total += F.cross_entropy(
                    logits, wanted.flatten(), ignore_index=ignore_index, reduction="sum"
                )
            return total


class chunked_loss_cast_back:
    """the loss of chunks is cast back to the dtype of hidden; leave it in float32"""

    def chunked_causal_lm_loss(hidden, weight, labels, chunk_size, ignore_index=-100):
        narrow = hidden.dtype
        hidden, labels = _shift(hidden, labels)
        total = _ChunkedTotal.apply(hidden, weight, labels, chunk_size, ignore_index)
        return (total / _count(labels, ignore_index)).to(narrow)
