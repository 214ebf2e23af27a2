"""LATENCY_OPTIMIZATION for perfopt."""
