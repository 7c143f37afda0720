"""`icrl-bench policy export`: the folder acts as the run's agent did, in a process that cannot import the harness."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icrl_registry.errors import DamagedArtefactError
from icrl_registry.policies import load_policy

Run = Callable[..., Any]

#: Plays both test tasks side by side, as the harness does, and prints the returns. Nothing of the harness can be imported.
PLAY = """
import json, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("icrl_bench", "icrl_leaderboards"):
            raise ImportError(name + " is not to be imported")

sys.meta_path.insert(0, Refuse())
import numpy as np
from icrl_registry.policies import load_policy
from icrl_registry.testing.toy import next_position, reward_at

goals, starts, horizon = json.loads(sys.argv[2])
agent, goals, returns = load_policy(sys.argv[1], num_tasks=2), np.array(goals), []
for start in starts:
    positions, total = np.array(start, np.float32), np.zeros(2)
    for step in range(horizon):
        actions = agent.act(positions)
        following = next_position(positions, actions)
        rewards = reward_at(following, goals).astype(np.float32)
        total += rewards
        ended = np.array([step == horizon - 1] * 2)
        agent.observe(positions, actions, rewards, following, np.zeros(2, bool), ended)
        positions = following
    returns.append(total.tolist())
print(json.dumps(returns))
"""


@pytest.fixture
def starts(toy: Path) -> tuple[list[list[float]], list[list[list[float]]]]:
    """The goals (2, 2) of the toy's test tasks, and the first position (3, 2, 2) of each of their episodes."""
    from icrl_bench.interface import plan
    from icrl_bench.seeding import reset_seed

    made = plan("toy-method", "toy-point", protocol=str(toy / "toy.toml"))
    tasks, data_seed = made.tasks["test"], made.request.protocol.data_seed
    batch = made.make_environment().make_batch(tasks)
    positions = [
        [batch.reset(row, reset_seed(data_seed, task, episode)).tolist() for row, task in enumerate(tasks)]
        for episode in range(3)
    ]
    return [list(task.parameters) for task in tasks], positions


def test_the_exported_policy_gets_the_recorded_returns(run: Run, cli: Run, toy: Path, tmp_path: Path, starts):
    small = ("method.updates=2", "method.checkpoint_every=1", "method.batch_size=2")
    made = run("--json", *(part for each in small for part in ("--set", each)), method="ad-gru").document["runs"][0]
    folder = tmp_path / "policy"
    paths = cli("policy", "export", "latest", "--out", folder, "--json").document["paths"]
    assert sorted(Path(path).name for path in paths) == ["README.md", "checkpoint.safetensors", "policy.json"]
    played = subprocess.run(
        [sys.executable, "-c", PLAY, str(folder), json.dumps([*starts, 10])],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(toy)},
    )  # fmt: skip
    assert played.returncode == 0, played.stderr
    np.testing.assert_allclose(np.transpose(json.loads(played.stdout)), made["returns"], rtol=1e-5)
    assert f'load_policy("{folder.name}")' in (folder / "README.md").read_text()


def test_what_cannot_be_exported_or_loaded(run: Run, cli: Run, tmp_path: Path):
    run("--json")
    folder = tmp_path / "policy"
    assert cli("policy", "export", "latest", "--out", folder).code == 0
    assert "is not empty" in cli("policy", "export", "latest", "--out", folder, "--json").error["message"]
    about = json.loads((folder / "policy.json").read_text())
    (folder / "policy.json").write_text(json.dumps({**about, "method": {**about["method"], "content_hash": "other"}}))
    with pytest.warns(UserWarning, match="method toy-method: the code here is not that of toy-parts 1.0"):
        load_policy(folder)
    weights = (folder / "checkpoint.safetensors").read_bytes()
    (folder / "checkpoint.safetensors").write_bytes(weights[:-1] + b"\x01")
    with pytest.raises(DamagedArtefactError, match="was changed since"):
        load_policy(folder)
    sizes = [("action_size", None), ("observation_size", -1), ("horizon", 0.5)]
    no_spec = [{**about, "environment": {**about["environment"], name: value}} for name, value in sizes]
    others = [{**about, "environment": {}}, {**about, "format": 9}, *no_spec]
    for broken in ("{}", "no json", *map(json.dumps, others)):
        (folder / "checkpoint.safetensors").write_bytes(weights)
        (folder / "policy.json").write_text(broken)
        with pytest.raises(DamagedArtefactError, match="policy"):
            load_policy(folder)
    run("--json", method="source")
    assert "no agent adapts" in cli("policy", "export", "latest", "--out", tmp_path / "b", "--json").error["message"]


def sealed(folder: Path, **state: Any) -> None:
    """Changes the checkpoint's state, and the description's checksum with it, as whoever made the file would."""
    path = folder / "checkpoint.safetensors"
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"]["state"] = json.dumps({**json.loads(header["__metadata__"]["state"]), **state})
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    about = json.loads((folder / "policy.json").read_text())
    about["checkpoint_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "policy.json").write_text(json.dumps(about))


def test_sizes_that_no_file_of_that_size_has(run: Run, cli: Run, tmp_path: Path):
    """Numbers say what is allocated, so they are held to the bytes of the file before anything is."""
    small = ("method.updates=2", "method.checkpoint_every=1", "method.batch_size=2")
    run("--json", *(part for each in small for part in ("--set", each)), method="ad-dt")
    folder = tmp_path / "policy"
    assert cli("policy", "export", "latest", "--out", folder).code == 0
    load_policy(folder)
    whole = json.loads((folder / "policy.json").read_text())
    for part, name in (
        ("environment", "observation_size"),
        ("environment", "action_size"),
        ("backbone", "embedding_size"),
    ):
        about = json.loads(json.dumps(whole))
        (about["backbone"]["config"] if part == "backbone" else about[part])[name] = 2**30
        (folder / "policy.json").write_text(json.dumps(about))
        with pytest.raises(DamagedArtefactError, match=r"(tensors hold|cannot be loaded: its sizes ask for)"):
            load_policy(folder)
    for positions in ("sinusoidal", "learned"):
        about = json.loads(json.dumps(whole))
        about["backbone"]["config"]["positions"] = positions
        (folder / "policy.json").write_text(json.dumps(about))
        sealed(folder, context_length=2**40)
        with pytest.raises(DamagedArtefactError, match="its sizes ask for more than"):
            load_policy(folder)
