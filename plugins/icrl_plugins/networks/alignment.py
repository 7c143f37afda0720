"""Where the rows of a stack begin in memory: at multiples of 64 bytes, so that no result depends on a row's place.

Matrix products add up in another order where an operand begins elsewhere. Then a task's last bits, and with them in the end
its whole history, would depend on where it stands among the tasks that it is trained with. With layers whose widths are
multiples of 16 they don't; with others, sums of a few numbers at the end of a row still may.
"""

from __future__ import annotations

import torch

ALIGNMENT = 16  # numbers of float32


def round_up(size: int) -> int:
    """The next multiple of `ALIGNMENT`."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def aligned_empty(tasks: int, rows: int, columns: int) -> torch.Tensor:
    """(K, B, n) float32, of which each task's part is contiguous and begins at a multiple of 64 bytes."""
    size = rows * columns
    return torch.empty(tasks, round_up(size))[:, :size].view(tasks, rows, columns)


def aligned(rows: torch.Tensor) -> torch.Tensor:
    """`rows` (K, B, n) themselves, or a copy of them if the tasks' parts do not all begin at multiples of 64 bytes."""
    if rows.stride(0) % ALIGNMENT == 0:
        return rows
    return aligned_empty(*rows.shape).copy_(rows)


def sum_over_rows(rows: torch.Tensor, out: torch.Tensor) -> None:
    """Σ_b of `rows` (K, B, n), aligned, into `out` (K, 1, n): as a product, which adds up in one order for any K."""
    tasks, count, _ = rows.shape
    torch.bmm(torch.ones(1, 1, count).expand(tasks, 1, count), rows, out=out)
