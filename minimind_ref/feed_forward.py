"""The gated feed-forward network: the reference for ex07.

SwiGLU without biases as in Shazeer 2020, *GLU Variants Improve Transformer* (arXiv 2002.05202,
equation 6): ``FFN(x) = (Swish_1(x W) * x V) W_2``. W, V and W_2 have the names that Llama and Qwen3
have for them in ``transformers``: gate_proj, up_proj, down_proj.
"""

from __future__ import annotations

from torch import Tensor, nn

from .config import MiniMindConfig


class FeedForward(nn.Module):
    """``down_proj(silu(gate_proj(x)) * up_proj(x))``.

    Args:
        config: ``hidden_size``, and ``intermediate_size`` unless the argument gives another.
        intermediate_size: the inner width I; None for the config's.
    """

    def __init__(self, config: MiniMindConfig, intermediate_size: int | None = None) -> None:
        super().__init__()
        outer = config.hidden_size
        inner = config.intermediate_size if intermediate_size is None else intermediate_size
        self.gate_proj = nn.Linear(outer, inner, bias=False)
        self.up_proj = nn.Linear(outer, inner, bias=False)
        self.down_proj = nn.Linear(inner, outer, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., C] -> [..., C]`` in x's dtype."""
        gate = self.gate_proj(x)
        # sigmoid is bounded and so is its slope, so no gate is too far from 0.
        out: Tensor = self.down_proj(gate * gate.sigmoid() * self.up_proj(x))
        return out
