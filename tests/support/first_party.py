"""The project's own plugins, which tests of the engine turn off to have theirs alone."""

FIRST_PARTY = ("cost", "latency", "resource", "scaling", "tuning")
