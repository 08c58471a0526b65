"""ex02's two answers against code that shares nothing with them: plain loops, and transformers."""

import cmath
import importlib
import math
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor

ANSWERS = ["minimind_ref.rope", "solutions.ex02_rope"]
BASE = 300.0
DIM = 12
PAIRS = DIM // 2


@pytest.fixture(params=ANSWERS)
def rope(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(20)


def normal(random: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=random, dtype=torch.float64)


def angle(position: int, pair: int, dim: int = DIM, base: float = BASE) -> float:
    """The one formula that everything here rests on."""
    return position * math.exp(-2 * pair / dim * math.log(base))


def turned_in_loops(x: Tensor, first_position: int, pairs: list[tuple[int, int]]) -> Tensor:
    """x ``[B, S, heads, d]`` with each pair of features turned, one complex product at a time."""
    result = torch.empty_like(x)
    for batch in range(x.shape[0]):
        for place in range(x.shape[1]):
            for head in range(x.shape[2]):
                vector = x[batch, place, head]
                for pair, (real, imaginary) in enumerate(pairs):
                    number = complex(vector[real].item(), vector[imaginary].item())
                    number *= cmath.exp(1j * angle(first_position + place, pair))
                    result[batch, place, head, real] = number.real
                    result[batch, place, head, imaginary] = number.imag
    return result


HALVES = [(i, i + PAIRS) for i in range(PAIRS)]
NEIGHBOURS = [(2 * i, 2 * i + 1) for i in range(PAIRS)]


def half_tables(first: int, count: int) -> tuple[Tensor, Tensor]:
    """Float64 tables of the half-split form, made number by number."""
    rows = [[angle(p, i % PAIRS) for i in range(DIM)] for p in range(first, first + count)]
    cos = torch.tensor([[math.cos(t) for t in row] for row in rows], dtype=torch.float64)
    sin = torch.tensor([[math.sin(t) for t in row] for row in rows], dtype=torch.float64)
    return cos, sin


def complex_table(first: int, count: int) -> Tensor:
    """A complex128 table of the complex form, made number by number."""
    here = range(first, first + count)
    rows = [[cmath.exp(1j * angle(p, i)) for i in range(PAIRS)] for p in here]
    return torch.tensor(rows, dtype=torch.complex128)


def assert_table(got: Tensor, expected: Tensor) -> None:
    """Float32 angles may be off by 4e-7 · (1 + position): the contract's own bound."""
    assert got.shape == expected.shape
    error = (got.to(expected.dtype) - expected).abs()
    allowed = 4e-7 * (1 + torch.arange(len(expected), dtype=torch.float64))[:, None]
    assert (error <= allowed).all(), f"largest error {error.max():.3g}"


def assert_exact(got: Tensor, expected: Tensor) -> None:
    """Equal but for what float64 rounds."""
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def test_tables_are_the_formula(rope: ModuleType) -> None:
    cos, sin = rope.precompute_freqs_cis(DIM, 50, BASE)
    assert cos.dtype == sin.dtype == torch.float32
    expected_cos, expected_sin = half_tables(0, 50)
    assert_table(cos, expected_cos)
    assert_table(sin, expected_sin)


def test_complex_table_is_the_formula(rope: ModuleType) -> None:
    table = rope.precompute_pos_cis(DIM, 50, BASE)
    assert table.dtype == torch.complex64
    assert_table(table, complex_table(0, 50))


def test_default_table_is_the_formula_up_to_its_last_row(rope: ModuleType) -> None:
    cos, sin = rope.precompute_freqs_cis(DIM)
    assert cos.shape == sin.shape == (32768, DIM)
    for position in (0, 1, 257, 4099, 32767):
        for feature in range(DIM):
            expected = angle(position, feature % PAIRS, base=1e6)
            allowed = 4e-7 * (1 + position)
            assert cos[position, feature].item() == pytest.approx(math.cos(expected), abs=allowed)
            assert sin[position, feature].item() == pytest.approx(math.sin(expected), abs=allowed)


def test_expected_tables_are_exact_in_float64() -> None:
    """The grader takes expected values from the reference under a float64 default."""
    reference = importlib.import_module("minimind_ref.rope")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        cos, sin = reference.precompute_freqs_cis(DIM, 50, BASE)
        table = reference.precompute_pos_cis(DIM, 50, BASE)
    finally:
        torch.set_default_dtype(before)
    for got, expected in zip((cos, sin), half_tables(0, 50), strict=True):
        assert_exact(got, expected)
    assert_exact(table, complex_table(0, 50))


def test_rotate_half_is_multiplication_by_i(rope: ModuleType, random: torch.Generator) -> None:
    x = normal(random, 3, DIM)
    turned = rope.rotate_half(x)
    for row, turned_row in zip(x, turned, strict=True):
        for real, imaginary in HALVES:
            number = complex(row[real].item(), row[imaginary].item()) * 1j
            assert (turned_row[real].item(), turned_row[imaginary].item()) == (
                number.real,
                number.imag,
            )


def test_half_form_turns_pair_by_pair(rope: ModuleType, random: torch.Generator) -> None:
    q, k = normal(random, 2, 5, 4, DIM), normal(random, 2, 5, 3, DIM)
    got_q, got_k = rope.apply_rotary_pos_emb(q, k, *half_tables(7, 5))
    assert_exact(got_q, turned_in_loops(q, 7, HALVES))
    assert_exact(got_k, turned_in_loops(k, 7, HALVES))


def test_complex_form_turns_pair_by_pair(rope: ModuleType, random: torch.Generator) -> None:
    x = normal(random, 2, 4, 5, DIM).transpose(1, 2)
    assert_exact(
        rope.apply_rotary_complex(x, complex_table(7, 5)), turned_in_loops(x, 7, NEIGHBOURS)
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(
    rope: ModuleType, random: torch.Generator, dtype: torch.dtype
) -> None:
    """At most one unit in the last place from the loops; keys in float32 stay there."""
    x = normal(random, 2, 5, 4, DIM).to(dtype)
    tables = [table.float() for table in half_tables(7, 5)]
    q, k = rope.apply_rotary_pos_emb(x, x.float(), *tables)
    neighbours = rope.apply_rotary_complex(x, complex_table(7, 5).to(torch.complex64))
    assert (q.dtype, k.dtype, neighbours.dtype) == (dtype, torch.float32, dtype)
    for got, pairs in ((q, HALVES), (neighbours, NEIGHBOURS)):
        expected = turned_in_loops(x.double(), 7, pairs)
        error = (got.double() - expected).abs()
        assert (error <= torch.finfo(dtype).eps * expected.abs() + 1e-6).all()
        assert error.mean() <= 0.3 * torch.finfo(dtype).eps * expected.abs().mean()


def test_gradients_turn_back(rope: ModuleType, random: torch.Generator) -> None:
    """A rotation's transpose is its inverse: turning the gradient forward gives the cotangent."""
    q, k, x = (normal(random, 2, 5, heads, DIM).requires_grad_() for heads in (4, 3, 2))
    outputs = [*rope.apply_rotary_pos_emb(q, k, *half_tables(7, 5))]
    outputs.append(rope.apply_rotary_complex(x, complex_table(7, 5)))
    cotangents = [normal(random, *output.shape) for output in outputs]
    gradients = torch.autograd.grad(outputs, (q, k, x), cotangents)
    for gradient, cotangent, pairs in zip(
        gradients, cotangents, (HALVES, HALVES, NEIGHBOURS), strict=True
    ):
        assert_exact(turned_in_loops(gradient, 7, pairs), cotangent)


def test_tables_of_another_length_are_refused(rope: ModuleType, random: torch.Generator) -> None:
    x = normal(random, 1, 5, 2, DIM)
    (cos, sin), table = half_tables(0, 6), complex_table(0, 6)
    for rows in (1, 6):
        with pytest.raises(ValueError, match="cos"):
            rope.apply_rotary_pos_emb(x, x, cos[:rows], sin[:5])
        with pytest.raises(ValueError, match="sin"):
            rope.apply_rotary_pos_emb(x, x, cos[:5], sin[:rows])
        with pytest.raises(ValueError, match="pos_cis"):
            rope.apply_rotary_complex(x, table[:rows])


def half_form_score(rope: ModuleType, q: Tensor, k: Tensor, at_q: int, at_k: int) -> float:
    turned_q, _ = rope.apply_rotary_pos_emb(q, q, *half_tables(at_q, 1))
    _, turned_k = rope.apply_rotary_pos_emb(k, k, *half_tables(at_k, 1))
    return (turned_q * turned_k).sum().item()


def complex_form_score(rope: ModuleType, q: Tensor, k: Tensor, at_q: int, at_k: int) -> float:
    turned_q = rope.apply_rotary_complex(q, complex_table(at_q, 1))
    turned_k = rope.apply_rotary_complex(k, complex_table(at_k, 1))
    return (turned_q * turned_k).sum().item()


@pytest.mark.parametrize("score", [half_form_score, complex_form_score])
@pytest.mark.parametrize("distance", [-4, 0, 1, 6])
def test_scores_depend_on_the_distance_alone(
    rope: ModuleType, random: torch.Generator, score: Callable[..., float], distance: int
) -> None:
    q, k = normal(random, 1, 1, 1, DIM), normal(random, 1, 1, 1, DIM)
    here = score(rope, q, k, 5 + distance, 5)
    assert score(rope, q, k, 800 + distance, 800) == pytest.approx(here, abs=1e-10)
    assert score(rope, q, k, 6 + distance, 5) != pytest.approx(here, abs=1e-3)
    if distance == 0:
        assert here == pytest.approx((q * k).sum().item(), abs=1e-12)


def test_reordered_weights_give_the_complex_forms_scores(
    rope: ModuleType, random: torch.Generator
) -> None:
    """Grouped heads, so that a mix-up of heads shows; d = 12, so that the direction does."""
    heads, kv_heads, hidden, positions = 4, 2, 7, 5
    x = normal(random, 2, positions, hidden)
    w_q, w_k = normal(random, heads * DIM, hidden), normal(random, kv_heads * DIM, hidden)

    def projected(weight: Tensor) -> Tensor:
        return (x @ weight.T).unflatten(-1, (-1, DIM))

    def scores(q: Tensor, k: Tensor) -> Tensor:
        return torch.einsum("bshd,bthd->bhst", q, k.repeat_interleave(heads // kv_heads, dim=2))

    table = complex_table(3, positions)
    complex_scores = scores(
        rope.apply_rotary_complex(projected(w_q), table),
        rope.apply_rotary_complex(projected(w_k), table),
    )
    reordered = rope.interleaved_to_half(w_q, heads), rope.interleaved_to_half(w_k, kv_heads)
    q, k = (projected(weight) for weight in reordered)
    half_scores = scores(*rope.apply_rotary_pos_emb(q, k, *half_tables(3, positions)))
    assert_exact(half_scores, complex_scores)


# transformers keeps heads before positions and makes its tables from a config and position ids.


def theirs(module_name: str, config_name: str) -> tuple[ModuleType, torch.nn.Module]:
    """A model's module in transformers, and a rotary embedding built from its small config."""
    transformers = pytest.importorskip("transformers")
    module = importlib.import_module(f"transformers.models.{module_name}.modeling_{module_name}")
    config = getattr(transformers, config_name)(
        hidden_size=4 * DIM,
        num_attention_heads=4,
        head_dim=DIM,
        rope_parameters={"rope_type": "default", "rope_theta": BASE},
    )
    return module, getattr(module, config_name.replace("Config", "RotaryEmbedding"))(config)


def positions(first: int, count: int) -> Tensor:
    return torch.arange(first, first + count)[None]


@pytest.mark.parametrize(
    ("module_name", "config_name"), [("qwen3", "Qwen3Config"), ("llama", "LlamaConfig")]
)
def test_half_form_is_that_of_transformers(
    rope: ModuleType, random: torch.Generator, module_name: str, config_name: str
) -> None:
    module, embedding = theirs(module_name, config_name)
    q, k = (normal(random, 2, 5, heads, DIM).float() for heads in (4, 3))
    their_cos, their_sin = embedding(q, positions(7, 5))
    cos, sin = (table[7:12] for table in rope.precompute_freqs_cis(DIM, 12, BASE))
    for table, expected in ((cos, their_cos), (sin, their_sin)):
        torch.testing.assert_close(table, expected[0], rtol=0, atol=4e-7 * 12)

    heads_first = [x.transpose(1, 2) for x in (q, k)]
    expected = module.apply_rotary_pos_emb(*heads_first, their_cos, their_sin)
    got = rope.apply_rotary_pos_emb(q, k, their_cos[0], their_sin[0])
    for mine, their in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, their.transpose(1, 2), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(rope.rotate_half(q), module.rotate_half(q), rtol=0, atol=0)


def test_complex_form_is_that_of_a_model_with_neighbouring_pairs(
    rope: ModuleType, random: torch.Generator
) -> None:
    """Cohere's model pairs neighbours, as the paper does, though it writes it in real numbers."""
    module, embedding = theirs("cohere", "CohereConfig")
    x = normal(random, 2, 5, 4, DIM).float()
    cos, sin = embedding(x, positions(7, 5))
    heads_first = x.transpose(1, 2)
    expected, _ = module.apply_rotary_pos_emb(heads_first, heads_first, cos, sin)
    got = rope.apply_rotary_complex(x, rope.precompute_pos_cis(DIM, 12, BASE)[7:])
    torch.testing.assert_close(got, expected.transpose(1, 2), rtol=0, atol=4e-5)


def test_transformers_tells_the_forms_apart(rope: ModuleType, random: torch.Generator) -> None:
    """The comparison above means something: the wrong model's function gives other numbers."""
    module, embedding = theirs("cohere", "CohereConfig")
    x = normal(random, 1, 5, 4, DIM).float()
    cos, sin = embedding(x, positions(7, 5))
    heads_first = x.transpose(1, 2)
    neighbours, _ = module.apply_rotary_pos_emb(heads_first, heads_first, cos, sin)
    halves, _ = rope.apply_rotary_pos_emb(
        x, x, *(table[7:] for table in rope.precompute_freqs_cis(DIM, 12, BASE))
    )
    assert (neighbours.transpose(1, 2) - halves).abs().max() > 0.5
