"""The FLOPs of torch's operations: a table, and a refusal of what it lacks.

Two per multiply-add of a contraction (matrix products and attention). Elementwise work and
reductions count nothing, an outer product among them; a complex multiply-add counts as one;
attention counts every query-key pair, masked or not, as a product written by hand does.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from typing import Any

from torch import Tensor


class UncountedOperation(RuntimeError):
    """The run used an operation whose cost is not known, so that any total would be too low."""


_MATRICES = 3  # axes of a batch of matrices

Flops = Callable[[tuple[Any, ...], Any], int]
"""FLOPs of one call, from its arguments and its result."""


def _free(args: tuple[Any, ...], result: Any) -> int:
    return 0


def _product(left: int) -> Flops:
    """Of a matrix product whose left factor ``[…, inner]`` is the argument at this place."""

    def flops(args: tuple[Any, ...], result: Any) -> int:
        return 2 * int(result.numel()) * int(args[left].shape[-1])

    return flops


def _summed_products(args: tuple[Any, ...], result: Any) -> int:
    """Of ``addbmm(out [n, m], left [batch, n, inner], right)``, which adds up the batch."""
    batch, _, inner = args[1].shape
    return 2 * int(result.numel()) * int(batch) * int(inner)


def _grouped_product(args: tuple[Any, ...], result: Any) -> int:
    """Of ``_grouped_mm(left, right, offsets)``: what lies past the last offset is not computed."""
    left, right = args[0], args[1]
    rows, inner = left.shape[-2:]
    columns = right.shape[-1]
    if left.dim() == right.dim() == _MATRICES:
        return 2 * len(left) * int(rows * inner * columns)
    used = int(args[2][-1])
    if right.dim() == _MATRICES:
        return 2 * used * int(inner * columns)  # the groups divide the rows
    if left.dim() == _MATRICES:
        return 2 * used * int(rows * inner)  # the columns
    return 2 * used * int(rows * columns)  # the inner axis


def _attention(args: tuple[Any, ...], result: Any) -> int:
    """Of scores and values, from ``query [B, H, S, d], key [B, K, T, d], value [B, K, T, e]``."""
    pairs, width, value_width = _attention_sizes(*args[:3])
    return 2 * pairs * (width + value_width)


def _attention_backward(args: tuple[Any, ...], result: Any) -> int:
    """Of ``(grad_out, query, key, value, …)``: four products, and the scores computed again."""
    pairs, width, value_width = _attention_sizes(*args[1:4])
    return 2 * pairs * (3 * width + 2 * value_width)


def _attention_sizes(query: Tensor, key: Tensor, value: Tensor) -> tuple[int, int, int]:
    """Pairs of a query (of any head) and a key, width of a key, width of a value."""
    return math.prod(query.shape[:-1]) * key.shape[-2], key.shape[-1], value.shape[-1]


_FUSED_ATTENTION = (
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
)

_FLOPS: dict[str, Flops] = {
    "mm": _product(left=0),
    "bmm": _product(left=0),
    "mv": _product(left=0),
    "dot": _product(left=0),
    "vdot": _product(left=0),
    "addmm": _product(left=1),
    "addmv": _product(left=1),
    "baddbmm": _product(left=1),
    "addbmm": _summed_products,
    "_grouped_mm": _grouped_product,
    **dict.fromkeys(_FUSED_ATTENTION, _attention),
    **dict.fromkeys((f"{name}_backward" for name in _FUSED_ATTENTION), _attention_backward),
}

# Everything whose name says that it multiplies and adds up. What is found here and not in the
# table is refused: counting nothing for it would let the costliest answer pass as the cheapest.
_CONTRACTS = re.compile(
    r"mm(_|$)|mv$|dot|matmul|linear|conv|attention|multi_head|transformer|embedding_bag"
    r"|linalg|einsum|solve|cholesky|svd|geqrf|ormqr|fft|(c|p|euclidean_)dist(_|$)"
    r"|rnn|lstm|gru|affine_grid|grid_sampler"
)

_DOES_NOT_CONTRACT = frozenset(
    {
        "_convert_indices_from_coo_to_csr",
        "_convert_indices_from_csr_to_coo",
        "_linalg_check_errors",
        "linalg__powsum",
        "linalg_cross",
        "linalg_vector_norm",
    }
)

# Operations of other libraries, the learner's own among them, hide what they do inside.
_KNOWN_NAMESPACES = frozenset({"aten", "prim", "prims", "profiler"})


@functools.cache
def flop_count(func: Any) -> Flops:
    """How to count the operation; refuses what cannot be counted."""
    name = base_name(func)
    known = func.namespace in _KNOWN_NAMESPACES
    if known and name in _FLOPS:
        return _FLOPS[name]
    if known and (name in _DOES_NOT_CONTRACT or not _CONTRACTS.search(name)):
        return _free
    raise UncountedOperation(
        f"{func} cannot be counted: write it with matrix products (matmul, einsum, linear, "
        "grouped_mm) or scaled_dot_product_attention, or add its count to "
        "grader/observation/flops.py"
    )


@functools.cache
def base_name(func: Any) -> str:
    """``addmm`` for ``aten::addmm``, for its in-place form and for its ``out=`` form."""
    name: str = func._schema.name
    return name.rpartition("::")[2].rstrip("_")
