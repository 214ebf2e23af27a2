"""COST_OPTIMIZATION: the cheapest size, replicas, placement and schedule that keep a service's promises."""
