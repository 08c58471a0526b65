"""Wrong answers to ex09_moe: each class is the solution with one change.

A class holds definitions that replace the solution's own; its docstring ends the sentence
"these are exactly the numbers you get if ...".
"""

import torch
from torch import nn
from torch.nn import functional as F


class outputs_not_weighed:
    """the experts' outputs are added without their weights; multiply each by topk_weight"""

    class MoEFeedForward(MoEFeedForward):
        def _weighed(self, outputs, topk_weight, choices):
            return outputs


class mean_of_the_experts:
    """the experts' outputs are averaged over the k choices; weigh each by topk_weight and add
    them"""

    class MoEFeedForward(MoEFeedForward):
        def _weighed(self, outputs, topk_weight, choices):
            return outputs / topk_weight.shape[1]


class sum_divided_by_k:
    """the weighted sum is divided by k; the weights say already what each output counts"""

    class MoEFeedForward(MoEFeedForward):
        def _weighed(self, outputs, topk_weight, choices):
            return super()._weighed(outputs, topk_weight, choices) / topk_weight.shape[1]


class inputs_weighed:
    """an expert's input is multiplied by the weight; multiply its output, since an expert is not
    linear"""

    class MoEFeedForward(MoEFeedForward):
        def _routed(self, tokens, topk_idx, topk_weight):
            out = torch.zeros_like(tokens)
            for number, expert in enumerate(self.experts):
                rows, places = self._choices_of(number, topk_idx)
                weight = topk_weight[rows, places].unsqueeze(-1)
                out = out.index_add(0, rows, self._run(expert, weight * tokens[rows]))
            return out


class weighed_twice:
    """each output is multiplied by its weight twice; multiply once"""

    class MoEFeedForward(MoEFeedForward):
        def _weighed(self, outputs, topk_weight, choices):
            return super()._weighed(outputs, topk_weight.square(), choices)


class weights_detached:
    """the weights are detached, so that the router learns nothing from the outputs; keep them in
    the graph"""

    class MoEFeedForward(MoEFeedForward):
        def _weighed(self, outputs, topk_weight, choices):
            return super()._weighed(outputs, topk_weight.detach(), choices)


class renormalised_again:
    """the weights are divided by their sum once more, which undoes what the router decided; use
    them as they are"""

    class MoEFeedForward(MoEFeedForward):
        def _routed(self, tokens, topk_idx, topk_weight):
            topk_weight = topk_weight / topk_weight.sum(dim=-1, keepdim=True)
            return super()._routed(tokens, topk_idx, topk_weight)


class softmax_of_the_weights:
    """the weights go through a softmax once more; use them as the router gave them"""

    class MoEFeedForward(MoEFeedForward):
        def _routed(self, tokens, topk_idx, topk_weight):
            return super()._routed(tokens, topk_idx, topk_weight.softmax(dim=-1))


class first_weight_for_all:
    """every expert of a token gets the weight of its first choice; take the one in the same place
    as the expert"""

    class MoEFeedForward(MoEFeedForward):
        def _weighed(self, outputs, topk_weight, choices):
            return topk_weight[choices[0], 0].unsqueeze(-1) * outputs


class all_weights_for_each:
    """every expert of a token gets the sum of the token's weights; take the one in the same place
    as the expert"""

    class MoEFeedForward(MoEFeedForward):
        def _weighed(self, outputs, topk_weight, choices):
            return topk_weight[choices[0]].sum(dim=-1, keepdim=True) * outputs


class weights_in_another_order:
    """a token's weights go to its experts in the opposite order; keep topk_idx and topk_weight
    aligned"""

    class MoEFeedForward(MoEFeedForward):
        def _weighed(self, outputs, topk_weight, choices):
            return super()._weighed(outputs, topk_weight.flip(-1), choices)


class weights_in_order_of_places:
    """an expert's weights are gathered place by place and its tokens in the order of the text; take
    both in one order"""

    class MoEFeedForward(MoEFeedForward):
        def _weighed(self, outputs, topk_weight, choices):
            tokens, places = choices
            order = places.argsort(stable=True)
            return topk_weight[tokens[order], places[order]].unsqueeze(-1) * outputs


class weights_of_the_expert_number:
    """topk_weight is indexed by the expert's number; index it by the place in which the token chose
    the expert"""

    class MoEFeedForward(MoEFeedForward):
        def _routed(self, tokens, topk_idx, topk_weight):
            out = torch.zeros_like(tokens)
            for number, expert in enumerate(self.experts):
                rows, _ = self._choices_of(number, topk_idx)
                weight = topk_weight[rows, min(number, topk_weight.shape[1] - 1)].unsqueeze(-1)
                out = out.index_add(0, rows, weight * self._run(expert, tokens[rows]))
            return out


class later_expert_overwrites:
    """out[rows] = ... keeps only the last expert of a token; add with index_add"""

    class MoEFeedForward(MoEFeedForward):
        def _routed(self, tokens, topk_idx, topk_weight):
            out = torch.zeros_like(tokens)
            for number, expert in enumerate(self.experts):
                choices = self._choices_of(number, topk_idx)
                outputs = self._run(expert, tokens[choices[0]])
                out = out.index_copy(0, choices[0], self._weighed(outputs, topk_weight, choices))
            return out


class tokens_tiled:
    """tokens are copied by repeat, a b a b, while topk_idx.flatten() goes a a b b; use
    repeat_interleave"""

    class MoEFeedForward(MoEFeedForward):
        def _routed(self, tokens, topk_idx, topk_weight):
            copies = tokens.repeat(topk_idx.shape[1], 1)
            flat = topk_idx.flatten()
            out = torch.zeros_like(copies)
            for number, expert in enumerate(self.experts):
                rows = torch.where(flat == number)[0]
                out = out.index_copy(0, rows, self._run(expert, copies[rows]))
            return (out.view(*topk_weight.shape, -1) * topk_weight.unsqueeze(-1)).sum(dim=1)


class tokens_found_by_remainder:
    """choice i is taken for one of token i % N; it should be one of token i // k"""

    class MoEFeedForward(MoEFeedForward):
        def _routed(self, tokens, topk_idx, topk_weight):
            flat, weights = topk_idx.flatten(), topk_weight.flatten()
            out = torch.zeros_like(tokens)
            for number, expert in enumerate(self.experts):
                chosen = torch.where(flat == number)[0]
                rows = chosen % len(tokens)
                weighed = weights[chosen].unsqueeze(-1) * self._run(expert, tokens[rows])
                out = out.index_add(0, rows, weighed)
            return out


class weights_not_sorted:
    """choices are sorted by expert and their weights are not; take both in the same order"""

    class MoEFeedForward(MoEFeedForward):
        def _routed(self, tokens, topk_idx, topk_weight):
            order = topk_idx.flatten().argsort(stable=True)
            sizes = topk_idx.flatten().bincount(minlength=len(self.experts)).tolist()
            rows = order // topk_idx.shape[1]
            pieces = zip(self.experts, tokens[rows].split(sizes), strict=True)
            outputs = torch.cat([self._run(expert, piece) for expert, piece in pieces])
            return torch.zeros_like(tokens).index_add(0, rows, topk_weight.reshape(-1, 1) * outputs)


class outputs_not_sorted_back:
    """the outputs are left in the order of the experts; bring them back to the order of the
    tokens"""

    class MoEFeedForward(MoEFeedForward):
        def _routed(self, tokens, topk_idx, topk_weight):
            order = topk_idx.flatten().argsort(stable=True)
            sizes = topk_idx.flatten().bincount(minlength=len(self.experts)).tolist()
            pieces = zip(self.experts, tokens[order // topk_idx.shape[1]].split(sizes), strict=True)
            outputs = torch.cat([self._run(expert, piece) for expert, piece in pieces])
            return (outputs.view(*topk_idx.shape, -1) * topk_weight.unsqueeze(-1)).sum(dim=1)


class stops_at_an_empty_expert:
    """the loop ends at the first expert without tokens; go on with the next one"""

    class MoEFeedForward(MoEFeedForward):
        def _routed(self, tokens, topk_idx, topk_weight):
            out = torch.zeros_like(tokens)
            for number, expert in enumerate(self.experts):
                choices = self._choices_of(number, topk_idx)
                if not len(choices[0]):
                    break
                outputs = self._run(expert, tokens[choices[0]])
                out = out.index_add(0, choices[0], self._weighed(outputs, topk_weight, choices))
            return out


class empty_experts_skipped:
    """an expert without tokens is skipped, so that its gradient is None; run it on no tokens, which
    costs nothing and gives zeros"""

    class MoEFeedForward(MoEFeedForward):
        def _run(self, expert, tokens):
            return expert(tokens) if len(tokens) else tokens


class empty_experts_left_out_of_the_counts:
    """experts that nobody chose are left out of the counts, so that later experts get the tokens of
    others; count with minlength"""

    class MoEFeedForward(MoEFeedForward):
        def _routed(self, tokens, topk_idx, topk_weight):
            numbers = topk_idx.unique()
            ranks = torch.searchsorted(numbers, topk_idx)
            return super()._routed(tokens, ranks, topk_weight)


class zeros_for_one_weight_alone:
    """an expert without tokens gets zeros for its gate_proj alone, and None for the rest; every
    parameter should get zeros"""

    class MoEFeedForward(MoEFeedForward):
        def _run(self, expert, tokens):
            return expert(tokens) if len(tokens) else tokens + 0 * expert.gate_proj.weight.sum()


class every_expert_sees_every_token:
    """every expert computes every token, and most of it is multiplied by 0; run it on the tokens
    that chose it"""

    class MoEFeedForward(MoEFeedForward):
        def _routed(self, tokens, topk_idx, topk_weight):
            out = torch.zeros_like(tokens)
            for number, expert in enumerate(self.experts):
                weight = (topk_weight * (topk_idx == number)).sum(dim=-1, keepdim=True)
                out = out + weight * expert(tokens)
            return out


class every_expert_in_training:
    """in training every expert computes every token; run it on the tokens that chose it, and an
    expert without tokens on none"""

    class MoEFeedForward(MoEFeedForward):
        def _routed(self, tokens, topk_idx, topk_weight):
            if not self.training:
                return super()._routed(tokens, topk_idx, topk_weight)
            out = torch.zeros_like(tokens)
            for number, expert in enumerate(self.experts):
                weight = (topk_weight * (topk_idx == number)).sum(dim=-1, keepdim=True)
                out = out + weight * expert(tokens)
            return out


class every_expert_in_eval:
    """in eval every expert computes every token; run it on the tokens that chose it, as in
    training"""

    class MoEFeedForward(MoEFeedForward):
        def _routed(self, tokens, topk_idx, topk_weight):
            if self.training:
                return super()._routed(tokens, topk_idx, topk_weight)
            out = torch.zeros_like(tokens)
            for number, expert in enumerate(self.experts):
                weight = (topk_weight * (topk_idx == number)).sum(dim=-1, keepdim=True)
                out = out + weight * expert(tokens)
            return out


class batches_padded:
    """every expert's batch is padded to the size of the largest; run each on its own tokens"""

    class MoEFeedForward(MoEFeedForward):
        def _routed(self, tokens, topk_idx, topk_weight):
            most = int(topk_idx.flatten().bincount().max())
            out = torch.zeros_like(tokens)
            for number, expert in enumerate(self.experts):
                choices = self._choices_of(number, topk_idx)
                count = len(choices[0])
                batch = F.pad(tokens[choices[0]], (0, 0, 0, most - count))
                outputs = self._run(expert, batch)[:count]
                out = out.index_add(0, choices[0], self._weighed(outputs, topk_weight, choices))
            return out


class all_experts_mixed:
    """all experts are mixed by the router's scores; only the k that topk_idx names should be"""

    class MoEFeedForward(MoEFeedForward):
        def _routed(self, tokens, topk_idx, topk_weight):
            weight = self.gate.weight.to(torch.promote_types(tokens.dtype, torch.float32))
            scores = F.linear(tokens.to(weight.dtype), weight).softmax(dim=-1).to(tokens.dtype)
            outputs = torch.stack([expert(tokens) for expert in self.experts], dim=1)
            return (scores.unsqueeze(-1) * outputs).sum(dim=1)


class first_choice_alone:
    """only the first of a token's k experts is asked; add up all k"""

    class MoEFeedForward(MoEFeedForward):
        def _choices_of(self, number, topk_idx):
            return super()._choices_of(number, topk_idx[:, :1])


class two_choices_at_most:
    """two choices per token are looked at, whatever num_experts_per_tok says; take all columns of
    topk_idx"""

    class MoEFeedForward(MoEFeedForward):
        def _choices_of(self, number, topk_idx):
            return super()._choices_of(number, topk_idx[:, :2])


class experts_by_their_place:
    """the j-th choice goes to expert j, whichever expert it names; use the numbers in topk_idx"""

    class MoEFeedForward(MoEFeedForward):
        def _choices_of(self, number, topk_idx):
            places = torch.arange(topk_idx.shape[1], device=topk_idx.device)
            return super()._choices_of(number, places.expand(topk_idx.shape))


class as_many_experts_as_choices:
    """the loop runs over k experts, the first ones; run it over all E"""

    class MoEFeedForward(MoEFeedForward):
        def _choices_of(self, number, topk_idx):
            none = number >= topk_idx.shape[1]
            return super()._choices_of(-1 if none else number, topk_idx)


class last_expert_left_out:
    """the loop ends before the last expert; run it over all E"""

    class MoEFeedForward(MoEFeedForward):
        def _choices_of(self, number, topk_idx):
            none = number == len(self.experts) - 1
            return super()._choices_of(-1 if none else number, topk_idx)


class tokens_dropped:
    """an expert takes 1.25 · N · k / E tokens and drops the rest; it should take all that chose
    it"""

    class MoEFeedForward(MoEFeedForward):
        def _choices_of(self, number, topk_idx):
            most = -(-5 * topk_idx.numel() // (4 * len(self.experts)))
            rows, places = super()._choices_of(number, topk_idx)
            return rows[:most], places[:most]


class one_token_at_most:
    """a single row is looked up per expert, as nonzero()[0] gives; run the expert on all rows that
    chose it"""

    class MoEFeedForward(MoEFeedForward):
        def _choices_of(self, number, topk_idx):
            rows, places = super()._choices_of(number, topk_idx)
            return rows[:1], places[:1]


class shared_experts_forgotten:
    """the shared experts are made and never asked; add what they make of x"""

    class MoEFeedForward(MoEFeedForward):
        def _shared(self, out, tokens):
            return out


class first_shared_expert_alone:
    """only the first shared expert is asked; add up all of them"""

    class MoEFeedForward(MoEFeedForward):
        def _shared(self, out, tokens):
            for expert in self.shared_experts[:1]:
                out = out + expert(tokens)
            return out


class shared_experts_averaged:
    """the shared experts are averaged; add them, with no weight"""

    class MoEFeedForward(MoEFeedForward):
        def _shared(self, out, tokens):
            for expert in self.shared_experts:
                out = out + expert(tokens) / len(self.shared_experts)
            return out


class shared_experts_weighed:
    """the shared experts are multiplied by the weight of a token's first choice; add them with no
    weight"""

    class MoEFeedForward(MoEFeedForward):
        def _routed(self, tokens, topk_idx, topk_weight):
            out = super()._routed(tokens, topk_idx, topk_weight)
            for expert in self.shared_experts:
                out = out + topk_weight[:, :1] * expert(tokens)
            return out

        def _shared(self, out, tokens):
            return out


class shared_experts_fed_the_sum:
    """the shared experts get what the chosen ones returned; feed them x"""

    class MoEFeedForward(MoEFeedForward):
        def _shared(self, out, tokens):
            return super()._shared(out, out)


class shared_experts_in_a_row:
    """each shared expert gets what has been added up so far; feed every one of them x"""

    class MoEFeedForward(MoEFeedForward):
        def _shared(self, out, tokens):
            for expert in self.shared_experts:
                out = out + expert(out)
            return out


class shared_experts_for_each_choice:
    """the shared experts are added k times, once for each choice; add them once"""

    class MoEFeedForward(MoEFeedForward):
        def _routed(self, tokens, topk_idx, topk_weight):
            out = super()._routed(tokens, topk_idx, topk_weight)
            for _ in range(topk_idx.shape[1] - 1):
                out = self._shared(out, tokens)
            return out


class shared_experts_in_training_alone:
    """the shared experts are left out in eval; add them in both modes"""

    class MoEFeedForward(MoEFeedForward):
        def _shared(self, out, tokens):
            return super()._shared(out, tokens) if self.training else out


class shared_experts_gated:
    """the shared experts are weighed by another gate, as in Qwen2-MoE; add them with no weight and
    no gate"""

    class MoEFeedForward(MoEFeedForward):
        def __init__(self, config):
            super().__init__(config)
            if config.n_shared_experts:
                self.shared_expert_gate = nn.Linear(config.hidden_size, 1, bias=False)

        def _shared(self, out, tokens):
            for expert in self.shared_experts:
                out = out + self.shared_expert_gate(tokens).sigmoid() * expert(tokens)
            return out


class one_wide_shared_expert:
    """the shared experts are one network of n times the width, as in DeepSeek's code; make
    n_shared_experts of them in an nn.ModuleList"""

    class MoEFeedForward(MoEFeedForward):
        def __init__(self, config):
            super().__init__(config)
            count = config.n_shared_experts
            if count:
                self.shared_experts = FeedForward(config, count * config.moe_intermediate_size)

        def _shared(self, out, tokens):
            if isinstance(self.shared_experts, FeedForward):
                return out + self.shared_experts(tokens)
            return out


class shared_experts_of_the_dense_width:
    """the shared experts have the width intermediate_size; it should be moe_intermediate_size"""

    class MoEFeedForward(MoEFeedForward):
        def __init__(self, config):
            super().__init__(config)
            count = range(config.n_shared_experts)
            self.shared_experts = nn.ModuleList(FeedForward(config) for _ in count)


class always_one_shared_expert:
    """there is a shared expert even where n_shared_experts is 0; make n_shared_experts of them"""

    class MoEFeedForward(MoEFeedForward):
        def __init__(self, config):
            super().__init__(config)
            self.shared_experts = self._networks(config, max(1, config.n_shared_experts))


class dense_width:
    """the experts have the width intermediate_size; it should be moe_intermediate_size"""

    class MoEFeedForward(MoEFeedForward):
        def _networks(self, config, count):
            return nn.ModuleList(FeedForward(config) for _ in range(count))


class one_expert_many_times:
    """[FeedForward(...)] * E is the same network E times; make a new one for each expert"""

    class MoEFeedForward(MoEFeedForward):
        def _networks(self, config, count):
            return nn.ModuleList([FeedForward(config, config.moe_intermediate_size)] * count)


class experts_in_a_list:
    """the experts are kept in a plain Python list, so that none of their weights is saved or
    trained; use an nn.ModuleList"""

    class MoEFeedForward(MoEFeedForward):
        def _networks(self, config, count):
            return list(super()._networks(config, count))


class router_under_another_name:
    """the router is called router; its name should be gate"""

    class MoEFeedForward(MoEFeedForward):
        def __init__(self, config):
            super().__init__(config)
            self.router = self.gate
            del self.gate

        def _route(self, x):
            topk_idx, topk_weight, self.aux_loss = self.router(x)
            return topk_idx, topk_weight


class loss_in_the_state_dict:
    """aux_loss is a buffer of the state dict; keep it as an ordinary attribute"""

    class MoEFeedForward(MoEFeedForward):
        def __init__(self, config):
            super().__init__(config)
            del self.aux_loss
            self.register_buffer("aux_loss", torch.zeros(()))


class loss_replaced_in_training_alone:
    """aux_loss is not replaced in eval, where that of the last training step is left; store the
    router's loss on every call"""

    class MoEFeedForward(MoEFeedForward):
        def _route(self, x):
            topk_idx, topk_weight, aux_loss = self.gate(x)
            if self.training:
                self.aux_loss = aux_loss
            return topk_idx, topk_weight


class losses_pile_up:
    """each call adds its loss to aux_loss; replace it"""

    class MoEFeedForward(MoEFeedForward):
        def _route(self, x):
            topk_idx, topk_weight, aux_loss = self.gate(x)
            self.aux_loss = self.aux_loss + aux_loss
            return topk_idx, topk_weight


class loss_of_the_first_call:
    """aux_loss is kept from the first call; replace it on every call"""

    class MoEFeedForward(MoEFeedForward):
        kept = None

        def _route(self, x):
            topk_idx, topk_weight, aux_loss = self.gate(x)
            self.kept = aux_loss if self.kept is None else self.kept
            self.aux_loss = self.kept
            return topk_idx, topk_weight


class loss_never_stored:
    """aux_loss is not stored and keeps the value from the start; assign the router's third
    result"""

    class MoEFeedForward(MoEFeedForward):
        def _route(self, x):
            topk_idx, topk_weight, _ = self.gate(x)
            return topk_idx, topk_weight


class loss_detached:
    """aux_loss is detached, so that it teaches the router nothing; store it as the router returned
    it"""

    class MoEFeedForward(MoEFeedForward):
        def _route(self, x):
            topk_idx, topk_weight, aux_loss = self.gate(x)
            self.aux_loss = aux_loss.detach()
            return topk_idx, topk_weight


class loss_is_a_number:
    """aux_loss is a Python number, without a gradient; store the tensor, without .item()"""

    class MoEFeedForward(MoEFeedForward):
        def _route(self, x):
            topk_idx, topk_weight, aux_loss = self.gate(x)
            self.aux_loss = aux_loss.item()
            return topk_idx, topk_weight


class no_loss_in_eval:
    """aux_loss is None in eval; it should be the router's, a tensor of 0"""

    class MoEFeedForward(MoEFeedForward):
        def _route(self, x):
            topk_idx, topk_weight, aux_loss = self.gate(x)
            self.aux_loss = aux_loss if self.training else None
            return topk_idx, topk_weight


class coefficient_twice:
    """aux_loss is multiplied by router_aux_loss_coef a second time; the router has done it"""

    class MoEFeedForward(MoEFeedForward):
        def __init__(self, config):
            super().__init__(config)
            self.coefficient = config.router_aux_loss_coef

        def _route(self, x):
            topk_idx, topk_weight, aux_loss = self.gate(x)
            self.aux_loss = self.coefficient * aux_loss
            return topk_idx, topk_weight


class loss_in_the_dtype_of_x:
    """aux_loss is cast to the dtype of x; it should stay as the router returned it, in float32"""

    class MoEFeedForward(MoEFeedForward):
        def _route(self, x):
            topk_idx, topk_weight, aux_loss = self.gate(x)
            self.aux_loss = aux_loss.to(x.dtype)
            return topk_idx, topk_weight


class loss_of_the_class:
    """aux_loss is stored on the class, where all layers share it; store it on self"""

    class MoEFeedForward(MoEFeedForward):
        def __init__(self, config):
            super().__init__(config)
            del self.aux_loss

        def _route(self, x):
            topk_idx, topk_weight, type(self).aux_loss = self.gate(x)
            return topk_idx, topk_weight


class loss_added_to_the_output:
    """aux_loss is added to the output; keep it apart, in the attribute"""

    class MoEFeedForward(MoEFeedForward):
        def forward(self, x):
            return super().forward(x) + self.aux_loss.to(x.dtype)


class loss_returned_too:
    """forward returns a pair, output and loss; return the output alone and store the loss as
    aux_loss"""

    class MoEFeedForward(MoEFeedForward):
        def forward(self, x):
            return super().forward(x), self.aux_loss


class sequences_joined:
    """the router sees all tokens as one sequence, [1, N, C], so that its loss per sequence is one
    over the batch; give it x as it is"""

    class MoEFeedForward(MoEFeedForward):
        def _route(self, x):
            return super()._route(x.reshape(1, -1, x.shape[-1]))


class one_sequence_per_token:
    """the router sees every token as one sequence, [N, 1, C], so that its loss per sequence
    balances nothing; give it x as it is"""

    class MoEFeedForward(MoEFeedForward):
        def _route(self, x):
            return super()._route(x.reshape(-1, 1, x.shape[-1]))


class routed_by_position:
    """the router sees x transposed, [S, B, C], and its rows belong to other tokens; give it x as it
    is"""

    class MoEFeedForward(MoEFeedForward):
        def _route(self, x):
            return super()._route(x.transpose(0, 1))


class rows_by_position:
    """tokens are flattened position by position; the router's rows go sequence by sequence"""

    class MoEFeedForward(MoEFeedForward):
        def forward(self, x):
            topk_idx, topk_weight = self._route(x)
            tokens = x.transpose(0, 1).reshape(-1, x.shape[-1])
            out = self._shared(self._routed(tokens, topk_idx, topk_weight), tokens)
            return out.reshape(x.shape[1], x.shape[0], -1).transpose(0, 1)


class best_expert_in_eval:
    """in eval only the first of a token's experts is asked; ask all k, as in training"""

    class MoEFeedForward(MoEFeedForward):
        def _choices_of(self, number, topk_idx):
            return super()._choices_of(number, topk_idx if self.training else topk_idx[:, :1])


class best_expert_at_full_weight_in_eval:
    """in eval only the first of a token's experts is asked, with the weight 1; do the same as in
    training"""

    class MoEFeedForward(MoEFeedForward):
        def _routed(self, tokens, topk_idx, topk_weight):
            if not self.training:
                topk_idx, topk_weight = topk_idx[:, :1], torch.ones_like(topk_weight[:, :1])
            return super()._routed(tokens, topk_idx, topk_weight)


class no_weights_in_eval:
    """in eval the outputs are added without their weights; do the same as in training"""

    class MoEFeedForward(MoEFeedForward):
        def _weighed(self, outputs, topk_weight, choices):
            if not self.training:
                return outputs
            return super()._weighed(outputs, topk_weight, choices)


class no_gradient_in_eval:
    """the way through the experts in eval is under torch.no_grad(), so that outputs have no
    gradient there; leave that to the caller"""

    class MoEFeedForward(MoEFeedForward):
        def _routed(self, tokens, topk_idx, topk_weight):
            if self.training:
                return super()._routed(tokens, topk_idx, topk_weight)
            with torch.no_grad():
                return super()._routed(tokens, topk_idx, topk_weight)


class router_input_detached:
    """the router sees a detached x, so that the part of x's gradient that goes through the weights
    is lost; do not detach it"""

    class MoEFeedForward(MoEFeedForward):
        def _route(self, x):
            return super()._route(x.detach())


class expert_input_detached:
    """the experts see detached tokens, so that x gets no gradient through them; do not detach
    them"""

    class MoEFeedForward(MoEFeedForward):
        def _run(self, expert, tokens):
            return super()._run(expert, tokens.detach())


class outputs_in_float16:
    """the outputs are collected in a buffer of float16, which rounds them; use the dtype of x"""

    class MoEFeedForward(MoEFeedForward):
        def _run(self, expert, tokens):
            outputs = super()._run(expert, tokens)
            return outputs.half().to(outputs.dtype)


class sum_left_wide:
    """outputs are added up in float32 and left so; cast the result to the dtype of x"""

    class MoEFeedForward(MoEFeedForward):
        def forward(self, x):
            return super().forward(x).to(torch.promote_types(x.dtype, torch.float32))


class sum_in_the_default_dtype:
    """the outputs are added to torch.zeros(N, C), which is float32 whatever x is; use
    torch.zeros_like"""

    class MoEFeedForward(MoEFeedForward):
        def _routed(self, tokens, topk_idx, topk_weight):
            out = torch.zeros(tokens.shape, device=tokens.device)
            for number, expert in enumerate(self.experts):
                choices = self._choices_of(number, topk_idx)
                outputs = self._run(expert, tokens[choices[0]])
                out = out.index_add(0, choices[0], self._weighed(outputs, topk_weight, choices))
            return out


class residual_inside:
    """x is added to the result; leave that to the block (ex10), which would add it twice"""

    class MoEFeedForward(MoEFeedForward):
        def forward(self, x):
            return x + super().forward(x)


class added_into_the_input:
    """the outputs are added into x itself; add them to a new tensor of zeros"""

    class MoEFeedForward(MoEFeedForward):
        def forward(self, x):
            out = super().forward(x)
            with torch.no_grad():
                x += out
            return out


class axes_flattened:
    """the result has one row per token, [N, C]; give it the shape of x"""

    class MoEFeedForward(MoEFeedForward):
        def forward(self, x):
            return super().forward(x).flatten(0, 1)


class viewed_without_copy:
    """x.view(-1, C) is used, which fails where x is not contiguous; use reshape or flatten"""

    class MoEFeedForward(MoEFeedForward):
        def forward(self, x):
            x.view(-1, x.shape[-1])
            return super().forward(x)


class squeezed:
    """squeeze() removes the axis of a single token as well; leave it out"""

    class MoEFeedForward(MoEFeedForward):
        def forward(self, x):
            return super().forward(x).squeeze()
