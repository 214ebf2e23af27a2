"""Where metrics and current state come from. The only I/O of the core."""
