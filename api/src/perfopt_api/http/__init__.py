"""The REST API: controllers parse, call and render; nothing else."""
