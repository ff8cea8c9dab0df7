"""One module a command; each has one function that parses nothing, and returns an exit code."""
