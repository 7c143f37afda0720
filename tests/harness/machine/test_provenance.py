"""What a row tells of the machine that made it."""

from __future__ import annotations

from pathlib import Path

import pytest

from icrl_bench.machine.provenance import hardware


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="needs Linux's list of instructions to compare with")
def test_the_processor_is_named_with_its_vector_instructions() -> None:
    """A cloud's machines share one model name over generations whose speeds differ by a factor."""
    flags = next(
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith(("flags", "Features"))
    )
    processor = hardware("cpu")["processor"]
    wide = {"avx512f", "avx512vl", "avx512bw", "avx512dq"} <= set(flags.split())
    assert processor.endswith("AVX512") == wide
    assert processor.partition(",")[0].strip()
