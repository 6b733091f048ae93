"""``@tracer.trace``: records a real run and replays it as one native program."""
