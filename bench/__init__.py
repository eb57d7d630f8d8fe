"""How fast spike is: `make bench` runs everything here once and writes `bench/RESULTS.md`. Tests assert no time."""
