"""Between the shell and a verb: the folder a person stands in, and the Tab key."""
