"""What the documents say of the tree is so: commands, links, rooms, keys of protocol files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from icrl_bench.cli.main import main
from icrl_bench.cli.reference import reference
from icrl_registry.protocols import model as protocols

ROOT = Path(__file__).parents[1]
PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / name / "README.md" for name in ("registry", "harness", "plugins", "leaderboards")),
    ROOT / "plugins/icrl_plugins/kernels/README.md",
]
PACKAGES = ("registry/icrl_registry", "harness/icrl_bench", "plugins/icrl_plugins", "leaderboards/icrl_leaderboards")


def test_the_page_of_the_command_line_is_what_the_program_says():
    """To renew it: `python -m icrl_bench.cli.reference > docs/command-line.md`."""
    assert (ROOT / "docs/command-line.md").read_text(encoding="utf-8") == reference()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_of_a_page_is_broken(page: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://", "#", "mailto:")):
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_every_room_is_in_the_architecture():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    for package in PACKAGES:
        for folder in (ROOT / package).rglob("*"):
            if folder.is_dir() and list(folder.glob("*.py")):
                assert re.search(rf"\b{re.escape(folder.name)}\b", text), folder.relative_to(ROOT)


def test_every_file_that_the_architecture_names_is_there():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for name in re.findall(r"`((?:registry|harness|plugins|leaderboards|docs)/[\w./-]+)`", text):
        assert (ROOT / name).exists(), name


def test_the_readme_is_read_in_two_minutes():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_every_page_is_in_the_site():
    names = set(re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    named = names | set(
        re.findall(r"- ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    )
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if not page.startswith("speed/")} <= named
    assert named <= pages


def test_every_key_of_a_protocol_file_is_on_its_page():
    text = (ROOT / "docs/protocols.md").read_text(encoding="utf-8")
    models = (
        protocols.Protocol,
        protocols.EnvironmentPlan,
        protocols.SplitPlan,
        protocols.CollectConfig,
        protocols.AdaptConfig,
        protocols.CertificatePlan,
    )
    for model in models:
        for key in model.model_fields:
            assert re.search(rf"\b{key}\b", text), f"{model.__name__}.{key}"


def test_the_citation_names_the_version():
    from icrl_registry import __version__

    assert f"version: {__version__}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_claims_in_the_readme_are_those_of_the_published_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """To renew: import leaderboards/published, then `icrl-bench claims --speed docs/speed/backbones.json --format markdown`."""
    board = tmp_path / "board.sqlite"
    for arguments in (
        ["leaderboard", "import", str(ROOT / "leaderboards/published"), "--leaderboard", str(board)],
        [
            "claims",
            "--speed",
            str(ROOT / "docs/speed/backbones.json"),
            "--format",
            "markdown",
            "--leaderboard",
            str(board),
        ],
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert not ended.value.code
    table = capsys.readouterr().out
    assert table.count("\n| C") == 8
    assert table in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_pinned_package_has_its_licence_listed():
    """`make audit` writes the page."""
    lines = (line.split("#")[0].split(";")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    pinned = {tuple(line.split("==", 1)) for line in lines if "==" in line}
    page = (ROOT / "docs/licences.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\S+) \| (\d\S*) \| (.+) \|$", page, flags=re.MULTILINE)
    assert {(name, version) for name, version, _ in rows} == pinned
    assert not [name for name, _, licence in rows if licence.startswith("not ")]
