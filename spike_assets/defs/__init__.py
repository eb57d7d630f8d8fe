"""Everything that imports dagster."""

EVENT_BATCHES = {"DAGSTER_EVENT_BATCH_SIZE": "1000"}
"""Environment in which Dagster stores events of one step that come together in one transaction: a materialization of
each partition of a range run, and what such a run intends to do."""
