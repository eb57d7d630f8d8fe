"""docs/cli.md has every command and every option, as `--help` gives them."""

import re

from spike_assets_tests.cli.docs import NAMES, PAGE, documented, help_of, with_help


def test_every_command_has_its_help_in_the_page_as_it_is_now() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert documented(page) == NAMES
    assert page == with_help(page), "run `python -m spike_assets_tests.cli.docs`"


def test_every_example_is_a_command_with_options_that_it_has() -> None:
    page = re.sub(r"<!-- help.*?```\n.*?```\n", "", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    known = "|".join(sorted(NAMES, key=len, reverse=True))
    examples = re.findall(rf"^(?:SPIKE_\w+=\S+ )*spike ({known})\b([^\n|#]*)", page, re.MULTILINE)
    groups = {name.rpartition(" ")[0] for name in NAMES}
    assert {name for name, _ in examples} == set(NAMES) - {"spike"} - groups
    for name, rest in examples:
        options = re.findall(r"(?<!\S)--[a-z-]+", rest)
        assert [option for option in options if option not in help_of(name)] == [], name
