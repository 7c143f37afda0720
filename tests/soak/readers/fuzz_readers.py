"""Feeds one reader with mutations of a corpus until the time is over, and ends at the first thing that it must not do.

    python fuzz_readers.py READER CORPUS SECONDS RUNS SCRATCH

With `atheris` (the extra `soak`) mutations are guided by the lines that they reach, and every input that reaches a new one is
kept in CORPUS; without it they are drawn at random. A reader may return or raise an error for users; it may not raise
another, run anything, open a connection, write outside SCRATCH, take longer than `SLOWEST` seconds or more memory than
`MEMORY`.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

SLOWEST = 10.0  # seconds an input; a machine can be busy
GUIDED_FROM = 1000  # inputs: fewer are not worth the time that instrumenting takes
MEMORY = 6 * 2**30  # bytes of addresses, most of which are libraries
FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "socket.connect",
    "pickle.find_class",
)
#: What breaks parsers: put in at random places by the unguided mutations.
DICTIONARY = (
    b"NaN", b"-Infinity", b"1e999", b"9" * 400, b"null", b"true", b"{}", b"[]", b'"', b"\\u0000", b"\\ud800", b"../../x",
    b"\x00", b"\xff\xfe", b"[" * 3000, b'{"a":' * 3000, b"-1", b"18446744073709551616", b'"__metadata__"', b"\r\n", b"= =",
)  # fmt: skip


class Watch:
    """Tells what a reader must not do, from Python's audit events."""

    def __init__(self, scratch: str) -> None:
        self.scratch, self.on = scratch, False
        sys.addaudithook(self)

    def __call__(self, event: str, details: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in FORBIDDEN:
            self.tell(f"{event} {details}")
        if event == "open" and isinstance(details[1], str) and any(letter in details[1] for letter in "wax+"):
            path = os.path.abspath(os.fsdecode(details[0])) if not isinstance(details[0], int) else self.scratch
            if not path.startswith(self.scratch):
                self.tell(f"writes {path}")

    def tell(self, what: str) -> None:
        self.on = False
        sys.stderr.write(f"FOUND {what}\n")
        sys.stderr.flush()
        os._exit(1)


def mutate(content: bytes, generator: np.random.Generator) -> bytes:
    """One to six changes: bytes flipped, cut, doubled, or words of the dictionary put in."""
    data = bytearray(content)
    for _ in range(generator.integers(1, 7)):
        place = int(generator.integers(len(data) + 1))
        end = min(len(data), place + int(generator.integers(1, 64)))
        kind = generator.integers(5)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << int(generator.integers(8))
        elif kind == 1:
            del data[place:end]
        elif kind == 2:
            data[place:place] = data[place:end]
        elif kind == 3:
            data[place:end] = DICTIONARY[int(generator.integers(len(DICTIONARY)))]
        else:
            data[place:place] = generator.bytes(int(generator.integers(1, 9)))
    return bytes(data)


def main() -> None:
    """Runs until SECONDS are over or RUNS inputs were read; SCRATCH/count says how many, in tens."""
    name, corpus, seconds, runs, scratch = (
        sys.argv[1],
        Path(sys.argv[2]),
        float(sys.argv[3]),
        int(sys.argv[4]),
        sys.argv[5],
    )
    atheris = None
    if runs >= GUIDED_FROM:
        with contextlib.suppress(ImportError):
            import atheris
    sys.path.insert(0, str(Path(__file__).parent))
    if atheris is None:
        from ours import READERS, BenchError
    else:
        with atheris.instrument_imports(
            include=["icrl_registry", "icrl_bench", "icrl_leaderboards", "json", "tomllib"]
        ):
            from ours import READERS, BenchError
    read, ending = READERS[name]
    path, watch, count = Path(scratch) / f"input{ending}", Watch(os.path.abspath(scratch)), 0
    counted = Path(scratch) / "count"
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    def feed(content: bytes) -> None:
        nonlocal count
        count += 1
        if count % 10 == 0:
            counted.write_text(str(count))  # the guided search ends the process where it stands
        path.write_bytes(content)
        began = time.monotonic()
        watch.on = True
        try:
            read(path)
        except BenchError as error:
            if not error.message:
                watch.tell("an error without words")
        except BaseException as error:
            watch.tell(f"{type(error).__name__}: {str(error)[:300]}, with {content[:300]!r}")
        watch.on = False
        if time.monotonic() - began > SLOWEST:
            watch.tell(f"more than {SLOWEST} seconds, with {content[:300]!r}")

    seeds = sorted(each for each in corpus.iterdir() if each.is_file())
    for seed in seeds:
        feed(seed.read_bytes())
    if atheris is not None:
        options = [f"-max_total_time={seconds:.0f}", "-rss_limit_mb=4096", "-verbosity=0", "-max_len=65536"]
        atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={scratch}/", str(corpus)], feed)
        atheris.Fuzz()
        return
    generator, end = np.random.default_rng(24), time.monotonic() + seconds
    while count < runs and time.monotonic() < end:
        feed(mutate(seeds[int(generator.integers(len(seeds)))].read_bytes(), generator))


if __name__ == "__main__":
    main()
