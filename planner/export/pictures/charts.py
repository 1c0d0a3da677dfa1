"""What every picture shares: its file formats, its look, and a caption with the scenario.

Pictures are drawn by matplotlib, which comes with the extra `plot` and is imported when a picture is asked for, and not
before. The same result and version of matplotlib give the same bytes.
"""

from __future__ import annotations

import html
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.errors import OutputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".png", ".html")
DOTS_PER_INCH = 200
# Okabe and Ito's colours, told apart in every colour vision; yellow is left out, for it is too pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "svg.fonttype": "path",  # looks the same wherever it is opened
    "svg.hashsalt": "planner",  # the same result gives the same bytes
    "text.parse_math": False,  # a $ is a price
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def check_plot(path: Path) -> None:
    """Refuse a picture that cannot be made, before any work is done.

    Raises
    ------
    OutputError
        A file name that says no format, or matplotlib is not installed.
    """
    if path.suffix.casefold() not in SUFFIXES:
        raise OutputError(
            "a picture is SVG, PNG or HTML, as its name says",
            where="--plot",
            value=str(path),
            rule=f"a name that ends with {', '.join(SUFFIXES)}",
        )
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise OutputError(
            "matplotlib is not installed, and pictures are drawn with it",
            where="--plot",
            fix="pip install 'splitwise-planner[plot]'",
        ) from None


def picture(draw: Callable[[], Figure], suffix: str, title: str) -> bytes:
    """Draw a figure in the look that all pictures share.

    Parameters
    ----------
    draw : callable
        Makes the figure; called with the style set.
    suffix : str
        `.svg`, `.png` or `.html`.
    title : str
        One line for the file's metadata and the page's heading.

    Returns
    -------
    bytes
        The whole file.
    """
    import matplotlib

    with matplotlib.rc_context(STYLE):
        figure = draw()
        stream = io.BytesIO()
        if suffix == ".png":
            figure.savefig(stream, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
            return stream.getvalue()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Title": title})
    if suffix == ".svg":
        return stream.getvalue()
    return _page(title, stream.getvalue().decode("utf-8")).encode("utf-8")


def _page(title: str, svg: str) -> str:
    title = html.escape(title)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        "<style>figure { margin: 1rem auto; max-width: 60rem } svg { width: 100%; height: auto }</style>\n"
        f"</head>\n<body>\n<figure>\n{svg[svg.index('<svg') :]}\n<figcaption>{title}</figcaption>\n</figure>\n"
        "</body>\n</html>\n"
    )


NOTE_WIDTH = 112  # characters of a line of the note below a picture


def caption(
    figure: Figure, headline: str, under: str, note: str, *, widths: tuple[int, int] = (105, NOTE_WIDTH)
) -> None:
    """Write the scenario above a figure, bold, with a line under it, and a note below everything.

    Parameters
    ----------
    headline, under, note : str
        Texts; the second and third are wrapped at `widths` characters.
    """
    import textwrap

    inch = 1.0 / float(figure.get_size_inches()[1])
    figure.text(0.02, 1.0 - 0.2 * inch, headline, fontsize=9.5, weight="bold", va="center")
    for n, line in enumerate(textwrap.wrap(under, widths[0])):
        figure.text(0.02, 1.0 - (0.41 + 0.18 * n) * inch, line, fontsize=9.0, va="center")
    lines = textwrap.wrap(note, widths[1])
    for n, line in enumerate(lines):
        height = 0.13 + 0.17 * (len(lines) - 1 - n)
        figure.text(0.02, height * inch, line, fontsize=8.0, color="#333333", va="center")
