"""Right answers to ex18_checkpoint, written differently: each must pass every test."""

import contextlib
import io
import itertools
import json
import math
import os
import random
import re
import tempfile
from pathlib import Path

import numpy as np
import torch


class unwrapped_model:
    """MiniMind's form: wrappers taken off the model, one flat dict, str paths, a fixed name"""

    def _raw(model):
        while True:
            inner = model._modules.keys()
            if inner == {"module"}:
                model = model.module
            elif inner == {"_orig_mod"}:
                model = model._orig_mod
            else:
                return model

    def save_checkpoint(path, model, optimizer, *, step, scaler=None):
        data = {
            "state_dict": _raw(model).state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "rng_cpu": torch.random.get_rng_state(),
            "rng_py": random.getstate(),
        }
        algorithm, keys, pos, has_gauss, cached = np.random.get_state()
        data["rng_np"] = {
            "algorithm": algorithm,
            "keys": torch.from_numpy(keys.astype(np.int64)),
            "pos": pos,
            "has_gauss": has_gauss,
            "cached": cached,
        }
        if torch.cuda.is_available():
            data["rng_cuda"] = torch.cuda.get_rng_state_all()
        if scaler is not None:
            data["scaler"] = scaler.state_dict()
        ckp_path = str(path)
        tmp_path = ckp_path + ".tmp"
        try:
            torch.save(data, tmp_path)
            os.replace(tmp_path, ckp_path)
        except BaseException:
            if os.path.exists(tmp_path):
                os.remove(tmp_path)
            raise

    def load_checkpoint(path, model, optimizer, *, scaler=None):
        data = torch.load(str(path), map_location="cpu", weights_only=True)
        _raw(model).load_state_dict(data["state_dict"], strict=True)
        optimizer.load_state_dict(data["optimizer"])
        if scaler is not None and "scaler" in data:
            scaler.load_state_dict(data["scaler"])
        torch.random.set_rng_state(data["rng_cpu"])
        random.setstate(data["rng_py"])
        numpy_state = data["rng_np"]
        np.random.set_state(
            (
                numpy_state["algorithm"],
                numpy_state["keys"].numpy().astype(np.uint32),
                numpy_state["pos"],
                numpy_state["has_gauss"],
                numpy_state["cached"],
            )
        )
        if "rng_cuda" in data:
            torch.cuda.set_rng_state_all(data["rng_cuda"])
        return data["step"]

    class SkipBatchSampler(torch.utils.data.Sampler):
        def __init__(self, sampler, batch_size, skip_batches=0):
            self.sampler = sampler
            self.batch_size = batch_size
            self.skip_batches = skip_batches

        def __iter__(self):
            batch, skipped = [], 0
            for idx in self.sampler:
                batch.append(idx)
                if len(batch) == self.batch_size:
                    if skipped < self.skip_batches:
                        skipped += 1
                        batch = []
                        continue
                    yield batch
                    batch = []
            if len(batch) > 0 and skipped >= self.skip_batches:
                yield batch

        def __len__(self):
            total_batches = (len(self.sampler) + self.batch_size - 1) // self.batch_size
            return max(0, total_batches - self.skip_batches)


class safe_globals:
    """NumPy's array stays in the file and is allowed by name; Path.replace"""

    def _numpy_state():
        return np.random.get_state()

    def _restore_generators(states):
        torch.random.set_rng_state(states["torch"].cpu())
        random.setstate(states["python"])
        np.random.set_state(states["numpy"])
        for index, state in enumerate(states["cuda"]):
            torch.cuda.set_rng_state(state, index)

    def _read(path):
        allowed = [
            np.random.get_state()[1].__reduce__()[0],
            np.ndarray,
            np.dtype,
            type(np.dtype(np.uint32)),
        ]
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, weights_only=True)

    def _write(contents, path):
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".pt", delete=False) as file:
            temporary = Path(file.name)
            try:
                torch.save(contents, file)
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                file.close()
                temporary.unlink()
                raise
        temporary.replace(path)

    def _bare(name):
        return re.sub(r"^((module|_orig_mod)\.)+", "", name)


class bytes_first:
    """serialised in memory and copied parameter by parameter; states as bytes and JSON"""

    def _weights_of(model):
        return [(_bare(name), value.clone()) for name, value in model.state_dict().items()]

    def _load_weights(model, weights):
        own = {_bare(name): value for name, value in model.state_dict(keep_vars=True).items()}
        weights = dict(weights)
        if own.keys() != weights.keys():
            raise KeyError(f"names differ: {sorted(own.keys() ^ weights.keys())}")
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(weights[name])

    def _bare(name):
        parts = name.split(".")
        front = itertools.takewhile(lambda part: part in ("module", "_orig_mod"), parts)
        return ".".join(parts[len(list(front)) :])

    def _generator_states():
        kind, keys, position, has_gauss, cached = np.random.get_state()
        return {
            "torch": bytes(torch.get_rng_state().tolist()).hex(),
            "cuda": _cuda_states(),
            "python": json.dumps(random.getstate()),
            "numpy": json.dumps([kind, [int(k) for k in keys], position, has_gauss, cached]),
        }

    def _restore_generators(states):
        version, internal, gauss = json.loads(states["python"])
        random.setstate((version, tuple(internal), gauss))
        np.random.set_state(json.loads(states["numpy"]))
        data = bytearray(bytes.fromhex(states["torch"]))
        torch.set_rng_state(torch.frombuffer(data, dtype=torch.uint8))
        if len(states["cuda"]) > 0:
            torch.cuda.set_rng_state_all([state.clone() for state in states["cuda"]])

    def _write(contents, path):
        buffer = io.BytesIO()
        torch.save(contents, buffer)
        beside = path.parent / f".{path.name}.{os.getpid()}"
        with open(beside, "wb") as file:
            file.write(buffer.getbuffer())
        os.rename(beside, path)

    class SkipBatchSampler:
        def __init__(self, sampler, batch_size, skip_batches=0):
            self._make = lambda: iter(sampler)
            self._size = lambda: math.ceil(len(sampler) / batch_size) - skip_batches
            self._batch, self._skip = batch_size, skip_batches

        def __iter__(self):
            order = list(self._make())
            cut = range(self._skip * self._batch, len(order), self._batch)
            return iter([tuple(order[start : start + self._batch]) for start in cut])

        def __len__(self):
            return max(self._size(), 0)


class one_pickle_of_bytes:
    """the generators' states pickled by hand would be refused: numbers alone, in tensors"""

    def _generator_states():
        version, internal, gauss = random.getstate()
        kind, keys, position, has_gauss, cached = np.random.get_state()
        return {
            "torch": torch.random.default_generator.get_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.device_count() else None,
            "python": [version, torch.tensor(internal, dtype=torch.int64), gauss],
            "numpy": [kind, torch.tensor(keys.astype("int64")), position, has_gauss, cached],
        }

    def _restore_generators(states):
        torch.random.default_generator.set_state(states["torch"])
        version, internal, gauss = states["python"]
        random.setstate((version, tuple(internal.tolist()), gauss))
        kind, keys, position, has_gauss, cached = states["numpy"]
        np.random.set_state((kind, keys.numpy().astype("uint32"), position, has_gauss, cached))
        if states["cuda"]:
            torch.cuda.set_rng_state_all(states["cuda"])

    def _write(contents, path):
        with contextlib.ExitStack() as stack:
            descriptor, name = tempfile.mkstemp(dir=path.parent or ".", prefix=path.stem)
            stack.callback(lambda: os.path.exists(name) and os.unlink(name))
            with os.fdopen(descriptor, "wb") as file:
                torch.save(contents, file)
            os.replace(name, path)

    def _bare(name):
        for prefix in ("module.", "_orig_mod."):
            if name.startswith(prefix):
                return _bare(name[len(prefix) :])
        return name

    class SkipBatchSampler:
        def __init__(self, sampler, batch_size, skip_batches=0):
            self.batches = torch.utils.data.BatchSampler(sampler, batch_size, drop_last=False)
            self.skip_batches = skip_batches

        def __iter__(self):
            return itertools.islice(iter(self.batches), self.skip_batches, None)

        def __len__(self):
            return max(0, len(self.batches) - self.skip_batches)


class model_s_own_hook:
    """renamed in place in a copy, moved with the old torch.save format, checked by hand"""

    def _weights_of(model):
        state = model.state_dict()
        for name in list(state):
            state[_bare(name)] = state.pop(name)
        return state

    def _load_weights(model, weights):
        front = {name: name[: len(name) - len(_bare(name))] for name in model.state_dict()}
        own = {_bare(name): before for name, before in front.items()}
        keys = model.load_state_dict(
            {own.get(name, "") + name: value for name, value in weights.items()}, strict=False
        )
        if keys.missing_keys or keys.unexpected_keys:
            raise ValueError(f"keys: missing {keys.missing_keys}, other {keys.unexpected_keys}")

    def _write(contents, path):
        temporary = os.path.join(os.path.dirname(path), "tmp_" + os.path.basename(path))
        try:
            torch.save(contents, temporary, _use_new_zipfile_serialization=False)
        except Exception:
            if os.path.isfile(temporary):
                os.remove(temporary)
            raise
        os.replace(temporary, path)
