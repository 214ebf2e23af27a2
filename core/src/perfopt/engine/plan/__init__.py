"""One list: the proposals of all strategies on a workload become one state that holds together. Pure."""
