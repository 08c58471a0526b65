"""Wrong answers to ex18_checkpoint: each class is the solution with one change.

A class holds definitions that replace the solution's own; its docstring ends the sentence
"these are exactly the numbers you get if ...".
"""

import os
import random
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch


class half_precision:
    """weights are saved in half precision; every tensor should keep its dtype"""

    def _weights_of(model):
        return {
            _bare(name): value.half() if value.is_floating_point() else value
            for name, value in model.state_dict().items()
        }


class bfloat16_on_disk:
    """weights are saved in bfloat16; every tensor should keep its dtype"""

    def _weights_of(model):
        return {
            _bare(name): value.bfloat16() if value.is_floating_point() else value
            for name, value in model.state_dict().items()
        }


class everything_float32:
    """all tensors are turned into float32; every tensor should keep its dtype"""

    def _weights_of(model):
        return {_bare(name): value.float() for name, value in model.state_dict().items()}


class model_made_half:
    """saving turns the model itself to half precision; save its state dict as it is"""

    def _weights_of(model):
        model.half()
        return {_bare(name): value for name, value in model.state_dict().items()}


class parameters_alone:
    """only parameters are saved, each under one name; save the whole state dict"""

    def _weights_of(model):
        return {_bare(name): value.detach() for name, value in model.named_parameters()}

    def _load_weights(model, weights):
        names = {_bare(name): name for name in model.state_dict()}
        for name, value in weights.items():
            model.get_parameter(names[name]).data.copy_(value)


class buffers_forgotten:
    """buffers are neither saved nor loaded; save the whole state dict"""

    def _weights_of(model):
        buffers = {name for name, _ in model.named_buffers()}
        saved = model.state_dict().items()
        return {_bare(name): value for name, value in saved if name not in buffers}

    def _load_weights(model, weights):
        names = {_bare(name): name for name in model.state_dict()}
        buffers = {name: value for name, value in model.named_buffers()}
        renamed = {names.get(name, name): value for name, value in weights.items()}
        model.load_state_dict({**buffers, **renamed})


class trainable_alone:
    """frozen parameters are left out; save the whole state dict"""

    def _weights_of(model):
        frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
        saved = model.state_dict().items()
        return {_bare(name): value for name, value in saved if name not in frozen}

    def _load_weights(model, weights):
        names = {_bare(name): name for name in model.state_dict()}
        frozen = {name: p for name, p in model.named_parameters() if not p.requires_grad}
        renamed = {names.get(name, name): value for name, value in weights.items()}
        model.load_state_dict({**frozen, **renamed})


class optimizer_lost:
    """the optimizer starts anew; save its state dict and load it"""

    def load_checkpoint(path, model, optimizer, *, scaler=None):
        contents = _read(Path(path))
        _load_weights(model, contents["model"])
        if scaler is not None:
            scaler.load_state_dict(contents["scaler"])
        _restore_generators(contents["generators"])
        return contents["step"]


class hyperparameters_lost:
    """the optimizer's state is loaded without its groups; load the whole state dict"""

    def load_checkpoint(path, model, optimizer, *, scaler=None):
        contents = _read(Path(path))
        _load_weights(model, contents["model"])
        own = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({**contents["optimizer"], "param_groups": own})
        if scaler is not None:
            scaler.load_state_dict(contents["scaler"])
        _restore_generators(contents["generators"])
        return contents["step"]


class averages_lost:
    """the optimizer's groups are loaded without its state; load the whole state dict"""

    def load_checkpoint(path, model, optimizer, *, scaler=None):
        contents = _read(Path(path))
        _load_weights(model, contents["model"])
        optimizer.load_state_dict({**contents["optimizer"], "state": {}})
        if scaler is not None:
            scaler.load_state_dict(contents["scaler"])
        _restore_generators(contents["generators"])
        return contents["step"]


class optimizer_in_half_precision:
    """the optimizer's state is saved in half precision; every tensor should keep its dtype"""

    def save_checkpoint(path, model, optimizer, *, step, scaler=None):
        saved = optimizer.state_dict()
        state = {
            number: {
                key: value.half() if torch.is_tensor(value) else value for key, value in one.items()
            }
            for number, one in saved["state"].items()
        }
        contents = {
            "model": _weights_of(model),
            "optimizer": {**saved, "state": state},
            "scaler": None if scaler is None else scaler.state_dict(),
            "generators": _generator_states(),
            "step": step,
        }
        _write(contents, Path(path))


class scaler_lost:
    """the scaler starts anew; save its state dict and load it"""

    def load_checkpoint(path, model, optimizer, *, scaler=None):
        contents = _read(Path(path))
        _load_weights(model, contents["model"])
        optimizer.load_state_dict(contents["optimizer"])
        _restore_generators(contents["generators"])
        return contents["step"]


class scale_alone:
    """the scaler's scale is saved without its count of steps; save its whole state dict"""

    def save_checkpoint(path, model, optimizer, *, step, scaler=None):
        contents = {
            "model": _weights_of(model),
            "optimizer": optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.get_scale(),
            "generators": _generator_states(),
            "step": step,
        }
        _write(contents, Path(path))

    def load_checkpoint(path, model, optimizer, *, scaler=None):
        contents = _read(Path(path))
        _load_weights(model, contents["model"])
        optimizer.load_state_dict(contents["optimizer"])
        if scaler is not None and scaler.is_enabled():
            scaler.load_state_dict({**scaler.state_dict(), "scale": contents["scaler"]})
        _restore_generators(contents["generators"])
        return contents["step"]


class no_generators:
    """no random generator is restored; restore torch's, Python's and NumPy's"""

    def _restore_generators(states): ...


class torch_s_generator_lost:
    """torch's generator is not restored; dropout and shuffling draw from it"""

    def _restore_generators(states):
        if states["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(states["cuda"])
        random.setstate(states["python"])
        np.random.set_state(tuple(states["numpy"]))


class python_s_generator_lost:
    """Python's generator is not restored; use random.getstate and random.setstate"""

    def _restore_generators(states):
        torch.set_rng_state(states["torch"])
        if states["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(states["cuda"])
        np.random.set_state(tuple(states["numpy"]))


class numpy_s_generator_lost:
    """NumPy's generator is not restored; use numpy.random.get_state and set_state"""

    def _restore_generators(states):
        torch.set_rng_state(states["torch"])
        if states["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(states["cuda"])
        random.setstate(states["python"])


class torch_s_generators_alone:
    """only torch's generators are restored; restore Python's and NumPy's too"""

    def _restore_generators(states):
        torch.set_rng_state(states["torch"])
        if states["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(states["cuda"])


class cuda_generators_lost:
    """the generators of CUDA devices are not saved; use torch.cuda.get_rng_state_all"""

    def _cuda_states():
        return []


class numpy_keys_alone:
    """NumPy's second normal number is lost; its state has five parts, and all are needed"""

    def _numpy_state():
        kind, keys, position, *_ = np.random.get_state()
        return [kind, keys.tolist(), position]


class seeded_anew:
    """generators are seeded with the seed of the beginning; restore where they had come to"""

    def _generator_states():
        return {"seed": torch.initial_seed()}

    def _restore_generators(states):
        torch.default_generator.manual_seed(states["seed"])
        random.seed(states["seed"])
        np.random.seed(states["seed"] % 2**32)


class seeded_with_the_step:
    """generators are seeded with the step; restore the states that they had"""

    def load_checkpoint(path, model, optimizer, *, scaler=None):
        contents = _read(Path(path))
        _load_weights(model, contents["model"])
        optimizer.load_state_dict(contents["optimizer"])
        if scaler is not None:
            scaler.load_state_dict(contents["scaler"])
        torch.default_generator.manual_seed(contents["step"])
        random.seed(contents["step"])
        np.random.seed(contents["step"])
        return contents["step"]


class states_read_too_late:
    """a random number is drawn by loading, after the generators were restored; draw none"""

    def _restore_generators(states):
        torch.set_rng_state(states["torch"])
        if states["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(states["cuda"])
        random.setstate(states["python"])
        np.random.set_state(tuple(states["numpy"]))
        torch.rand(1)


class name_drawn_at_random:
    """the temporary file's name is drawn from Python's generator; saving should draw nothing"""

    def _write(contents, path):
        temporary = path.with_name(f"{path.name}.{random.randrange(10**9)}")
        try:
            torch.save(contents, temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


class seeded_by_saving:
    """saving seeds torch's generator, so that the run that goes on differs; leave it alone"""

    def save_checkpoint(path, model, optimizer, *, step, scaler=None):
        torch.default_generator.manual_seed(step)
        contents = {
            "model": _weights_of(model),
            "optimizer": optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "generators": _generator_states(),
            "step": step,
        }
        _write(contents, Path(path))


class left_in_eval_mode:
    """saving puts the model into eval mode; leave its mode alone"""

    def save_checkpoint(path, model, optimizer, *, step, scaler=None):
        model.eval()
        contents = {
            "model": _weights_of(model),
            "optimizer": optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "generators": _generator_states(),
            "step": step,
        }
        _write(contents, Path(path))


class back_to_training_mode:
    """saving puts the model into training mode; leave its mode alone"""

    def save_checkpoint(path, model, optimizer, *, step, scaler=None):
        model.eval()
        contents = {
            "model": _weights_of(model),
            "optimizer": optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "generators": _generator_states(),
            "step": step,
        }
        _write(contents, Path(path))
        model.train()


class loaded_into_eval_mode:
    """loading puts the model into eval mode; leave its mode alone"""

    def _load_weights(model, weights):
        names = {_bare(name): name for name in model.state_dict()}
        model.load_state_dict({names.get(name, name): value for name, value in weights.items()})
        model.eval()


class loaded_into_training_mode:
    """loading puts the model into training mode; leave its mode alone"""

    def _load_weights(model, weights):
        names = {_bare(name): name for name in model.state_dict()}
        model.load_state_dict({names.get(name, name): value for name, value in weights.items()})
        model.train()


class detached_by_saving:
    """saving turns off the gradients of the model's parameters; it should change nothing"""

    def _weights_of(model):
        saved = model.state_dict().items()
        return {_bare(name): value for name, value in saved if model.requires_grad_(False)}


class written_in_place:
    """the file is written at its place, over the earlier one; write another and replace it"""

    def _write(contents, path):
        torch.save(contents, path)


class written_in_place_at_the_end:
    """the earlier file is overwritten byte by byte, as copying does too; write another file and put
    it in place by os.replace"""

    def _write(contents, path):
        import io

        buffer = io.BytesIO()
        torch.save(contents, buffer)
        path.write_bytes(buffer.getvalue())


class earlier_file_removed_first:
    """the earlier file is removed before the new one is there; os.replace needs no room"""

    def _write(contents, path):
        temporary = path.with_name(f"{path.name}.tmp")
        try:
            torch.save(contents, temporary)
            path.unlink(missing_ok=True)
            os.rename(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


class earlier_file_removed_at_once:
    """the earlier file is removed before the new one is written; it should stay until the end"""

    def _write(contents, path):
        path.unlink(missing_ok=True)
        temporary = path.with_name(f"{path.name}.tmp")
        try:
            torch.save(contents, temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


class temporary_file_elsewhere:
    """the temporary file lies in another folder, maybe on another disk, from which no file can
    be moved in one step; put it beside the checkpoint"""

    def _write(contents, path):
        descriptor, temporary = tempfile.mkstemp()
        try:
            with open(descriptor, "wb") as file:
                torch.save(contents, file)
            shutil.move(temporary, path)
        finally:
            Path(temporary).unlink(missing_ok=True)


class copied_into_place:
    """the temporary file is copied over the earlier one, and stays; use os.replace"""

    def _write(contents, path):
        temporary = path.with_name(f"{path.name}.tmp")
        torch.save(contents, temporary)
        shutil.copyfile(temporary, path)


class backup_kept:
    """the earlier file is kept under another name; nothing but the checkpoint should be left"""

    def _write(contents, path):
        temporary = path.with_name(f"{path.name}.tmp")
        try:
            torch.save(contents, temporary)
            if path.exists():
                shutil.copyfile(path, path.with_name(f"{path.name}.bak"))
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


class temporary_file_left_over:
    """a save that fails leaves its temporary file behind; remove it in a finally"""

    def _write(contents, path):
        temporary = path.with_name(f"{path.name}.tmp")
        torch.save(contents, temporary)
        os.replace(temporary, path)


class temporary_file_left_over_after_other_errors:
    """a save leaves its temporary file behind unless it fails with an OSError; a state that cannot
    be pickled raises others: remove the file in a finally"""

    def _write(contents, path):
        temporary = path.with_name(f"{path.name}.tmp")
        try:
            torch.save(contents, temporary)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        os.replace(temporary, path)


class failure_kept_quiet:
    """an error while saving is swallowed; whoever saves must hear of it"""

    def _write(contents, path):
        temporary = path.with_name(f"{path.name}.tmp")
        try:
            torch.save(contents, temporary)
            os.replace(temporary, path)
        except Exception:
            pass
        finally:
            temporary.unlink(missing_ok=True)


class half_a_file_put_in_place:
    """the temporary file takes the earlier one's place even if it could not be written; replace
    only after a write that succeeded"""

    def _write(contents, path):
        temporary = path.with_name(f"{path.name}.tmp")
        try:
            torch.save(contents, temporary)
        finally:
            os.replace(temporary, path)


class suffix_replaced:
    """the temporary file's name is made by with_suffix, which takes the last part of the name
    away; the file written has another name than the one asked for"""

    def _write(contents, path):
        path = path.with_suffix(".pth")
        temporary = path.with_name(f"{path.name}.tmp")
        try:
            torch.save(contents, temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def _read(path):
        return torch.load(path.with_suffix(".pth"), map_location="cpu", weights_only=True)


class paths_joined_as_texts:
    """the path is taken for a str; a Path has no + (make it one by Path(path) or os.fspath)"""

    def save_checkpoint(path, model, optimizer, *, step, scaler=None):
        contents = {
            "model": _weights_of(model),
            "optimizer": optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "generators": _generator_states(),
            "step": step,
        }
        temporary = path + ".tmp"
        try:
            torch.save(contents, temporary)
            os.replace(temporary, path)
        finally:
            if os.path.exists(temporary):
                os.remove(temporary)


class paths_taken_for_paths:
    """the path is taken for a Path; a str has no with_name (make it a Path by Path(path))"""

    def save_checkpoint(path, model, optimizer, *, step, scaler=None):
        contents = {
            "model": _weights_of(model),
            "optimizer": optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "generators": _generator_states(),
            "step": step,
        }
        _write(contents, path)


class nothing_stripped:
    """the wrappers' prefixes stay in the names; remove module. and _orig_mod. from the front"""

    def _bare(name):
        return name


class module_alone:
    """only module. is removed; torch.compile puts _orig_mod. in front"""

    def _bare(name):
        while name.startswith("module."):
            name = name.removeprefix("module.")
        return name


class orig_mod_alone:
    """only _orig_mod. is removed; DistributedDataParallel puts module. in front"""

    def _bare(name):
        while name.startswith("_orig_mod."):
            name = name.removeprefix("_orig_mod.")
        return name


class one_order_of_wrappers:
    """module. is removed first and then _orig_mod., once each; they come in any order"""

    def _bare(name):
        return name.removeprefix("module.").removeprefix("_orig_mod.")


class other_order_of_wrappers:
    """_orig_mod. is removed first and then module., once each; they come in any order"""

    def _bare(name):
        return name.removeprefix("_orig_mod.").removeprefix("module.")


class one_wrapper_removed:
    """only one prefix is removed; go on as long as there is one"""

    def _bare(name):
        return name.partition(".")[2] if name.startswith(_WRAPPERS) else name


class stripped_everywhere:
    """module. and _orig_mod. are removed in the middle of names too; remove them from the front
    only"""

    def _bare(name):
        return name.replace("module.", "").replace("_orig_mod.", "")


class orig_mod_stripped_everywhere:
    """_orig_mod. is removed in the middle of names too; remove it from the front only"""

    def _bare(name):
        while name.startswith("module."):
            name = name.removeprefix("module.")
        return name.replace("_orig_mod.", "")


class letters_stripped:
    """lstrip removes letters of the prefix and not the prefix; use removeprefix"""

    def _bare(name):
        return name.lstrip("module.") if name.startswith("mod") else name.lstrip("_orig_mod.")


class cut_without_the_dot:
    """names that only begin like a prefix are cut, such as module_list; the prefix ends with a
    dot"""

    def _bare(name):
        while name.startswith(("module", "_orig_mod")):
            name = name[7:] if name.startswith("module") else name[10:]
        return name


class stripped_when_saving_only:
    """prefixes are removed when saving, but not from the names of the model loaded into; it may
    be wrapped too"""

    def _load_weights(model, weights):
        model.load_state_dict(weights)


class stripped_when_loading_only:
    """the names of the model that is saved keep their prefixes, and only those of the model
    loaded into lose them; the saved one may be wrapped too"""

    def _weights_of(model):
        return dict(model.state_dict())


class not_strict:
    """names that do not fit are passed over (strict=False); they should raise an error"""

    def _load_weights(model, weights):
        names = {_bare(name): name for name in model.state_dict()}
        renamed = {names.get(name, name): value for name, value in weights.items()}
        model.load_state_dict(renamed, strict=False)


class missing_names_passed_over:
    """a name that is missing in the file is passed over; it should raise an error"""

    def _load_weights(model, weights):
        own = model.state_dict()
        names = {_bare(name): name for name in own}
        renamed = {names.get(name, name): value for name, value in weights.items()}
        model.load_state_dict({**own, **renamed})


class unexpected_names_passed_over:
    """a name that the model does not have is passed over; it should raise an error"""

    def _load_weights(model, weights):
        names = {_bare(name): name for name in model.state_dict()}
        model.load_state_dict({names[n]: value for n, value in weights.items() if n in names})


class parameters_exchanged:
    """the model gets new parameters (assign=True), and the optimizer keeps the old ones; copy
    the values"""

    def _load_weights(model, weights):
        names = {_bare(name): name for name in model.state_dict()}
        renamed = {names.get(name, name): value for name, value in weights.items()}
        model.load_state_dict(renamed, assign=True)


class names_of_tied_weights_lost:
    """a tied weight is saved under one name, and loading misses the other; save all names"""

    def _weights_of(model):
        seen, weights = set(), {}
        for name, value in model.state_dict().items():
            if value.data_ptr() not in seen:
                weights[_bare(name)] = value
            seen.add(value.data_ptr())
        return weights


class code_is_run:
    """the file is read with weights_only=False, which runs code that it brings; use
    weights_only=True"""

    def _read(path):
        return torch.load(path, map_location="cpu", weights_only=False)


class array_in_the_file:
    """NumPy's state is saved with its array, which weights_only=True refuses; save a list"""

    def _numpy_state():
        return list(np.random.get_state())


class step_one_too_far:
    """the step after the saved one is returned; return the number of steps made so far"""

    def load_checkpoint(path, model, optimizer, *, scaler=None):
        contents = _read(Path(path))
        _load_weights(model, contents["model"])
        optimizer.load_state_dict(contents["optimizer"])
        if scaler is not None:
            scaler.load_state_dict(contents["scaler"])
        _restore_generators(contents["generators"])
        return contents["step"] + 1


class contents_returned:
    """the whole contents of the file are returned; return the step"""

    def load_checkpoint(path, model, optimizer, *, scaler=None):
        contents = _read(Path(path))
        _load_weights(model, contents["model"])
        optimizer.load_state_dict(contents["optimizer"])
        if scaler is not None:
            scaler.load_state_dict(contents["scaler"])
        _restore_generators(contents["generators"])
        return contents


class skipped_in_the_first_epoch_only:
    """batches are skipped in the first iteration only; each iteration skips them again"""

    class SkipBatchSampler(SkipBatchSampler):
        def __iter__(self):
            skipped, self.skip_batches = self.skip_batches, 0
            for number, batch in enumerate(self._batches()):
                if number >= skipped:
                    yield batch


class skipped_once_counted_on_the_object:
    """the batches skipped so far are counted on the object and never from 0 again; count in a
    local variable"""

    class SkipBatchSampler(SkipBatchSampler):
        def __init__(self, sampler, batch_size, skip_batches=0):
            self.sampler = sampler
            self.batch_size = batch_size
            self.skip_batches = skip_batches
            self._seen = 0

        def __iter__(self):
            for batch in self._batches():
                self._seen += 1
                if self._seen > self.skip_batches:
                    yield batch


class indices_skipped:
    """so many indices are skipped; skip so many batches"""

    class SkipBatchSampler(SkipBatchSampler):
        def __iter__(self):
            indices = list(self.sampler)[self.skip_batches :]
            for start in range(0, len(indices), self.batch_size):
                yield indices[start : start + self.batch_size]


class last_batches_left_out:
    """batches are left out at the end; leave out the first ones"""

    class SkipBatchSampler(SkipBatchSampler):
        def __iter__(self):
            batches = list(self._batches())
            yield from batches[: max(0, len(batches) - self.skip_batches)]


class one_batch_too_many_skipped:
    """one batch too many is skipped; batch number skip_batches, counted from 0, is the first"""

    class SkipBatchSampler(SkipBatchSampler):
        def __iter__(self):
            for number, batch in enumerate(self._batches()):
                if number > self.skip_batches:
                    yield batch


class one_batch_too_few_skipped:
    """one batch too few is skipped; batch number skip_batches, counted from 0, is the first"""

    class SkipBatchSampler(SkipBatchSampler):
        def __iter__(self):
            for number, batch in enumerate(self._batches(), start=1):
                if number >= self.skip_batches:
                    yield batch


class nothing_skipped:
    """no batch is skipped; leave out the first skip_batches"""

    class SkipBatchSampler(SkipBatchSampler):
        def __iter__(self):
            return self._batches()


class short_batch_lost:
    """the last, shorter batch is lost; its indices count too"""

    class SkipBatchSampler(SkipBatchSampler):
        def _batches(self):
            for batch in SkipBatchSampler._all(self):
                if len(batch) == self.batch_size:
                    yield batch

        def _all(self):
            indices = list(self.sampler)
            for start in range(0, len(indices), self.batch_size):
                yield indices[start : start + self.batch_size]


class order_read_once:
    """the sampler's order is read when the object is made; read it anew in each iteration"""

    class SkipBatchSampler(SkipBatchSampler):
        def __init__(self, sampler, batch_size, skip_batches=0):
            self.sampler = list(sampler)
            self.batch_size = batch_size
            self.skip_batches = skip_batches


class order_read_twice:
    """the sampler is asked for two orders in each iteration: one to skip and one to go on with;
    ask once"""

    class SkipBatchSampler(SkipBatchSampler):
        def __iter__(self):
            for _, _ in zip(range(self.skip_batches), self._batches(), strict=False):
                pass
            for number, batch in enumerate(self._batches()):
                if number >= self.skip_batches:
                    yield batch


class one_list_for_all:
    """every batch is the same list, cleared and filled again; make a new one for each"""

    class SkipBatchSampler(SkipBatchSampler):
        def _batches(self):
            batch = []
            for index in self.sampler:
                batch.append(index)
                if len(batch) == self.batch_size:
                    yield batch
                    batch.clear()
            if batch:
                yield batch


class length_rounded_down:
    """the length does not count the last, shorter batch; round up"""

    class SkipBatchSampler(SkipBatchSampler):
        def __len__(self):
            return max(0, len(self.sampler) // self.batch_size - self.skip_batches)


class length_of_all:
    """the length counts the batches that are skipped; subtract skip_batches"""

    class SkipBatchSampler(SkipBatchSampler):
        def __len__(self):
            return -(-len(self.sampler) // self.batch_size)


class length_below_zero:
    """the length falls below 0, which raises an error, if more is skipped than there is; use
    max(0, ...)"""

    class SkipBatchSampler(SkipBatchSampler):
        def __len__(self):
            return -(-len(self.sampler) // self.batch_size) - self.skip_batches


class length_one_too_many:
    """the length is one too many where batch_size divides the number of indices; round up"""

    class SkipBatchSampler(SkipBatchSampler):
        def __len__(self):
            return max(0, len(self.sampler) // self.batch_size + 1 - self.skip_batches)


class length_in_indices:
    """the length is the number of indices; count batches"""

    class SkipBatchSampler(SkipBatchSampler):
        def __len__(self):
            return max(0, len(self.sampler) - self.skip_batches * self.batch_size)
