"""Measurements of the service on one machine: `perfopt bench`."""
