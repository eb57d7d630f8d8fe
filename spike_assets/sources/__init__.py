"""Where candles come from. `base` says what a source is; each other module is one source."""
