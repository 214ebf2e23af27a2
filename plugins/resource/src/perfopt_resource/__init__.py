"""RESOURCE_OPTIMIZATION for perfopt: requests and limits per container, from its own history."""
