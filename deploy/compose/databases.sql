-- Run once, when the volume is empty: Dagster's own storage is a database of its own.
CREATE DATABASE dagster OWNER spike;
