"""Metrics and current state from a Prometheus-compatible server."""
