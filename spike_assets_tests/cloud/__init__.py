CONTROL = "SPIKE_TEST_CONTROL"
"""Names the file that a function's process is steered by: `now`, and `timeout` in seconds."""
