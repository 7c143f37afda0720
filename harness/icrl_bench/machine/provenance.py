"""What a row needs so that somebody else can tell how it was made."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "icrl-bench",
    "torch",
    "numpy",
    "numba",
    "gymnasium",
    "mujoco",
    "stable-baselines3",
    "safetensors",
    "mamba-ssm",
    "flash-attn",
)


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a number; absent ones are left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hardware(device: str) -> dict[str, Any]:
    """Processor and its widest vector instructions, cores, memory, and the accelerator if one is used."""
    import torch

    found: dict[str, Any] = {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": f"{_processor_name()}, {torch.backends.cpu.get_cpu_capability()}",
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "threads": torch.get_num_threads(),
        "device": device,
    }
    if device.startswith("cuda"):
        found["accelerator"] = torch.cuda.get_device_name(torch.device(device))
    return found


def source_revision() -> dict[str, Any]:
    """Git revision of the checkout that runs and whether it has uncommitted changes; empty for an installed package."""
    folder = Path(__file__).resolve().parent
    try:
        top = _git(folder, "rev-parse", "--show-toplevel")
        if not (Path(top) / "harness" / "icrl_bench").is_dir():
            return {}  # installed into a virtual environment inside some other checkout
        return {
            "git_revision": _git(folder, "rev-parse", "HEAD"),
            "git_dirty": bool(_git(folder, "status", "--porcelain")),
        }
    except (OSError, subprocess.SubprocessError):
        return {}


def collect_provenance(device: str, kernel: str) -> dict[str, Any]:
    """Everything of the above, and the kernel that computed the backbone."""
    return {"versions": package_versions(), "hardware": hardware(device), "source": source_revision(), "kernel": kernel}


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def _processor_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        return platform.processor()
    return platform.processor()
