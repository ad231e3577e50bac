"""Charts as SVG, drawn here: nothing is loaded from anywhere, and they are there without a script."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from notifier.admin import show
from notifier.overview import Point

WIDTH, HEIGHT = 600.0, 120.0


def attempts(points: Sequence[Point]) -> SafeString:
    """A bar a minute or hour: what succeeded, and on top what did not."""
    highest = max((point.succeeded + point.failed for point in points), default=0) or 1
    step = WIDTH / max(len(points), 1)
    bars = []
    for number, point in enumerate(points):
        title = f"{show.moment(point.start)}: {point.succeeded:,} succeeded, {point.failed:,} did not"
        good, bad = HEIGHT * point.succeeded / highest, HEIGHT * point.failed / highest
        for style, height, bottom in (("good", good, HEIGHT), ("bad", bad, HEIGHT - good)):
            if height:
                bars.append((style, *_shown(number * step, bottom - height, step * 0.85, height), title))
    rects = format_html_join(
        "", '<rect class="ntf-fill-{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>', bars
    )
    return _chart("Attempts over the time", rects, points, f"{highest:,} at most" if bars else "nothing")


def latencies(points: Sequence[Point]) -> SafeString:
    """Two lines, p50 and p95; broken where nothing was sent."""
    highest = max((point.p95 for point in points if point.p95 is not None), default=0.0) or 1.0
    step = WIDTH / max(len(points), 1)
    lines = []
    for style in ("p50", "p95"):
        run: list[str] = []
        for number, point in enumerate(points):
            value = point.p50 if style == "p50" else point.p95
            if value is None:
                lines += _line(style, run)
                run = []
            else:
                x, y = (number + 0.5) * step, HEIGHT - HEIGHT * value / highest
                # A lone point is seen too.
                run += [f"{x:.1f},{y:.1f}", f"{x + 0.5:.1f},{y:.1f}"]
        lines += _line(style, run)
    drawn = format_html_join("", '<polyline class="ntf-line-{}" points="{}"/>', lines)
    return _chart("Latency over the time", drawn, points, f"{highest:,.0f} ms at most" if lines else "nothing")


def _line(style: str, run: list[str]) -> list[tuple[str, str]]:
    return [(style, " ".join(run))] if run else []


def _shown(*numbers: float) -> tuple[str, ...]:
    return tuple(f"{number:.1f}" for number in numbers)


def _chart(label: str, drawn: SafeString, points: Sequence[Point], highest: str) -> SafeString:
    first, last = (points[0].start, points[-1].start) if points else (None, None)
    return format_html(
        '<svg class="ntf-chart" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<line x1="0" y1="{}" x2="{}" y2="{}"/>{}</svg>'
        '<div class="ntf-ends ntf-note"><span>{}</span><span>{}</span><span>{}</span></div>',
        f"{WIDTH:.0f}", f"{HEIGHT:.0f}", label, f"{HEIGHT:.0f}", f"{WIDTH:.0f}", f"{HEIGHT:.0f}", drawn,
        show.moment(first), highest, show.moment(last),
    )  # fmt: skip


def progress(done: int, of: int) -> SafeString:
    """A bar, full where nothing is left."""
    width = 100.0 if of <= 0 else min(100.0 * done / of, 100.0)
    return format_html(
        '<svg class="ntf-progress" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{} of {}">'
        '<rect width="{}" height="10"/></svg>', f"{done:,}", f"{of:,}", f"{width:.1f}",
    )  # fmt: skip
