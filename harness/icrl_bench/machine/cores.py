"""How many cores this process may use: its affinity, and the CPU quota of the container or service that it runs in.

A quota is a time per period, set for a control group or any above it (cgroups(7); `cpu.max` in version 2,
`cpu.cfs_quota_us` and `cpu.cfs_period_us` in version 1). The smallest in the line of groups counts.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/")


def usable_cores(root: Path = ROOT) -> int:
    """Cores for workers of one thread each, at least 1; parts of a core count as one. `root` is where /proc and /sys lie."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, cpu_quota(root))))


def cpu_quota(root: Path = ROOT) -> float:
    """Cores' worth of time that the control groups allow; infinity without a limit, or where there are no such groups."""
    return min((quota for folder in _group_folders(root) for quota in _quotas(folder)), default=math.inf)


def _quotas(folder: Path) -> Iterator[float]:
    """The limit of one group, if it has one."""
    for files in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            words = [word for name in files for word in (folder / name).read_text(encoding="ascii").split()]
            quota, period = int(words[0]), int(words[1])  # "max" and -1 are no limit
        except (OSError, ValueError, IndexError):
            continue
        if quota > 0 and period > 0:
            yield quota / period


def _group_folders(root: Path) -> Iterator[Path]:
    """The folders of this process's groups and of all above them, as far as they can be seen from here."""
    groups = dict(_groups(root))
    for mounted, place, controllers in _mounts(root):
        group = groups.get("cpu" if "cpu" in controllers else "")
        if group is None:
            continue
        try:
            below = PurePosixPath(group).relative_to(mounted)
        except ValueError:  # a container sees its own group as the top, and its path from outside
            below = PurePosixPath()
        for part in (below, *below.parents):
            yield root / place.lstrip("/") / part


def _groups(root: Path) -> Iterator[tuple[str, str]]:
    """Path of the group of this process by controller: "cpu" of version 1, "" of version 2."""
    for line in _lines(root / "proc/self/cgroup"):
        fields = line.split(":", 2)
        if len(fields) < 3:
            continue
        _, controllers, path = fields
        if not controllers or "cpu" in controllers.split(","):
            yield ("cpu" if controllers else ""), path


def _mounts(root: Path) -> Iterator[tuple[str, str, list[str]]]:
    """What is mounted of the hierarchies that can limit CPU time: the group at its top, the folder, its controllers."""
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2":
            yield fields[3], fields[4], []
        elif kind[0] == "cgroup" and "cpu" in kind[2].split(","):
            yield fields[3], fields[4], ["cpu"]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
