"""The catalogue of knobs: its schema, and how values are read and set."""
