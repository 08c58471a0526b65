"""Each experiment runs, is told in words, and, in the slow test, shows what it claims."""

import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from experiments.__main__ import main as numbers
from experiments.registry import EXPERIMENTS, SEEDS, find, run, trials
from experiments.table import Claim, Table, Trial
from experiments.task import BACK, batches
from grader.cli import main
from grader.course.course import Course
from grader.course.syllabus import ROOT
from grader.course.syllabus_file import load
from grader.learner.experiments.chart import chart
from grader.learner.experiments.picture import svg
from grader.learner.experiments.words import WORDS, arm_name, measure_name, written
from grader.learner.settings import SETTINGS, seen_experiments
from grader.proof.figures.experiments import figures
from grader.proof.figures.figure import Figure

SLOW = "GRADER_SLOW"
SYLLABUS = load(ROOT)
QUICK = SYLLABUS.paths[0]

TABLE = Table(
    tuple(
        Trial(arm, seed, {"loss": loss * seed}, (2.8, loss * seed))
        for seed in (1, 2, 3)
        for arm, loss in (("with", 0.1), ("without", 2.0))
    )
)


def test_those_of_the_syllabus_are_those_that_there_are() -> None:
    assert {e.id for e in SYLLABUS.experiments} == set(EXPERIMENTS) == set(WORDS)
    modules = {file.stem for file in (ROOT / "experiments").glob("*.py")}
    assert modules == {*EXPERIMENTS, "__init__", "__main__", "registry", "table", "task"}


@pytest.fixture(scope="module")
def short() -> dict[str, Table]:
    """Every experiment with two steps and one seed."""
    return {name: run(name, [7], 2) for name in EXPERIMENTS}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_it_runs_and_can_be_told_and_drawn(name: str, short: dict[str, Table]) -> None:
    table = short[name]
    words = WORDS[name]
    assert table.seeds == (7,) and len(table.arms) >= 2
    assert all(trial.measures.keys() == table.trials[0].measures.keys() for trial in table.trials)
    assert all(arm_name(arm) for arm in table.arms)
    assert all(measure_name(measure) for measure in table.measures)
    assert words.shows(table) and words.not_shown()
    lines = chart(table, words.headline)
    assert all(any(arm_name(arm) in line for line in lines) for arm in table.arms)
    claims = find(name).claims(table)
    assert claims and all(isinstance(claim, Claim) for claim in claims)
    pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
    experiment = next(e for e in SYLLABUS.experiments if e.id == name)
    assert svg(experiment, table).startswith("<?xml")


@pytest.mark.parametrize("name", ["no_rope", "no_residual", "no_warmup"])
def test_both_arms_start_alike(name: str, short: dict[str, Table]) -> None:
    """Only one thing differs, so the seed decides everything else, also the second time."""
    assert run(name, [7], 2) == short[name]
    assert run(name, [8], 2).trials[0].curve != short[name].trials[0].curve


def test_the_label_is_the_token_three_before_the_one_that_predicts() -> None:
    ((ids, labels),) = batches(3, 1)
    for place in range(BACK, ids.shape[1] - 1):
        assert labels[:, place + 1].equal(ids[:, place - BACK])
    assert (labels[:, : BACK + 1] == -100).all()


def test_an_unknown_one_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(LookupError, match="no_rope"):
        next(trials("nothing"))


def test_its_numbers_can_be_had_without_the_grader(capsys: pytest.CaptureFixture[str]) -> None:
    assert numbers(["no_scale", "7"]) == 0
    printed = capsys.readouterr().out
    assert "no_scale, seeds (7,)" in printed and printed.count("holds: ") == 3
    assert numbers([]) == 2


@pytest.mark.skipif(not os.environ.get(SLOW), reason=f"{SLOW}=1 runs the experiments as they are")
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_what_is_claimed_is_so(name: str) -> None:
    claims = find(name).claims(run(name, SEEDS))
    assert [claim.text for claim in claims if not claim.holds] == []


class TestTable:
    def test_a_number_is_looked_at_over_the_seeds(self) -> None:
        assert TABLE.arms == ("with", "without") and TABLE.seeds == (1, 2, 3)
        assert TABLE.values("without", "loss") == (2.0, 4.0, 6.0)
        assert (TABLE.low("without", "loss"), TABLE.high("without", "loss")) == (2.0, 6.0)
        assert TABLE.median("without", "loss") == 4.0

    def test_a_chart_of_the_loss_goes_from_where_it_was_to_where_it_is(self) -> None:
        lines = chart(TABLE, "loss")
        assert lines[1].startswith("  4.0 │") and lines[1].endswith("○")
        assert lines[-1].split() == ["●", "as", "it", "is", "○", "left", "out"]

    def test_bars_are_as_long_as_their_values(self) -> None:
        rows = (Trial("with", 1, {"keys": 40.0}), Trial("without", 1, {"keys": 10.0}))
        lines = chart(Table(rows), "keys")
        assert [line.count("█") for line in lines] == [0, 40, 10]

    def test_orders_of_magnitude_are_all_seen(self) -> None:
        rows = (Trial("with", 1, {"router": 1e-4}), Trial("divided", 1, {"router": 1e-11}))
        assert [line.count("█") for line in chart(Table(rows), "router")] == [0, 40, 5]

    def test_numbers_are_written_as_people_do(self) -> None:
        assert written("unchanged", 0.77) == "77%"
        assert written("tokens", 19872) == "19,872"
        assert written("router", 2.5e-11) == "2.5e-11"
        assert written("loss", 2.7731) == "2.773"


class TestCommand:
    @pytest.fixture
    def clone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A copy of the course whose stubs are as they were handed out, with short experiments."""
        for exercise in SYLLABUS.exercises:
            pristine = exercise.paths(ROOT).pristine.read_bytes()
            for copy in (exercise.paths(tmp_path).pristine, exercise.paths(tmp_path).stub):
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(pristine)
        syllabus = (ROOT / "grader" / "curriculum.toml").read_bytes()
        (tmp_path / "grader" / "curriculum.toml").write_bytes(syllabus)
        monkeypatch.setattr("grader.course.arguments.ROOT", tmp_path)

        def made_up(name: str, seeds: range) -> list[Trial]:
            return [
                Trial(arm, seed, {"loss": loss}, (2.8, loss))
                for seed in seeds
                for arm, loss in (("with", 0.1), ("without", 2.77))
            ]

        monkeypatch.setattr("experiments.registry.trials", made_up)
        return tmp_path

    def grader(self, *words: str) -> str:
        result = CliRunner().invoke(main, words, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    @pytest.mark.usefixtures("clone")
    def test_without_a_name_it_is_the_list(self) -> None:
        listed = self.grader("experiment")
        assert all(e.id in listed and e.title in listed for e in SYLLABUS.experiments)
        assert self.grader("-q", "experiment").split() == [e.id for e in SYLLABUS.experiments]

    def test_what_was_watched_is_remembered(self, clone: Path) -> None:
        printed = self.grader("experiment", "no_rope")
        assert "seed 3 · left out · loss: 2.770" in printed
        assert "It shows: with RoPE" in printed and "It does not show: " in printed
        assert seen_experiments(clone) == ["no_rope"]
        self.grader("experiment", "no_rope")
        assert seen_experiments(clone) == ["no_rope"]
        (row,) = (line for line in self.grader("experiment").splitlines() if "no_rope " in line)
        assert row.startswith("✓")

    @pytest.mark.usefixtures("clone")
    def test_what_does_not_come_out_is_not_claimed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def worse(name: str, seeds: range) -> list[Trial]:
            return [Trial(arm, 1, {"loss": 1.0}, (2.8, 1.0)) for arm in ("with", "without")]

        monkeypatch.setattr("experiments.registry.trials", worse)
        printed = self.grader("experiment", "no_rope")
        assert "It shows:" not in printed and "no conclusion" in printed

    def test_the_quick_path_begins_with_three_to_watch(self, clone: Path) -> None:
        chosen = self.grader("path", "quick")
        assert f"grader experiment {QUICK.experiments[0]}" in chosen
        assert len(QUICK.experiments) == 3
        for place, name in enumerate(QUICK.experiments):
            for command in (["next"], []):
                printed = self.grader(*command)
                assert f"  run  grader experiment {name}" in printed.splitlines()
                assert "pytest tests" not in printed
            left = 30 - sum(
                e.minutes for e in SYLLABUS.experiments if e.id in QUICK.experiments[:place]
            )
            assert f"about {left} min left" in self.grader()
            assert self.grader("-q", "next") == f"{name}\n"
            watched = {"path": "quick", "experiments": QUICK.experiments[: place + 1]}
            (clone / SETTINGS).write_text(json.dumps(watched))
        assert "  run  pytest tests/test_01_rmsnorm.py" in self.grader("next").splitlines()
        assert self.grader("-q", "next") == "ex01_rmsnorm\n"

    @pytest.mark.usefixtures("clone")
    def test_a_picture_is_written(self, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
        file = tmp_path / "rope.svg"
        assert f"wrote {file}" in self.grader("experiment", "no_rope", "--svg", str(file))
        assert "What if RoPE is left out?" in file.read_text(encoding="utf-8")

    @pytest.mark.usefixtures("clone")
    def test_without_matplotlib_a_picture_is_refused_before_the_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        words = ["experiment", "no_rope", "--svg", str(tmp_path / "rope.svg")]
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 1
        assert "seed 1" not in result.output and "'.[report]'" in result.output

    def test_settings_of_another_version_stop_nothing(self, clone: Path) -> None:
        for broken in ("{", '{"experiments": 3}', '{"experiments": [3, "no_rope"]}'):
            (clone / ".grader").mkdir(exist_ok=True)
            (clone / SETTINGS).write_text(broken)
            self.grader("experiment", "no_rope")
            assert seen_experiments(clone) == ["no_rope"]

    def test_a_folder_that_cannot_be_written_costs_the_memory_alone(self, clone: Path) -> None:
        (clone / ".grader").write_text("a file is in the way")
        assert "cannot be kept: .grader/settings.json" in self.grader("experiment", "no_rope")


class TestFigures:
    def measured(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
        monkeypatch.setattr("experiments.registry.EXPERIMENTS", ("no_scale",))
        found = figures(ROOT, quick=True)
        return {figure.name: figure for figure in found if isinstance(figure, Figure)}

    def test_a_claim_that_holds_is_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = self.measured(monkeypatch)
        assert found["experiments.no_scale.claims"].value == 3
        assert found["experiments.no_scale.claims that fail"].ok
        assert found["experiments.no_scale.three seeds"].ok

    def test_one_that_does_not_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        wrong = Claim("a query looks at all keys", False)
        monkeypatch.setattr("experiments.no_scale.claims", lambda table: [wrong])
        assert self.measured(monkeypatch)["experiments.no_scale.claims that fail"].ok is False


def test_the_paths_are_as_long_as_their_names_promise() -> None:
    quick, core, full = SYLLABUS.paths
    assert quick.minutes == 30
    assert abs(core.minutes - 360) <= 15
    assert full.exercises[: len(SYLLABUS.exercises)] == tuple(e.id for e in SYLLABUS.exercises)
    assert Course(ROOT, SYLLABUS).syllabus.experiments_on(quick)[0].id == "no_rope"
