"""Tables, plots, and one self-contained HTML page, from plain data. Importing this imports no plotting library."""

from strop.report.page import Lineage, Samples, Section, StageCard, StageCards, Text, page
from strop.report.plots import Plot, curve
from strop.report.tables import Measured, Row, Table, progress, table, to_markdown
from strop.report.transcripts import Piece, SideBySide, Transcript, mark_control

__all__ = [
    "Lineage",
    "Measured",
    "Piece",
    "Plot",
    "Row",
    "Samples",
    "Section",
    "SideBySide",
    "StageCard",
    "StageCards",
    "Table",
    "Text",
    "Transcript",
    "curve",
    "mark_control",
    "page",
    "progress",
    "table",
    "to_markdown",
]
