"""The notebook of the documentation: executes it, and writes the page of the site from it.

    python .ci/notebook.py            # executes docs/from-data-to-figure.ipynb in an empty folder and keeps its outputs
    python .ci/notebook.py --page     # writes the page alone, from the outputs that are kept

A test executes the same cells under the smoke protocol, and holds the page to the notebook.
"""

from __future__ import annotations

import base64
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

DOCS = Path(__file__).parents[1] / "docs"
NOTEBOOK = DOCS / "from-data-to-figure.ipynb"
PAGE = NOTEBOOK.with_suffix(".md")
PICTURES = DOCS / "figures"


def execute(protocol: str | None = None, folder: Path | None = None) -> nbformat.NotebookNode:
    """The notebook with the outputs of its cells, run in an empty folder; under another protocol if one is named.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    if protocol is not None:
        first = next(cell for cell in notebook.cells if "protocol = " in cell.source)
        first.source = re.sub(r'protocol = ".*"', f'protocol = "{protocol}"', first.source)
    with tempfile.TemporaryDirectory() as temporary:
        place = {"metadata": {"path": str(folder or temporary)}}
        NotebookClient(notebook, timeout=1800, kernel_name="python3", resources=place).execute()
    return notebook


def page_of(notebook: nbformat.NotebookNode) -> tuple[str, dict[str, bytes]]:
    """The page in Markdown, and its pictures by name."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        said = ""  # what the cell wrote line by line, as one block
        for output in cell.outputs:
            if output.output_type == "stream":
                said += output.text
                continue
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{NOTEBOOK.stem}-{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode(data["image/png"])
                parts.append(f"![{cell.metadata.get('alt', '')}](figures/{name})")
            elif text := data.get("text/plain", "").strip("\n"):
                said += f"{text}\n"
        if said.strip():
            parts.append(f"```text\n{said.rstrip()}\n```")
    return "\n\n".join(parts) + "\n", pictures


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Without what differs from run to run and says nothing: times, ids of cells, the HTML of tables."""
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        if cell.cell_type == "code":
            cell.metadata.pop("execution", None)
            for output in cell.outputs:
                output.get("data", {}).pop("text/html", None)
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


def main() -> None:
    if "--page" in sys.argv:
        notebook = nbformat.read(NOTEBOOK, as_version=4)
    else:
        notebook = execute()
        tidy(notebook)
        nbformat.write(notebook, NOTEBOOK)
    text, pictures = page_of(notebook)
    PAGE.write_text(text, encoding="utf-8")
    PICTURES.mkdir(exist_ok=True)
    for name, content in pictures.items():
        (PICTURES / name).write_bytes(content)


if __name__ == "__main__":
    main()
