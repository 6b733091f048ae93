"""Passes: functions from graph to graph. ``pipeline`` says which run, in which order, and why."""
