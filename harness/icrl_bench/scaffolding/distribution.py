"""Writes a plugin's distribution: project file, part, test and CI, from the templates beside this module.

What is written passes its own test and `icrl-bench plugins check` as it stands, so that whatever fails later was caused by a
change. A template is plain text with `$name` in it (`string.Template`).
"""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from icrl_registry.errors import UsageError, unknown_name

#: What can be begun, and where its entry point belongs.
GROUPS = {
    "environment": "icrl_bench.environments",
    "source": "icrl_bench.sources",
    "backbone": "icrl_bench.backbones",
    "method": "icrl_bench.methods",
    "benchmark": "icrl_bench.benchmarks",
    "protocol": "icrl_bench.protocols",
    "hooks": "icrl_bench.hooks",
}
VERSIONED = ("environment", "protocol")  # their ids end in a version
DEPENDENCIES = {"backbone": ["torch"], "environment": ["gymnasium", "numpy"], "source": ["numpy"], "method": ["numpy"]}


@dataclass(frozen=True)
class Written:
    """What was written, and how the part is called."""

    folder: Path
    files: list[Path]
    name: str  # what `plugins check` takes


def write_distribution(kind: str, name: str, folder: Path) -> Written:
    """Writes a distribution with one part of the kind; `name` is its distribution's name, such as `my-world`.

    Raises:
        UnknownNameError: no such kind. UsageError: a name that cannot be a package's, or a folder that isn't empty.
    """
    if kind not in GROUPS:
        raise unknown_name("kind of plugin", kind, GROUPS)
    base = re.sub(r"-v\d+$", "", name) if kind in VERSIONED else name
    package = base.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", base) or keyword.iskeyword(package):
        raise UsageError(
            f"a plugin cannot be called {name!r}", "lower case letters, digits and dashes, such as my-world"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already", "name another folder with --out DIR")
    values = _values(kind, name, base, package)
    texts = {
        "pyproject.toml": _fill("pyproject.toml", values),
        "README.md": _fill("README.md", values),
        ".github/workflows/test.yml": _fill("test.yml", values),
        f"{package}/__init__.py": f'"""{values["summary"]}"""\n',
        f"tests/test_{package}.py": _fill(
            f"tests/test_{kind if kind in ('benchmark', 'protocol', 'hooks') else 'part'}.py", values
        ),
    }
    if kind == "protocol":
        texts[f"{package}/{values['id']}.toml"] = _fill("protocol.toml", values)
    else:
        texts[f"{package}/{values['module']}.py"] = _fill(f"{kind}.py", values)
    for path, text in texts.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    return Written(folder, [folder / path for path in texts], values["id"])


def _values(kind: str, name: str, base: str, package: str) -> dict[str, str]:
    identity = (name if name != base else f"{base}-v1") if kind in VERSIONED else name
    module = kind if kind != "hooks" else "following"
    class_name = "".join(part.capitalize() for part in base.split("-"))
    targets = {"protocol": package, "hooks": f"{package}.{module}"}
    article = "an" if kind[0] in "aeiou" else "a"
    return {
        "kind": kind,
        "name": base,
        "id": identity,
        "package": package,
        "module": module,
        "class_name": class_name,
        "group": GROUPS[kind],
        "target": targets.get(kind, f"{package}.{module}:{class_name}"),
        "summary": f"{class_name}: {article} {kind} for icrl-bench." if kind != "hooks" else "Hooks for icrl-bench.",
        "dependencies": ", ".join(f'"{each}"' for each in ["icrl-bench", *DEPENDENCIES.get(kind, [])]),
        "check": f"icrl-bench plugins check {identity} --kind {kind}",
        "try": _TRY[kind].format(id=identity, name=base),
    }


_TRY = {
    "environment": "icrl-bench run --method task-blind --env {name} --protocol smoke",
    "source": "icrl-bench run --method task-blind --env reacher-goal --protocol smoke --source {id}",
    "backbone": "icrl-bench run --method ad-{id} --env reacher-goal --protocol smoke",
    "method": "icrl-bench run --method {id} --env reacher-goal --protocol smoke",
    "benchmark": "icrl-bench bench {id} --quick",
    "protocol": "icrl-bench run --method task-blind --env reacher-goal --protocol {id}",
    "hooks": "icrl-bench run --method task-blind --env reacher-goal --protocol smoke",
}


def _fill(template: str, values: dict[str, str]) -> str:
    text = (files(__package__) / "templates" / f"{template}.tmpl").read_text(encoding="utf-8")
    return Template(text).substitute(values)
