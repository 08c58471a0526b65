"""ex01_rmsnorm: facts about root-mean-square normalisation and its gradients."""

import torch

from tests.support import run


def normed(rms, x, weights, eps):
    return run(rms.RMSNorm(x.shape[-1], eps), weights, x)


def backward(rms, grad, x, weight, eps):
    grad_x, grad_weight = rms.rms_norm_backward(grad, x, weight, eps)
    return {"grad_x": grad_x, "grad_weight": grad_weight}


def weights(rng, dim):
    """Random weights: ones would hide where they are multiplied, and by what."""
    return {"weight": rng.normal(dim, offset=1.5)}


def test_a_new_layer_has_one_weight_of_ones(check, rng):
    """A new RMSNorm has one trainable parameter, weight [dim], of ones, and eps is 1e-5."""

    def fresh(rms, x):
        layer = rms.RMSNorm(12)
        state = {name: list(value.shape) for name, value in layer.state_dict().items()}
        trained = [name for name, value in layer.named_parameters() if value.requires_grad]
        y = layer(x)
        return {"state dict": state, "trained": trained, "weight": layer.weight, "y": y}

    # Squares of 1e-5 on average, so that eps decides as much as x does.
    check(fresh, rng.normal(3, 12, scale=3e-3), draws=True)


def test_each_vector_is_divided_by_its_root_mean_square(check, rng):
    """y = weight · x / sqrt(mean(x²) + eps), the mean over the last axis, also for eps = 0.5."""

    def by_name(rms, x, weights):
        return run(rms.RMSNorm(dim=x.shape[-1], eps=0.5), weights, x)

    x = rng.normal(4, 7, 10, offset=0.5)
    check(by_name, x, weights(rng, 10), grad=("x", "weights"), draws=True)


def test_a_vector_of_zeros_stays_zero(check, rng):
    """A vector of zeros becomes zeros, not NaN, and the gradients stay finite."""
    x = rng.normal(4, 12)
    x[1] = 0.0
    check(normed, x, weights(rng, 12), 1e-4, grad=("x", "weights"), draws=True)


def test_any_number_of_leading_axes(check, rng):
    """One vector, a list of vectors, heads within positions and transposed layouts all work."""

    def shapes(rms, x, weights, eps):
        layer = rms.RMSNorm(24, eps)
        return {
            "one vector": run(layer, weights, x[1, 2, 3]),
            "two axes": run(layer, weights, x[1, 2]),
            "B = S = 1": run(layer, weights, x[:1, :1, 1]),
            "four axes": run(layer, weights, x),
            "transposed": run(layer, weights, x.transpose(0, 2)),
        }

    x = rng.normal(3, 5, 4, 24)
    check(shapes, x, weights(rng, 24), 0.2, draws=True)


def test_the_result_has_the_dtype_of_x(check, rng):
    """The result has x's dtype, also where the weight's is wider or narrower."""

    def dtypes(rms, x, weights, cast_weights, eps):
        layer = rms.RMSNorm(x.shape[-1], eps)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return {
            "with a wider weight": run(layer, weights, x),
            "with a weight of the same dtype": run(layer, cast_weights, x),
            "with a narrower weight": run(layer, cast_weights, wide),
        }

    scale = weights(rng, 12)
    x = rng.normal(4, 7, 12, offset=1.0)
    half = "x", "cast_weights"
    check(dtypes, x, scale, scale, 1e-3, half=half, grad=("weights",), draws=True)

    # A narrower weight costs x none of its digits.
    def narrower(rms, x, weight, eps):
        return normed(rms, x, {"weight": weight.bfloat16()}, eps)

    check(narrower, x, scale["weight"].bfloat16().float(), 1e-3, grad=("x",), draws=True)


def test_half_precision_is_widened_before_it_is_squared(check, rng):
    """Vectors near 300 or 1e-3 are normalised in float16 as well as in float32."""
    # float16 ends at 65504, which 300² is beyond, and the squares of 1e-3 have a digit or two left.
    x, scale = rng.normal(4, 7, 12), weights(rng, 12)
    for factor, eps in ((300, 1e-3), (1e-3, 1e-8)):
        args = factor * x, scale, eps
        check(normed, *args, half=("x", "weights"), grad=("x", "weights"), draws=True)


def test_the_scale_of_a_vector_stays_wide(check, rng):
    """1 / sqrt(mean(x²) + eps) stays in float32 until x has been multiplied by it."""
    x = rng.normal(4, 12)
    x[2] = 0.0  # times a million, which is no float16
    check(normed, x, weights(rng, 12), 1e-12, half=("x", "weights"), draws=True)


def test_rows_of_bfloat16_are_not_off_on_average(check, rng):
    """In 512 rows of bfloat16 numbers the small roundings cancel: the mean error is zero."""
    # Numbers whose squares bfloat16 rounds down, all of them: a bias that no single element shows.
    significands = 1 + torch.arange(128) / 128
    squares = significands.square()
    low = significands[squares.bfloat16() < squares * 0.998]
    # Each row has its favourites, so that the rows' scales are not all rounded the same way.
    favourites = rng.uniform(512, 64) ** rng.uniform(512, 1, low=0.2, high=5.0)
    x = low[(favourites * len(low)).long().clamp(max=len(low) - 1)]
    scale = {"weight": rng.uniform(64, low=0.5, high=2.0)}
    check(normed, x, scale, 1e-5, half=("x", "weights"), draws=True)


def test_gradients_by_hand_for_any_leading_axes(check, rng):
    """The gradients by hand work for one vector, several axes and transposed layouts alike."""

    def shapes(rms, grad, x, weight, eps):
        cases = {
            "one vector": (grad[1, 2, 3], x[1, 2, 3]),
            "two axes": (grad[1, 2], x[1, 2]),
            "transposed": (grad.transpose(0, 2), x.transpose(0, 2)),
        }
        found = {}
        for name, (g, at) in cases.items():
            grad_x, grad_weight = rms.rms_norm_backward(g, at, weight, eps)
            found |= {f"grad_x, {name}": grad_x, f"grad_weight, {name}": grad_weight}
        return found

    x, grad = rng.normal(3, 5, 4, 30), rng.normal(3, 5, 4, 30)
    check(shapes, grad, x, weights(rng, 30)["weight"], 0.2)

    x, grad = rng.normal(4, 7, 12, offset=0.5), rng.normal(4, 7, 12, offset=0.5)
    x[1, 2] = 0.0
    check(backward, grad, x, weights(rng, 12)["weight"], 0.5)


def test_gradients_by_hand_in_half_precision(check, rng):
    """grad_x has x's dtype, grad_weight the weight's, and all products are taken in float32."""

    def dtypes(rms, grad, x, weight, cast_weight, eps):
        wider = backward(rms, grad, x, weight, eps)
        same = backward(rms, grad, x, cast_weight, eps)
        found = {f"{name}, wider weight": value for name, value in wider.items()}
        return found | {f"{name}, weight of the same dtype": value for name, value in same.items()}

    weight = weights(rng, 12)["weight"]
    x, grad = rng.normal(4, 7, 12), rng.normal(4, 7, 12)
    half = "grad", "x", "cast_weight"
    # Of a gradient almost along x little is left: the difference of numbers fifty times as large.
    along = (x + 0.02 * grad) / weight
    check(dtypes, along, x, weight, weight, 1e-3, half=half)
    # 300 · 300 is beyond float16; the gradients themselves are not.
    check(dtypes, 300 * grad, 300 * x, weight, weight, 1e-3, half=half)
    check(dtypes, grad, 1e-3 * x, weight, weight, 1e-8, half=half)

    # A narrower weight costs grad_x none of its digits.
    def narrower(rms, grad, x, weight, eps):
        return {"grad_x": backward(rms, grad, x, weight.bfloat16(), eps)["grad_x"]}

    check(narrower, grad, x, weight.bfloat16().float(), 1e-3)
