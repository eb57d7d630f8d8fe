"""What is written down is true: the data dictionary, the README's commands, the pinned requirements."""

import re
from pathlib import Path

from spike_assets.store.dictionary import data_dictionary

ROOT = Path(__file__).parents[1]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_data_dictionary_is_written_from_the_declared_tables() -> None:
    assert read("docs/data.md") == data_dictionary(), "run `make docs`"


def test_every_make_command_of_the_readme_exists() -> None:
    named = set(re.findall(r"make ([a-z]+)", "\n".join(re.findall(r"```\n(.*?)```", read("README.md"), re.DOTALL))))
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


def test_every_link_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", read("README.md"))
    local = [link for link in links if "://" not in link]
    assert local
    assert [link for link in local if not (ROOT / link).exists()] == []


def test_requirements_are_pinned_by_hash_and_name_no_index() -> None:
    text = read("requirements.txt")
    entries = re.findall(r"^[A-Za-z0-9][^\n]*", text, re.MULTILINE)
    assert entries
    assert all("==" in entry for entry in entries)
    assert text.count("--hash=sha256:") >= len(entries)
    assert "://" not in text
    assert "index" not in re.sub(r"(?m)^\s*#.*$", "", text)
