"""Where output goes: how wide it may be, whether it may have colours, and what characters it may use."""

import os
import shutil
import sys
from dataclasses import dataclass

PIPE_WIDTH = 120
_MIN_WIDTH = 40
_PLAIN = str.maketrans({"→": ">", "▲": "+", "▼": "-", "●": "*", "…": "~", "─": "-"})


@dataclass(frozen=True, slots=True)
class TerminalScreen:
    """What output is printed on; the default is a file or a pipe.

    Attributes:
        width: characters.
        colours: whether escape sequences are understood and wanted.
        encoding: of its bytes.
    """

    width: int = PIPE_WIDTH
    colours: bool = False
    encoding: str = "utf-8"

    @classmethod
    def of_stdout(cls, piped: int = PIPE_WIDTH) -> "TerminalScreen":
        """Returns what standard output is. COLUMNS sets the width, NO_COLOR takes the colours away.

        Args:
            piped: width of what is no terminal, without COLUMNS.
        """
        stdout = sys.stdout
        terminal = stdout.isatty()
        width = piped
        if terminal or os.environ.get("COLUMNS", "").isdigit():
            width = max(shutil.get_terminal_size().columns, _MIN_WIDTH)
        coloured = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(width, terminal and coloured, getattr(stdout, "encoding", None) or "utf-8")

    def printable(self, text: str) -> str:
        """Returns a text that can be encoded: where signs can't be, they are replaced by ASCII."""
        try:
            text.encode(self.encoding)
        except (UnicodeEncodeError, LookupError):
            return text.translate(_PLAIN).encode("ascii", "replace").decode("ascii")
        return text
