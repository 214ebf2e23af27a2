"""Metrics and current state from Parquet and CSV files and a services file."""
