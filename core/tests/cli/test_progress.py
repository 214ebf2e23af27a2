import os
import pty
import subprocess
import sys

import pytest

from perfopt.cli.output.progress import PlainProgress, approximate_time, progress_line

PERFOPT = [sys.executable, "-c", "from perfopt.cli.main import main; main()"]


def run_on_terminal(*arguments, status=0):
    """Runs with standard error on a terminal; returns standard output and what the terminal got."""
    master, slave = pty.openpty()
    command = [*PERFOPT, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave) as process:
        os.close(slave)
        shown = b""
        while chunk := _read(master):
            shown += chunk
        output = process.stdout.read()
    os.close(master)
    assert process.returncode == status
    return output, shown.decode()


def _read(terminal):
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux reports that nobody has the other end open any more
        return b""


def test_a_bar_counts_services_on_a_terminal_and_leaves_the_output_alone(traces):
    command = ("analyze", "--source", traces, "--all", "--types", "resource", "--format", "ndjson")
    output, shown = run_on_terminal(*command)
    assert "3/3" in shown
    piped = subprocess.run([*PERFOPT, *map(str, command)], capture_output=True, check=True)
    assert (piped.stdout, piped.stderr) == (output, b"")


class PrintedLines:
    """Progress without a terminal, at seconds that the test sets."""

    def __init__(self):
        self.seconds, self.lines = 0.0, []
        self.report = PlainProgress(lambda: self.seconds, self.lines.append)

    def at(self, seconds, label, done, total):
        self.seconds = seconds
        self.report(label, done, total)


def test_logs_get_a_line_every_half_minute_with_rate_and_time_left():
    printed = PrintedLines()
    for seconds, done in ((0, 0), (10, 30), (29.9, 59), (30, 60), (59, 100), (60, 120)):
        printed.at(seconds, "analysing", done, 1000)
    assert printed.lines == [
        "analysing: 60 of 1000, 2.0 a second, about 8 min left",
        "analysing: 120 of 1000, 2.0 a second, about 7 min left",
    ]


def test_each_stage_has_its_own_rate():
    printed = PrintedLines()
    printed.at(0, "reading", 0, None)
    printed.at(100, "reading", 50, None)
    printed.at(101, "training", 0, 4)
    printed.at(161, "training", 1, 4)
    assert printed.lines == ["reading: 50, 2.0 s each", "training: 1 of 4, 60 s each, about 3 min left"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (89.4, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h"), (90_000, "25.0 h")],
)
def test_times_are_printed_in_their_unit(seconds, text):
    assert approximate_time(seconds) == text


def test_nothing_is_left_once_all_is_done_or_the_number_is_unknown():
    assert progress_line("training", 4, 4, 8.0) == "training: 4 of 4, 2.0 s each"
    assert progress_line("training", 0, 4, 8.0) == "training: 0 of 4"
    assert progress_line("training", 0, None, 0.0) == "training: 0"


def test_training_shows_a_bar_with_its_stages(traces, tmp_path):
    command = ("train", "--what", "cost", "--source", traces, "--all", "--out", tmp_path / "cost.json")
    _, shown = run_on_terminal(*command, status=2)
    assert "reading services" in shown
