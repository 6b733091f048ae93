"""``@tracer.trace``: record a real run, replay it as one native program."""
