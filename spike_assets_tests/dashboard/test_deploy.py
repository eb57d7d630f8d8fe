"""The example dashboard and alert rules ask for metrics that there are."""

import json
import re
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from spike_assets_tests.alerts.desk import Desk
from spike_assets_tests.dashboard.offices import visitor

DEPLOY = Path(__file__).parents[2] / "deploy"


def expressions() -> list[str]:
    rules = yaml.safe_load((DEPLOY / "alerts.rules.yml").read_text(encoding="utf-8"))
    found = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    board = json.loads((DEPLOY / "grafana.json").read_text(encoding="utf-8"))
    return found + [target["expr"] for panel in board["panels"] for target in panel["targets"]]


def asked_for() -> set[str]:
    return {name for expression in expressions() for name in re.findall(r"\bspike_\w+", expression)}


def test_what_is_asked_for_is_there(desk: Desk) -> None:
    with visitor(desk) as client:
        families = list(text_string_to_metric_families(client.get("/metrics").text))
    known = {family.name for family in families} | {sample.name for family in families for sample in family.samples}
    assert len(asked_for()) > 10
    assert asked_for() <= known
    falling = {family.name for family in families if family.type == "gauge"}
    for expression in expressions():
        for function, name in re.findall(r"\b(increase|rate|delta)\((spike_\w+)", expression):
            assert (name in falling) == (function == "delta"), expression


def test_every_panel_has_a_place_of_its_own() -> None:
    board = json.loads((DEPLOY / "grafana.json").read_text(encoding="utf-8"))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
