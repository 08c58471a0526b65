"""Wrong answers to ex08_moe_gate: each class is the solution with one change.

A class holds definitions that replace the solution's own; its docstring ends the sentence
"these are exactly the numbers you get if ...".
"""

import torch
from torch import nn
from torch.nn import functional as F


class loss_without_experts:
    """the losses lack the factor E, so that a balanced load gives 1/E; multiply by
    the number of experts"""

    def _balance(scores, topk_idx):
        wide = _widen(scores)
        share = _fractions(topk_idx, wide.shape[-1]).to(wide.dtype)
        return (share * _mean_scores(wide)).sum(dim=-1)


class loss_without_experts_but_for_qwen:
    """batch and sequence loss lack the factor E, so that a balanced load gives 1/E; multiply by the
    number of experts, as the qwen loss does"""

    def _balance(scores, topk_idx):
        wide = _widen(scores)
        share = _fractions(topk_idx, wide.shape[-1]).to(wide.dtype)
        return (share * _mean_scores(wide)).sum(dim=-1)

    def qwen_aux_loss(scores, topk_idx):
        return topk_idx.shape[-1] * scores.shape[-1] * batch_aux_loss(scores, topk_idx)


class loss_times_k_in_place_of_experts:
    """f · P is multiplied by k, the experts per token; multiply by E, the number of all experts"""

    def _balance(scores, topk_idx):
        wide = _widen(scores)
        share = _fractions(topk_idx, wide.shape[-1]).to(wide.dtype)
        return topk_idx.shape[-1] * (share * _mean_scores(wide)).sum(dim=-1)


class loss_of_counts_alone:
    """the losses are E · Σ f², computed from counts alone, which have no gradient; use f · P"""

    def _balance(scores, topk_idx):
        share = _fractions(topk_idx, scores.shape[-1]).to(_widen(scores).dtype)
        return scores.shape[-1] * share.square().sum(dim=-1)


class loss_of_scores_alone:
    """the losses are E · Σ P²; one of the factors should be f, the share of the choices"""

    def _balance(scores, topk_idx):
        return scores.shape[-1] * _mean_scores(_widen(scores)).square().sum(dim=-1)


class scores_detached:
    """the mean scores are detached, so that the losses have no gradient; detach only f"""

    def _mean_scores(wide):
        return wide.detach().mean(dim=-2)


class gradient_through_the_counts:
    """a gradient goes through f (straight through the choices); f should be a constant"""

    def _balance(scores, topk_idx):
        wide = _widen(scores)
        experts = wide.shape[-1]
        chosen = F.one_hot(topk_idx, experts).sum(dim=-2) + wide - wide.detach()
        share = _mean_scores(chosen) / topk_idx.shape[-1]
        return experts * (share * _mean_scores(wide)).sum(dim=-1)


class counts_weighed_by_scores:
    """f adds up the scores of the chosen experts; it should count choices, 1 for each"""

    def _balance(scores, topk_idx):
        wide = _widen(scores)
        experts = wide.shape[-1]
        taken = wide * F.one_hot(topk_idx, experts).sum(dim=-2)
        share = taken.sum(dim=-2) / taken.sum(dim=(-2, -1)).unsqueeze(-1)
        return experts * (share * _mean_scores(wide)).sum(dim=-1)


class chosen_scores_alone:
    """P leaves out the scores of experts that a token did not choose; it should average all
    scores"""

    def _balance(scores, topk_idx):
        wide = _widen(scores)
        experts = wide.shape[-1]
        share = _fractions(topk_idx, experts).to(wide.dtype)
        taken = wide * F.one_hot(topk_idx, experts).sum(dim=-2)
        return experts * (share * _mean_scores(taken)).sum(dim=-1)


class chosen_scores_alone_in_the_batch_loss:
    """P leaves out the scores of experts that a token did not choose, in batch_aux_loss alone; it
    should average all scores"""

    def batch_aux_loss(scores, topk_idx):
        taken = torch.zeros_like(scores).scatter(-1, topk_idx, scores.gather(-1, topk_idx))
        experts = scores.shape[-1]
        share = _fractions(topk_idx, experts).to(_widen(scores).dtype)
        return experts * (share * _mean_scores(_widen(taken))).sum(dim=-1)

    def qwen_aux_loss(scores, topk_idx):
        return topk_idx.shape[-1] * _balance(scores, topk_idx)


class chosen_scores_alone_but_for_sequences:
    """P leaves out the scores of experts that a token did not choose, in the batch loss and the
    qwen loss that is made of it; it should average all scores"""

    def batch_aux_loss(scores, topk_idx):
        taken = torch.zeros_like(scores).scatter(-1, topk_idx, scores.gather(-1, topk_idx))
        experts = scores.shape[-1]
        share = _fractions(topk_idx, experts).to(_widen(scores).dtype)
        return experts * (share * _mean_scores(_widen(taken))).sum(dim=-1)


class chosen_scores_alone_in_the_sequence_loss:
    """P leaves out the scores of experts that a token did not choose, in sequence_aux_loss alone;
    it should average all scores"""

    def sequence_aux_loss(scores, topk_idx):
        taken = torch.zeros_like(scores).scatter(-1, topk_idx, scores.gather(-1, topk_idx))
        experts = scores.shape[-1]
        share = _fractions(topk_idx, experts).to(_widen(scores).dtype)
        return experts * (share * _mean_scores(_widen(taken))).sum(dim=-1).mean()


class chosen_scores_alone_in_the_qwen_loss:
    """P leaves out the scores of experts that a token did not choose, in qwen_aux_loss alone; it
    should average all scores"""

    def qwen_aux_loss(scores, topk_idx):
        taken = torch.zeros_like(scores).scatter(-1, topk_idx, scores.gather(-1, topk_idx))
        experts = scores.shape[-1]
        share = _fractions(topk_idx, experts).to(_widen(scores).dtype)
        return topk_idx.shape[-1] * experts * (share * _mean_scores(_widen(taken))).sum(dim=-1)


class scores_summed_over_tokens:
    """P is the sum of the scores; it should be their mean over the tokens"""

    def _mean_scores(wide):
        return wide.sum(dim=-2)


class shares_of_tokens:
    """counts are divided by the N tokens; divide by the N · k choices"""

    def _fractions(topk_idx, experts):
        return _counts(topk_idx, experts) / topk_idx.shape[-2]


class counts_not_divided:
    """f is the counts themselves; divide them by the N · k choices"""

    def _fractions(topk_idx, experts):
        return _counts(topk_idx, experts)


class first_choices_counted:
    """only the first of each token's k experts is counted; count every choice"""

    def _fractions(topk_idx, experts):
        return _counts(topk_idx[..., :1], experts) / topk_idx.shape[-2]


class choices_looked_up_in_the_scores:
    """f counts each token's expert with the largest score instead of those in topk_idx; count the
    experts that were chosen"""

    def _balance(scores, topk_idx):
        wide = _widen(scores)
        experts = wide.shape[-1]
        share = _fractions(wide.argmax(dim=-1, keepdim=True), experts).to(wide.dtype)
        return experts * (share * _mean_scores(wide)).sum(dim=-1)


class favourites_counted_but_for_sequences:
    """f counts each token's expert with the largest score, in the batch loss and the qwen loss that
    is made of it; count all the experts that were chosen"""

    def batch_aux_loss(scores, topk_idx):
        return _balance(scores, scores.argmax(dim=-1, keepdim=True))


class counted_in_the_dtype_of_the_scores:
    """choices are counted in the dtype of the scores, and bfloat16 has no 257; count them in
    float32 or in integers"""

    def _balance(scores, topk_idx):
        experts, chosen = scores.shape[-1], topk_idx.flatten(-2)
        counts = scores.new_zeros(*chosen.shape[:-1], experts)
        counts = counts.scatter_add(-1, chosen, scores.new_ones(chosen.shape))
        wide = _widen(scores)
        share = counts.to(wide.dtype) / chosen.shape[-1]
        return experts * (share * _mean_scores(wide)).sum(dim=-1)


class experts_counted_once:
    """counts[topk_idx] += 1 adds only one to an expert that occurs several times; use
    scatter_add_"""

    def _counts(topk_idx, experts):
        return F.one_hot(topk_idx, experts).amax(dim=(-3, -2))


class experts_taken_from_the_choices:
    """the number of experts is guessed from topk_idx, where the last ones may be missing; use
    scores.shape[-1]"""

    def _counts(topk_idx, experts):
        return F.one_hot(topk_idx).sum(dim=(-3, -2))


class empty_experts_skipped:
    """experts that nobody chose are left out of the counts, so that later ones move
    up; count them as 0"""

    def _counts(topk_idx, experts):
        groups = topk_idx.reshape(-1, *topk_idx.shape[-2:])
        counts = torch.zeros(len(groups), experts, dtype=torch.long)
        for row, group in zip(counts, groups, strict=True):
            found = group.unique(return_counts=True)[1]
            row[: len(found)] = found
        return counts.reshape(*topk_idx.shape[:-2], experts)


class batch_loss_for_sequences:
    """the sequence loss is taken over the whole batch; take it per sequence, then the mean"""

    def sequence_aux_loss(scores, topk_idx):
        return _balance(scores.flatten(0, 1), topk_idx.flatten(0, 1))


class sequence_losses_summed:
    """the losses of the sequences are summed; take their mean"""

    def sequence_aux_loss(scores, topk_idx):
        return _balance(scores, topk_idx).sum()


class sequence_losses_not_averaged:
    """the sequence loss is one number per sequence; return their mean"""

    def sequence_aux_loss(scores, topk_idx):
        return _balance(scores, topk_idx)


class sequence_loss_per_token:
    """the counts of the sequence loss are divided by S, which makes it k times too
    large; divide by S · k"""

    def sequence_aux_loss(scores, topk_idx):
        return topk_idx.shape[-1] * _balance(scores, topk_idx).mean()


class one_loss_per_position:
    """the sequence loss groups tokens by position, over the batch; group them by sequence"""

    def sequence_aux_loss(scores, topk_idx):
        return _balance(scores.transpose(0, 1), topk_idx.transpose(0, 1)).mean()


class choices_shifted_in_place:
    """topk_idx += ... tells the sequences apart, but changes the caller's tensor; make a new
    tensor"""

    def sequence_aux_loss(scores, topk_idx):
        sequences, _, experts = scores.shape
        topk_idx += torch.arange(sequences, device=topk_idx.device)[:, None, None] * experts
        counts = torch.bincount(topk_idx.flatten(), minlength=sequences * experts)
        wide = _widen(scores)
        share = counts.reshape(sequences, experts).to(wide.dtype) / topk_idx[0].numel()
        return experts * (share * _mean_scores(wide)).sum(dim=-1).mean()


class qwen_without_k:
    """the qwen loss is the batch loss; it should be k times that"""

    def qwen_aux_loss(scores, topk_idx):
        return batch_aux_loss(scores, topk_idx)


class qwen_for_two_experts:
    """the qwen loss is twice the batch loss, whatever k is; use topk_idx.shape[-1]"""

    def qwen_aux_loss(scores, topk_idx):
        return 2 * batch_aux_loss(scores, topk_idx)


class batch_loss_per_token:
    """the counts of the batch loss are divided by N, which makes it k times too
    large; divide by N · k"""

    def batch_aux_loss(scores, topk_idx):
        return topk_idx.shape[-1] * _balance(scores, topk_idx)

    def qwen_aux_loss(scores, topk_idx):
        return batch_aux_loss(scores, topk_idx)


class losses_per_token:
    """the counts of batch and sequence loss are divided by the number of tokens, as in the qwen
    loss; divide by that number times k"""

    def _fractions(topk_idx, experts):
        return _counts(topk_idx, experts) / topk_idx.shape[-2]

    def qwen_aux_loss(scores, topk_idx):
        return batch_aux_loss(scores, topk_idx)


class losses_not_widened:
    """the losses are computed in the dtype of the scores; widen them to float32 first"""

    def _widen(x):
        return x

    class MoEGate(MoEGate):
        def _logits(self, x):
            wide = x.to(torch.promote_types(x.dtype, torch.float32))
            return F.linear(wide, self.weight.to(wide.dtype))


class losses_cast_back:
    """the losses are cast to the dtype of the scores; they should stay in float32"""

    def batch_aux_loss(scores, topk_idx):
        return _balance(scores, topk_idx).to(scores.dtype)

    def sequence_aux_loss(scores, topk_idx):
        return _balance(scores, topk_idx).mean().to(scores.dtype)


class weight_starts_constant:
    """the weight starts constant, so that all experts score alike and never become
    different; use random numbers"""

    class MoEGate(MoEGate):
        def _initial_weight(self, experts, hidden):
            return torch.zeros(experts, hidden)


class experts_start_alike:
    """every expert starts with the same row of numbers; draw one row for each"""

    class MoEGate(MoEGate):
        def _initial_weight(self, experts, hidden):
            return torch.randn(1, hidden).repeat(experts, 1)


class weight_transposed:
    """the weight is [C, E]; it should be [E, C], one row per expert, as in nn.Linear"""

    class MoEGate(MoEGate):
        def _initial_weight(self, experts, hidden):
            return torch.randn(hidden, experts) * 0.02

        def _logits(self, x):
            wide = _widen(x)
            return wide @ self.weight.to(wide.dtype)


class with_a_bias:
    """the router has a bias; it should have only the weight"""

    class MoEGate(MoEGate):
        def __init__(self, config):
            super().__init__(config)
            self.bias = nn.Parameter(torch.zeros(config.num_experts))

        def _logits(self, x):
            return super()._logits(x) + self.bias


class weight_not_trainable:
    """the weight is a buffer or needs no gradient; make it an nn.Parameter"""

    class MoEGate(MoEGate):
        def __init__(self, config):
            super().__init__(config)
            weight = self.weight.detach()
            del self.weight
            self.register_buffer("weight", weight)


class weight_under_another_name:
    """the weight belongs to an nn.Linear, as gate.weight; its name in the state
    dict should be weight"""

    class MoEGate(MoEGate):
        def __init__(self, config):
            super().__init__(config)
            del self.weight
            self.gate = nn.Linear(config.hidden_size, config.num_experts, bias=False)

        def _logits(self, x):
            return self.gate(_widen(x))


class renormalises_a_single_weight:
    """weights are renormalised when k = 1, so that all are 1 and the router's gradient is 0;
    renormalise only when k > 1"""

    class MoEGate(MoEGate):
        def _renormalises(self):
            return self.config.norm_topk_prob


class never_renormalises:
    """the weights are never renormalised; with norm_topk_prob and k > 1 they should sum to 1"""

    class MoEGate(MoEGate):
        def _renormalises(self):
            return False


class norm_topk_prob_ignored:
    """the weights are renormalised although norm_topk_prob is off; renormalise only when it is
    on"""

    class MoEGate(MoEGate):
        def _renormalises(self):
            return self.config.num_experts_per_tok > 1


class always_renormalises:
    """the weights are renormalised whatever norm_topk_prob and k are; renormalise only with
    norm_topk_prob and k > 1"""

    class MoEGate(MoEGate):
        def _renormalises(self):
            return True


class renormalised_over_tokens:
    """the weights are divided by their sum over the tokens; divide by the sum over
    a token's k experts"""

    class MoEGate(MoEGate):
        def _choose(self, scores):
            topk_weight, topk_idx = scores.topk(self.config.num_experts_per_tok, dim=-1)
            if self._renormalises():
                topk_weight = topk_weight / topk_weight.sum(dim=(0, 1), keepdim=True)
            return topk_idx, topk_weight


class sum_detached:
    """the sum is detached, so that the gradient ignores renormalising; do not detach it"""

    class MoEGate(MoEGate):
        def _choose(self, scores):
            topk_weight, topk_idx = scores.topk(self.config.num_experts_per_tok, dim=-1)
            if self._renormalises():
                topk_weight = topk_weight / topk_weight.detach().sum(dim=-1, keepdim=True)
            return topk_idx, topk_weight


class softmax_twice:
    """the chosen scores go through a second softmax; divide them by their sum"""

    class MoEGate(MoEGate):
        def _choose(self, scores):
            topk_weight, topk_idx = scores.topk(self.config.num_experts_per_tok, dim=-1)
            if self._renormalises():
                topk_weight = topk_weight.softmax(dim=-1)
            return topk_idx, topk_weight


class softmax_over_the_chosen:
    """the softmax comes after the top-k, over the chosen logits; it should run over all E
    experts"""

    class MoEGate(MoEGate):
        def _scores(self, x):
            logits = self._logits(x)
            topk_idx = logits.topk(self.config.num_experts_per_tok, dim=-1).indices
            left_out = torch.ones_like(logits).scatter(-1, topk_idx, 0.0).bool()
            return logits.masked_fill(left_out, -torch.inf).softmax(dim=-1)


class weights_by_softmax_over_the_chosen:
    """the weights are a softmax over the chosen logits alone, which always
    renormalises; take the chosen scores"""

    class MoEGate(MoEGate):
        def _choose(self, scores):
            topk_score, topk_idx = scores.topk(self.config.num_experts_per_tok, dim=-1)
            return topk_idx, topk_score.log().softmax(dim=-1)


class renormalised_scores_in_the_loss:
    """the loss is computed from the renormalised weights; use the scores before that"""

    class MoEGate(MoEGate):
        def _aux_loss(self, scores, topk_idx):
            if self._renormalises():
                weight = scores.gather(-1, topk_idx)
                weight = weight / weight.sum(dim=-1, keepdim=True)
                scores = torch.zeros_like(scores).scatter(-1, topk_idx, weight)
            return super()._aux_loss(scores, topk_idx)


class softmax_twice_in_the_loss:
    """the loss is computed from a softmax of the scores, which are a softmax already; use the
    scores themselves"""

    class MoEGate(MoEGate):
        def _balance_loss(self, scores, topk_idx):
            return super()._balance_loss(scores.softmax(dim=-1), topk_idx)


class choices_of_the_first_call:
    """the choices of the first call are kept and counted in every later loss; count those of the
    call itself"""

    class MoEGate(MoEGate):
        kept = None

        def _balance_loss(self, scores, topk_idx):
            self.kept = topk_idx if self.kept is None else self.kept
            return super()._balance_loss(scores, self.kept)


class logits_in_the_loss:
    """the loss is computed from the logits; use their softmax, the scores"""

    class MoEGate(MoEGate):
        def forward(self, x):
            scores = self._scores(x)
            topk_idx, topk_weight = self._choose(scores)
            aux_loss = self._aux_loss(self._logits(x), topk_idx)
            return topk_idx.flatten(0, 1), topk_weight.flatten(0, 1).to(x.dtype), aux_loss


class sigmoid_scores:
    """the scores are sigmoids, each expert for itself; they should be a softmax over the experts"""

    class MoEGate(MoEGate):
        def _scores(self, x):
            return self._logits(x).sigmoid()


class no_softmax:
    """the logits themselves are used as scores; take their softmax over the experts"""

    class MoEGate(MoEGate):
        def _scores(self, x):
            return self._logits(x)


class softmax_over_positions:
    """the softmax runs over the positions; it should run over the experts, the last axis"""

    class MoEGate(MoEGate):
        def _scores(self, x):
            return self._logits(x).softmax(dim=1)


class softmax_over_tokens:
    """the softmax runs over all tokens; it should run over the experts, the last axis"""

    class MoEGate(MoEGate):
        def _scores(self, x):
            logits = self._logits(x)
            return logits.flatten(0, 1).softmax(dim=0).reshape(logits.shape)


class softmax_without_maximum:
    """exp overflows for large logits; subtract the largest first, as torch.softmax does"""

    class MoEGate(MoEGate):
        def _scores(self, x):
            powers = self._logits(x).exp()
            return powers / powers.sum(dim=-1, keepdim=True)


class worst_experts:
    """the experts with the smallest scores are chosen; choose the largest"""

    class MoEGate(MoEGate):
        def _choose(self, scores):
            topk = scores.topk(self.config.num_experts_per_tok, dim=-1, largest=False)
            topk_weight = topk.values
            if self._renormalises():
                topk_weight = topk_weight / topk_weight.sum(dim=-1, keepdim=True)
            return topk.indices, topk_weight


class one_expert_short:
    """every token gets one expert, whatever num_experts_per_tok says; choose
    num_experts_per_tok of them"""

    class MoEGate(MoEGate):
        def _choose(self, scores):
            topk_weight, topk_idx = scores.topk(1, dim=-1)
            return topk_idx, topk_weight


class indices_sorted_alone:
    """the experts' numbers are sorted but their weights are not, so that each weight goes to
    another expert; keep both in one order"""

    class MoEGate(MoEGate):
        def _choose(self, scores):
            topk_idx, topk_weight = super()._choose(scores)
            return topk_idx.sort(dim=-1).values, topk_weight


class weights_without_gradient:
    """the weights are detached; keep them in the graph, since only through them the router learns
    from the model's loss"""

    class MoEGate(MoEGate):
        def _choose(self, scores):
            return super()._choose(scores.detach())


class noisy_choice:
    """noise is added to the logits in training; this router should draw nothing"""

    class MoEGate(MoEGate):
        def _logits(self, x):
            logits = super()._logits(x)
            return logits + torch.randn_like(logits) if self.training else logits


class logits_in_half_precision:
    """the weight is rounded to the dtype of x, and the logits with it; widen x instead"""

    class MoEGate(MoEGate):
        def _logits(self, x):
            return _widen(F.linear(x, self.weight.to(x.dtype)))


class dtypes_mixed:
    """x and the weight are multiplied in their own dtypes, which fails for half precision and
    float32; widen both"""

    class MoEGate(MoEGate):
        def _logits(self, x):
            return _widen(F.linear(x, self.weight))


class weight_not_widened:
    """only x is widened, which fails for a weight in half precision; widen both"""

    class MoEGate(MoEGate):
        def _logits(self, x):
            return F.linear(_widen(x), self.weight)


class softmax_in_half_precision:
    """the softmax runs in the dtype of x; keep logits and softmax in float32"""

    class MoEGate(MoEGate):
        def _scores(self, x):
            return _widen(self._logits(x).to(x.dtype).softmax(dim=-1))


class choice_among_rounded_scores:
    """the experts are chosen by scores cast to the dtype of x, of which many are equal; choose by
    the scores in float32"""

    class MoEGate(MoEGate):
        def forward(self, x):
            scores = self._scores(x)
            topk_idx, _ = self._choose(scores.to(x.dtype))
            topk_weight = scores.gather(-1, topk_idx)
            if self._renormalises():
                topk_weight = topk_weight / topk_weight.sum(dim=-1, keepdim=True)
            aux_loss = self._aux_loss(scores, topk_idx)
            return topk_idx.flatten(0, 1), topk_weight.flatten(0, 1).to(x.dtype), aux_loss


class weights_cast_before_division:
    """the weights are cast to the dtype of x and then divided by their sum; cast last"""

    class MoEGate(MoEGate):
        def forward(self, x):
            scores = self._scores(x)
            topk_weight, topk_idx = scores.topk(self.config.num_experts_per_tok, dim=-1)
            topk_weight = topk_weight.to(x.dtype)
            if self._renormalises():
                topk_weight = topk_weight / topk_weight.sum(dim=-1, keepdim=True)
            aux_loss = self._aux_loss(scores, topk_idx)
            return topk_idx.flatten(0, 1), topk_weight.flatten(0, 1), aux_loss


class weights_not_cast_back:
    """the weights are left in float32; cast them to the dtype of x"""

    class MoEGate(MoEGate):
        def forward(self, x):
            scores = self._scores(x)
            topk_idx, topk_weight = self._choose(scores)
            aux_loss = self._aux_loss(scores, topk_idx)
            return topk_idx.flatten(0, 1), topk_weight.flatten(0, 1), aux_loss


class loss_cast_to_the_dtype_of_x:
    """in training, aux_loss is cast to the dtype of x; it should stay in float32"""

    class MoEGate(MoEGate):
        def forward(self, x):
            topk_idx, topk_weight, aux_loss = super().forward(x)
            return topk_idx, topk_weight, aux_loss.to(x.dtype) if self.training else aux_loss


class loss_always_in_the_dtype_of_x:
    """in training and in eval, aux_loss is cast to the dtype of x; it should stay in float32"""

    class MoEGate(MoEGate):
        def forward(self, x):
            topk_idx, topk_weight, aux_loss = super().forward(x)
            return topk_idx, topk_weight, aux_loss.to(x.dtype)


class zero_in_the_dtype_of_x:
    """in eval, the zero has the dtype of x; aux_loss should be float32 there, too"""

    class MoEGate(MoEGate):
        def forward(self, x):
            topk_idx, topk_weight, aux_loss = super().forward(x)
            return topk_idx, topk_weight, aux_loss if self.training else x.new_zeros(())


class rows_per_sequence:
    """topk_idx and topk_weight are [B, S, k]; flatten them to one row per token, [N, k]"""

    class MoEGate(MoEGate):
        def forward(self, x):
            scores = self._scores(x)
            topk_idx, topk_weight = self._choose(scores)
            return topk_idx, topk_weight.to(x.dtype), self._aux_loss(scores, topk_idx)


class tokens_by_position:
    """the rows go position by position; they should go sequence by sequence"""

    class MoEGate(MoEGate):
        def forward(self, x):
            scores = self._scores(x)
            topk_idx, topk_weight = self._choose(scores)
            aux_loss = self._aux_loss(scores, topk_idx)
            rows = topk_idx.transpose(0, 1).flatten(0, 1)
            return rows, topk_weight.transpose(0, 1).flatten(0, 1).to(x.dtype), aux_loss


class viewed_without_copy:
    """x.view(-1, C) is used, which fails where x is not contiguous; use reshape or flatten"""

    class MoEGate(MoEGate):
        def _logits(self, x):
            return super()._logits(x.view(-1, x.shape[-1])).reshape(*x.shape[:-1], -1)


class squeezed:
    """squeeze() removes the axis of a single token or a single expert as well; leave it out"""

    class MoEGate(MoEGate):
        def forward(self, x):
            topk_idx, topk_weight, aux_loss = super().forward(x)
            return topk_idx.squeeze(), topk_weight.squeeze(), aux_loss


class weights_first:
    """topk_weight is returned before topk_idx; the order should be topk_idx, topk_weight,
    aux_loss"""

    class MoEGate(MoEGate):
        def forward(self, x):
            topk_idx, topk_weight, aux_loss = super().forward(x)
            return topk_weight, topk_idx, aux_loss


class coefficient_forgotten:
    """aux_loss is not multiplied by router_aux_loss_coef; multiply it once"""

    class MoEGate(MoEGate):
        def _aux_loss(self, scores, topk_idx):
            if not self.training:
                return scores.new_zeros(())
            return self._balance_loss(scores, topk_idx)


class coefficient_twice:
    """aux_loss is multiplied by router_aux_loss_coef twice; multiply it once"""

    class MoEGate(MoEGate):
        def _aux_loss(self, scores, topk_idx):
            return self.config.router_aux_loss_coef * super()._aux_loss(scores, topk_idx)


class coefficient_always_the_default:
    """aux_loss is multiplied by 5e-4, the default; use config.router_aux_loss_coef"""

    class MoEGate(MoEGate):
        def _aux_loss(self, scores, topk_idx):
            if not self.training:
                return scores.new_zeros(())
            return 5e-4 * self._balance_loss(scores, topk_idx)


class loss_in_eval:
    """aux_loss is computed in eval as well; it should be 0 there"""

    class MoEGate(MoEGate):
        def _aux_loss(self, scores, topk_idx):
            return self.config.router_aux_loss_coef * self._balance_loss(scores, topk_idx)


class no_loss_under_no_grad:
    """aux_loss is 0 under no_grad, in training too; it should be 0 in eval alone"""

    class MoEGate(MoEGate):
        def _aux_loss(self, scores, topk_idx):
            aux_loss = super()._aux_loss(scores, topk_idx)
            return aux_loss if torch.is_grad_enabled() else torch.zeros_like(aux_loss)


class losses_pile_up:
    """each call adds its aux_loss to those before; a call should return only its own"""

    class MoEGate(MoEGate):
        total = 0.0

        def _aux_loss(self, scores, topk_idx):
            self.total = self.total + super()._aux_loss(scores, topk_idx)
            return self.total


class padding_left_out:
    """tokens of zeros are left out of the loss as padding; count every position"""

    class MoEGate(MoEGate):
        def forward(self, x):
            topk_idx, topk_weight, aux_loss = super().forward(x)
            real = x.ne(0).any(dim=-1).flatten()
            if self.training and self.config.aux_loss_kind != "sequence" and not real.all():
                scores = self._scores(x).flatten(0, 1)
                loss = qwen_aux_loss if self.config.aux_loss_kind == "qwen" else batch_aux_loss
                aux_loss = self.config.router_aux_loss_coef * loss(scores[real], topk_idx[real])
            return topk_idx, topk_weight, aux_loss


class padding_weighs_nothing:
    """tokens of zeros get the weight 0 as padding; route every position"""

    class MoEGate(MoEGate):
        def forward(self, x):
            topk_idx, topk_weight, aux_loss = super().forward(x)
            real = x.ne(0).any(dim=-1).flatten()
            return topk_idx, topk_weight * real.unsqueeze(-1), aux_loss


class no_loss_in_eval:
    """aux_loss is None in eval; it should be 0 there, as a tensor without axes"""

    class MoEGate(MoEGate):
        def _aux_loss(self, scores, topk_idx):
            return super()._aux_loss(scores, topk_idx) if self.training else None


class zero_is_a_number:
    """aux_loss is the number 0.0 in eval; it should be a tensor without axes there, too"""

    class MoEGate(MoEGate):
        def _aux_loss(self, scores, topk_idx):
            return super()._aux_loss(scores, topk_idx) if self.training else 0.0


class zero_with_an_axis:
    """aux_loss has the shape [1] in eval; it should have no axes there either"""

    class MoEGate(MoEGate):
        def _aux_loss(self, scores, topk_idx):
            return super()._aux_loss(scores, topk_idx) if self.training else scores.new_zeros(1)


class loss_with_an_axis:
    """aux_loss has the shape [1]; it should have no axes"""

    class MoEGate(MoEGate):
        def _aux_loss(self, scores, topk_idx):
            return super()._aux_loss(scores, topk_idx).reshape(1)


class loss_is_a_number:
    """aux_loss is a Python number, without a gradient; leave it a tensor, without .item()"""

    class MoEGate(MoEGate):
        def _aux_loss(self, scores, topk_idx):
            return super()._aux_loss(scores, topk_idx).item()


class loss_without_gradient:
    """aux_loss is computed from detached scores, so that it teaches the router
    nothing; do not detach them"""

    class MoEGate(MoEGate):
        def _aux_loss(self, scores, topk_idx):
            return super()._aux_loss(scores.detach(), topk_idx)


class always_the_qwen_loss:
    """aux_loss is the qwen loss, whatever aux_loss_kind says; use the kind that it names"""

    class MoEGate(MoEGate):
        def _balance_loss(self, scores, topk_idx):
            return qwen_aux_loss(scores.flatten(0, 1), topk_idx.flatten(0, 1))


class always_the_batch_loss:
    """aux_loss is the batch loss, whatever aux_loss_kind says; use the kind that it names"""

    class MoEGate(MoEGate):
        def _balance_loss(self, scores, topk_idx):
            return batch_aux_loss(scores.flatten(0, 1), topk_idx.flatten(0, 1))


class always_the_sequence_loss:
    """aux_loss is the sequence loss, whatever aux_loss_kind says; use the kind that it names"""

    class MoEGate(MoEGate):
        def _balance_loss(self, scores, topk_idx):
            return sequence_aux_loss(scores, topk_idx)


class kinds_exchanged:
    """the kind "batch" gives the sequence loss and "sequence" the batch loss; exchange the two"""

    class MoEGate(MoEGate):
        def _balance_loss(self, scores, topk_idx):
            if self.config.aux_loss_kind == "batch":
                return sequence_aux_loss(scores, topk_idx)
            loss = qwen_aux_loss if self.config.aux_loss_kind == "qwen" else batch_aux_loss
            return loss(scores.flatten(0, 1), topk_idx.flatten(0, 1))


class no_qwen_loss:
    """the kind "qwen" gives the batch loss; it should give k times that"""

    class MoEGate(MoEGate):
        def _balance_loss(self, scores, topk_idx):
            if self.config.aux_loss_kind == "sequence":
                return sequence_aux_loss(scores, topk_idx)
            return batch_aux_loss(scores.flatten(0, 1), topk_idx.flatten(0, 1))


class sequences_cut_elsewhere:
    """the sequence loss reshapes the tokens to [S, B, ...]; reshape them to [B, S, ...]"""

    class MoEGate(MoEGate):
        def _balance_loss(self, scores, topk_idx):
            if self.config.aux_loss_kind != "sequence":
                return super()._balance_loss(scores, topk_idx)
            batch, positions = scores.shape[:2]
            return sequence_aux_loss(
                scores.reshape(positions, batch, -1), topk_idx.reshape(positions, batch, -1)
            )
