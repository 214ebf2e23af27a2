"""Who asks, and what they may do: roles, tokens of the API, and tokens of an OpenID Connect issuer."""
