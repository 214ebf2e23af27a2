"""Controllers of the simulated cluster: each brings one object nearer to what is wanted."""
