"""Published traces of services, read with pandas: what models are trained and strategies are judged on.

They are read as recorded. A source of metrics (`perfopt.sources`) in contrast leaves out samples that can't
be, since there a collector may err.
"""

from perfopt.datasets.traces import SIZED, load_trace, read_trace
from perfopt.evaluation.split import Split, split_of

__all__ = ["SIZED", "Split", "load_trace", "read_trace", "split_of"]
