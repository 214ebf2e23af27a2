"""What applying a recommendation would change, and the manifests that change it. Pure."""
