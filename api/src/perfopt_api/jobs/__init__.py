"""The work queue, the worker that empties it, and waiting for a job to finish."""
