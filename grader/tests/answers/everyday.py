"""What people write every day with torch, numpy and Python's own library, a function each.

Every function takes nothing and returns something that can be compared. They run in a plain process
and in a worker under each profile, and must come to the same.
"""

import io
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def _x(*shape, grad=False):
    size = int(np.prod(shape)) if shape else 1
    values = torch.arange(1.0, size + 1).reshape(shape) / 10
    return values.requires_grad_() if grad else values


# Looking at tensors


def print_a_tensor():
    print(_x(2, 3))
    return 1


def print_a_tensor_with_a_gradient():
    print(_x(2, grad=True) * 2)
    return 1


def tensor_in_an_f_string():
    return f"{_x(3)} {_x(2, grad=True)!r}"


def tensor_in_an_error_message():
    try:
        raise ValueError(f"got {_x(2)}, want none")
    except ValueError as error:
        return str(error)


def print_options():
    torch.set_printoptions(precision=2, sci_mode=False)
    text = str(torch.tensor([3.14159, 1e-6]))
    torch.set_printoptions(profile="default")
    return text


def big_tensor_is_summarised():
    return repr(torch.zeros(2000))


def half_and_complex_are_printed():
    odd = [torch.ones(2).to(t) for t in (torch.bfloat16, torch.float16, torch.complex64)]
    return str(odd + [torch.tensor([True]), torch.tensor([1, 2], dtype=torch.int8)])


def sparse_and_empty_are_printed():
    return str([torch.eye(2).to_sparse(), torch.empty(0, 3), torch.tensor(2.5)])


def module_is_printed():
    return repr(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.LayerNorm(3)))


def parameter_is_printed():
    return repr(nn.Parameter(_x(2)))


def dtype_device_and_size_are_printed():
    x = _x(2, 3)
    return f"{x.dtype} {x.device} {x.shape} {x.stride()} {x.layout}"


def tensor_tolist_and_item():
    return [_x(2, 2).tolist(), _x(1).item(), float(_x(1)), int(torch.tensor(3)), len(_x(4))]


def memory_of_a_tensor():
    x = _x(4)
    return [x.numel(), x.element_size(), x.nbytes, x.untyped_storage().nbytes()]


def finfo_and_iinfo():
    return f"{torch.finfo(torch.bfloat16)} {torch.iinfo(torch.int32)}"


# Gradients


def backward():
    x = _x(3, grad=True)
    x.square().sum().backward()
    return x.grad


def backward_with_a_gradient():
    x = _x(3, grad=True)
    (x * 2).backward(torch.ones(3))
    return x.grad


def autograd_grad():
    x = _x(3, grad=True)
    return torch.autograd.grad(x.exp().sum(), x)[0]


def autograd_grad_with_outputs():
    x = _x(3, grad=True)
    return torch.autograd.grad(x * 2, x, grad_outputs=torch.ones(3))[0]


def second_derivative():
    x = _x(3, grad=True)
    (first,) = torch.autograd.grad(x.pow(3).sum(), x, create_graph=True)
    return torch.autograd.grad(first.sum(), x)[0]


def gradcheck():
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    return torch.autograd.gradcheck(lambda a: a.sin(), (x,))


def gradgradcheck():
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    return torch.autograd.gradgradcheck(lambda a: a.sin(), (x,))


def custom_function():
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    x = _x(2, grad=True)
    Double.apply(x).sum().backward()
    return x.grad


def functional_jacobian():
    return torch.autograd.functional.jacobian(lambda a: a.square(), _x(2))


def functional_hessian():
    return torch.autograd.functional.hessian(lambda a: a.pow(3).sum(), _x(2))


def func_grad():
    return torch.func.grad(lambda a: a.square().sum())(_x(3))


def func_grad_and_value():
    return list(torch.func.grad_and_value(lambda a: a.square().sum())(_x(3)))


def func_jvp():
    return list(torch.func.jvp(torch.sin, (_x(2),), (torch.ones(2),)))


def func_vjp():
    value, back = torch.func.vjp(torch.sin, _x(2))
    return [value, back(torch.ones(2))[0]]


def func_jacrev_and_jacfwd():
    return [torch.func.jacrev(torch.sin)(_x(2)), torch.func.jacfwd(torch.sin)(_x(2))]


def func_vmap():
    return torch.vmap(torch.dot)(_x(2, 3), _x(2, 3))


def func_functional_call():
    layer = nn.Linear(2, 2, bias=False)
    return torch.func.functional_call(layer, {"weight": torch.eye(2)}, (_x(1, 2),))


def func_stack_module_state():
    layers = [nn.Linear(2, 2) for _ in range(2)]
    parameters, _ = torch.func.stack_module_state(layers)
    return sorted(parameters)


def forward_ad():
    import torch.autograd.forward_ad as fwad

    with fwad.dual_level():
        dual = fwad.make_dual(_x(2), torch.ones(2))
        return fwad.unpack_dual(dual.sin()).tangent


def hook_on_a_tensor():
    x = _x(2, grad=True)
    seen = []
    x.register_hook(lambda grad: seen.append(grad.clone()))
    (x * 3).sum().backward()
    return seen


def hook_on_a_module():
    layer, seen = nn.Linear(2, 2), []
    layer.register_forward_hook(lambda module, args, out: seen.append(tuple(out.shape)))
    layer(_x(1, 2))
    return seen


def detect_anomaly():
    with torch.autograd.set_detect_anomaly(True):
        x = _x(2, grad=True)
        x.exp().sum().backward()
    return x.grad


def no_grad_and_inference_mode():
    with torch.no_grad():
        first = _x(2) * 2
    with torch.inference_mode():
        second = _x(2) * 3
    return [first.requires_grad, second.is_inference()]


def checkpoint():
    from torch.utils.checkpoint import checkpoint as recompute

    x = _x(3, grad=True)
    recompute(torch.sin, x, use_reentrant=False).sum().backward()
    return x.grad


def checkpoint_sequential():
    from torch.utils.checkpoint import checkpoint_sequential as recompute

    x = _x(1, 2, grad=True)
    recompute(nn.Sequential(nn.ReLU(), nn.Tanh()), 2, x, use_reentrant=False).sum().backward()
    return x.grad


# Comparing


def assert_close():
    torch.testing.assert_close(_x(3), _x(3) + 1e-9)
    return 1


def assert_close_fails():
    try:
        torch.testing.assert_close(_x(3), _x(3) + 1)
    except AssertionError as error:
        return str(error)


def make_tensor():
    return list(torch.testing.make_tensor(2, 3, dtype=torch.float32, device="cpu").shape)


def allclose_equal_isclose():
    x = _x(3)
    return [torch.allclose(x, x), torch.equal(x, x), x.isclose(x).all().item()]


def numpy_testing():
    np.testing.assert_allclose(_x(3).numpy(), _x(3).numpy())
    return 1


# Modules, optimizers, losses


def linear_and_friends():
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Dropout(0.1), nn.Linear(8, 2)).eval()
    return layer(_x(3, 4)).shape[1]


def embedding_and_norms():
    torch.manual_seed(0)
    x = nn.Embedding(10, 4)(torch.tensor([[1, 2]]))
    return [nn.LayerNorm(4)(x).shape[-1], nn.RMSNorm(4)(x).shape[-1]]


def multihead_attention():
    torch.manual_seed(0)
    out, weights = nn.MultiheadAttention(4, 2, batch_first=True)(*[_x(1, 3, 4)] * 3)
    return [list(out.shape), list(weights.shape)]


def transformer_encoder_layer():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval()
    return list(layer(_x(1, 3, 4)).shape)


def recurrent_layers():
    torch.manual_seed(0)
    return [list(layer(2, 3)(_x(1, 4, 2))[0].shape) for layer in (nn.LSTM, nn.GRU, nn.RNN)]


def convolutions():
    torch.manual_seed(0)
    return [
        list(nn.Conv1d(2, 3, 3)(_x(1, 2, 5)).shape),
        list(nn.Conv2d(1, 1, 2)(_x(1, 1, 3, 3)).shape),
    ]


def module_lists_and_dicts():
    both = nn.ModuleDict({"a": nn.ModuleList([nn.Identity()]), "b": nn.ParameterList([_x(2)])})
    return [name for name, _ in both.named_modules()]


def state_dict_round_trip():
    layer, other = nn.Linear(2, 2), nn.Linear(2, 2)
    other.load_state_dict(layer.state_dict())
    return torch.equal(layer.weight, other.weight)


def state_dict_refused():
    try:
        nn.Linear(2, 2).load_state_dict({"weight": torch.eye(3)})
    except RuntimeError as error:
        return str(error)


def save_and_load():
    file = io.BytesIO()
    torch.save({"x": _x(3), "step": 4}, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    return [loaded["x"], loaded["step"]]


def save_and_load_a_module():
    file = io.BytesIO()
    torch.save(nn.Linear(2, 2), file)
    file.seek(0)
    return type(torch.load(file, weights_only=False)).__name__


def safetensors_round_trip():
    from safetensors.torch import load, save

    return load(save({"x": _x(3)}))["x"]


def deepcopy_of_a_module():
    import copy

    return list(copy.deepcopy(nn.Linear(2, 3)).weight.shape)


def initialisers():
    w = torch.empty(3, 4)
    for fill in (nn.init.xavier_uniform_, nn.init.kaiming_normal_, nn.init.orthogonal_):
        fill(w)
    return [bool(w.isfinite().all()), nn.init.trunc_normal_(w).shape[0], nn.init.zeros_(w)]


def parametrizations():
    from torch.nn.utils.parametrizations import orthogonal, weight_norm

    return [
        list(weight_norm(nn.Linear(2, 3)).weight.shape),
        list(orthogonal(nn.Linear(2, 2)).weight.shape),
    ]


def clip_and_flatten_parameters():
    layer = nn.Linear(2, 2)
    layer(_x(1, 2)).sum().backward()
    norm = torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
    vector = torch.nn.utils.parameters_to_vector(layer.parameters())
    return [bool(norm.isfinite()), len(vector)]


def pad_sequences():
    from torch.nn.utils.rnn import pad_sequence

    return pad_sequence([_x(2), _x(3)], batch_first=True)


def _steps(make):
    torch.manual_seed(0)
    p = nn.Parameter(_x(2, 2))
    optimizer = make([p])
    for _ in range(2):
        optimizer.zero_grad()
        p.square().sum().backward()
        optimizer.step()
    return p.detach()


def optimizer_sgd():
    return _steps(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9))


def optimizer_adam():
    return _steps(lambda p: torch.optim.Adam(p, lr=0.1))


def optimizer_adamw():
    return _steps(lambda p: torch.optim.AdamW(p, lr=0.1))


def optimizer_rmsprop_and_adagrad():
    return [_steps(lambda p: torch.optim.RMSprop(p)), _steps(lambda p: torch.optim.Adagrad(p))]


def optimizer_lbfgs():
    p = nn.Parameter(_x(2))
    optimizer = torch.optim.LBFGS([p])

    def closure():
        optimizer.zero_grad()
        loss = p.square().sum()
        loss.backward()
        return loss

    return optimizer.step(closure)


def optimizer_of_ones_own():
    class Plain(torch.optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p.sub_(group["lr"] * p.grad)

    return _steps(lambda p: Plain(p, 0.1))


def schedulers():
    optimizer = torch.optim.SGD([nn.Parameter(_x(2))], lr=1.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    rates = []
    for _ in range(3):
        optimizer.step()
        schedule.step()
        rates.append(schedule.get_last_lr()[0])
    return rates


def lambda_and_sequential_schedulers():
    optimizer = torch.optim.SGD([nn.Parameter(_x(2))], lr=1.0)
    kinds = torch.optim.lr_scheduler
    first = kinds.LambdaLR(optimizer, lambda step: 0.5**step)
    second = kinds.LinearLR(optimizer)
    optimizer.step()
    kinds.SequentialLR(optimizer, [first, second], [2]).step()
    return optimizer.param_groups[0]["lr"]


def averaged_model():
    from torch.optim.swa_utils import AveragedModel

    layer = nn.Linear(2, 2)
    averaged = AveragedModel(layer)
    averaged.update_parameters(layer)
    return int(averaged.n_averaged)


def losses():
    logits, target = _x(2, 3), torch.tensor([0, 2])
    return [F.cross_entropy(logits, target), F.mse_loss(_x(2), _x(2) + 1), F.kl_div(logits, logits)]


def losses_as_modules():
    return [
        nn.CrossEntropyLoss(ignore_index=-100)(_x(2, 3), torch.tensor([0, -100])),
        nn.L1Loss()(_x(2), _x(2)),
    ]


def autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return str((_x(2, 2) @ _x(2, 2)).dtype)


def grad_scaler():
    scaler = torch.amp.GradScaler("cpu", enabled=True, init_scale=8.0)
    return float(scaler.scale(torch.ones(())))


# Compiling and tracing


def compiled_function():
    @torch.compile
    def double(x):
        return x * 2

    return double(_x(3))


def compiled_with_options():
    @torch.compile(fullgraph=True, dynamic=True)
    def double(x):
        return x * 2

    return double(_x(3))


def compiled_module():
    layer = nn.Linear(2, 2, bias=False)
    nn.init.eye_(layer.weight)
    return torch.compile(layer)(_x(1, 2))


def module_compiles_itself():
    layer = nn.Linear(2, 2, bias=False)
    nn.init.eye_(layer.weight)
    layer.compile()
    return layer(_x(1, 2))


def compiler_questions():
    return [torch.compiler.is_compiling(), torch.compiler.is_dynamo_compiling()]


def compiler_disable():
    @torch.compiler.disable
    def double(x):
        return x * 2

    return double(_x(2))


def jit_script():
    return torch.jit.script(_scripted)(_x(3))


def _scripted(x: torch.Tensor) -> torch.Tensor:
    return x * 2 if x.sum() > 0 else x


def jit_trace():
    return torch.jit.trace(torch.sin, (_x(3),))(_x(3))


def jit_script_a_module():
    return list(torch.jit.script(nn.Linear(2, 3))(_x(1, 2)).shape)


def jit_ignore_and_export():
    @torch.jit.ignore
    def helper(x):
        return x

    return helper(_x(1))


def fx_trace():
    return torch.fx.symbolic_trace(nn.Sequential(nn.ReLU(), nn.Tanh())).code


def make_fx():
    from torch.fx.experimental.proxy_tensor import make_fx

    return make_fx(torch.sin)(_x(2)).code.strip()


# Measuring


def flop_counter():
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        _x(2, 3) @ _x(3, 4)
    return counter.get_total_flops()


def dispatch_mode():
    from torch.utils._python_dispatch import TorchDispatchMode

    names = []

    class Log(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            names.append(str(func))
            return func(*args, **(kwargs or {}))

    with Log():
        _x(2) + 1
    return names[-1]


def function_mode():
    from torch.overrides import TorchFunctionMode

    names = []

    class Log(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            names.append(getattr(func, "__name__", ""))
            return func(*args, **(kwargs or {}))

    with Log():
        torch.sin(_x(2))
    return names


def profiler():
    with torch.profiler.profile() as profile:
        _x(2, 2) @ _x(2, 2)
    return len(profile.key_averages()) > 0


def autograd_profiler():
    with torch.autograd.profiler.profile() as profile:
        _x(2) + 1
    return len(profile.function_events) > 0


def record_function():
    with torch.profiler.record_function("mine"):
        return _x(2)


def benchmark_timer():
    from torch.utils.benchmark import Timer

    return Timer("1 + 1").timeit(3).number_per_run


def timing():
    import time
    import timeit

    started = time.perf_counter()
    time.sleep(0.001)
    timeit.timeit("1 + 1", number=3)
    return time.perf_counter() > started and time.process_time() > 0


def thread_counts():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.set_num_threads(before)
    return before


def peak_memory_by_tracemalloc():
    import tracemalloc

    tracemalloc.start()
    kept = list(range(1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak > 0 and len(kept)


# Other corners of torch


def einsum():
    return torch.einsum("bij,bjk->bik", _x(2, 2, 3), _x(2, 3, 2))


def linear_algebra():
    a = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
    return [
        torch.linalg.inv(a),
        torch.linalg.norm(a),
        torch.linalg.svdvals(a),
        torch.linalg.eigvalsh(a),
    ]


def fourier():
    return torch.fft.rfft(_x(4)).abs()


def special_functions():
    return [torch.special.erf(_x(2)), torch.special.softmax(_x(3), -1), torch.logsumexp(_x(3), 0)]


def sorting_and_searching():
    x = torch.tensor([3.0, 1.0, 2.0])
    return [
        x.sort().values,
        x.topk(2).indices,
        x.argsort(),
        torch.searchsorted(_x(3), x),
        x.unique(),
    ]


def scatter_gather_index():
    x = torch.zeros(3).scatter_(0, torch.tensor([1]), 5.0)
    x.index_add_(0, torch.tensor([0]), torch.ones(1))
    return [
        x,
        x.gather(0, torch.tensor([1])),
        x[x > 0],
        torch.where(x > 1, x, 0),
        x.masked_fill(x > 1, 9),
    ]


def random_draws():
    g = torch.Generator().manual_seed(1)
    return [
        torch.randn(2, generator=g),
        torch.randint(9, (2,), generator=g),
        torch.randperm(4, generator=g),
    ]


def draws_from_a_distribution():
    torch.manual_seed(0)
    return [torch.multinomial(_x(4), 2), torch.bernoulli(_x(3)), torch.rand(2)]


def distributions():
    from torch.distributions import Categorical, Normal, kl_divergence

    c = Categorical(logits=_x(3))
    return [
        c.entropy(),
        c.log_prob(torch.tensor(1)),
        kl_divergence(Normal(0.0, 1.0), Normal(1.0, 1.0)),
    ]


def scaled_dot_product_attention():
    q = _x(1, 2, 3, 4)
    return F.scaled_dot_product_attention(q, q, q, is_causal=True)


def sdpa_with_a_chosen_kernel():
    from torch.nn.attention import SDPBackend, sdpa_kernel

    q = _x(1, 2, 3, 4)
    with sdpa_kernel(SDPBackend.MATH):
        return F.scaled_dot_product_attention(q, q, q)


def nested_tensor():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [list(t.shape) for t in torch.nested.nested_tensor([_x(2), _x(3)]).unbind()]


def quantised_tensor():
    return torch.quantize_per_tensor(_x(3), 0.1, 0, torch.quint8).dequantize()


def dynamic_quantisation():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return type(torch.ao.quantization.quantize_dynamic(nn.Linear(2, 2))).__name__


def tensor_subclass():
    class Mine(torch.Tensor):
        pass

    return type(_x(2).as_subclass(Mine) + 1).__name__


def meta_tensor():
    return list((torch.empty(2, 3, device="meta") @ torch.empty(3, 4, device="meta")).shape)


def fake_tensor():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        return list(torch.empty(2, 3).T.shape)


def pytree():
    from torch.utils import _pytree

    return _pytree.tree_map(lambda x: x + 1, {"a": [1, 2]})


def devices():
    return [
        torch.cuda.is_available(),
        str(torch.device("cpu")),
        torch.get_default_dtype() == torch.float32,
    ]


def data_loader():
    from torch.utils.data import DataLoader, TensorDataset

    return [batch[0] for batch in DataLoader(TensorDataset(_x(5)), batch_size=2)]


def samplers_and_splits():
    from torch.utils.data import RandomSampler, Subset, random_split

    torch.manual_seed(0)
    return [
        sorted(RandomSampler(range(4))),
        len(Subset(range(9), [1, 2])),
        len(random_split(range(4), [1, 3])),
    ]


def iterable_dataset():
    from torch.utils.data import DataLoader, IterableDataset

    class Count(IterableDataset):
        def __iter__(self):
            return iter(range(4))

    return [batch.tolist() for batch in DataLoader(Count(), batch_size=2)]


def vectorised_loop():
    return torch.stack([row.softmax(-1) for row in _x(2, 3).unbind()])


def torch_version():
    return [torch.__version__, torch.version.cuda is None, bool(torch.__config__.show())]


def warnings_of_torch():
    import warnings

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.tensor(_x(2))
    return [str(w.message) for w in seen]


# numpy


def numpy_arrays():
    return [
        np.arange(3).tolist(),
        np.linspace(0, 1, 3).tolist(),
        str(np.eye(2)),
        np.float32(1.5).item(),
    ]


def numpy_and_torch():
    return [torch.from_numpy(np.ones(2)), torch.as_tensor(np.ones(2)), _x(2).numpy().tolist()]


def numpy_random():
    return [
        np.random.default_rng(0).normal(size=2).tolist(),
        np.random.RandomState(0).rand(2).tolist(),
    ]


def numpy_linear_algebra():
    return [
        np.linalg.norm([3.0, 4.0]).item(),
        np.fft.fft([1.0, 2.0]).real.tolist(),
        np.polyfit([0, 1], [0, 1], 1).round(6).tolist(),
    ]


def numpy_save_and_load():
    file = io.BytesIO()
    np.savez(file, x=np.arange(3))
    file.seek(0)
    return np.load(file)["x"].tolist()


def numpy_masked_and_strings():
    return [
        str(np.ma.masked_array([1, 2], [0, 1])),
        np.char.upper(["a"]).tolist(),
        np.printoptions(precision=2) is not None,
    ]


# Python's own library


def dataclasses_and_enums():
    import dataclasses
    import enum

    @dataclasses.dataclass
    class Point:
        x: int
        y: int = 2

    class Colour(enum.Enum):
        RED = 1

    return [str(Point(1)), Colour.RED.name, dataclasses.asdict(Point(3))]


def typing_and_abc():
    import abc
    from typing import NamedTuple, Protocol, TypedDict

    class Pair(NamedTuple):
        left: int

    class Walks(Protocol):
        def walk(self) -> None: ...

    class Config(TypedDict):
        size: int

    return [Pair(1).left, Walks.__name__, Config(size=3)["size"], abc.ABC.__name__]


def typing_extensions_is_there():
    import typing_extensions

    return str(typing_extensions.Self)


def collections_of_all_kinds():
    import collections
    import heapq

    heap = [3, 1, 2]
    heapq.heapify(heap)
    return [
        heapq.heappop(heap),
        collections.Counter("aab").most_common(1),
        list(collections.deque([1, 2], 1)),
        dict(collections.OrderedDict(a=1)),
        collections.defaultdict(list)["x"],
    ]


def itertools_and_functools():
    import functools
    import itertools
    import operator

    return [
        list(itertools.pairwise([1, 2, 3])),
        functools.reduce(operator.mul, [1, 2, 3]),
        functools.lru_cache(abs)(-2),
    ]


def mathematics():
    import cmath
    import decimal
    import fractions
    import math
    import statistics

    return [
        math.comb(5, 2),
        str(decimal.Decimal("0.1") + 1),
        str(fractions.Fraction(1, 3)),
        statistics.median([1, 2, 3]),
        abs(cmath.exp(1j)) > 0.99,
    ]


def random_numbers():
    import random
    import secrets
    import uuid

    state = random.getstate()
    random.seed(0)
    drawn = random.sample(range(9), 3)
    random.setstate(state)
    return [drawn, len(secrets.token_hex(4)), len(str(uuid.uuid4()))]


def text_tools():
    import difflib
    import pprint
    import re
    import string
    import textwrap
    import unicodedata

    return [
        re.sub("a", "b", "aa"),
        textwrap.dedent("  x"),
        unicodedata.name("é"),
        string.ascii_letters[:2],
        pprint.pformat({"a": 1}),
        difflib.get_close_matches("aple", ["apple"]),
    ]


def unicode_patterns():
    import regex

    return regex.findall(r"\p{L}+|\p{N}+", "año 2024 日本")


def json_csv_and_configuration():
    import ast
    import configparser
    import csv
    import json
    import tomllib

    parser = configparser.ConfigParser()
    parser.read_string("[a]\nb = 1")
    return [
        json.loads(json.dumps({"a": [1, None]})),
        next(csv.reader(["a,b"])),
        tomllib.loads("a = 1"),
        ast.literal_eval("[1]"),
        parser["a"]["b"],
    ]


def bytes_and_hashes():
    import base64
    import binascii
    import hashlib
    import struct
    import zlib

    return [
        base64.b64encode(b"a").decode(),
        hashlib.sha256(b"a").hexdigest()[:4],
        hashlib.md5(b"a").hexdigest()[:4],
        struct.unpack("<i", b"\1\0\0\0"),
        zlib.crc32(b"a"),
        binascii.hexlify(b"a").decode(),
    ]


def compression():
    import bz2
    import gzip
    import lzma

    return [
        gzip.decompress(gzip.compress(b"a")).decode(),
        bz2.decompress(bz2.compress(b"a")).decode(),
        lzma.decompress(lzma.compress(b"a")).decode(),
    ]


def dates_and_times():
    import calendar
    import datetime
    import time
    import zoneinfo

    return [
        zoneinfo.ZoneInfo("UTC").key,
        str(datetime.date(2024, 1, 2)),
        datetime.timedelta(days=1).total_seconds(),
        calendar.isleap(2024),
        time.strftime("%Y", time.gmtime(0)),
        datetime.datetime.now().year > 2000,
    ]


def logging_to_standard_error():
    import logging

    logger = logging.getLogger("mine")
    logger.warning("careful")
    return logger.name


def warnings_of_ones_own():
    import warnings

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        warnings.warn("careful", stacklevel=1)
    return len(seen)


def contexts_and_generators():
    import contextlib

    @contextlib.contextmanager
    def twice():
        yield 2

    with twice() as two, contextlib.redirect_stdout(io.StringIO()) as out:
        print(two)
    return out.getvalue()


def threads():
    import concurrent.futures
    import queue
    import threading

    done = queue.Queue()
    thread = threading.Thread(target=lambda: done.put(1))
    thread.start()
    thread.join()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return [done.get(), list(pool.map(abs, [-1, 2]))]


def asynchronous_functions():
    import asyncio

    async def one():
        return 1

    coroutine = one()
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return [stop.value, asyncio.iscoroutinefunction(one)]


def inspection():
    import inspect

    return [
        inspect.signature(_x).parameters["grad"].default,
        inspect.getsource(torch_version).splitlines()[0],
    ]


def tracebacks():
    import traceback

    try:
        raise KeyError("a")
    except KeyError:
        return traceback.format_exc().splitlines()[-1]


def pickles_and_copies():
    import copy
    import pickle

    return [pickle.loads(pickle.dumps(_x(2))), copy.copy([1]), copy.deepcopy({"a": _x(1)})["a"]]


def garbage_and_references():
    import gc
    import weakref

    x = _x(2)
    seen = weakref.ref(x)
    alive = seen() is x
    gc.collect()
    return alive


def paths():
    import pathlib

    return [
        os.path.join("a", "b"),
        pathlib.PurePosixPath("a/b.py").stem,
        os.sep,
        os.path.splitext("a.py")[1],
    ]


def system_facts():
    import platform

    return [
        sys.byteorder,
        sys.version_info[:2],
        platform.python_implementation(),
        sys.maxsize > 0,
        sys.getrecursionlimit() > 0,
    ]


def command_line_parsers():
    import argparse

    parser = argparse.ArgumentParser(prog="x")
    parser.add_argument("--n", type=int, default=1)
    return parser.parse_args([]).n


def simple_namespaces():
    import types

    return types.SimpleNamespace(a=1).a


def bisection_and_arrays():
    import array
    import bisect

    return [bisect.bisect([1, 2], 1), array.array("i", [1]).tolist()]


def html_xml_and_urls():
    import html
    import urllib.parse
    from xml.etree import ElementTree

    return [html.escape("<"), urllib.parse.quote("a b"), ElementTree.fromstring("<a/>").tag]


def unit_tests_and_doctests():
    import doctest
    import unittest
    import unittest.mock

    return [
        unittest.TestCase().assertEqual(1, 1),
        doctest.testmod.__name__,
        unittest.mock.Mock(return_value=2)(),
    ]


def exceptions():
    try:
        raise ExceptionGroup("both", [ValueError(1)])
    except* ValueError as group:
        count = len(group.exceptions)
    return count


def recursion():
    def depth(n):
        return 0 if n == 0 else 1 + depth(n - 1)

    return depth(200)


def symbolic_mathematics():
    import sympy

    return str(sympy.diff(sympy.Symbol("x") ** 2))


def optional_package_that_is_not_there():
    try:
        import no_such_package_at_all
    except ImportError:
        no_such_package_at_all = None
    return no_such_package_at_all


def asynchronous_run():
    import asyncio

    async def both():
        await asyncio.sleep(0)
        return await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2))

    return asyncio.run(both())


def output_thrown_away():
    import contextlib

    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        print("unheard")
    return 1


def database_in_memory():
    import sqlite3

    return sqlite3.connect(":memory:").execute("SELECT 1 + 1").fetchone()[0]
