"""The sizing model: features of a history, trees, calibration and policy. Needs numpy only."""
