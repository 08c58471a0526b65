"""ex07: the gated feed-forward network (SwiGLU).

Attention moves information between tokens; the feed-forward network then works on each token by
itself. It is wider inside than outside: C features go in, I features are in between, C come out.
MiniMind's has three matrices where the first transformers had two:

    gate = x @ gate_proj.T          I numbers that decide what passes
    up   = x @ up_proj.T            I numbers that may pass
    y    = (silu(gate) * up) @ down_proj.T

    silu(z) = z * sigmoid(z) = z / (1 + exp(-z))

silu lets large numbers through and turns very negative ones into almost 0, so each gate is a soft
switch, and the product with it lets one linear function of x control another.

Axes: C hidden size, I intermediate size.
"""

import torch
from torch import nn
from torch.nn import functional as F

from minimind_ref.config import MiniMindConfig


class FeedForward(nn.Module):
    """The gated feed-forward network of MiniMind, Llama and Qwen3.

    Its state dict has exactly these entries, of three linear layers without a bias:

        gate_proj.weight  [I, C]
        up_proj.weight    [I, C]
        down_proj.weight  [C, I]

    How the weights start is free: what ``nn.Linear`` draws will do.

    Args:
        config: ``hidden_size`` is C, and ``intermediate_size`` is I unless the argument below says
            otherwise. The activation is silu (``hidden_act`` need not be looked at), and
            ``dropout`` is 0 in this course.
        intermediate_size: another I, for the experts of ex09, which are smaller than a dense
            network. None stands for the config's.
    """

    def __init__(self, config: MiniMindConfig, intermediate_size: int | None = None) -> None:
        super().__init__()
        # your code here
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network on every token: ``down_proj(silu(gate_proj(x)) * up_proj(x))``.

        Gates may lie far from 0. Outputs and gradients are finite all the same: written as
        ``z / (1 + exp(-z))``, silu has a gradient of NaN where ``exp(-z)`` overflows, in float32
        for z below -88 and in float16 below -11.

        Args:
            x: hidden states ``[..., C]`` with any number of leading axes, usually ``[B, S, C]``;
                it need not be contiguous and is not modified. It has the dtype of the weights. In
                half precision you may compute in that dtype or in a wider one.

        Returns:
            A tensor of the same shape and dtype as x.
        """
        # your code here
        raise NotImplementedError
