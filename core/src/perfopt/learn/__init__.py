"""Sizing learnt across a fleet: features of a history, training, portable models and their calibration."""
