"""Pure functions over data frames: no clock, no files, no settings, and the same bits wherever they start.

Every frame here is sorted by (instrument, time) with one row per key. Floats are elementwise on shifted columns,
a recursion, or an explicit sum, oldest first; never a reduction whose order depends on where it started.
"""

FORMULA_VERSION = 1
"""Goes up whenever a formula gives other numbers; a store of another version wants `spike rebuild`."""
