"""The least that is ever recommended (DESIGN.md section 5): for every policy's output, ours and peers'."""

CPU_FLOOR_CORES = 0.010
MEMORY_FLOOR_BYTES = 16 * 2**20
