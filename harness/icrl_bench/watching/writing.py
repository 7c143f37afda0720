"""Pictures to a file: GIF and PNG through Pillow, MP4 through imageio-ffmpeg, which is optional."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from icrl_registry.errors import UsageError
from icrl_registry.onlookers.rendering import Frame

FORMATS = (".gif", ".mp4", ".png")
COLOURS = 128  # of a GIF's palette; letters and shaded bodies look no better with more
PALETTE_FRAMES = 12  # from which the palette is made
HOLD = 1.6  # seconds that the last picture stays
INSTALL = "pip install 'icrl-bench[video]'"


def check_format(path: Path) -> None:
    """Before anything is played.

    Raises:
        UsageError: a format that is not written, or not here.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"cannot write '{path.name}'", f"end the name of the file in {', '.join(FORMATS)}")
    if path.suffix.lower() == ".mp4" and not can_write_mp4():
        raise UsageError("MP4 needs imageio-ffmpeg, which is not installed", f"{INSTALL}, or write a .gif")


def can_write_mp4() -> bool:
    """Whether imageio-ffmpeg and a program of its are here."""
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        return False
    return True


def write_film(frames: Sequence[Frame], path: Path, frames_per_second: float) -> None:
    """Writes the pictures, (height, width, 3) each, in the format that the name ends in; the file appears whole or not at all.

    A PNG holds three of them, one below the other: the first, the middle and the last.

    Raises:
        UsageError: no such format. OSError: the file cannot be written.
    """
    check_format(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix.lower())
    os.close(handle)
    unfinished = Path(name)
    try:
        {".gif": _write_gif, ".mp4": _write_mp4, ".png": _write_png}[path.suffix.lower()](
            frames, unfinished, frames_per_second
        )
        unfinished.chmod(0o644)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _write_gif(frames: Sequence[Frame], path: Path, frames_per_second: float) -> None:
    """One palette for all pictures and no dithering: what did not move is equal from picture to picture, and costs nothing."""
    from PIL import Image

    sample = np.concatenate([frames[index] for index in _spread(len(frames), PALETTE_FRAMES)])
    palette = Image.fromarray(sample).quantize(COLOURS, Image.Quantize.MAXCOVERAGE)
    images = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    each = round(1000 / frames_per_second / 10) * 10  # GIF counts in hundredths of a second
    durations = [each] * (len(images) - 1) + [each + round(HOLD * 1000)]
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=True, disposal=1)


def _write_mp4(frames: Sequence[Frame], path: Path, frames_per_second: float) -> None:
    import imageio_ffmpeg

    height, width = (side - side % 2 for side in frames[0].shape[:2])  # the codec wants even sides
    writer = imageio_ffmpeg.write_frames(
        str(path),
        (width, height),
        fps=frames_per_second,
        macro_block_size=2,
        quality=7,
        output_params=["-movflags", "+faststart"],
    )
    writer.send(None)
    for frame in [*frames, *[frames[-1]] * round(HOLD * frames_per_second)]:
        writer.send(np.ascontiguousarray(frame[:height, :width]))
    writer.close()


def _write_png(frames: Sequence[Frame], path: Path, frames_per_second: float) -> None:
    from PIL import Image

    Image.fromarray(np.concatenate([frames[index] for index in _spread(len(frames), 3)])).save(path)


def _spread(count: int, wanted: int) -> list[int]:
    """`wanted` indices below `count`, evenly from the first to the last, each once."""
    return sorted({round(index) for index in np.linspace(0, count - 1, min(wanted, count))})
