"""The notebook among the examples runs from top to bottom."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

HERE = Path(__file__).parents[2] / "examples" / "notebook"


def test_the_notebook_runs_and_ends_inside_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    notebook = nbformat.read(HERE / "digits.ipynb", as_version=4)
    NotebookClient(notebook, timeout=500, resources={"metadata": {"path": HERE}}).execute()
    printed = "".join(
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.get("name") == "stdout"
    )
    (line,) = (line for line in printed.splitlines() if line.startswith("MACs: "))
    dense, pruned = (int(word.replace(",", "")) for word in line.split() if word[0].isdigit())
    assert 0 < pruned <= dense / 2
    assert "stage1.0.conv1" in printed


def test_the_notebook_holds_no_outputs() -> None:
    notebook = nbformat.read(HERE / "digits.ipynb", as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.outputs for cell in cells] == [[]] * len(cells)
    assert {cell.execution_count for cell in cells} == {None}
