"""A table on a terminal: it breaks between words only; where these do not fit, each row is a short list."""

from collections.abc import Callable, Iterator, Sequence

from rich.cells import cell_len
from rich.text import Text

from workshop.core.result import Table

_GAPS = (3, 2)  # spaces between two columns: the second where the words fit only so
_LONG = 32  # a word with more characters, such as an address, may go below its row
_INDENT = "  "
_HEADING = "bold"


def laid_out(table: Table, width: int, cell: Callable[[str], Text]) -> Text:
    """The table for so many columns of a terminal; `cell` makes the text that is shown of a cell's."""
    rows = [[cell(text) for text in row] for row in table.rows]
    lines = _in_columns(table, [[(text, Text()) for text in row] for row in rows], width)
    lines = lines or _in_columns(table, [[_split(text) for text in row] for row in rows], width)
    title = [Text(table.title, style="italic")] if table.title else []
    return Text("\n").join([*title, *(lines or _listed(table, rows, width))])


def _split(text: Text) -> tuple[Text, Text]:
    """A cell's text before its first long word, and the rest of it."""
    words = text.split(" ")
    at = next((number for number, word in enumerate(words) if word.cell_len > _LONG), len(words))
    return Text(" ").join(words[:at]), Text(" ").join(words[at:])


def _in_columns(table: Table, rows: Sequence[Sequence[tuple[Text, Text]]], width: int) -> list[Text]:
    """A line for the headings, and lines for each row; empty if its words do not fit."""
    headings = [Text(heading, style=_HEADING) for heading in table.columns]
    texts = [headings, *([text for text, _ in row] for row in rows)]
    for gap in _GAPS:
        widths = _widths(
            [[text.plain for text in row] for row in texts], width - gap * (len(table.columns) - 1)
        )
        if widths:
            lines = list(_row(headings, widths, gap))
            for row in rows:
                lines += _row([text for text, _ in row], widths, gap)
                for _, rest in row:
                    lines += _hanging(rest, _INDENT, width) if rest.plain else []
            return lines
    return []


def _widths(rows: Sequence[Sequence[str]], most: int) -> list[int]:
    """A width for each column in which no word is broken, `most` together; empty if there is none."""
    lengths = [[cell_len(text) for text in row] for row in rows]
    wanted = [max(column) for column in zip(*lengths, strict=True)]
    widths = [max(1, *map(_longest_word, column)) for column in zip(*rows, strict=True)]
    if sum(wanted) <= most or sum(widths) > most:
        return wanted if sum(wanted) <= most else []
    while short := _in_its_share(widths, wanted, most):
        widths[short[0]] = wanted[short[0]]
    while sum(widths) < most:
        # The next space goes where it saves the most lines.
        tried = [[width + (n == at) for at, width in enumerate(widths)] for n in range(len(widths))]
        widths = min(tried, key=lambda each: _lines(lengths, each))
    return widths


def _lines(lengths: Sequence[Sequence[int]], widths: Sequence[int]) -> float:
    """About how many lines so long cells need in columns of these widths."""
    return sum(
        max(1.0, *(length / width for length, width in zip(row, widths, strict=True))) for row in lengths
    )


def _in_its_share(widths: Sequence[int], wanted: Sequence[int], most: int) -> list[int]:
    """The columns that fit in one line if each gets the same part of what is left."""
    broken = [n for n, width in enumerate(widths) if width < wanted[n]]
    share = (most - sum(widths)) // max(len(broken), 1)
    return [n for n in broken if wanted[n] - widths[n] <= share]


def _longest_word(text: str) -> int:
    return max(map(cell_len, text.split()), default=0)


def _row(cells: Sequence[Text], widths: Sequence[int], gap: int) -> Iterator[Text]:
    """The lines of one row."""
    columns = [list(_hanging(cell, "", width)) for cell, width in zip(cells, widths, strict=True)]
    for number in range(max(map(len, columns))):
        line = Text()
        for column, width in zip(columns, widths, strict=True):
            part = column[number] if number < len(column) else Text()
            line = line + part + Text(" " * (width - part.cell_len + gap))
        line.rstrip()
        yield line


def _listed(table: Table, rows: Sequence[Sequence[Text]], width: int) -> Iterator[Text]:
    """Each row as lines of a heading and a value, below its first one; what is empty is left out."""
    for row in rows:
        mark, indent = Text(), ""
        for heading, value in zip(table.columns, row, strict=True):
            if not value.plain.strip():
                continue
            if not heading and value.cell_len == 1:  # such as a ✓, which belongs to what follows
                mark = value + Text(" ")
                continue
            name = Text(f"{heading}: " if heading else "", style=_HEADING)
            yield from _hanging(mark + name + value, indent, width, further=_INDENT)
            mark, indent = Text(), _INDENT


def _hanging(text: Text, indent: str, width: int, further: str = "") -> Iterator[Text]:
    """The lines of a text, broken between words; a word that is too long is left to the terminal."""
    words = text.split(" ")
    # An address that is as wide as the terminal stands alone.
    line, space = Text(indent if len(indent) + words[0].cell_len <= width else ""), ""
    for word in words:
        if space and line.cell_len + len(space) + word.cell_len > width:
            yield line
            line, space = Text(indent + further), ""
        line, space = line + Text(space) + word, " "
    yield line
