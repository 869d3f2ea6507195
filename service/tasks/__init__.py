"""numpy after the graph: a file for each kind of answer."""
