"""The command line of lowbg: it parses, calls the library, prints and exits."""
