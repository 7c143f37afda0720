"""`icrl-bench policy export`: the folder acts as the run's agent did, in a process that cannot import the harness."""

from __future__ import annotations

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
