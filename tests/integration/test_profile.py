"""``autoprune profile`` on a small network: printed, written, plotted, and paid for once."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import autoprune
from autoprune import profile_api
from autoprune.core.imports import load_object
from autoprune.core.progress import silent
from autoprune.errors import ConfigError

Run = Callable[..., tuple[int, str, str]]


def test_a_profile_is_printed_written_plotted_and_paid_for_once(
    project: Path, run_autoprune: Run
) -> None:
    words = ("profile", "search.yaml", "--samples", "48", "--database", "shared.db")
    code, out, err = run_autoprune(*words, "--workers", "2", "--out", "there")
    assert code == 0, err
    assert "± " in out
    assert "probing units 12/12" in err
    assert "Table and plot in there" in out
    page = (project / "there" / "sensitivity.html").read_text(encoding="utf-8")
    assert "stem, channel." in page
    first = json.loads((project / "there" / "sensitivity.json").read_text(encoding="utf-8"))
    assert first["schema"] == 1
    assert first["samples"] == 48
    assert first["sample_forwards"] > 0

    code, out, err = run_autoprune(*words, "--json")
    assert code == 0, err
    again = json.loads(out)
    assert "known from before" in err
    assert (again["sample_forwards"], again["probed"]) == (0, 0)
    assert again["errors"] == first["errors"]
    assert again["folder"] == "run-sensitivity"
    assert (project / "run-sensitivity" / "sensitivity.html").is_file()


def test_python_gives_the_same_table(project: Path) -> None:
    model = load_object("code.py:net", base=project)()
    task = autoprune.Classification(load_object("code.py:loaders", base=project)())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = [
        autoprune.profile(
            model,
            task=task,
            samples=32,
            workers=count,
            database=project / f"{count}.db",
            runner=f"file:{project / 'runner.yaml'}",
            progress=silent,
        )
        for count in (1, 2)
    ]
    assert isinstance(found[0], autoprune.Sensitivity)
    assert found[0].entries == found[1].entries
    for unit, own in found[0].errors.items():
        assert all(np.array_equal(e, found[1].errors[unit][m]) for m, e in own.items())
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no.yaml"], "Cannot read no.yaml: No such file"),
        (["search.yaml", "--samples", "0"], "'--samples'"),
        (["search.yaml", "--levels", "most"], "'--levels'"),
        (["search.yaml", "--workers", "0"], "'--workers'"),
        (["search.yaml", "--out", "code.py"], "The output folder code.py cannot be written"),
        (["search.yaml", "--database", "none://x"], "none://x"),
    ],
)
def test_bad_input_is_told(
    project: Path, run_autoprune: Run, words: list[str], message: str
) -> None:
    code, out, err = run_autoprune("profile", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_ctrl_c_says_how_to_go_on(
    project: Path, run_autoprune: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(profile_api, "measure_sensitivity", interrupt)
    code, out, err = run_autoprune("profile", "search.yaml")
    assert (code, out) == (130, "")
    assert err.endswith("Probes that were made are kept; the same command goes on.\n")


def test_bad_arguments_are_told(project: Path) -> None:
    model = load_object("code.py:net", base=project)()
    task = autoprune.Classification(load_object("code.py:loaders", base=project)())
    with pytest.raises(ConfigError, match="'workers' must be auto or a number of at least 1"):
        autoprune.profile(model, task=task, workers=0)
    with pytest.raises(ConfigError, match="levels must be one of quick, full"):
        autoprune.profile(model, task=task, levels="all")  # type: ignore[arg-type]
