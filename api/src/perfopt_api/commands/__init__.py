"""Commands that the service adds to the `perfopt` command line."""
