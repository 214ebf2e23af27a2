"""Training of the sizing model; needs scikit-learn, the extra perfopt[train]."""
