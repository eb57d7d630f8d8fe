"""spike: new resistance levels in FX, told the moment a candle closes.

Importing this package has no effects. Start at `pipeline` for what a pass does, at `definitions` for
the Dagster side, at `cli` for the `spike` command.
"""
