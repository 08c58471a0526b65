"""A model on disk: what is written is read back, and what does not fit is said."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest
import torch

from minimind_ref.app.errors import UserError
from minimind_ref.app.folders import load_model, replace_file, save_model
from minimind_ref.app.vocabulary import Vocabulary, read_vocabulary
from minimind_ref.config import MiniMindConfig
from minimind_ref.model import MiniMindForCausalLM


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    vocabulary = Vocabulary.trained_on(["one two two 三"], 265)
    config = MiniMindConfig.tiny(vocab_size=len(vocabulary), num_hidden_layers=1)
    torch.manual_seed(0)
    save_model(tmp_path / "a", config, MiniMindForCausalLM(config).state_dict(), vocabulary)
    return tmp_path / "a"


def test_what_is_written_is_read_back(folder: Path) -> None:
    loaded = load_model(folder)
    torch.manual_seed(0)
    model = MiniMindForCausalLM(loaded.config)
    assert loaded.model.state_dict().keys() == model.state_dict().keys()
    assert all(map(torch.equal, loaded.model.parameters(), model.parameters()))
    assert not loaded.model.training
    assert loaded.vocabulary.tokenizer.encode("two 三") == Vocabulary.trained_on(
        ["one two two 三"], 265
    ).tokenizer.encode("two 三")
    assert load_model(folder, dtype=torch.bfloat16).model.lm_head.weight.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda folder: (folder / "config.json").unlink(), "holds no model"),
        (lambda folder: (folder / "config.json").write_text("{"), "not JSON"),
        (lambda folder: changed(folder, format="gpt2"), "another program"),
        (lambda folder: changed(folder, head_dim=7), "head_dim: got 7"),
        (lambda folder: changed(folder, hidden_size=48), "does not fit config.json"),
        (lambda folder: changed(folder, vocab_size=9), "want at most vocab_size, 9"),
        (lambda folder: changed(folder, sizes=1), "sizes"),
        (lambda folder: changed(folder, rope_scaling={"factor": 2.0}), "YaRN needs it"),
        (lambda folder: (folder / "model.safetensors").unlink(), "holds its weights"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"12345678"), "is damaged"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "holds its tokenizer.json"),
        (lambda folder: (folder / "tokenizer.json").write_text("[]"), "another kind of tokenizer"),
    ],
)
def test_what_does_not_fit_is_said(folder: Path, change, complaint: str) -> None:
    change(folder)
    with pytest.raises(UserError, match=complaint):
        load_model(folder)


def changed(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_folder_is_no_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_vocabulary(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_others_may_read_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    replace_file(tmp_path / "model", b"new")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "model")]
    assert modes[0] == modes[1]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "model").write_bytes(b"old")

    def fails(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="no space"):
        replace_file(tmp_path / "model", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model").read_bytes() == b"old"
