"""A second look at an SQLite file that SQLite called damaged: is it, or could the disk not be read?

SQLite reports an input/output error while reading as "database disk image is malformed", and Python doesn't pass on the
system's error. The hint for a damaged file is to move it aside, which is wrong where the disk or its cable failed.

The look is taken by a process of its own, `python -m icrl_leaderboards.database.second_look FILE`: a process that opens and
closes a database's file beside SQLite loses all locks that SQLite holds on it.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

_CHUNK = 1 << 20  # bytes
_LONGEST = 600.0  # seconds


def look_again(path: Path) -> OSError | bool | None:
    """The system's error where the file or its log can't be read, True where it is whole, False where it is damaged.

    None: the look itself failed, and nothing is known.
    """
    command = [sys.executable, "-m", __name__, str(path)]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST, check=True)
        found = json.loads(ended.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if "errno" in found:
        return OSError(found["errno"], found["error"], found["file"])
    whole = found["whole"]
    return None if whole is None else bool(whole)


def _look(path: Path) -> dict[str, object]:
    for each in (path, Path(f"{path}-wal")):
        try:
            with each.open("rb") as handle:
                while handle.read(_CHUNK):
                    pass
        except FileNotFoundError:
            continue
        except OSError as error:
            return {"errno": error.errno, "error": error.strerror, "file": str(each)}
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
            return {"whole": connection.execute("PRAGMA integrity_check(1)").fetchall() == [("ok",)]}
    except sqlite3.OperationalError:  # held by another process, or a folder in which no index can be made
        return {"whole": None}
    except sqlite3.DatabaseError:
        return {"whole": False}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_look(Path(sys.argv[1]))))
