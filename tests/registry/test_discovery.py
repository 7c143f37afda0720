"""Finding, resolving and loading plugins, against distributions written into a temporary directory."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from icrl_registry import contracts, discovery
from icrl_registry.errors import PluginError, UnknownNameError, UsageError

METHOD = """
from icrl_registry.configuration import ComponentConfig
from icrl_registry.contracts import Method

class Thing(Method):
    Config = ComponentConfig
    uses_backbone = {uses_backbone}
    def train(self, job): ...
    def agent(self, checkpoint, spec, device): ...
"""
BACKBONE = """
from icrl_registry.configuration import ComponentConfig

class Thing:
    Config = ComponentConfig
    def forward(self, tokens): ...
    def initial_state(self, batch_size): ...
    def step(self, token, state): ...
"""


class Site:
    """A directory on `sys.path` into which a test installs distributions by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def install(self, distribution: str, entry_points: dict[str, dict[str, str]], version: str = "1.2") -> None:
        info = self.path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = []
        for group, entries in entry_points.items():
            lines += [f"[icrl_bench.{group}]", *(f"{name} = {value}" for name, value in entries.items())]
        (info / "entry_points.txt").write_text("\n".join(lines))

    def write(self, name: str, source: str) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        return path


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    discovery._scan.cache_clear()
    yield Site(tmp_path)
    discovery._scan.cache_clear()
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def test_listing_imports_nothing(site: Site):
    site.install("acme", {"methods": {"boom": "acme_boom:Thing"}})
    site.write("acme_boom.py", "raise SystemExit('imported')")
    entries = discovery.list_plugins("method")
    assert discovery.PluginEntry("method", "boom", "acme_boom:Thing", "acme", "1.2") in entries
    assert "acme_boom" not in sys.modules


def test_listing_leaves_the_heavy_libraries_alone():
    code = (
        "import sys; from icrl_registry import discovery; assert discovery.list_plugins();"
        "sys.exit(bool({'torch', 'gymnasium', 'mujoco', 'icrl_plugins'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_kinds_are_listed_in_order_and_an_unknown_kind_is_refused():
    kinds = [entry.kind for entry in discovery.list_plugins()]
    assert kinds == sorted(kinds, key=discovery.KINDS.index)
    with pytest.raises(UnknownNameError) as caught:
        discovery.list_plugins("methods")
    assert "method" in caught.value.hint


def test_a_short_name_means_the_newest_version(site: Site):
    names = {f"maze-v{n}": "acme_maze:Thing" for n in (1, 2, 10)}
    site.install("acme", {"environments": {**names, "maze-large-v99": "acme_maze:Thing"}})
    assert discovery.resolve("environment", "maze").name == "maze-v10"
    assert discovery.resolve("environment", "maze-v2").name == "maze-v2"
    assert discovery.resolve("environment", "maze-large").name == "maze-large-v99"


def test_an_unknown_name_gets_the_nearest_ones():
    with pytest.raises(UnknownNameError) as caught:
        discovery.resolve("environment", "pusher-gaol")
    assert "pusher-goal" in caught.value.hint
    assert "icrl-bench plugins list" in caught.value.hint
    assert caught.value.exit_code == 2


def test_two_distributions_with_one_name_are_both_named(site: Site):
    site.install("acme", {"sources": {"hill": "acme_hill:Thing"}})
    site.install("rival", {"sources": {"hill": "rival_hill:Thing"}}, version="3.0")
    assert len([entry for entry in discovery.list_plugins("source") if entry.name == "hill"]) == 2
    with pytest.raises(PluginError) as caught:
        discovery.resolve("source", "hill")
    assert "acme 1.2" in caught.value.message
    assert "rival 3.0" in caught.value.message
    assert "pip uninstall" in caught.value.hint
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("raise SystemExit(7)", "SystemExit: 7"),
        ("import a_module_that_nobody_has", "ModuleNotFoundError"),
        ("def (", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("Other = 1", "AttributeError"),
    ],
)
def test_whatever_an_import_does_is_reported_with_its_owner(site: Site, source: str, expected: str):
    site.install("acme", {"methods": {"boom": "acme_boom:Thing"}})
    site.write("acme_boom.py", source)
    with pytest.raises(PluginError) as caught:
        discovery.load("method", "boom")
    assert expected in caught.value.message
    assert "acme_boom:Thing" in caught.value.message
    assert "acme 1.2" in caught.value.message
    assert "pip install -U acme" in caught.value.hint


def test_what_a_plugin_prints_stays_out_of_standard_output(site: Site, capsys: pytest.CaptureFixture[str]):
    site.install("acme", {"methods": {"loud": "acme_loud:Thing"}})
    site.write("acme_loud.py", "print('hello')" + METHOD.format(uses_backbone=False))
    discovery.load("method", "loud")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "hello" in captured.err


def test_all_missing_members_are_named(site: Site):
    site.install("acme", {"sources": {"half": "acme_half:Half", "derived": "acme_half:Derived"}})
    site.write(
        "acme_half.py",
        "from icrl_registry.contracts import Source\n"
        "class Half:\n    def group_size(self): ...\n"
        "class Derived(Source): ...\n",
    )
    with pytest.raises(PluginError) as caught:
        discovery.load("source", "half")
    assert "'Config'" in caught.value.message
    assert "'collect', 'total_steps'" in caught.value.message
    assert "group_size" not in caught.value.message
    with pytest.raises(PluginError, match=r"missing 'collect'$"):  # abstract, though the attribute exists
        discovery.load("source", "derived")


@pytest.mark.parametrize("kind", discovery.KINDS)
def test_the_members_looked_for_are_those_of_the_contract(kind: str):
    contract = getattr(contracts, kind.capitalize())
    declared = {name for name, note in contract.__annotations__.items() if "ClassVar" in str(note)}
    defined = {name for name in vars(contract) if not name.startswith("_") and name not in ("Config", "config")}
    members = declared | {name for name in defined if callable(getattr(contract, name)) or name == "spec"}
    assert set(discovery.CONTRACT_MEMBERS[kind]) == members - {"Config"}
    documented = [name for name in defined if inspect.isfunction(getattr(contract, name))]
    undocumented = [name for name in documented if not (getattr(contract, name).__doc__ or "").strip()]
    assert undocumented == []


def test_an_entry_point_must_name_a_class(site: Site):
    site.install("acme", {"methods": {"function": "acme_function:thing"}})
    site.write("acme_function.py", "def thing(): ...")
    with pytest.raises(PluginError, match="a function, not a class"):
        discovery.load("method", "function")


def test_unreadable_metadata_hides_only_its_own_plugins(site: Site):
    site.install("acme", {"methods": {"fine": "acme_fine:Thing"}})
    site.install("garbled", {"methods": {}})
    (site.path / "garbled-1.2.dist-info" / "entry_points.txt").write_text("[icrl_bench.methods]\nno equals sign\n")
    discovery._scan.cache_clear()
    assert "fine" in {entry.name for entry in discovery.list_plugins("method")}
    assert "ad" in {entry.name for entry in discovery.list_plugins("method")}
    assert [name for name, _ in discovery.unreadable_distributions()] == ["garbled"]


@pytest.fixture
def methods(site: Site) -> Site:
    """Methods `in-context` (with backbone), `plain` (without) and `broken`; backbones `deep-net` and `net`."""
    site.install(
        "acme",
        {
            "methods": {"in-context": "acme_with:Thing", "plain": "acme_without:Thing", "broken": "acme_broken:Thing"},
            "backbones": {"deep-net": "acme_net:Thing", "net": "acme_net:Thing"},
        },
    )
    site.write("acme_with.py", METHOD.format(uses_backbone=True))
    site.write("acme_without.py", METHOD.format(uses_backbone=False))
    site.write("acme_broken.py", "import a_module_that_nobody_has")
    site.write("acme_net.py", BACKBONE)
    return site


@pytest.mark.parametrize(
    ("name", "method", "backbone"),
    [
        ("in-context-net", "in-context", "net"),
        ("in-context-deep-net", "in-context", "deep-net"),
        ("plain", "plain", None),
    ],
)
def test_a_method_is_named_with_its_backbone(methods: Site, name: str, method: str, backbone: str | None):
    found, found_backbone = discovery.resolve_method(name)
    assert found.name == method
    assert (found_backbone.name if found_backbone else None) == backbone


def test_a_missing_backbone_and_a_needless_one_are_usage_errors(methods: Site):
    with pytest.raises(UsageError) as missing:
        discovery.resolve_method("in-context")
    assert "in-context-deep-net" in missing.value.hint
    with pytest.raises(UsageError) as needless:
        discovery.resolve_method("plain-net")
    assert "--method plain" in needless.value.hint


def test_an_unknown_method_gets_the_nearest_combination_and_no_broken_one(methods: Site):
    with pytest.raises(UnknownNameError) as caught:
        discovery.resolve_method("in-context-nat")
    assert "in-context-net" in caught.value.hint
    assert "plain" in discovery.runnable_methods()
    assert not [name for name in discovery.runnable_methods() if name.startswith("broken")]


def test_a_broken_method_hurts_only_who_asks_for_it(methods: Site):
    with pytest.raises(PluginError, match="a_module_that_nobody_has"):
        discovery.resolve_method("broken-net")
    assert discovery.resolve_method("in-context-net")


def test_a_name_with_two_readings_is_refused(methods: Site):
    methods.install("rival", {"methods": {"in-context-deep": "acme_with:Thing"}})
    discovery._scan.cache_clear()
    with pytest.raises(UsageError, match="in-context with deep-net or in-context-deep with net"):
        discovery.resolve_method("in-context-deep-net")
