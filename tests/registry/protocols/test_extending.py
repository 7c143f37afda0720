"""Protocols that extend another: what they say replaces what it says, and what they cannot extend is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from icrl_registry.errors import UsageError
from icrl_registry.protocols.loading import load_protocol


class TestExtending:
    def write(self, folder: Path, text: str, name: str = "mine") -> str:
        path = folder / f"{name}.toml"
        path.write_text(text)
        return str(path)

    def test_only_what_is_said_differs(self, tmp_path: Path):
        text = """
            id = "mine-v1"
            summary = "Fewer updates."
            extends = "laptop-v2"
            [method.ad]
            updates = 7
        """
        mine, base = load_protocol(self.write(tmp_path, text)), load_protocol("laptop-v2")
        assert mine.method["ad"] == {**base.method["ad"], "updates": 7}
        same = {"id", "summary", "method"}
        assert mine.model_dump(exclude=same) == base.model_dump(exclude=same)
        assert mine.text == text

    def test_other_tasks_need_no_hash_of_the_old_ones(self, tmp_path: Path):
        text = """
            id = "mine-v1"
            summary = "Fewer tasks."
            extends = "laptop-v1"
            [environments.reacher-goal-v1.split]
            train = 3
        """
        split = load_protocol(self.write(tmp_path, text)).environments["reacher-goal-v1"].split
        assert (split.train, split.seed, split.sha256) == (3, 1001, None)

    def test_a_chain_of_files(self, tmp_path: Path):
        head = 'id = "{}-v1"\nsummary = "x"\nextends = "{}"\n'
        first = self.write(tmp_path, head.format("first", "smoke-v1") + "data_seed = 5\n", "first")
        second = load_protocol(self.write(tmp_path, head.format("second", first), "second"))
        assert (second.id, second.data_seed) == ("second-v1", 5)

    def test_one_that_extends_itself_is_refused(self, tmp_path: Path):
        path = tmp_path / "mine.toml"
        path.write_text(f'id = "mine-v1"\nsummary = "x"\nextends = "{path}"\n')
        with pytest.raises(UsageError, match="extends another that extends it"):
            load_protocol(str(path))

    @pytest.mark.parametrize("base", ['"nobody-v1"', "3", '["a"]'])
    def test_what_cannot_be_extended(self, tmp_path: Path, base: str):
        path = self.write(tmp_path, f'id = "mine-v1"\nsummary = "x"\nextends = {base}\n')
        with pytest.raises(UsageError):
            load_protocol(path)

    @pytest.mark.parametrize(
        "tables", ["environments = 1", "environments = [1]", "[environments]\nreacher-goal-v1 = 1"]
    )
    def test_tables_that_are_none(self, tmp_path: Path, tables: str):
        path = self.write(tmp_path, f'id = "mine-v1"\nsummary = "x"\nextends = "laptop-v2"\n{tables}\n')
        with pytest.raises(UsageError, match="valid dictionary"):
            load_protocol(path)

    @pytest.mark.parametrize("name", ["x" * 5000, "/dev/zero", "/dev/fd/0", "a\0b"])
    def test_a_file_leads_to_no_device_and_to_no_name_that_is_none(self, tmp_path: Path, name: str):
        path = self.write(tmp_path, f'id = "mine-v1"\nsummary = "x"\nextends = {json.dumps(name)}\n')
        with pytest.raises(UsageError, match=r"no protocol file|unknown protocol"):
            load_protocol(path)

    def test_a_file_larger_than_any_protocol(self):
        with pytest.raises(UsageError, match="larger than"):
            load_protocol("/dev/zero")
