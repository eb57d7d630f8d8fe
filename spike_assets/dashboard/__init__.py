"""The dashboard: a page, its API and its live feed, over a store that others write.

Nothing here changes what is stored but acknowledgements and silences, and nothing imports dagster. The page itself is
in `static`, plain modules and CSS without a build step.
"""
