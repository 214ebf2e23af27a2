"""Training of the latency surrogate: services simulated under a CPU quota, and networks fitted to them."""
