"""The stored tables: complete, made as they say, and computed again at one row each."""

import itertools
import json
import pkgutil
import signal
import subprocess
import sys

import experiments
import jax
import numpy as np
import project
import pytest
from experiments import hierarchical_learning as kernels
from ntklab import hierarchical_learning, sparse_parities, tables

EXPERIMENTS = experiments.all_experiments()
NAMES = [experiment.name for experiment in EXPERIMENTS]
MEASURED = {
    *("prediction", "loss", "accuracy", "scale", "drift", "start", "lowest", "left", "moved"),
    *("train", "test", "lazy_train", "lazy_test", "limit_test", "zero", "found"),
    *("aligned_before", "aligned_after"),
    *("distance", "distance_bound", "change", "change_bound", "gap", "gap_bound"),
    *("risk", "ridge", "spread", "tangent_risk", "tangent_train", "tangent_distance", "rest"),
    *("first_own", "second_own", "first_parity", "second_parity", "linear_error", "parity_error"),
    *("steps", "seconds"),
    *("first", "highest", "last_kappa", "train_loss", "aligned"),
    *("kernel_accuracy", "kernel_error", "network_accuracy", "network_error"),
    *("along", "by_kernel", "by_network"),
    "steps",
}


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=NAMES)
def test_a_table_is_complete_and_described(experiment):
    described = experiments.stored_provenance(experiment)
    assert {"python", "jax", "jaxlib", "numpy", "optax", "machine"} <= set(described["versions"])
    tasks = experiments.finished(experiment)
    assert None not in tasks
    rows = [row for task in tasks for row in task]
    keys = [tuple(row[name] for name in row if name not in MEASURED) for row in rows]
    assert len(set(keys)) == len(keys)
    # Nothing but the tasks' rows stands in the table.
    assert len(project.read(experiment.table).splitlines()) == 1 + len(rows)
    assert set(tables.load(experiment.name)) == set(experiment.columns)


def test_every_table_belongs_to_an_experiment_and_every_experiment_to_a_chapter():
    stored = {path.stem for path in project.files() if path.parent == experiments.DATA}
    assert stored == set(NAMES)
    assert len(set(NAMES)) == len(NAMES)
    chapters = {path.stem for path in project.chapters()}
    assert {module.name for module in pkgutil.iter_modules(experiments.__path__)} <= (
        chapters | {"index", "__main__"}
    )


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
    ("name", "varied"),
    [
        ("parity_training", "alpha"),
        ("parity_batch_sizes", "batch_size"),
        ("parity_linearized", "alpha"),
    ],
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
    if "learning_rate" in stored:
        row &= stored["learning_rate"] == settings["learning_rate"]
    with jax.enable_x64(False):
        again = sparse_parities.train_on_parity(seeds=[0], **settings)
    # Stored to 5 digits; rounding grows along a few hundred steps of Adam.
    assert float(again.losses[0, 0]) == pytest.approx(stored["loss"][row].item(), abs=5e-3)
    assert float(again.accuracies[0, 0]) == pytest.approx(stored["accuracy"][row].item(), abs=0.02)


@pytest.mark.once
def test_a_member_of_the_ensemble_is_trained_again():
    """The first of its networks."""
    import jax

    (experiment,) = (e for e in EXPERIMENTS if e.name == "trained_ensemble")
    stored = tables.load("trained_ensemble")
    with jax.enable_x64(False):
        rows = list(experiment.compute(experiment.settings, {"seeds": (0, 1)}))
    again = np.array([float(row["prediction"]) for row in rows])
    # Stored to four digits; 2500 steps of float32 gather some rounding.
    np.testing.assert_allclose(again, stored["prediction"][: len(rows)], atol=2e-3)


@pytest.mark.once
def test_a_deep_network_arrives_again():
    """The quickest of its starts."""
    import jax

    (experiment,) = (e for e in EXPERIMENTS if e.name == "deep_frequencies")
    stored = tables.load("deep_frequencies")
    task = {"width": 64, "frequency": 1, "seeds": (2, 3)}
    with jax.enable_x64(False):
        (row,) = experiment.compute(experiment.settings, task)
    found = (stored["width"] == 64) & (stored["frequency"] == 1) & (stored["seed"] == 2)
    # Some twenty steps in float32: rounding can move the last of them.
    assert abs(row["steps"] - stored["steps"][found].item()) <= 1


@pytest.mark.once
def test_the_first_steps_of_the_landing_page_are_taken_again():
    """Both sides, up to the step at which the page says that they have not parted."""
    (experiment,) = (e for e in EXPERIMENTS if e.name == "opening")
    stored = tables.load("opening")
    settings = experiment.settings | {"n": 400, "steps": [0, 50]}
    with jax.enable_x64(False):
        rows = list(experiment.compute(settings, {"seeds": (0, 1)}))
    again = {
        side: np.array([float(row[f"by_{side}"]) for row in rows]) for side in ("kernel", "network")
    }
    shown = experiment.settings["shown"]
    assert not np.any(again["kernel"][:shown]) and not np.any(again["network"][:shown])
    # Fewer examples, so another cloud; what they have in common is that the two have not parted.
    assert np.std(again["network"][shown:]) > 0.1
    np.testing.assert_allclose(again["kernel"], again["network"], atol=0.05)
    apart = np.abs(stored["by_kernel"] - stored["by_network"])[stored["step"] <= 100]
    assert np.max(apart) < 0.25


def test_waiting_times_are_those_of_the_stored_curves():
    """The same runs on another processor, in float32: after some thousand steps they agree in their
    medians, to two evaluations.
    """
    curves, waits = tables.load("parity_training"), tables.load("parity_waiting")
    for alpha in (0.5, 0.375):
        rows = curves["alpha"] == alpha
        losses = curves["loss"][rows].reshape(20, -1)
        steps = curves["step"][rows].reshape(20, -1)
        first = np.min(np.where(losses < 0.25, steps, np.inf), axis=1)
        found = waits["step"][waits["alpha"] == alpha]
        assert abs(np.median(found) - np.median(first)) <= 400


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


WHOLE = "n,value\n1,2\n2,4\n3,6\n"


@pytest.mark.parametrize(
    ("cut", "again"),
    [
        ("", [1, 2, 3]),
        ("n,va", [1, 2, 3]),
        ("n,value\n", [1, 2, 3]),
        ("n,value\n1,2\n", [2, 3]),
        ("n,value\n1,2\n2", [2, 3]),
        ("n,value\n1,2\n2,", [2, 3]),
        ("n,value\n1,2\n2,4", [2, 3]),
        # What was appended to half a line, by another tool or by hand.
        ("n,value\n1,2\n2,3,6\n", [2, 3]),
        ("n,value\n1,2\n2,\n3,6\n", [2]),
        ("n,value\n1,2\n2,4\n2,4\n3,6\n", [2]),
        (WHOLE, []),
    ],
)
def test_a_table_that_was_cut_is_completed_as_if_it_had_not_been(cut, again, monkeypatch, tmp_path):
    experiment, done = small(monkeypatch, tmp_path)
    experiments.run(experiment)
    assert (experiment.table.read_bytes().decode(), done) == (WHOLE, [1, 2, 3])
    done.clear()
    experiment.table.write_text(cut, encoding="utf-8", newline="")
    experiments.run(experiment)
    assert (experiment.table.read_bytes().decode(), done) == (WHOLE, again)


def test_a_task_counts_with_all_of_its_rows(monkeypatch, tmp_path):
    """Today's tables have several rows for each of a task's seeds: the last one is not enough."""

    def compute(settings, task):
        computed.append(task["seeds"])
        for seed in range(*task["seeds"]):
            for step in (1, 2):
                yield {"seed": seed, "step": step}

    computed = []
    tasks = [{"seeds": (0, 2)}, {"seeds": (2, 12)}]
    experiment, _ = small(
        monkeypatch, tmp_path, tasks=tasks, compute=compute, rows=2, columns=dict(seed="", step="")
    )
    experiments.run(experiment)
    whole = project.read(experiment.table)
    computed.clear()
    project.write(experiment.table, whole.replace("\n1,1\n", "\n"))
    experiments.run(experiment)
    assert computed == [(0, 2)]
    assert project.read(experiment.table) == whole


def test_a_task_with_another_number_of_rows_is_an_error(monkeypatch, tmp_path):
    experiment, _ = small(monkeypatch, tmp_path, rows=2)
    with pytest.raises(ValueError, match=r"small: \{'n': 1\} must have 2 rows, got 1"):
        experiments.run(experiment)
    assert not experiment.table.exists()


KILLED = """
import os, signal, sys, pathlib, experiments

def compute(settings, task):
    if task["n"] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    yield {"n": task["n"], "value": 2 * task["n"]}

experiments.DATA = pathlib.Path(sys.argv[1])
tasks = [{"n": n} for n in (1, 2, 3)]
columns = {"n": "a number", "value": "its double"}
experiments.run(experiments.Experiment("small", "nothing", {"factor": 2}, tasks, compute, columns))
"""


@pytest.mark.once
def test_a_killed_run_loses_its_task_and_nothing_else(monkeypatch, tmp_path):
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path], cwd=project.ROOT / "tools", capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    experiment, done = small(monkeypatch, tmp_path)
    assert project.read(experiment.table) == "n,value\n1,2\n2,4\n"
    experiments.run(experiment)
    assert (project.read(experiment.table), done) == (WHOLE, [3])


def test_a_task_that_cannot_be_stored_leaves_the_table_as_it_was(monkeypatch, tmp_path):
    experiment, _ = small(monkeypatch, tmp_path, tasks=[{"n": 1}])
    experiments.run(experiment)
    experiment, _ = small(monkeypatch, tmp_path)
    experiment.provenance.unlink()
    project.write(
        experiment.provenance,
        json.dumps({**experiments.description(experiment), "versions": experiments.versions()}),
    )

    written = []

    def full(descriptor):
        written.append(descriptor)
        if len(written) > 1:  # there is room for the provenance
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(project.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        experiments.run(experiment)
    assert project.read(experiment.table) == "n,value\n1,2\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.csv", "small.json"]


def test_tables_that_nothing_vouches_for_are_refused(monkeypatch, tmp_path):
    experiment, done = small(monkeypatch, tmp_path)
    experiments.run(experiment)
    done.clear()
    described = project.read(experiment.provenance)
    for stored, complaint in [
        (described.replace('"factor": 2', '"factor": 3'), "made with other settings"),
        (described[:20], "not whole"),
        ("", "not whole"),
    ]:
        project.write(experiment.provenance, stored)
        with pytest.raises(project.Obstacle, match=complaint):
            experiments.run(experiment)
        assert project.read(experiment.provenance) == stored
    experiment.provenance.unlink()
    with pytest.raises(project.Obstacle, match="nothing says how it was made"):
        experiments.run(experiment)
    project.write(experiment.provenance, described)
    project.write(experiment.table, "n,double\n1,2\n")
    with pytest.raises(project.Obstacle, match="has other columns"):
        experiments.run(experiment)
    assert not done
    assert project.read(experiment.table) == "n,double\n1,2\n"


def test_loading_gives_columns(monkeypatch, tmp_path):
    monkeypatch.setattr(tables, "_folder", lambda: tmp_path)
    (tmp_path / "t.csv").write_text("a,b,c\n1,0.5,x\n2,1,y\n", encoding="utf-8")
    (tmp_path / "t.json").write_text('{"command": "make"}', encoding="utf-8")
    columns = tables.load("t")
    assert columns["a"].dtype.kind == "i"
    np.testing.assert_array_equal(columns["b"], [0.5, 1.0])
    assert columns["c"].tolist() == ["x", "y"]
    assert tables.provenance("t") == {"command": "make"}


@pytest.mark.parametrize("function", [tables.load, tables.provenance])
def test_a_missing_table_is_named(function):
    with pytest.raises(ValueError, match=r"^name must be one of .*parity_training.*; got 'no'"):
        function("no")


@pytest.mark.float64
@pytest.mark.parametrize(
    ("name", "task", "error"),
    [
        ("kernel_minima", {"n": 4, "m": 16, "seeds": (1, 2)}, 1e-2),
        ("kernel_drift_of_runs", {"activation": "tanh", "m": 64, "seeds": (1, 2)}, 1e-2),
        ("kernel_drift_in_balls", {"depth": 1, "m": 8, "seeds": (1, 2)}, 1e-2),
        ("lazy_bounds", {"ratio": 4.0, "seeds": (1, 2)}, 1e-2),
        (
            "kernel_movement_in_width",
            {"scaling": "mean-field", "depth": 1, "activation": "tanh", "m": 32, "seeds": (1, 2)},
            1e-2,
        ),
        (
            "kernel_samples",
            {"samples": 256, "kernel": "RBF", "setting": 0.3, "seeds": (1, 2)},
            1e-3,
        ),
        ("feature_regression", {"features": 64, "samples": 16384, "seeds": (1, 2)}, 1e-3),
        # Thousands of steps of Adam in float32, which end at points that rounding chooses.
        pytest.param(
            "resnet_samples", {"samples": 1024, "seeds": (12, 13)}, 0.3, marks=pytest.mark.once
        ),
        # In float32, where a unit that stands on the kink at a point may be on either side of it:
        # one of 50,000 such pairs is a few per cent of a kernel's change of under one.
        pytest.param("lazy_to_rich", {"std": 1.0, "seeds": (3, 4)}, 0.1, marks=pytest.mark.once),
    ],
)
def test_rows_of_kernels_are_found_again(name, task, error):
    experiment = EXPERIMENTS[NAMES.index(name)]
    with jax.enable_x64(experiment.precision == "float64"):
        found = list(experiment.compute(experiment.settings, task))
    stored = experiments.rows_of(task, experiments.stored_rows(experiment))
    assert len(found) == len(stored) == experiment.rows
    for row, again in zip(stored, found, strict=True):
        # Four digits are stored; flows and climbs depend on rounding.
        for column in MEASURED & set(row) - {"seconds"}:
            assert float(again[column]) == pytest.approx(float(row[column]), rel=error, abs=1e-4)


@pytest.mark.float64
@pytest.mark.parametrize(
    ("name", "setting"), [("NTK", 2), ("RBF", 0.3), ("polynomial", 3), ("linear and degree k", 0.1)]
)
def test_regressions_by_one_factorization_have_the_risks_of_all_eigenvectors(name, setting):
    """The mean over all targets of few coordinates, by the library and by the tables' way."""
    d, k, alpha, ridge = 7, 3, 0.3, 0.05
    kernel = kernels.kernel_function(name, setting, d, k)
    assert kernel(np.array([1.0])) == pytest.approx(1)
    x = np.random.default_rng(0).choice([-1.0, 1.0], (30, d))
    sets = np.array([*itertools.permutations(range(d), k)])
    errors = kernels.regression_errors(kernel, x, sets, ridge)
    found, spread = kernels.mean_risk(errors, sets, alpha)
    expected = hierarchical_learning.ridge_risks(x, kernel, k, alpha, np.array([ridge]))
    assert found == pytest.approx(expected.item(), rel=1e-9)
    assert 0 < spread < found
