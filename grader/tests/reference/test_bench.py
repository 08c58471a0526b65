"""The bench measures what it says, beside whoever is there."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from minimind_ref.app import bench, timing
from minimind_ref.app.bench import Plan, looped, plot, rows
from minimind_ref.app.cli import commands
from minimind_ref.app.errors import UserError
from minimind_ref.app.fast import mixture
from minimind_ref.app.memory import peak_bytes
from minimind_ref.app.timing import Row
from minimind_ref.config import MiniMindConfig
from minimind_ref.moe import MoEFeedForward

CPU = torch.device("cpu")

SMALL = Plan(
    CPU, rounds=1, layers=1, train=(1, 8), lengths=(8, 12), moe_tokens=4, loss=(16, 97), product=32
)

CHECKOUT = """
from minimind_ref.app.fast import FastForCausalLM as MiniMindForCausalLM
from minimind_ref.config import MiniMindConfig
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder laid out as MiniMind is; its model here is ours."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model_minimind.py").write_text(CHECKOUT)
    return tmp_path


def test_every_part_is_measured_beside_both(checkout: Path, monkeypatch) -> None:
    monkeypatch.setattr(bench, "DTYPES", {"fp32": torch.float32})
    plan = Plan(**{**vars(SMALL), "minimind": checkout})
    measured = {row.name: row for row in rows(plan)}
    assert all(row.value > 0 for row in measured.values())
    for name in (
        "machine fp32 product",
        "machine read",
        "train fp32 MiniMind",
        "train fp32 ours / transformers",
        "train fp32 ours / product rate",
        "prefill fp32 8 ours / transformers",
        "decode fp32 12 ours / MiniMind",
        "decode fp32 12 / 8 ours",
        "64 experts top-8 training 4 fp32 loop / ours",
        "4 experts top-1 reading 1 fp32 loop / ours",
        "loss peak ours / whole",
    ):
        assert name in measured, name
    ours, theirs = measured["train fp32 ours"], measured["train fp32 transformers"]
    ratio = measured["train fp32 ours / transformers"]
    assert ratio.value == pytest.approx(ours.value / theirs.value)
    assert ratio.limit == 1.0 and ratio.ok is (ratio.value >= 1.0)


def test_the_command_writes_json(monkeypatch, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    monkeypatch.setattr(Plan, "quick", lambda plan: SMALL)
    done = CliRunner().invoke(commands, ["bench", "--quick", "--part", "loss", "--json", str(file)])
    assert done.exit_code == 0, done.output
    written = {row["name"]: row for row in json.loads(file.read_text())}
    assert written["loss time ours / whole"]["at_most"] is True
    assert all(name in done.output for name in written)
    assert not any(name.startswith("train") for name in written)


def test_the_plot_shows_the_ratios(tmp_path: Path) -> None:
    plot([Row("train ours / others", 1.5, "x", 1.25), Row("read", 2.0, "GB/s")], tmp_path / "a.svg")
    assert "<svg" in (tmp_path / "a.svg").read_text()


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    plan = Plan(**{**vars(SMALL), "minimind": tmp_path})
    with pytest.raises(UserError, match="model_minimind.py is missing"):
        list(rows(plan, ("train",)))


def test_the_loop_over_experts_is_a_mixture() -> None:
    torch.manual_seed(0)
    layer = MoEFeedForward(MiniMindConfig.tiny(use_moe=True))
    x = torch.randn(2, 7, 40)
    torch.testing.assert_close(looped(layer, x)[0], layer(x))
    torch.testing.assert_close(mixture(layer, x)[0], layer(x))


def test_the_peak_counts_what_is_alive_together() -> None:
    def one_after_the_other() -> None:
        for _ in range(3):
            torch.ones(1000)

    def together() -> object:
        return [torch.ones(1000) for _ in range(3)]

    assert peak_bytes(one_after_the_other, CPU) == 4000
    assert peak_bytes(together, CPU) == 12000


@pytest.mark.parametrize(
    ("value", "limit", "at_most", "ok"),
    [(2.0, 1.0, False, True), (2.0, 1.0, True, False), (0.5, None, False, None)],
)
def test_a_limit_is_a_least_or_a_most(value, limit, at_most, ok) -> None:
    assert Row("a", value, "x", limit, at_most).ok is ok


def test_what_takes_very_long_is_timed_once(monkeypatch) -> None:
    monkeypatch.setattr(timing, "_LONG_S", 0.05)
    runs: list[str] = []

    def slow() -> None:
        runs.append("slow")
        time.sleep(0.06)

    seconds = timing.medians({"slow": slow, "quick": lambda: runs.append("quick")}, 3, CPU)
    assert runs.count("slow") == 1 and runs.count("quick") == 4
    assert seconds["slow"] > 0.06
