"""What the cost meter counts: live storage and the FLOPs of contractions."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Linear, Module, Parameter
from torch.optim.optimizer import Optimizer

from grader.observation.cost import Cost, CostMeter, UncountedOperation


def cost_of(run: Callable[[], object]) -> Cost:
    with CostMeter() as meter:
        run()
    return meter.cost()


def leaf(*shape: int) -> Tensor:
    return torch.randn(*shape, requires_grad=True)


def backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types


def applied(function: type[torch.autograd.Function], x: Tensor) -> Tensor:
    out: Tensor = function.apply(x)  # type: ignore[no-untyped-call]
    return out


# One query head and one key head each: queries S, keys T, width d.
S, T, WIDTH = 48, 64, 8


def naive_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.softmax(q @ k.mT, dim=-1) @ v


def tiled_attention(q: Tensor, k: Tensor, v: Tensor, *, block: int) -> Tensor:
    out = torch.zeros(q.shape[0], v.shape[1])
    total = torch.zeros(q.shape[0], 1)
    for start in range(0, len(k), block):
        weight = torch.exp(q @ k[start : start + block].mT)
        out += weight @ v[start : start + block]
        total += weight.sum(-1, keepdim=True)
    return out / total


class TestStorage:
    def test_materialised_scores_count_in_full(self) -> None:
        """Attention that holds scores and probabilities peaks at twice queries times keys."""
        q, k, v = torch.randn(S, WIDTH), torch.randn(T, WIDTH), torch.randn(T, WIDTH)
        cost = cost_of(lambda: naive_attention(q, k, v))
        assert cost.peak_elements == 2 * S * T
        assert cost.largest_elements == S * T

    def test_tiled_attention_stays_below_the_scores(self) -> None:
        """Attention in tiles never holds as much as one matrix of scores."""
        q, k, v = torch.randn(S, WIDTH), torch.randn(T, WIDTH), torch.randn(T, WIDTH)
        cost = cost_of(lambda: tiled_attention(q, k, v, block=4))
        held, tile = S * WIDTH + S, S * 4
        assert cost.peak_elements == held + tile + S * WIDTH
        assert cost.peak_elements < S * T

    def test_a_view_adds_nothing(self) -> None:
        """An expanded, transposed or sliced tensor is the storage that was there before."""
        x = torch.randn(1, 6)
        cost = cost_of(lambda: (x.expand(100, 6), x.mT, x[:, 2:], x.reshape(2, 3)))
        assert cost == Cost(0, 0, 0, 0)

    def test_views_of_a_new_tensor_count_once(self) -> None:
        """A new tensor and all of its views are one storage, freed when the last one goes."""
        with CostMeter() as meter:
            x = torch.zeros(3, 4)
            view = x.expand(5, 3, 4)[2, 1:]
            assert meter.alive() == (12,)
            del x
            assert meter.alive() == (12,)
            del view
            assert meter.alive() == ()
        assert meter.cost().peak_elements == 12

    def test_repeated_keys_count(self) -> None:
        """Repeating keys for each query head makes a new tensor of the full size."""
        keys = torch.randn(7, 2, 8)
        assert cost_of(lambda: keys.repeat_interleave(3, dim=1)).largest_elements == 7 * 6 * 8
        assert cost_of(lambda: keys[:, :, None].expand(7, 2, 3, 8)).largest_elements == 0

    def test_a_broadcast_matmul_counts_its_copies(self) -> None:
        """`torch.matmul` over a broadcast group axis copies the keys for every query head."""
        query, keys = torch.randn(2, 3, 1, 8), torch.randn(2, 1, 16, 8)
        cost = cost_of(lambda: query @ keys.mT)
        assert cost.largest_elements == 2 * 3 * 16 * 8

    def test_what_existed_before_is_free(self) -> None:
        """Writing into a tensor that existed before the run adds no storage."""
        x = torch.randn(5)
        y = torch.randn(5)
        assert cost_of(lambda: x.mul_(2).add_(y)).peak_elements == 0
        out = torch.empty(5)
        assert cost_of(lambda: torch.add(x, y, out=out)).peak_elements == 0

    def test_freed_temporaries_are_subtracted(self) -> None:
        """A loop that drops its temporaries peaks at one of them, however long it runs."""
        x = torch.randn(35)

        def loop() -> None:
            for _ in range(10):
                _ = x.neg()
                del _

        assert cost_of(loop).peak_elements == 35

    def test_kept_tensors_add_up(self) -> None:
        """A loop that keeps what it makes peaks at all of it."""
        x = torch.randn(35)
        assert cost_of(lambda: [x.neg() for _ in range(10)]).peak_elements == 350

    def test_an_argument_is_alive_beside_its_result(self) -> None:
        """A chain of operations peaks at two: the one read and the one written."""
        x = torch.randn(35)
        assert cost_of(lambda: x.neg().neg().neg().neg()).peak_elements == 70

    def test_a_buffer_that_grows_counts_from_then_on(self) -> None:
        """An empty buffer filled by `out=` or `resize_` costs what it grew to."""
        a, b = torch.randn(3, 4), torch.randn(4, 5)
        before = torch.empty(0)
        cost = cost_of(lambda: torch.mm(a, b, out=before))
        assert (cost.peak_elements, cost.largest_elements) == (15, 15)
        cost = cost_of(lambda: torch.mm(a, b, out=torch.empty(0)))
        assert (cost.peak_elements, cost.largest_elements) == (15, 15)
        assert cost_of(lambda: torch.empty(2).resize_(9)).peak_elements == 9

    def test_a_tensor_made_of_python_numbers_counts(self) -> None:
        """`torch.tensor` allocates like any other constructor."""
        assert cost_of(lambda: torch.tensor([1.0, 2.0, 3.0])).peak_elements == 3

    def test_bytes_follow_the_dtype(self) -> None:
        """Elements are counted alike in every dtype, bytes by its width."""
        for dtype, width in ((torch.bool, 1), (torch.bfloat16, 2), (torch.float64, 8)):
            cost = cost_of(partial(torch.empty, 10, dtype=dtype))
            assert (cost.peak_elements, cost.peak_bytes) == (10, 10 * width)

    def test_reading_another_dtype_keeps_the_elements(self) -> None:
        """A storage is counted in elements of the dtype that allocated it."""
        assert cost_of(lambda: torch.empty(10).view(torch.uint8).add_(1)).peak_elements == 10

    def test_what_autograd_saves_is_alive_until_the_backward(self) -> None:
        """A tensor that only the backward pass still needs is alive until it has run."""
        x = leaf(20)
        with CostMeter() as meter:
            loss = x.exp().sum()
            assert meter.alive() == (20, 1)
            backward(loss)
            assert meter.alive() == (20, 1), "the gradient and the loss"
            x.grad = None
            assert meter.alive() == (1,)

    def test_what_a_custom_function_saves_is_alive(self) -> None:
        """A tensor handed to `save_for_backward` and nowhere else is alive."""

        class Square(torch.autograd.Function):
            @staticmethod
            def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
                ctx.save_for_backward(x * 2)
                return (x * x).sum()

            @staticmethod
            def backward(
                ctx: torch.autograd.function.FunctionCtx, *grads: Tensor
            ) -> tuple[Tensor, ...]:
                (twice,) = ctx.saved_tensors  # type: ignore[attr-defined]
                return (grads[0] * twice,)

        x = leaf(20)
        with CostMeter() as meter:
            loss = applied(Square, x)
            assert meter.alive() == (20, 1)
            del loss
            assert meter.alive() == ()

    def test_storage_of_the_backward_counts(self) -> None:
        """What the backward pass allocates belongs to the run."""
        x = leaf(3, 50)
        loss = x.sum() * 2
        assert cost_of(partial(backward, loss)).largest_elements == 150

    def test_recomputing_holds_less_than_keeping(self) -> None:
        """A loss in recomputed chunks holds no logits between forward and backward."""
        from torch.utils.checkpoint import checkpoint

        hidden, weight = leaf(12, 4), leaf(30, 4)

        def chunk_loss(part: Tensor) -> Tensor:
            return (part @ weight.mT).logsumexp(-1).sum()

        def in_chunks() -> Tensor:
            parts = [
                checkpoint(chunk_loss, part, use_reentrant=False) for part in torch.split(hidden, 3)
            ]
            return torch.stack(parts).sum()

        def at_once() -> Tensor:
            return chunk_loss(hidden)

        largest_between = {}
        for run in (in_chunks, at_once):
            with CostMeter() as meter:
                loss = run()
                largest_between[run] = meter.alive()[0]
                backward(loss)
        assert largest_between[in_chunks] < 3 * 30
        assert largest_between[at_once] == 12 * 30

    def test_each_entry_starts_from_zero(self) -> None:
        """A meter entered again knows nothing of the run before."""
        meter = CostMeter()
        with meter:
            kept = torch.zeros(9)
        with meter:
            torch.zeros(4)
        assert meter.cost().peak_elements == 4
        del kept
        assert meter.alive() == ()

    def test_meters_nest(self) -> None:
        """An inner meter sees its own block, the outer one everything."""
        with CostMeter() as outer:
            kept = torch.zeros(9)
            with CostMeter() as inner:
                torch.mv(torch.zeros(2, 3), torch.zeros(3))
        assert inner.cost() == Cost(11, 44, 6, 12)
        assert outer.cost() == Cost(20, 80, 9, 12)
        del kept

    def test_nothing_outside_the_block_counts(self) -> None:
        """What is made after the block belongs to nobody, also after an exception."""
        meter = CostMeter()
        with pytest.raises(ZeroDivisionError), meter:
            raise ZeroDivisionError
        torch.zeros(100)
        assert meter.cost() == Cost(0, 0, 0, 0)


CONTRACTIONS: dict[str, tuple[Callable[[], object], int]] = {
    "mm": (lambda: torch.mm(torch.ones(2, 3), torch.ones(3, 5)), 2 * 30),
    "mm out": (
        lambda: torch.mm(torch.ones(2, 3), torch.ones(3, 5), out=torch.empty(2, 5)),
        2 * 30,
    ),
    "mm by keywords": (
        lambda: torch.ops.aten.mm.default(self=torch.ones(2, 3), mat2=torch.ones(3, 5)),
        2 * 30,
    ),
    "addmm": (lambda: torch.addmm(torch.ones(5), torch.ones(2, 3), torch.ones(3, 5)), 2 * 30),
    "addmm_": (
        lambda: torch.ones(2, 5).addmm_(torch.ones(2, 3), torch.ones(3, 5)),
        2 * 30,
    ),
    "bmm": (lambda: torch.bmm(torch.ones(7, 2, 3), torch.ones(7, 3, 5)), 2 * 210),
    "baddbmm": (
        lambda: torch.baddbmm(torch.ones(5), torch.ones(7, 2, 3), torch.ones(7, 3, 5)),
        2 * 210,
    ),
    "addbmm": (
        lambda: torch.addbmm(torch.ones(5), torch.ones(7, 2, 3), torch.ones(7, 3, 5)),
        2 * 210,
    ),
    "mv": (lambda: torch.mv(torch.ones(2, 3), torch.ones(3)), 2 * 6),
    "addmv": (lambda: torch.addmv(torch.ones(2), torch.ones(2, 3), torch.ones(3)), 2 * 6),
    "dot": (lambda: torch.dot(torch.ones(3), torch.ones(3)), 2 * 3),
    "vdot": (lambda: torch.vdot(torch.ones(3), torch.ones(3)), 2 * 3),
    "inner": (lambda: torch.inner(torch.ones(2, 3), torch.ones(5, 3)), 2 * 30),
    "linear": (lambda: F.linear(torch.ones(7, 2, 3), torch.ones(5, 3), torch.ones(5)), 2 * 210),
    "matmul": (lambda: torch.ones(7, 2, 3) @ torch.ones(3, 5), 2 * 210),
    "tensordot": (lambda: torch.tensordot(torch.ones(2, 3), torch.ones(3, 5), 1), 2 * 30),
    "einsum": (lambda: torch.einsum("bij,jk->bik", torch.ones(7, 2, 3), torch.ones(3, 5)), 2 * 210),
    "vmap": (
        lambda: torch.vmap(torch.mm)(torch.ones(7, 2, 3), torch.ones(7, 3, 5)),
        2 * 210,
    ),
    "empty": (lambda: torch.mm(torch.ones(0, 3), torch.ones(3, 5)), 0),
}

ELEMENTWISE: dict[str, Callable[[], object]] = {
    "outer product": lambda: torch.outer(torch.ones(3), torch.ones(4)),
    "product and sum": lambda: torch.sum(torch.ones(3) * torch.ones(3)),
    "softmax": lambda: torch.softmax(torch.ones(3), 0),
    "norm": lambda: torch.linalg.vector_norm(torch.ones(3)),
    "lgamma, which only sounds like mm": lambda: torch.lgamma(torch.ones(3)),
    "embedding": lambda: F.embedding(torch.tensor([0, 1]), torch.ones(2, 3)),
}

UNCOUNTED: dict[str, Callable[[], object]] = {
    "convolution": lambda: F.conv1d(torch.ones(1, 2, 5), torch.ones(3, 2, 2)),
    "distances": lambda: torch.cdist(torch.ones(3, 4), torch.ones(5, 4)),
    "bilinear": lambda: F.bilinear(torch.ones(2, 3), torch.ones(2, 4), torch.ones(5, 3, 4)),
    "solver": lambda: torch.linalg.solve(torch.eye(3), torch.eye(3)),
    "integer product": lambda: torch._int_mm(
        torch.ones(32, 32, dtype=torch.int8), torch.ones(32, 32, dtype=torch.int8)
    ),
    "weighted bag of rows": lambda: F.embedding_bag(
        torch.tensor([[0, 1]]), torch.ones(2, 3), per_sample_weights=torch.ones(1, 2), mode="sum"
    ),
    "Fourier transform": lambda: torch.fft.rfft(torch.ones(8)),
    "sparse tensor": lambda: torch.eye(3).to_sparse(),
    "nested tensor": lambda: torch._nested_tensor_from_tensor_list([torch.ones(2)]),
}


class TestFlops:
    @pytest.mark.parametrize("name", CONTRACTIONS)
    def test_a_contraction_counts_two_per_multiply_add(self, name: str) -> None:
        """Every way to write a contraction costs two FLOPs per multiply-add."""
        run, flops = CONTRACTIONS[name]
        assert cost_of(run).flops == flops

    @pytest.mark.parametrize("name", CONTRACTIONS)
    def test_grad_modes_do_not_change_the_count(self, name: str) -> None:
        """A contraction costs the same without gradients and in inference mode."""
        run, flops = CONTRACTIONS[name]
        with torch.no_grad():
            assert cost_of(run).flops == flops
        with torch.inference_mode():
            assert cost_of(run).flops == flops

    @pytest.mark.parametrize("name", ELEMENTWISE)
    def test_what_contracts_nothing_is_free(self, name: str) -> None:
        """Elementwise work and reductions count no FLOPs."""
        assert cost_of(ELEMENTWISE[name]).flops == 0

    def test_the_backward_of_a_product_is_two_products(self) -> None:
        """Forward and backward of a matrix product cost three times the forward."""
        a, b = leaf(5, 7), leaf(7, 3)
        assert cost_of(lambda: backward((a @ b).sum())).flops == 3 * 2 * 5 * 7 * 3

    def test_the_backward_alone_is_seen(self) -> None:
        """A backward pass inside the block counts although its forward ran before."""
        a, b = leaf(5, 7), leaf(7, 3)
        loss = (a @ b).sum()
        assert cost_of(partial(backward, loss)).flops == 2 * 2 * 5 * 7 * 3

    def test_functional_calls_and_transforms_are_seen(self) -> None:
        """`functional_call` and `torch.func.grad` run the same operations."""
        layer = Linear(3, 5)
        weights = {name: value.detach() for name, value in layer.named_parameters()}
        x = torch.randn(2, 3)

        def loss(weights: dict[str, Tensor]) -> Tensor:
            out: Tensor = torch.func.functional_call(layer, weights, (x,))
            return out.sum()

        assert cost_of(lambda: loss(weights)).flops == 2 * 30
        # x needs no gradient, so that the backward is one product and not two.
        assert cost_of(lambda: torch.func.grad(loss)(weights)).flops == 2 * 2 * 30

    def test_experts_cost_what_they_compute(self) -> None:
        """A mixture of experts costs its router and the chosen experts, to the FLOP."""
        tokens, hidden, inner, experts, chosen = 11, 6, 10, 5, 2
        x = torch.randn(tokens, hidden)
        router = Linear(hidden, experts, bias=False)
        layers = [
            (Linear(hidden, inner, bias=False), Linear(inner, hidden)) for _ in range(experts)
        ]

        def mixture() -> Tensor:
            weights, index = router(x).softmax(-1).topk(chosen)
            out = torch.zeros_like(x)
            for expert, (up, down) in enumerate(layers):
                token, place = (index == expert).nonzero(as_tuple=True)
                out.index_add_(0, token, down(up(x[token])) * weights[token, place, None])
            return out

        per_token = 2 * hidden * experts + chosen * 2 * (2 * hidden * inner)
        assert cost_of(mixture).flops == tokens * per_token

    def test_grouped_products_cost_their_groups(self) -> None:
        """A grouped product counts the rows that belong to a group, forward and backward."""
        rows, weight = leaf(6, 8), leaf(2, 8, 16)
        ends = torch.tensor([2, 5], dtype=torch.int32)

        def run() -> None:
            backward(F.grouped_mm(rows, weight, offs=ends).pow(2).sum())

        assert cost_of(run).flops == 3 * 2 * 5 * 8 * 16

    def test_grouped_products_of_batches_cost_all(self) -> None:
        """A grouped product without offsets is a batch of products."""
        left, right = torch.randn(2, 8, 16), torch.randn(2, 16, 24)
        assert cost_of(lambda: F.grouped_mm(left, right)).flops == 2 * 2 * 8 * 16 * 24

    def test_grouped_columns_and_inner_axes_cost_their_groups(self) -> None:
        """Groups may divide the columns or the inner axis as well."""
        ends = torch.tensor([8, 16], dtype=torch.int32)
        columns = cost_of(
            lambda: F.grouped_mm(torch.ones(2, 4, 8), torch.ones(8, 24), offs=ends)
        ).flops
        assert columns == 2 * 16 * 4 * 8
        inner = cost_of(lambda: F.grouped_mm(torch.ones(4, 24), torch.ones(24, 8), offs=ends)).flops
        assert inner == 2 * 16 * 4 * 8

    def test_a_complex_multiply_add_counts_as_one(self) -> None:
        """Complex products count like real ones."""
        a = torch.ones(2, 3, dtype=torch.complex64)
        assert cost_of(lambda: a @ a.mT).flops == 2 * 2 * 2 * 3


class TestAttentionFlops:
    B, H, K, D = 2, 6, 3, 8

    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        return (
            leaf(self.B, self.H, S, self.D),
            leaf(self.B, self.H, T, self.D),
            leaf(self.B, self.H, T, self.D),
        )

    def test_fused_attention_costs_what_the_products_cost(self) -> None:
        """The fused kernel counts the FLOPs of the attention written by hand."""
        q, k, v = self.inputs()
        by_hand = cost_of(lambda: torch.softmax(q @ k.mT, -1) @ v).flops
        assert by_hand == 2 * 2 * self.B * self.H * S * T * self.D
        assert cost_of(lambda: F.scaled_dot_product_attention(q, k, v)).flops == by_hand

    def test_masks_and_modes_change_nothing(self) -> None:
        """A causal mask, an explicit mask, no gradients or inference mode: the same count."""
        q, k, v = (x.detach() for x in self.inputs())
        flops = 4 * self.B * self.H * S * T * self.D
        mask = torch.ones(S, T, dtype=torch.bool)
        for options in ({"is_causal": True}, {"attn_mask": mask}):
            run = partial(F.scaled_dot_product_attention, q, k, v, **options)
            assert cost_of(run).flops == flops
            with torch.inference_mode():
                assert cost_of(run).flops == flops

    def test_shared_key_heads_cost_every_query_head(self) -> None:
        """Grouped queries do not multiply less, they only store less."""
        q, _, _ = self.inputs()
        k = torch.randn(self.B, self.K, T, self.D)
        cost = cost_of(lambda: F.scaled_dot_product_attention(q, k, k, enable_gqa=True))
        assert cost.flops == 4 * self.B * self.H * S * T * self.D

    def test_the_kernel_of_plain_products_counts_the_same(self) -> None:
        """Where torch falls back to plain products, they are what is counted."""
        q, k, v = (x[0, 0].detach() for x in self.inputs())
        cost = cost_of(lambda: F.scaled_dot_product_attention(q, k, v))
        assert cost.flops == 4 * S * T * self.D

    def test_the_fused_backward_computes_the_scores_again(self) -> None:
        """The fused backward costs the four products of the plain one and the scores once more."""
        q, k, v = self.inputs()
        product = 2 * self.B * self.H * S * T * self.D
        by_hand = (torch.softmax(q @ k.mT, -1) @ v).sum()
        assert cost_of(partial(backward, by_hand)).flops == 4 * product
        fused = F.scaled_dot_product_attention(q, k, v).sum()
        assert cost_of(partial(backward, fused)).flops == 5 * product

    @pytest.mark.parametrize("kind", ["flash", "efficient", "cudnn"])
    def test_kernels_of_other_devices_have_the_same_count(self, kind: str) -> None:
        """The kernels that only a GPU has are counted alike, which the meta device shows."""
        q, k, v = (x.detach().to("meta").requires_grad_() for x in self.inputs())
        kernel = getattr(torch.ops.aten, f"_scaled_dot_product_{kind}_attention")
        extra = () if kind == "flash" else (None, True)  # no bias, keep the log-sum-exp
        product = 2 * self.B * self.H * S * T * self.D
        with CostMeter() as meter:
            out = kernel(q, k, v, *extra)[0]
        assert meter.cost().flops == 2 * product
        assert cost_of(partial(backward, out.sum())).flops == 5 * product


class Tanh(torch.autograd.Function):
    """Convolves in its backward, where an error could get lost on the way through the engine."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        return x.tanh()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> Tensor:
        return F.conv1d(grads[0][None, None], torch.ones(1, 1, 1))[0, 0]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
class TestUncounted:
    @pytest.mark.parametrize("name", UNCOUNTED)
    def test_what_cannot_be_counted_is_refused(self, name: str) -> None:
        """An operation without a count raises and never passes as free."""
        with pytest.raises(UncountedOperation), CostMeter():
            UNCOUNTED[name]()

    @pytest.mark.parametrize("name", UNCOUNTED)
    def test_inference_mode_hides_nothing(self, name: str) -> None:
        """An operation without a count raises in inference mode too."""
        with torch.inference_mode(), pytest.raises(UncountedOperation), CostMeter():
            UNCOUNTED[name]()

    def test_the_message_names_the_operation(self) -> None:
        """The error says which operation it was and what to use."""
        with pytest.raises(UncountedOperation, match=r"aten\.convolution\.default.*matmul"):
            cost_of(UNCOUNTED["convolution"])

    def test_a_swallowed_refusal_is_raised_again(self) -> None:
        """Code that catches the error cannot get a cost."""
        with CostMeter() as meter, contextlib.suppress(RuntimeError):
            UNCOUNTED["convolution"]()
        with pytest.raises(UncountedOperation, match="convolution"):
            meter.cost()

    def test_a_backward_is_no_hiding_place(self) -> None:
        """An operation without a count raises out of a backward pass too."""
        loss = applied(Tanh, leaf(4)).sum()
        with pytest.raises(UncountedOperation, match="convolution"):
            cost_of(partial(backward, loss))

    def test_an_operation_of_ones_own_is_refused(self) -> None:
        """A custom operator could hide any amount of work, so it has no count."""
        with torch.library._scoped_library("learner", "FRAGMENT") as library:
            library.define("copy(Tensor x) -> Tensor")
            library.impl("copy", lambda x: (x @ x).clone(), "CPU")
            with pytest.raises(UncountedOperation, match=r"learner\.copy"):
                cost_of(lambda: torch.ops.learner.copy(torch.ones(3, 3)))


class Sgd(Optimizer):
    """An optimizer of one's own, whose step torch wraps in a profiler range."""

    def __init__(self, params: list[Parameter]) -> None:
        super().__init__(params, {"lr": 0.1})

    @torch.no_grad()
    def step(self, closure: object = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.sub_(parameter.grad, alpha=group["lr"])


class TestOrdinaryCode:
    def test_a_training_step_is_counted_to_the_end(self) -> None:
        """Model, loss, backward and an optimizer step pass without anything uncounted."""
        model: Module = torch.nn.Sequential(
            torch.nn.Embedding(9, 4), torch.nn.LayerNorm(4), Linear(4, 9, bias=False)
        )
        optimizer = Sgd(list(model.parameters()))
        ids = torch.arange(6)

        def step() -> None:
            backward(F.cross_entropy(model(ids), ids))
            optimizer.step()
            optimizer.zero_grad()

        assert cost_of(step).flops == 3 * 2 * 6 * 4 * 9

    def test_results_are_the_same_as_without_a_meter(self) -> None:
        """Counting changes no value and no gradient."""
        q, k, v = (leaf(1, 2, 5, 8) for _ in range(3))
        plain = torch.autograd.grad(F.scaled_dot_product_attention(q, k, v).sum(), (q, k, v))
        with CostMeter():
            counted = torch.autograd.grad(F.scaled_dot_product_attention(q, k, v).sum(), (q, k, v))
        assert all(torch.equal(a, b) for a, b in zip(plain, counted, strict=True))

    def test_counting_imports_neither_the_compiler_nor_sympy(self) -> None:
        """Importing and using the meter stays clear of what makes dispatch modes slow."""
        program = (
            "import sys, torch\n"
            "from grader.observation.cost import CostMeter\n"
            "x = torch.ones(2, 3, requires_grad=True)\n"
            "with CostMeter() as meter:\n"
            "    torch.nn.functional.linear(x, x).sum().backward()\n"
            "    with torch.inference_mode(): x @ x.mT\n"
            "assert meter.cost().flops == 96, meter.cost()\n"
            "slow = [m for m in sys.modules if m.split('.')[0] == 'sympy'"
            " or m.startswith('torch._dynamo')]\n"
            "assert not slow, slow\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
