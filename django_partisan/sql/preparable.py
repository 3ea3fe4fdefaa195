"""Statements that PostgreSQL plans once for each session, instead of each time.

Planning a claim or the outcome of a few tasks takes longer than executing it. ``Session`` prepares such a
statement on its connection; any other connection executes its text.

A prepared statement keeps the plan that was made when the table may still have been empty. So that it is
right for a table of any size, only plans along the indexes are allowed. For many rows, another plan may be
better, and planning costs little by comparison, so such a statement is planned each time.
"""

import re
from collections.abc import Callable
from itertools import count
from typing import Final
from zlib import crc32

ROWS_AT_MOST: Final = 100
"""A statement that may concern more rows than this is planned each time."""

# They end with the transaction. Without them, PostgreSQL might make a plan for each execution, keep a plan
# that reads the whole of a table that was empty, or compile a plan, because it does not know the LIMIT.
_ALONG_THE_INDEXES: Final = (
    "SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off;"
    " SET LOCAL enable_bitmapscan = off; SET LOCAL jit = off; "
)
_PLACEHOLDER: Final = re.compile("%[s%]")


class Preparable(str):
    """The text of a statement with positional parameters, which a session may prepare.

    It is prepared as ``partisan_``, ``name`` and a checksum. ``settings`` are statements that set parameters
    for its transaction; they precede it in its message.
    """

    __slots__ = ("body", "execution", "name", "preparation", "settings")
    name: str
    body: str
    settings: str
    preparation: str
    """The statement that prepares it."""
    execution: str
    """What to execute instead of the text once it is prepared, with the same parameters."""

    def __new__(cls, name: str, body: str, settings: str = "") -> "Preparable":
        """Create the text; ``body`` is one statement."""
        made = super().__new__(cls, settings + body)
        prepared = f"partisan_{name}_{crc32(body.encode()):08x}"
        numbers = count(1)
        numbered = _PLACEHOLDER.sub(lambda found: "%" if found[0] == "%%" else f"${next(numbers)}", body)
        values = ", ".join(["%s"] * (next(numbers) - 1))
        made.name, made.body, made.settings = name, body, settings
        made.preparation = f"PREPARE {prepared} AS {numbered}"
        made.execution = f"{settings}{_ALONG_THE_INDEXES}EXECUTE {prepared} ({values})"
        return made

    def changed(self, change: Callable[[str], str]) -> "Preparable":
        """Return the statement with ``change`` applied to it."""
        return Preparable(self.name, change(self.body), self.settings)

    def with_settings(self, settings: str) -> "Preparable":
        """Return the statement with other ``settings``."""
        return Preparable(self.name, self.body, settings)

    def for_rows(self, number: int) -> str:
        """Return the statement for this number of rows: without preparation if they are many."""
        return self if number <= ROWS_AT_MOST else str(self)
