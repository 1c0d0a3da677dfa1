"""Pages for people: forms of the options that the commands have, answered by the commands, drawn by the server."""
