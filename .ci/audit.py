"""Known vulnerabilities of the pinned packages, and their licences: `make audit` writes docs/licences.md.

The databases of vulnerabilities are on the network. Where none can be reached the licences are written all the same, the
last line says that vulnerabilities were not looked up, and the exit code is 0; where one is known it is 1.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
PAGE = ROOT / "docs" / "licences.md"
SERVICES = ("pypi", "osv")
UNREACHABLE = ("ConnectionError", "ConnectTimeout", "ServiceError", "Max retries", "NameResolution", "HTTPError")


def pinned() -> dict[str, str]:
    """Version by name, as constraints.txt has them."""
    lines = (line.split("#")[0].split(";")[0].strip() for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines())
    return dict(line.split("==", 1) for line in lines if "==" in line)


def licence(found: Distribution) -> str:
    """What a distribution's metadata says: the expression, the classifiers, or the first line of the text."""
    about = found.metadata
    if expression := about.get("License-Expression"):
        return str(expression)
    prefix = "License :: "
    classified = [each.rpartition(" :: ")[2] for each in about.get_all("Classifier") or () if each.startswith(prefix)]
    text = (about.get("License") or "").strip().split("\n")[0]
    return ", ".join(each for each in classified if each != "OSI Approved") or text[:60] or "not stated"


def licences() -> str:
    """The page."""
    rows = []
    for name, version in pinned().items():
        try:
            rows.append(f"| {name} | {version} | {licence(distribution(name))} |")
        except PackageNotFoundError:
            rows.append(f"| {name} | {version} | not installed where this was written |")
    intro = "Written by `make audit` from the metadata of the installed packages; the versions are those of constraints.txt."
    return "\n".join(
        ["# Licences of the packages", "", intro, "", "| package | version | licence |", "|---|---|---|", *rows, ""]
    )


def vulnerabilities() -> tuple[int, str]:
    """Exit code and a sentence."""
    for service in SERVICES:
        command = [sys.executable, "-m", "pip_audit", "-r", str(CONSTRAINTS), "--no-deps", "--disable-pip"]
        ended = subprocess.run(
            [*command, "-s", service, "-f", "json", "--progress-spinner", "off", "--timeout", "10"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if ended.returncode == 0:
            packages = json.loads(ended.stdout)["dependencies"]
            skipped = [each["name"] for each in packages if "skip_reason" in each]
            if len(skipped) < len(packages):
                left_out = f"; not looked up: {', '.join(skipped)}" if skipped else ""
                return 0, f"no known vulnerability in {len(packages) - len(skipped)} packages ({service}){left_out}"
            continue  # an index that knows no vulnerabilities
        if not any(word in ended.stderr for word in UNREACHABLE):
            return 1, f"{ended.stdout}\n{ended.stderr}"
    return 0, "vulnerabilities were not looked up: neither the PyPI nor the OSV database answers here"


def main() -> int:
    """Writes the page, says what is known."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(licences(), encoding="utf-8")
    missing = len(re.findall("not stated|not installed", PAGE.read_text(encoding="utf-8")))
    code, words = vulnerabilities()
    sys.stdout.write(f"{PAGE.relative_to(ROOT)}: {len(pinned())} packages, {missing} without a licence\n{words}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
