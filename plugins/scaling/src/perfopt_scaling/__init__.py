"""SCALING_OPTIMIZATION for perfopt: replicas ahead of demand."""
