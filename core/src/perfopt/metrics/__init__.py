"""The metric catalogue, the time grid and the snapshot of a workload's history. Pure."""
