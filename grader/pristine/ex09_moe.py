"""ex09: a mixture of experts (MoE) in place of one feed-forward network.

The router of ex08 says for every token which k of the E experts it goes to, and what each of them
counts. This layer does it: it sends each token through its experts and adds up what they return.

    y[n] = sum over the token's k choices of  topk_weight * expert(x[n])
         + sum over the shared experts of     expert(x[n])

The formula alone could be had by asking every expert about every token, at E / k times the price.
The point of the layer is not to: an expert computes the tokens that chose it and no others. So the
tokens are gathered expert by expert, and the results are added back at the places they came from.

Shared experts see every token, chosen by nobody: what all tokens need is learned there once.

Axes: B batch, S positions, N = B * S tokens, C hidden size, E experts, k experts per token.
"""

import torch
from torch import nn

from minimind_ref.config import MiniMindConfig

from .ex07_feed_forward import FeedForward
from .ex08_moe_gate import MoEGate


class MoEFeedForward(nn.Module):
    """A layer of feed-forward experts, of which every token passes through k.

    Its parts are called:

        gate             the MoEGate of ex08
        experts          E FeedForward networks, in an nn.ModuleList
        shared_experts   n_shared_experts of them, likewise

    so that its state dict has ``gate.weight``, ``experts.0.gate_proj.weight`` and so on, and
    ``shared_experts.0.gate_proj.weight`` and so on if there are any. It has nothing else, so with
    ``n_shared_experts = 0`` there is no entry of shared experts. Every expert, shared or not, is
    a separate network of the intermediate size ``moe_intermediate_size``.

    Args:
        config: of it the layer uses ``num_experts`` (E), ``moe_intermediate_size``,
            ``n_shared_experts``, and what the router and the networks read of it.

    Attributes:
        aux_loss: the auxiliary loss of the router, a tensor without axes as the router returned
            it, with its gradient. Every call replaces that of the call before; in eval it is 0.
    """

    def __init__(self, config: MiniMindConfig) -> None:
        super().__init__()
        # your code here
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Send every token through its k experts and all shared ones, and add up.

        1. Ask the router about x as it is, ``[B, S, C]``: the loss per sequence needs to know
           where sequences end. Keep its loss as ``aux_loss``.
        2. Run each expert once, on the tokens that chose it. Any number of them may have: all N,
           or none.
        3. Multiply each output by the weight of that token for that expert, as the router gave it
           (it is not renormalised again), and add it to the token's row of the result.
        4. Add what the shared experts make of x, with no weight.

        The outputs are those of the dense sum over all experts with weights of 0 for those not
        chosen, but only what was chosen is computed: matrix products may cost at most 10 % more
        than the router, N * k times an expert and N times the shared experts. Outputs and their
        gradients are the same in training and in eval.

        In training every parameter of every expert gets a gradient from ``out.sum().backward()``.
        Where nobody chose the expert it is a tensor of zeros, not None: DistributedDataParallel,
        for one, waits for the gradient of every parameter.

        Args:
            x: hidden states ``[B, S, C]``, in the dtype of the weights; need not be contiguous and
                is not modified.

        Returns:
            A tensor like x (not a tuple). Gradients reach x and all weights, and through the
            weights of the choices the router's.
        """
        # your code here
        raise NotImplementedError
