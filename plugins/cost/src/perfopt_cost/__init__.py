"""COST_OPTIMIZATION: the cheapest size, replicas, placement and schedule that is safe for a service."""
