"""The catalogue of knobs: what it says, how it is read, and how values are read and set."""
