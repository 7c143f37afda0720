"""The film as whole pictures: episodes side by side with their step and return, above them what is hidden from the agent, below
them the return of every episode of the task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from icrl_bench.watching.filming import Shot
from icrl_bench.watching.replay import Film
from icrl_registry.onlookers.rendering import Frame

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

PAPER, INK, FAINT = (255, 255, 255), (28, 31, 36), (118, 124, 132)
ACCENT = (32, 92, 176)
MARGIN, GAP = 8, 6  # pixels
CURVE_HEIGHT = 80
TITLE, TEXT, SMALL = 15, 13, 11  # letters, pixels

Place = tuple[float, float]


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as Matplotlib carries it: it has the minus sign and the middle dot on every machine."""
    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(matplotlib.get_data_path()) + f"/fonts/ttf/{name}", size)


@dataclass(frozen=True)
class Layout:
    """Where things stand, in pixels."""

    columns: int
    picture: int  # width and height of one episode's picture
    head: int  # height of the lines above
    foot: int = CURVE_HEIGHT
    caption: int = 2 * TEXT + 12

    @property
    def width(self) -> int:
        return 2 * MARGIN + self.columns * self.picture + (self.columns - 1) * GAP

    @property
    def height(self) -> int:
        return self.head + self.caption + self.picture + self.foot + 2 * MARGIN

    def left(self, column: int) -> int:
        """Left edge of a column's picture."""
        return MARGIN + column * (self.picture + GAP)


def compose(film: Film) -> list[Frame]:
    """The pictures in order, (height, width, 3) each, as many as the longest episode has; a shorter one keeps its last."""
    head = _head_lines(film)
    picture = film.shots[0].frames[0].shape[0]
    columns = len(film.shots)
    lines = [
        part for line, size in head for part in _wrapped(line, size, Layout(columns, picture, 0).width - 2 * MARGIN)
    ]
    layout = Layout(columns, picture, head=sum(size + 5 for _, size in lines) + 4)
    still = _still(film, layout, lines)
    length = max(len(shot.frames) for shot in film.shots)
    return [_frame(film, layout, still, index) for index in range(length)]


def hidden(film: Film) -> str:
    """What the agent is not told, in words and units: `goal_x 0.42 m · goal_y −0.1 m`."""
    parts = []
    for name, value in zip(film.parameter_names, film.task.parameters, strict=True):
        plain, _, unit = name.partition(" (")
        parts.append(f"{plain.replace('_', ' ')} {_number(value)} {unit.rstrip(')')}".strip())
    return " · ".join(parts)


def _head_lines(film: Film) -> list[tuple[str, int]]:
    record = film.record
    title = f"{record.method} on {record.environment} · {record.protocol}, seed {record.seed} · {film.task.label}"
    return [(title, TITLE), (f"hidden from the agent: {hidden(film)}", SMALL)]


def _wrapped(text: str, size: int, width: int) -> list[tuple[str, int]]:
    """A line cut at ` · ` and blanks so that nothing leaves the picture."""
    lines, line = [], ""
    for word in text.split(" "):
        longer = f"{line} {word}".strip()
        if line and _font(size).getlength(longer) > width:
            lines.append(line)
            longer = word
        line = longer
    return [(each.strip(" ·"), size) for each in [*lines, line]]


def _still(film: Film, layout: Layout, head: list[tuple[str, int]]) -> Image.Image:
    """What is the same in all pictures."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (layout.width, layout.height), PAPER)
    draw = ImageDraw.Draw(image)
    top = MARGIN
    for line, size in head:
        draw.text((MARGIN, top), line, INK if size == TITLE else FAINT, _font(size))
        top += size + 5
    for column, shot in enumerate(film.shots):
        draw.text(
            (layout.left(column), layout.head + MARGIN), f"episode {shot.episode}", ACCENT, _font(TEXT, bold=True)
        )
    _draw_curve(image, film, layout)
    return image


def _frame(film: Film, layout: Layout, still: Image.Image, index: int) -> Frame:
    from PIL import Image, ImageDraw

    image = still.copy()
    draw = ImageDraw.Draw(image)
    for column, shot in enumerate(film.shots):
        now = min(index, len(shot.frames) - 1)
        top = layout.head + MARGIN + layout.caption
        image.paste(Image.fromarray(shot.frames[now]), (layout.left(column), top))
        _caption(draw, layout, column, shot, now, film.horizon)
    return np.asarray(image)


def _caption(draw: ImageDraw.ImageDraw, layout: Layout, column: int, shot: Shot, now: int, horizon: int) -> None:
    left, right = layout.left(column), layout.left(column) + layout.picture
    first = layout.head + MARGIN
    second = first + TEXT + 5
    draw.text((right, first), f"step {shot.steps[now]}/{horizon}", FAINT, _font(SMALL), anchor="ra")
    draw.text((left, second), f"return {_number(shot.returns[now])}", INK, _font(TEXT))
    if now == len(shot.frames) - 1 and shot.steps[now] < horizon:
        draw.text((right, second), "ended", INK, _font(SMALL), anchor="ra")


def _draw_curve(image: Image.Image, film: Film, layout: Layout) -> None:
    """Return against episode in this task, with the random policy's and the oracle's as lines."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(image)
    returns = np.asarray(film.record.returns[film.row])  # (E,)
    known = {"oracle": film.record.oracle[film.row], "random": film.record.random[film.row]}
    references = {name: float(value) for name, value in known.items() if value is not None}
    low = min(float(returns.min()), *references.values())
    high = max(float(returns.max()), *references.values())
    left, right = MARGIN + 58, layout.width - MARGIN - 52
    top, bottom = layout.height - MARGIN - layout.foot + 20, layout.height - MARGIN - 20

    def place(episode: int, value: float) -> Place:
        across = (episode - 1) / max(1, len(returns) - 1)
        up = (value - low) / max(high - low, 1e-9)
        return left + across * (right - left), bottom - up * (bottom - top)

    heights: list[float] = []
    for name, value in references.items():
        height = place(1, value)[1]
        draw.line([(left, height), (right, height)], fill=(205, 208, 212), width=1)
        apart = height if not heights or abs(height - heights[0]) >= SMALL + 1 else heights[0] + SMALL + 1
        draw.text((right + 6, apart), name, FAINT, _font(SMALL), anchor="lm")
        heights.append(apart)
    for value, height in ((high, top), (low, bottom)):
        draw.text((left - 6, height), _number(value), FAINT, _font(SMALL), anchor="rm")
    points = [place(episode, float(value)) for episode, value in enumerate(returns, start=1)]
    _draw_smooth_line(image, points)
    for shot in film.shots:
        x, y = points[shot.episode - 1]
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=ACCENT, outline=PAPER)
        draw.text((x, layout.height - MARGIN), str(shot.episode), ACCENT, _font(SMALL), anchor="md")
    draw.text((right + 12, layout.height - MARGIN), "episode", FAINT, _font(SMALL), anchor="ld")


def _draw_smooth_line(image: Image.Image, points: Sequence[Place], scale: int = 4) -> None:
    """Pillow's lines have steps: drawn larger and shrunk they have none."""
    from PIL import Image, ImageDraw

    large = Image.new("L", (image.width * scale, image.height * scale), 0)
    ImageDraw.Draw(large).line([(x * scale, y * scale) for x, y in points], fill=255, width=2 * scale, joint="curve")
    image.paste(ACCENT, (0, 0), large.resize(image.size))


def _number(value: Any) -> str:
    """`-41.234` → `−41.2`; small ones keep three digits."""
    text = f"{float(value):.1f}" if abs(value) >= 10 else f"{float(value):.2f}"
    return text.replace("-", "−")
