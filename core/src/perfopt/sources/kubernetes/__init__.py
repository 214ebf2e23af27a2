"""Current state from the API of a Kubernetes cluster."""
