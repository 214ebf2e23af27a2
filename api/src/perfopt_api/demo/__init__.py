"""The demo: real services from bundled samples, through the whole service, shown to a person."""
