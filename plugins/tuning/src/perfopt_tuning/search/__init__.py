"""Safe Bayesian optimisation of one knob at a time, from the trials that a history holds."""
