"""The stored tables: complete, made as they say, and computed again at one row each."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from ntklab import sparse_parities, tables

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import experiments  # noqa: E402

NAMES = [experiment.name for experiment in experiments.EXPERIMENTS]


@pytest.mark.parametrize("experiment", experiments.EXPERIMENTS, ids=NAMES)
def test_a_table_is_complete_and_described(experiment):
    described = tables.provenance(experiment.name)
    current = experiments.description(experiment)
    assert {name: described[name] for name in current} == current
    assert {"python", "jax", "jaxlib", "numpy", "optax", "machine"} <= set(described["versions"])
    rows = experiments.stored_rows(experiment)
    assert all(experiments.is_done(task, rows) for task in experiment.tasks)
    keys = [
        tuple(row[name] for name in row if name not in ("loss", "accuracy", "scale"))
        for row in rows
    ]
    assert len(set(keys)) == len(keys)  # an interrupted run leaves no row twice
    assert set(tables.load(experiment.name)) == set(experiment.columns)


def test_every_table_belongs_to_an_experiment():
    stored = {path.stem for path in (ROOT / "book" / "data").iterdir()}
    assert stored == set(NAMES)


@pytest.mark.float64
@pytest.mark.parametrize("model", ["printed", "repaired"])
def test_a_scale_is_found_again(model):
    found = tables.load("selector_scale")
    row = (found["n"] == 4) & (found["model"] == model)
    settings = tables.provenance("selector_scale")["settings"]
    again, _ = sparse_parities.largest_scale(4, repaired=model == "repaired", **settings)
    # Where a climb ends depends on rounding; that it ends at the same maximum does not.
    assert float(again) == pytest.approx(found["scale"][row].item(), rel=1e-3)


@pytest.mark.once
@pytest.mark.parametrize(
    ("name", "varied"), [("parity_training", "alpha"), ("parity_batch_sizes", "batch_size")]
)
def test_the_first_measurement_of_a_run_is_repeated(name, varied):
    """One seed up to its first evaluation, in float32 as stored."""
    import jax

    stored = tables.load(name)
    settings = dict(tables.provenance(name)["settings"])
    value = stored[varied][0].item()
    steps = int(stored["step"].min()) if varied == "alpha" else int(stored["step"][0])
    settings |= {varied: value, "steps": steps, "evaluations": 1}
    settings.pop("samples", None)
    row = (stored[varied] == value) & (stored["step"] == steps) & (stored["seed"] == 0)
    with jax.enable_x64(False):
        again = sparse_parities.train_on_parity(seeds=[0], **settings)
    # Stored to 5 digits; rounding grows along a few hundred steps of Adam.
    assert float(again.losses[0, 0]) == pytest.approx(stored["loss"][row].item(), abs=5e-3)
    assert float(again.accuracies[0, 0]) == pytest.approx(stored["accuracy"][row].item(), abs=0.02)


# --- the machinery ------------------------------------------------------------------------------


def small(monkeypatch, folder, **changes):
    """An experiment that counts its tasks, in a folder of its own."""
    monkeypatch.setattr(experiments, "DATA", folder)
    done = []

    def compute(settings, task):
        done.append(task["n"])
        yield {"n": task["n"], "value": settings["factor"] * task["n"]}

    arguments = {
        "name": "small",
        "about": "nothing",
        "settings": {"factor": 2},
        "tasks": [{"n": n} for n in (1, 2, 3)],
        "compute": compute,
        "columns": {"n": "a number", "value": "its double"},
    }
    return experiments.Experiment(**arguments | changes), done


def test_an_interrupted_run_goes_on(monkeypatch, tmp_path):
    experiment, done = small(monkeypatch, tmp_path)
    experiments.run(experiment)
    assert done == [1, 2, 3]
    lines = experiment.table.read_text().splitlines()
    experiment.table.write_text("\n".join(lines[:2]) + "\n")
    experiments.run(experiment)
    assert done == [1, 2, 3, 2, 3]
    with experiment.table.open() as file:
        assert [row["value"] for row in csv.DictReader(file)] == ["2", "4", "6"]
    experiments.run(experiment)
    assert done == [1, 2, 3, 2, 3]


def test_other_settings_are_refused(monkeypatch, tmp_path):
    experiment, _ = small(monkeypatch, tmp_path)
    experiments.run(experiment)
    before = experiment.table.read_text()
    changed, done = small(monkeypatch, tmp_path, settings={"factor": 3})
    with pytest.raises(SystemExit, match="other settings"):
        experiments.run(changed)
    assert not done
    assert experiment.table.read_text() == before
    assert json.loads(experiment.provenance.read_text())["settings"] == {"factor": 2}


def test_loading_gives_columns(monkeypatch, tmp_path):
    monkeypatch.setattr(tables, "_folder", lambda: tmp_path)
    (tmp_path / "t.csv").write_text("a,b,c\n1,0.5,x\n2,1,y\n")
    (tmp_path / "t.json").write_text('{"command": "make"}')
    columns = tables.load("t")
    assert columns["a"].dtype.kind == "i"
    np.testing.assert_array_equal(columns["b"], [0.5, 1.0])
    assert columns["c"].tolist() == ["x", "y"]
    assert tables.provenance("t") == {"command": "make"}


@pytest.mark.parametrize("function", [tables.load, tables.provenance])
def test_a_missing_table_is_named(function):
    with pytest.raises(ValueError, match=r"^name must be one of .*parity_training.*; got 'no'"):
        function("no")
