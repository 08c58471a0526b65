"""ex10_block: facts about one block of the transformer."""

import pytest
import torch

from minimind_ref.config import MiniMindConfig
from tests.support import block_weights, left_padding, refusal, run

HIDDEN, KV_HEADS, WIDTH = 40, 3, 8  # of MiniMindConfig.tiny()


def weights_of(rng, **changes):
    return block_weights(rng, MiniMindConfig.tiny(**changes))


def tables(first, count):
    """cos and sin of `count` positions from `first` on, each [count, WIDTH] float32."""
    pair = torch.arange(WIDTH // 2, dtype=torch.float64).repeat(2)
    angles = torch.arange(first, first + count).double()[:, None] * 100.0 ** (-2 * pair / WIDTH)
    return angles.cos().float(), angles.sin().float()


def rows(cos, sin, first, count):
    return cos[first : first + count], sin[first : first + count]


def block_of(answer, layer_id=0, **changes):
    return answer.MiniMindBlock(layer_id, MiniMindConfig.tiny(**changes))


def in_chunks(block, weights, x, cos, sin, sizes, mask=None):
    """Outputs and last cache of a text that is fed in pieces of these sizes."""
    outs, past, first = [], None, 0
    for size in sizes:
        after = first + size
        seen = None if mask is None else mask[:, :after]
        here = x[:, first:after], rows(cos, sin, first, size)
        out, past = run(block, weights, *here, past, use_cache=True, attention_mask=seen)
        outs.append(out)
        first = after
    return torch.cat(outs, dim=1), past


@pytest.mark.weight(2)
def test_a_block_has_the_weights_of_minimind(check, rng):
    """The state dict has the entries of four modules, named as in MiniMind, in every layer."""
    few = {
        "hidden_size": 2 * int(rng.integers(3, 30, 1)),
        "intermediate_size": int(rng.integers(61, 90, 1)),
        "moe_intermediate_size": int(rng.integers(30, 60, 1)),
        "num_experts": int(rng.integers(3, 6, 1)),
        "n_shared_experts": 1,
    }

    def entries(answer, sizes):
        found = {}
        for moe in (False, True):
            for layer_id in range(3):
                block = block_of(answer, layer_id, use_moe=moe, **sizes)
                trained = {name for name, value in block.named_parameters() if value.requires_grad}
                found |= {
                    f"{name} in layer {layer_id} with use_moe={moe}": (
                        f"{list(value.shape)}, {'trained' if name in trained else 'not trained'}"
                    )
                    for name, value in sorted(block.state_dict().items())
                    if not name.startswith(("self_attn.", "mlp.experts.1."))
                }
        return found

    check(entries, few, draws=True)


@pytest.mark.weight(4)
def test_each_part_reads_a_norm_and_adds_to_the_stream(check, rng):
    """h = x + attention(norm(x)), and the output is h + mlp(norm(h))."""

    def full(answer, weights, x, cos, sin):
        out, present = run(block_of(answer), weights, x, (cos, sin))
        return {"out": out, "present": present}

    inputs = weights_of(rng), rng.normal(3, 5, HIDDEN, scale=0.3), *tables(2, 5)
    check(full, *inputs, grad=("weights", "x"), draws=True)


@pytest.mark.weight(2)
def test_small_streams_meet_the_eps_of_the_config(check, rng):
    """Both norms have the config's rms_norm_eps, which counts where the stream is small."""

    def full(answer, weights, x, cos, sin):
        block = block_of(answer, 2, rms_norm_eps=1e-3)
        return {"out": run(block, weights, x, (cos, sin))[0]}

    weights = weights_of(rng)
    weights["self_attn.o_proj.weight"] *= 0.01
    inputs = weights, rng.normal(2, 4, HIDDEN, scale=0.01), *tables(0, 4)
    check(full, *inputs, grad=("weights", "x"), draws=True)


@pytest.mark.weight(2)
def test_a_mixture_of_experts_stands_in_every_layer(check, rng):
    """With use_moe the mlp of every layer is a mixture, and its balance loss is in mlp.aux_loss."""

    def mixed(answer, weights, x, cos, sin):
        found = {}
        for layer_id in range(3):
            block = block_of(answer, layer_id, use_moe=True, router_aux_loss_coef=0.3)
            out = run(block, weights, x, (cos, sin))
            found[f"out of layer {layer_id}"] = out[0]
            found[f"values returned by layer {layer_id}"] = len(out)
            found[f"mlp.aux_loss of layer {layer_id}"] = block.mlp.aux_loss
        return found

    inputs = weights_of(rng, use_moe=True), rng.normal(2, 6, HIDDEN), *tables(0, 6)
    check(mixed, *inputs, grad=("weights", "x"), draws=True)


@pytest.mark.weight(3)
def test_any_chunking_gives_the_full_pass(check, rng):
    """Full pass = token by token = chunks of 3, 2 and 2, and present holds all keys and values."""

    def chunkings(answer, weights, x, cos, sin):
        block = block_of(answer, 1)
        out, _ = run(block, weights, x, (cos, sin))
        single, (k, v) = in_chunks(block, weights, x, cos, sin, (1,) * 7)
        chunks, (chunk_k, chunk_v) = in_chunks(block, weights, x, cos, sin, (3, 2, 2))
        return {
            "full pass": out,
            "token by token": single,
            "keys after token by token": k,
            "values after token by token": v,
            "chunks of 3, 2, 2": chunks,
            "keys after chunks": chunk_k,
            "values after chunks": chunk_v,
        }

    inputs = weights_of(rng), rng.normal(2, 7, HIDDEN), *tables(0, 7)
    check(chunkings, *inputs, grad=("weights", "x"), draws=True)


@pytest.mark.weight(2)
def test_the_past_is_used_and_left_alone(check, rng):
    """One past serves twice, with use_cache and without; gradients reach it."""
    heads_first = [rng.normal(2, KV_HEADS, 4, WIDTH) for _ in range(2)]

    def continued(answer, weights, x, cos, sin, past_k, past_v):
        past = past_k.transpose(1, 2), past_v.transpose(1, 2)
        block = block_of(answer, 3)
        out, (k, v) = run(block, weights, x, (cos, sin), past, use_cache=True)
        plain, nothing = run(block, weights, x, (cos, sin), past)
        return {
            "out": out,
            "keys": k,
            "values": v,
            "out without use_cache": plain,
            "present without use_cache": nothing,
        }

    inputs = weights_of(rng), rng.normal(2, 3, HIDDEN), *tables(4, 3), *heads_first
    check(continued, *inputs, grad=("weights", "x", "past_k", "past_v"), draws=True)


@pytest.mark.weight(3)
def test_padding_is_seen_by_nobody(check, rng):
    """The mask reaches attention, with a past as well; one of the wrong shape is a ValueError."""

    def padded(answer, weights, x, cos, sin, mask):
        real = mask.bool()
        block = block_of(answer, 2)
        out, _ = run(block, weights, x, (cos, sin), attention_mask=mask)
        chunks, _ = in_chunks(block, weights, x, cos, sin, (3, 1, 3), mask)
        short = mask[:, 1:]
        return {
            "out": out[real],
            "chunks of 3, 1, 3": chunks[real],
            "a mask that is too short": refusal(
                lambda: run(block, weights, x, (cos, sin), attention_mask=short)
            ),
        }

    inputs = weights_of(rng), rng.normal(3, 7, HIDDEN), *tables(0, 7), left_padding(7, 0, 2, 4)
    check(padded, *inputs, draws=True)


@pytest.mark.weight(2)
def test_half_precision_is_kept(check, rng):
    """In bfloat16 and float16 the output has the dtype of hidden_states, in a long stream too."""

    def full(answer, weights, x, cos, sin):
        return {"out": run(block_of(answer), weights, x, (cos, sin))[0]}

    inputs = weights_of(rng), rng.normal(3, 8, HIDDEN, scale=3.0), *tables(0, 8)
    check(full, *inputs, half=("weights", "x"), matmul=True, draws=True)
