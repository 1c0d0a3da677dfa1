"""How others ask: questions as data, each answered by the command line in a process of its own."""
