"""The smallest sizes ever recommended: for every policy's output, ours and the baselines'."""

CPU_FLOOR_CORES = 0.010
MEMORY_FLOOR_BYTES = 16 * 2**20
