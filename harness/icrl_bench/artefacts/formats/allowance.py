"""How much memory a foreign file may ask for, told before anything of it is read.

A compressed archive of a kilobyte can hold a megabyte, and a header can promise any shape. So the readers of such files add
up what the arrays that they want will take, and refuse more than `FREE` plus `RATIO` times what lies on the disk. Deflate
reaches 1032 : 1 on constant bytes and about 3 : 1 on recorded floats.
"""

from __future__ import annotations

from pathlib import Path

from icrl_registry.errors import UsageError

FREE = 2**30  # bytes
RATIO = 64


class Allowance:
    """The bytes that the arrays of one file may still take."""

    def __init__(self, path: Path) -> None:
        """Of the file at `path`."""
        self.path, self.on_disk = path, path.stat().st_size
        self._left = FREE + RATIO * self.on_disk
        self._taken = 0

    def take(self, wanted: int) -> None:
        """Notes an array of `wanted` bytes that is to be read.

        Raises:
            UsageError: with the others it is more than the file may ask for.
        """
        self._taken += wanted
        if self._taken > self._left:
            raise UsageError(
                f"{self.path} has {self.on_disk:,} bytes and would take {self._taken:,} in memory",
                "if that is what you mean, write it without compression (numpy.savez), or in several files",
            )
