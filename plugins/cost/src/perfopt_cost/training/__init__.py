"""Fits the bounds of demand to the windows of a fleet; needs SciPy, which the plugin needs anyway."""
