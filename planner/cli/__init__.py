"""The command line: one file a command; it parses, calls the rooms above and prints."""
