import os
import pty
import subprocess
import sys

PERFOPT = [sys.executable, "-c", "from perfopt.cli.main import main; main()"]


def run_on_terminal(*arguments):
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
    assert process.returncode == 0
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
