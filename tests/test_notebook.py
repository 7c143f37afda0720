"""The notebook of the documentation runs from its first cell to its last, and its page is what it says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def notebook() -> Any:
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    spec = importlib.util.spec_from_file_location("notebook", ROOT / ".ci" / "notebook.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_every_cell_runs(notebook: Any, tmp_path: Path):
    """Under the smoke protocol, in a kernel of its own."""
    made = notebook.execute("smoke", tmp_path)
    outputs = [output for cell in made.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "error"] == []
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    shown = [output.data["text/plain"] for output in outputs if output.output_type == "display_data"]
    assert any("whole run" in text and "stage" in text for text in shown)  # the progress, in the cell
    assert (tmp_path / "lab" / "leaderboard.sqlite").exists()


def test_the_page_is_that_of_the_notebook(notebook: Any):
    """To renew it: `python .ci/notebook.py --page`; with new outputs, without `--page`."""
    text, pictures = notebook.page_of(notebook.nbformat.read(notebook.NOTEBOOK, as_version=4))
    assert notebook.PAGE.read_text(encoding="utf-8") == text
    assert len(pictures) == 2
    for name, content in pictures.items():
        assert (notebook.PICTURES / name).read_bytes() == content


def test_its_outputs_are_of_one_run_from_the_first_cell_on(notebook: Any):
    cells = [cell for cell in notebook.nbformat.read(notebook.NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert str(ROOT) not in notebook.NOTEBOOK.read_text(encoding="utf-8")
