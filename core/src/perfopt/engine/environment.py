"""Which of our variables a child process is given."""

import os
import re

_PASSED = re.compile(
    "PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_.*|TZ|TMPDIR|TEMP|TMP|VIRTUAL_ENV|LD_LIBRARY_PATH|DYLD_.*|PYTHON.*"
    "|XDG_.*|TF_.*|KERAS_.*|CUDA_.*|COVERAGE_.*|(OMP|OPENBLAS|MKL)_NUM_THREADS"
)
"""Settings refer to variables of any name (`env:NAME`), so that only known ones are passed on."""


def child_environment(also: str = "") -> dict[str, str]:
    """Returns what Python and libraries read of our environment, and nothing that may be a secret.

    Args:
        also: a regular expression of further names.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if _PASSED.fullmatch(name) or re.fullmatch(also, name)
    }
