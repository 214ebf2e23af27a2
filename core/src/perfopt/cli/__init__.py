"""The command line. Commands parse, call and render; heavy imports wait until a command runs."""
