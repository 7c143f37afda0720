"""`--jobs` is what this process may use: affinity, and the smallest quota in its line of control groups, in both versions."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from icrl_bench.machine.cores import cpu_quota, usable_cores

V2 = "30 25 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "31 25 0:27 {top} /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "32 25 0:28 {top} /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory\n"
)


def tree(root: Path, groups: str, mounts: str, files: dict[str, str]) -> Path:
    """A machine's /proc and /sys as far as they matter."""
    for name, content in {"proc/self/cgroup": groups, "proc/self/mountinfo": mounts, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("max 100000", math.inf),
        ("50000 100000", 0.5),
        ("150000 100000", 1.5),
        ("400000 100000", 4.0),
        ("", math.inf),
        ("0 0", math.inf),
    ],
)
def test_a_container_of_version_2_sees_its_own_group_as_the_top(tmp_path: Path, content: str, expected: float):
    root = tree(tmp_path, "0::/\n", V2, {"sys/fs/cgroup/cpu.max": content})
    assert cpu_quota(root) == expected


def test_the_smallest_quota_in_the_line_counts(tmp_path: Path):
    """As for a systemd service whose slice is limited: its own group has more, a group beside it does not matter."""
    files = {
        "sys/fs/cgroup/user.slice/cpu.max": "150000 100000",
        "sys/fs/cgroup/user.slice/job.service/cpu.max": "300000 100000",
        "sys/fs/cgroup/user.slice/other.service/cpu.max": "10000 100000",
    }
    root = tree(tmp_path, "0::/user.slice/job.service\n", V2, files)
    assert cpu_quota(root) == 1.5


@pytest.mark.parametrize(("top", "folder"), [("/docker/abc", ""), ("/", "docker/abc/")])
def test_version_1_within_a_container_and_outside(tmp_path: Path, top: str, folder: str):
    place = f"sys/fs/cgroup/cpu,cpuacct/{folder}"
    files = {f"{place}cpu.cfs_quota_us": "120000\n", f"{place}cpu.cfs_period_us": "100000\n"}
    groups = "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n3:cpuset:/\n"
    assert cpu_quota(tree(tmp_path, groups, V1.format(top=top), files)) == 1.2


def test_a_container_that_hides_where_it_lies_in_version_1(tmp_path: Path):
    place = "sys/fs/cgroup/cpu,cpuacct/"
    files = {f"{place}cpu.cfs_quota_us": "200000\n", f"{place}cpu.cfs_period_us": "100000\n"}
    assert cpu_quota(tree(tmp_path, "4:cpu,cpuacct:/docker/abc\n", V1.format(top="/elsewhere"), files)) == 2.0


def test_no_limit_in_version_1_and_both_versions_at_once(tmp_path: Path):
    place = "sys/fs/cgroup/cpu,cpuacct/"
    files = {f"{place}cpu.cfs_quota_us": "-1\n", f"{place}cpu.cfs_period_us": "100000\n"}
    hybrid = V1.format(top="/") + V2.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ")
    assert cpu_quota(tree(tmp_path, "4:cpu,cpuacct:/\n0::/\n", hybrid, files)) == math.inf


@pytest.mark.parametrize("groups", ["", "nonsense\n", "0::/a:b\n"])
def test_what_cannot_be_read_is_no_limit(tmp_path: Path, groups: str):
    assert cpu_quota(tmp_path) == math.inf
    assert cpu_quota(tree(tmp_path, groups, "30 25\n", {})) == math.inf


def test_cores_are_whole_and_at_least_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    for content, expected in (("50000 100000", 1), ("150000 100000", 2), ("max 100000", 6), ("800000 100000", 6)):
        root = tree(tmp_path, "0::/\n", V2, {"sys/fs/cgroup/cpu.max": content})
        assert usable_cores(root) == expected
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    assert usable_cores(root) == 1
