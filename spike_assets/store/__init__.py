"""Where everything is kept. `store` speaks in domain words, `tables` declares, `schema.sql` creates, engines connect."""
