"""ex05_kv_cache: facts about the attention layer and its cache."""

import pytest
import torch
from torch.overrides import TorchFunctionMode

from minimind_ref.config import MiniMindConfig
from tests.support import left_padding, refusal, run, time_and_memory

HIDDEN, HEADS, KV_HEADS, WIDTH = 40, 6, 3, 8  # of MiniMindConfig.tiny()


def weights_of(rng, hidden=HIDDEN, heads=HEADS, kv_heads=KV_HEADS, width=WIDTH):
    """Random weights for every entry of the state dict, those of the norms around 1."""
    return {
        "q_proj.weight": rng.normal(heads * width, hidden, scale=0.2),
        "k_proj.weight": rng.normal(kv_heads * width, hidden, scale=0.2),
        "v_proj.weight": rng.normal(kv_heads * width, hidden, scale=0.2),
        "o_proj.weight": rng.normal(hidden, heads * width, scale=0.2),
        "q_norm.weight": rng.uniform(width, low=0.5, high=2.0),
        "k_norm.weight": rng.uniform(width, low=0.5, high=2.0),
    }


def tables(count, width=WIDTH, base=100.0):
    """cos and sin of the first `count` positions, each [count, width] float32."""
    pair = torch.arange(width // 2, dtype=torch.float64).repeat(2)
    angles = torch.arange(count).double()[:, None] * base ** (-2 * pair / width)
    return angles.cos().float(), angles.sin().float()


def rows(cos, sin, first, count):
    return cos[first : first + count], sin[first : first + count]


def both_ways(kv, outputs, **changes):
    """The outputs of a layer that may use flash attention and of one that must not."""
    found = {}
    for flash in (True, False):
        layer = kv.Attention(MiniMindConfig.tiny(flash_attn=flash, **changes))
        for name, value in outputs(layer).items():
            found[f"{name} with flash_attn={flash}"] = value
    return found


def in_chunks(layer, weights, x, cos, sin, sizes, mask=None):
    """Outputs and last cache of a text that is fed in pieces of these sizes."""
    outs, past, first = [], None, 0
    for size in sizes:
        after = first + size
        out, past = run(
            layer,
            weights,
            x[:, first:after],
            rows(cos, sin, first, size),
            past_key_value=past,
            use_cache=True,
            attention_mask=None if mask is None else mask[:, :after],
        )
        outs.append(out)
        first = after
    return torch.cat(outs, dim=1), past


class CountsFlash(TorchFunctionMode):
    """Counts the calls of scaled_dot_product_attention."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.calls += "scaled_dot_product" in getattr(function, "__name__", "")
        return function(*args, **(kwargs or {}))


def test_the_layer_has_the_weights_of_minimind(check):
    """The state dict has six entries, named and shaped as in MiniMind; all are trained."""

    def entries(kv):
        layer = kv.Attention(MiniMindConfig.tiny())
        trained = {name for name, value in layer.named_parameters() if value.requires_grad}
        return {
            name: f"{list(value.shape)}, {'trained' if name in trained else 'not trained'}"
            for name, value in sorted(layer.state_dict().items())
        }

    check(entries, draws=True)


@pytest.mark.weight(2)
def test_sizes_and_eps_are_those_of_the_config(check, rng):
    """Heads, groups and the eps of both norms follow the config, whatever it says."""
    sizes = {"hidden_size": 24, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 10}

    def full(kv, weights, x, cos, sin):
        def outputs(layer):
            return {"out": run(layer, weights, x, (cos, sin))[0]}

        return both_ways(kv, outputs, rms_norm_eps=1e-3, **sizes)

    weights = weights_of(rng, hidden=24, heads=6, kv_heads=2, width=10)
    x = rng.normal(3, 7, 24, scale=0.003)
    check(full, weights, x, *tables(7, width=10), grad=("weights", "x"), draws=True)


def test_large_scores_neither_overflow_nor_leak(check, rng):
    """Scores far from 0 give finite weights, and a hidden key gets none, however well it fits."""
    weights = weights_of(rng)
    for name in ("q_norm.weight", "k_norm.weight"):
        weights[name] = rng.uniform(WIDTH, low=5.0, high=9.0)

    def full(kv, weights, x, cos, sin, mask):
        def outputs(layer):
            out, past = run(layer, weights, x[:, :4], rows(cos, sin, 0, 4), use_cache=True)
            later, _ = run(layer, weights, x[:, 4:], rows(cos, sin, 4, 7), past)
            padded, _ = run(layer, weights, x, (cos, sin), attention_mask=mask)
            return {"out": out, "later": later, "padded": padded[mask.bool()]}

        return both_ways(kv, outputs)

    mask = left_padding(11, 0, 6)
    check(full, weights, rng.normal(2, 11, HIDDEN), *tables(11), mask, draws=True)


@pytest.mark.weight(2)
def test_the_cache_holds_keys_as_the_scores_use_them(check, rng):
    """The cache is (k, v), each [B, T, K, d]: after norm and RoPE, before heads are repeated."""

    def caches(kv, weights, x, cos, sin):
        def outputs(layer):
            k, v = run(layer, weights, x, (cos, sin), use_cache=True)[1]
            found = {"keys of a full pass": k, "values of a full pass": v}
            _, (k, v) = in_chunks(layer, weights, x, cos, sin, (4, 3))
            return found | {"keys of two chunks": k, "values of two chunks": v}

        return both_ways(kv, outputs)

    inputs = weights_of(rng), rng.normal(2, 7, HIDDEN), *tables(7)
    check(caches, *inputs, grad=("weights", "x"), draws=True)


@pytest.mark.weight(2)
def test_any_chunking_gives_the_full_pass(check, rng):
    """Full pass = token by token = chunks of 4, 4 and 2 = chunks of 1 and 9."""

    def chunkings(kv, weights, x, cos, sin):
        def outputs(layer):
            return {
                "full pass": run(layer, weights, x, (cos, sin))[0],
                "token by token": in_chunks(layer, weights, x, cos, sin, (1,) * 10)[0],
                "chunks of 4, 4, 2": in_chunks(layer, weights, x, cos, sin, (4, 4, 2))[0],
                "chunks of 1, 9": in_chunks(layer, weights, x, cos, sin, (1, 9))[0],
            }

        return both_ways(kv, outputs)

    inputs = weights_of(rng), rng.normal(2, 10, HIDDEN), *tables(10)
    check(chunkings, *inputs, grad=("weights", "x"), draws=True)


@pytest.mark.weight(2)
def test_padding_is_seen_by_nobody(check, rng):
    """With padding on the left, every chunking gives the same outputs at real positions."""
    mask = left_padding(10, 0, 2, 5)

    def chunkings(kv, weights, x, cos, sin, mask):
        real = mask.bool()

        def outputs(layer):
            outs = {
                "full pass": run(layer, weights, x, (cos, sin), attention_mask=mask)[0],
                "token by token": in_chunks(layer, weights, x, cos, sin, (1,) * 10, mask)[0],
                "chunks of 4, 4, 2": in_chunks(layer, weights, x, cos, sin, (4, 4, 2), mask)[0],
                "chunks of 1, 9": in_chunks(layer, weights, x, cos, sin, (1, 9), mask)[0],
            }
            finite = all(bool(out.isfinite().all()) for out in outs.values())
            return {name: out[real] for name, out in outs.items()} | {"finite everywhere": finite}

        return both_ways(kv, outputs)

    inputs = weights_of(rng), rng.normal(3, 10, HIDDEN), *tables(10), mask
    check(chunkings, *inputs, grad=("weights", "x"), draws=True)


def test_a_mask_of_the_wrong_shape_is_refused(check, rng):
    """An attention_mask that is not [B, T], for cached and new tokens, raises a ValueError."""
    cached = rng.normal(2, 4, KV_HEADS, WIDTH), rng.normal(2, 4, KV_HEADS, WIDTH)

    def refusals(kv, weights, x, cos, sin, k, v):
        shapes = {
            "only the new tokens": (2, 3),
            "only the cached tokens": (2, 4),
            "a token too many": (2, 8),
            "one row for all": (1, 7),
            "one column for all": (2, 1),
            "no batch": (7,),
            "axes for heads and queries": (2, 1, 1, 7),
        }

        def outputs(layer):
            def call(*shape):
                mask = torch.ones(*shape, dtype=torch.long)
                return run(layer, weights, x, (cos, sin), (k, v), attention_mask=mask)[0]

            found = {
                name: refusal(lambda shape=shape: call(*shape)) for name, shape in shapes.items()
            }
            return found | {"the right shape": call(2, 7)}

        return both_ways(kv, outputs)

    x, (cos, sin) = rng.normal(2, 3, HIDDEN), rows(*tables(7), 4, 3)
    check(refusals, weights_of(rng), x, cos, sin, *cached, draws=True)


def test_one_past_can_be_continued_twice(check, rng):
    """Two continuations of one past do not affect each other."""

    def twice(kv, weights, x, one, other, cos, sin):
        def continued(layer):
            _, past = in_chunks(layer, weights, x, cos, sin, (3, 2))  # itself a continuation
            of_one = run(layer, weights, one, rows(cos, sin, 5, 2), past, use_cache=True)
            of_other = run(layer, weights, other, rows(cos, sin, 5, 4), past, use_cache=True)
            # Only a part of one: where it was overwritten by other, it is not written again.
            again, _ = run(layer, weights, one[:, :1], rows(cos, sin, 5, 1), past)
            return {
                "the past's keys": past[0],
                "the past's values": past[1],
                "one": of_one[0],
                "one's keys": of_one[1][0],
                "one's values": of_one[1][1],
                "the other": of_other[0],
                "one's first token again": again,
            }

        def outputs(layer):
            with torch.no_grad():  # where autograd would not notice what is overwritten
                unseen = continued(layer)
            return continued(layer) | {f"{name}, no_grad": x for name, x in unseen.items()}

        return both_ways(kv, outputs)

    texts = rng.normal(1, 5, HIDDEN), rng.normal(1, 2, HIDDEN), rng.normal(1, 4, HIDDEN)
    check(twice, weights_of(rng), *texts, *tables(9), draws=True)


def test_full_passes_attend_causally_and_keep_nothing(check, rng):
    """A full pass is causal grouped attention, and nothing of it is left in a second one."""
    tokens_first = rng.normal(5, 2, HIDDEN)

    def full(kv, weights, x, cos, sin):
        def outputs(layer):
            out, past = run(layer, weights, x.transpose(0, 1), (cos, sin))
            return {"out": out, "past": past}

        return both_ways(kv, outputs)

    whole = weights_of(rng), tokens_first, *tables(5)
    check(full, *whole, grad=("weights", "x"), draws=True)

    def prompts(kv, weights, x, other, cos, sin):
        def outputs(layer):
            first, _ = in_chunks(layer, weights, x, cos, sin, (4, 1, 2))
            second, past = in_chunks(layer, weights, other, cos, sin, (2, 1))
            plain, _ = run(layer, weights, other, rows(cos, sin, 0, 3))
            return {
                "first prompt": first,
                "second prompt": second,
                "its keys": past[0],
                "without cache": plain,
            }

        return both_ways(kv, outputs)

    inputs = weights_of(rng), rng.normal(2, 7, HIDDEN), rng.normal(2, 3, HIDDEN), *tables(7)
    check(prompts, *inputs, draws=True)

    def batches(kv, weights, x, cos, sin, mask, other_mask):
        def outputs(layer):
            first, _ = run(layer, weights, x, (cos, sin), attention_mask=mask)
            second, _ = run(layer, weights, x, (cos, sin), attention_mask=other_mask)
            return {
                "first padding": first[mask.bool()],
                "second padding": second[other_mask.bool()],
            }

        return both_ways(kv, outputs)

    masks = left_padding(6, 0, 3), left_padding(6, 2, 1)
    check(batches, weights_of(rng), rng.normal(2, 6, HIDDEN), *tables(6), *masks, draws=True)


def test_gradients_reach_the_past(check, rng):
    """A past of any layout is attended to and differentiated, with use_cache and without."""
    heads_first = [rng.normal(2, KV_HEADS, 4, WIDTH) for _ in range(2)]

    def continued(kv, weights, x, cos, sin, past_k, past_v):
        past = past_k.transpose(1, 2), past_v.transpose(1, 2)

        def outputs(layer):
            out, (k, v) = run(layer, weights, x, (cos, sin), past, use_cache=True)
            plain, nothing = run(layer, weights, x, (cos, sin), past)
            return {"out": out, "k": k, "v": v, "out without use_cache": plain, "past": nothing}

        return both_ways(kv, outputs)

    inputs = weights_of(rng), rng.normal(2, 7, HIDDEN), *rows(*tables(11), 4, 7), *heads_first
    check(continued, *inputs, grad=("weights", "x", "past_k", "past_v"), draws=True)


@pytest.mark.weight(2)
def test_half_precision_is_kept_and_stays_finite(check, rng):
    """In bfloat16 and float16 outputs and cache have x's dtype; nothing overflows under padding."""
    mask = left_padding(7, 0, 2, 5)

    def chunks(kv, weights, x, cos, sin, mask):
        real = mask.bool()

        def outputs(layer):
            full, _ = run(layer, weights, x, (cos, sin))
            padded, (k, v) = in_chunks(layer, weights, x, cos, sin, (4, 3), mask)
            return {
                "out": full,
                "out with padding": padded[real],
                "keys": k[real],
                "values": v[real],
                "finite everywhere": bool(padded.isfinite().all()),
            }

        return both_ways(kv, outputs, hidden_size=12)

    inputs = weights_of(rng, hidden=12), rng.normal(3, 7, 12, scale=2.0), *tables(7), mask
    check(chunks, *inputs, half=("weights", "x"), matmul=True, draws=True)


def test_flash_attention_is_used_where_the_config_says_so(check, rng):
    """With flash_attn a full pass calls scaled_dot_product_attention; without it nothing does."""

    def calls(kv, weights, x, cos, sin, mask):
        with CountsFlash() as full:
            layer = kv.Attention(MiniMindConfig.tiny(flash_attn=True))
            out, _ = run(layer, weights, x, (cos, sin))
        with CountsFlash() as none:
            layer = kv.Attention(MiniMindConfig.tiny(flash_attn=False))
            same, _ = run(layer, weights, x, (cos, sin))
            run(layer, weights, x, (cos, sin), attention_mask=mask)
            in_chunks(layer, weights, x, cos, sin, (2, 1, 4))
        return {
            "called with flash_attn=True": full.calls > 0,
            "called with flash_attn=False": none.calls > 0,
            "out with flash_attn=True": out,
            "out with flash_attn=False": same,
        }

    inputs = weights_of(rng), rng.normal(2, 7, HIDDEN), *tables(7), left_padding(7, 0, 2)
    check(calls, *inputs, draws=True)


def static_cache(kv, like, max_len):
    """A StaticCache for keys like these: [B, S, K, d]."""
    batch, _, heads, width = like.shape
    return kv.StaticCache(batch, max_len, heads, width, like.dtype, like.device)


def memory(*tensors):
    """Where the storages of tensors lie; all are alive, so that no place is used twice."""
    return [tensor.untyped_storage().data_ptr() for tensor in tensors]


def test_a_static_cache_returns_views_of_everything_so_far(check, rng):
    """append copies the new tokens after the old ones and returns views of one memory."""

    def appended(kv, k, v):
        cache = static_cache(kv, k, 9)
        found = {"length at first": cache.length}
        views, first = [], 0
        for size in (3, 1, 2):
            new_k, new_v = k[:, first : first + size].clone(), v[:, first : first + size].clone()
            views.append(cache.append(new_k, new_v))
            first += size
            found[f"length after {first}"] = cache.length
            found[f"k after {first}"], found[f"v after {first}"] = (x.clone() for x in views[-1])
        keys, values = zip(*views, strict=True)
        found["k views share one memory"] = len(set(memory(*keys))) == 1
        found["v views share one memory"] = len(set(memory(*values))) == 1
        found |= {"first k view at the end": keys[0].clone(), "first v view": values[0].clone()}
        keys[-1].neg_()  # what is written into a view is written into the cache
        found["k after its view was negated"], _ = cache.append(k[:, 6:], v[:, 6:])
        return found

    check(appended, rng.normal(2, 7, 3, 4), rng.normal(2, 7, 3, 4))


def appended_if_it_fits(cache, k, v):
    try:
        return cache.append(k, v)
    except ValueError:
        return None


def test_a_full_static_cache_refuses_more(check, rng):
    """A cache holds max_len tokens; one more raises a ValueError, and nothing is written."""

    def filled(kv, k, v):
        cache = static_cache(kv, k, 5)
        first = cache.append(k[:, :4], v[:, :4])
        found = {
            "the last place can be filled": bool(appended_if_it_fits(cache, k[:, 4:5], v[:, 4:5])),
            "a token too many": refusal(lambda: cache.append(k[:, 5:6], v[:, 5:6])),
            "length when full": cache.length,
        }
        cache.reset()
        found["three fit after reset"] = bool(appended_if_it_fits(cache, k[:, 5:8], v[:, 5:8]))
        before = [x.clone() for x in first]
        found["three where two fit"] = refusal(lambda: cache.append(k[:, 6:9], v[:, 6:9]))
        found["k was written to"] = not torch.equal(before[0], first[0])
        found["v was written to"] = not torch.equal(before[1], first[1])
        found["length after the refusal"] = cache.length
        whole = appended_if_it_fits(cache, k[:, 9:], v[:, 9:])
        found["two more fit then"] = bool(whole)
        return found | (dict(zip("kv", whole, strict=True)) if whole else {})

    check(filled, rng.normal(2, 11, 3, 4), rng.normal(2, 11, 3, 4))


def test_a_reset_static_cache_uses_its_memory_again(check, rng):
    """reset starts again at no tokens, in the memory that is there."""

    def refilled(kv, k, v):
        cache = static_cache(kv, k, 8)
        old = cache.append(k[:, :5], v[:, :5])
        cache.reset()
        found = {"length after reset": cache.length}
        new = cache.append(k[:, 5:], v[:, 5:])
        found |= {"k": new[0].clone(), "v": new[1].clone(), "length": cache.length}
        found["k in the same memory"] = memory(old[0]) == memory(new[0])
        found["v in the same memory"] = memory(old[1]) == memory(new[1])
        return found

    check(refilled, rng.normal(2, 7, 3, 4), rng.normal(2, 7, 3, 4))


def test_a_static_cache_has_the_dtype_it_is_made_with(check, rng):
    """A static cache stores keys and values in the dtype it is made with."""

    def stored(kv, k, v):
        cache = kv.StaticCache(2, 7, 3, 4, torch.float16, k.device)
        keys, values = cache.append(k.half(), v.half())
        return {"k": keys, "v": values}

    check(stored, rng.normal(2, 5, 3, 4), rng.normal(2, 5, 3, 4))


@pytest.mark.timeout(300)  # a limit for the hung, no verdict on the slow
@pytest.mark.parametrize("flash", [True, False], ids=["flash", "manual"])
@pytest.mark.parametrize("tokens", [128, 256, 512, 1024, 2048, 4096])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "forward+backward"])
def test_time_and_memory_of_flash_attention(
    benchmark, answer, device, backward, dtype, tokens, flash
):
    """Time and peak memory of a full pass with flash_attn on and off, side by side."""
    config = MiniMindConfig(
        hidden_size=256, num_attention_heads=8, num_key_value_heads=4, flash_attn=flash
    )
    layer = answer.Attention(config).to(device, dtype)
    x = torch.randn(1, tokens, config.hidden_size).to(device, dtype).requires_grad_(backward)
    cos, sin = tables(tokens, config.head_dim, config.rope_theta)
    position_embeddings = cos.to(device), sin.to(device)

    def full_pass():
        with torch.set_grad_enabled(backward):
            out, _ = layer(x, position_embeddings)
        if backward:
            layer.zero_grad()
            out.sum().backward()

    kind = "flash_attn" if flash else "manual"
    time_and_memory(
        benchmark, full_pass, device, backward=backward, dtype=dtype, tokens=tokens, kind=kind
    )
