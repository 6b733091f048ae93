"""The tensor, and what eager operations need: memory and views, methods, printing, the state of a thread."""
