"""Safe Bayesian optimisation of one knob at a time, from the evaluations that a history holds."""
