"""Training of the fleet network: examples from measured and generated series, TensorFlow, calibration."""
