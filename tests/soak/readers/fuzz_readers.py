"""Feeds readers with mutations of a corpus until the time is over, and ends at the first thing that they must not do.

    python fuzz_readers.py READER,… CORPUS SECONDS RUNS SCRATCH

With `atheris` (the extra `soak`), for one reader, mutations are guided by the lines that they reach, and every input that
reaches a new one is kept in CORPUS/READER; without it RUNS are drawn at random for each reader. A reader may return or raise
an error for users; it may not raise another, run anything, open a connection, write outside SCRATCH, take longer than
`SLOWEST` seconds or more memory than `MEMORY`.
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
INSTRUMENTED = ["icrl_registry", "icrl_bench", "icrl_leaderboards", "icrl_plugins", "json", "tomllib", "zipfile"]
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
CHANGING = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
#: What breaks parsers: put in at random places by the unguided mutations.
DICTIONARY = (
    b"NaN", b"-Infinity", b"1e999", b"9" * 400, b"null", b"true", b"{}", b"[]", b'"', b"\\u0000", b"\\ud800", b"../../x",
    b"\x00", b"\xff\xfe", b"[" * 3000, b'{"a":' * 3000, b"-1", b"18446744073709551616", b'"__metadata__"', b"\r\n", b"= =",
)  # fmt: skip


class Watch:
    """Tells what a reader must not do, from Python's audit events."""

    def __init__(self, scratch: str) -> None:
        self.scratch, self.on, self.count = scratch, False, 0  # inputs so far
        sys.addaudithook(self)

    def __call__(self, event: str, details: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in FORBIDDEN:
            self.tell(f"{event} {details}")
        if event in CHANGING and details[-1] == -1:  # else relative to an open folder, which is below
            self._require_below(event, details[0])
        if event == "open" and isinstance(details[1], str) and any(letter in details[1] for letter in "wax+"):
            self._require_below(event, details[0])

    def _require_below(self, event: str, path: str | bytes | int) -> None:
        if not isinstance(path, int) and not os.path.abspath(os.fsdecode(path)).startswith(self.scratch):
            self.tell(f"{event} {path!r}")

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


class Feeder:
    """Gives one reader one input after the other, and watches it."""

    def __init__(self, name: str, reader: tuple[Any, str], known: type[Exception], scratch: Path, watch: Watch) -> None:
        self.name, self.watch, self.known = name, watch, known
        self.read, ending = reader
        self.path, self.counted = scratch / f"input{ending}", scratch / "count"

    def __call__(self, content: bytes) -> None:
        self.watch.count += 1
        if self.watch.count % 10 == 0:
            self.counted.write_text(str(self.watch.count))  # the guided search ends the process where it stands
        self.path.write_bytes(content)
        began = time.monotonic()
        self.watch.on = True
        try:
            self.read(self.path)
        except self.known as error:
            if not error.message:  # type: ignore[attr-defined]
                self.watch.tell(f"{self.name}: an error without words")
        except BaseException as error:
            self.watch.tell(f"{self.name}: {type(error).__name__}: {str(error)[:300]}, with {content[:300]!r}")
        self.watch.on = False
        if time.monotonic() - began > SLOWEST:
            self.watch.tell(f"{self.name}: more than {SLOWEST} seconds, with {content[:300]!r}")


def main() -> None:
    """Runs until SECONDS are over or RUNS inputs were read; SCRATCH/count says how many, in tens."""
    names, corpus, scratch = sys.argv[1].split(","), Path(sys.argv[2]), Path(sys.argv[5]).absolute()
    seconds, runs = float(sys.argv[3]), int(sys.argv[4])
    atheris = None
    if runs >= GUIDED_FROM and len(names) == 1:
        with contextlib.suppress(ImportError):
            import atheris
    sys.path.insert(0, str(Path(__file__).parent))
    if atheris is None:
        from ours import READERS, BenchError
    else:
        with atheris.instrument_imports(include=INSTRUMENTED):
            from ours import READERS, BenchError
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    watch, end = Watch(str(scratch)), time.monotonic() + seconds
    for name in names:
        feed = Feeder(name, READERS[name], BenchError, scratch, watch)
        seeds = [path.read_bytes() for path in sorted((corpus / name).iterdir()) if path.is_file()]
        for seed in seeds:
            feed(seed)
        if atheris is not None:
            options = [f"-max_total_time={seconds:.0f}", "-rss_limit_mb=4096", "-verbosity=0", "-max_len=65536"]
            atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={scratch}/", str(corpus / name)], feed)
            atheris.Fuzz()
            return
        generator, last = np.random.default_rng(24), watch.count + runs
        while watch.count < last and time.monotonic() < end:
            feed(mutate(seeds[int(generator.integers(len(seeds)))], generator))


if __name__ == "__main__":
    main()
