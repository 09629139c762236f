"""One command a file; its name is the verb."""
