"""What is deployed says what the code declares, is well-formed, and keeps its promises: no root, no open port."""

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml

from spike_assets.granularity import GRANULARITIES, Granularity
from spike_assets.settings import SECRETS, Settings, variable

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
TERRAFORM = sorted((DEPLOY / "terraform").glob("*.tf"))
EVERY = pytest.mark.parametrize("granularity", GRANULARITIES.values(), ids=str)
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*])?==([^ ;]+)", re.MULTILINE)
HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@cache
def terraform(name: str) -> dict[str, Any]:
    parsed: dict[str, Any] = plain(hcl2.loads(read(f"deploy/terraform/{name}")))
    return parsed


def plain(parsed: Any) -> Any:
    """Give what the parser gives, strings without their quotes and nothing that it notes besides."""
    if isinstance(parsed, dict):
        return {plain(key): plain(value) for key, value in parsed.items() if not str(key).startswith("__")}
    if isinstance(parsed, list):
        return [plain(value) for value in parsed]
    return parsed.strip('"') if isinstance(parsed, str) else parsed


class Sam(yaml.SafeLoader):
    """YAML with CloudFormation's tags, which are read as their text."""


Sam.add_multi_constructor("!", lambda _loader, _tag, node: str(node.value))


@pytest.fixture(scope="module")
def sam() -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.load(read("deploy/aws/template.yaml"), Sam)  # noqa: S506 - a safe loader
    return parsed


# Google Cloud


@EVERY
def test_terraform_has_the_crons_timeouts_and_retries_of_the_code(granularity: Granularity) -> None:
    (declared,) = terraform("granularities.tf")["locals"]
    of = declared["granularities"]
    assert set(of) == set(GRANULARITIES)
    assert of[granularity.name] == {
        "crons": list(granularity.crons),
        "timeout": granularity.timeout.total_seconds(),
        "retries": granularity.retries,
    }


def test_terraform_uses_them() -> None:
    schedule, function = read("deploy/terraform/schedule.tf"), read("deploy/terraform/function.tf")
    assert "for number, cron in granularity.crons" in schedule
    assert re.search(r"schedule\s+= each\.value\.cron\n", schedule)
    assert re.search(r'time_zone\s+= "Etc/UTC"', schedule)
    assert re.search(r"retry_count\s+= local\.granularities\[each\.value\.granularity\]\.retries", schedule)
    assert re.search(r"timeout_seconds\s+= each\.value\.timeout \+ local\.slack", function)


@pytest.mark.parametrize("path", TERRAFORM, ids=lambda path: path.name)
def test_all_that_terraform_refers_to_is_declared(path: Path) -> None:
    declared: set[str] = set()
    for other in TERRAFORM:
        parsed = terraform(other.name)
        for kind in ("resource", "data"):
            for block in parsed.get(kind, []):
                declared |= {f"{type_}.{name}" for type_, named in block.items() for name in named}
        declared |= {f"var.{name}" for block in parsed.get("variable", []) for name in block}
        declared |= {f"local.{name}" for block in parsed.get("locals", []) for name in block}
    text = re.sub(r"#.*", "", path.read_text(encoding="utf-8"))
    used = set(re.findall(r"\b((?:google_\w+|archive_\w+|var|local)\.\w+)", text))
    assert used <= declared


def test_terraform_hands_no_secret_on() -> None:
    (variables,) = [block["secrets"] for block in terraform("variables.tf")["variable"] if "secrets" in block]
    names = {variable(name) for name in Settings.model_fields}
    assert set(variables["default"]) <= names
    assert "google_secret_manager_secret_version" not in "".join(path.read_text() for path in TERRAFORM)
    (environment,) = [block["environment"] for block in terraform("variables.tf")["variable"] if "environment" in block]
    assert set(environment["default"]) <= names - SECRETS


# AWS


def as_cron(expression: str) -> str:
    """Give an AWS cron as everybody else writes it."""
    minute, hours, day, month, weekday, year = expression.removeprefix("cron(").removesuffix(")").split()
    assert (month, year) == ("*", "*")
    assert "?" in (day, weekday)
    return f"{minute} {hours} * * {'*' if weekday == '?' else int(weekday) - 1}"


@EVERY
def test_sam_has_the_crons_timeouts_and_retries_of_the_code(sam: dict[str, Any], granularity: Granularity) -> None:
    of = sam["Resources"][granularity.name]["Properties"]
    events = [event["Properties"] for event in of["Events"].values()]
    assert [as_cron(event["ScheduleExpression"]) for event in events] == list(granularity.crons)
    assert {event["ScheduleExpressionTimezone"] for event in events} == {"UTC"}
    assert {json.loads(event["Input"])["granularity"] for event in events} == {granularity.name}
    assert {event["RetryPolicy"]["MaximumRetryAttempts"] for event in events} == {granularity.retries}
    assert of["EventInvokeConfig"]["MaximumRetryAttempts"] == granularity.retries
    assert of["Timeout"] == granularity.timeout.total_seconds() + 30
    assert set(sam["Resources"]) == {*GRANULARITIES, "Failed"}


# Containers


@pytest.mark.parametrize("name", ["Dockerfile", "aws/Dockerfile"])
def test_images_are_pinned_hashed_and_made_of_what_is_there(name: str) -> None:
    text = read(f"deploy/{name}")
    assert all(re.search(r":\d+\.\d+[\w.-]*$", image) for image in re.findall(r"^FROM (\S+)", text, re.MULTILINE))
    assert "--require-hashes" in text
    allowed = [line[1:] for line in read(f"deploy/{name}.dockerignore").splitlines() if line.startswith("!")]
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for source in line.split():
            assert (ROOT / source).exists()
            assert source in allowed


def test_the_image_is_not_root_s() -> None:
    assert re.findall(r"^USER (.+)$", read("deploy/Dockerfile"), re.MULTILINE) == ["10001:10001"]


def test_compose_is_closed_and_looked_after() -> None:
    compose = yaml.safe_load(read("deploy/compose/compose.yaml"))
    services = compose["services"]
    assert set(services) == {"postgres", "code", "webserver", "daemon", "dashboard"}
    for name, service in services.items():
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        (file,) = service["env_file"]
        assert (DEPLOY / "compose" / f"{file}.example").exists(), name
        assert not any(variable_ in service["environment"] for variable_ in (*SECRETS, "POSTGRES_PASSWORD")), name
        if name != "postgres":
            assert service["image"] == services["code"]["image"], name
            assert service["cap_drop"] == ["ALL"], name
        else:
            assert re.fullmatch(r"postgres:\d+\.\d+-\w+", service["image"])
    mounted = {mount.split(":")[0] for service in services.values() for mount in service.get("volumes", [])}
    for path in mounted - set(compose["volumes"]):
        assert (DEPLOY / "compose" / path).exists(), path


@pytest.mark.parametrize("file", ["database", "spike", "dashboard"])
def test_compose_s_examples_name_settings_and_no_secret(file: str) -> None:
    names = {variable(name) for name in Settings.model_fields} | {"POSTGRES_PASSWORD", "DAGSTER_PG_PASSWORD"}
    said = dict(re.findall(r"^(\w+)=(.*)$", read(f"deploy/compose/{file}.env.example"), re.MULTILINE))
    assert said
    assert set(said) <= names
    assert {said[name] for name in SECRETS & set(said)} <= {"", "not-for-the-dashboard"}


def test_kubernetes_runs_nobody_as_root() -> None:
    values = yaml.safe_load(read("deploy/kubernetes/values.yaml"))
    (code,) = values["dagster-user-deployments"]["deployments"]
    for part in (code, values["dagsterWebserver"], values["dagsterDaemon"]):
        assert part["podSecurityContext"]["runAsNonRoot"]
        assert part["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert part["image"] == code["image"]
        assert part["envSecrets"] == [{"name": "spike"}]
    dashboard, service, policy = yaml.safe_load_all(read("deploy/kubernetes/dashboard.yaml"))
    pod = dashboard["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["image"] == f"{code['image']['repository']}:{code['image']['tag']}"
    assert service["spec"]["selector"] == pod["metadata"]["labels"] == dashboard["spec"]["selector"]["matchLabels"]
    assert policy["spec"]["podSelector"]["matchLabels"] == pod["metadata"]["labels"]
    values_ = {one["name"]: one.get("value") for one in container["env"]}
    assert values_["OANDA_API_TOKEN"] == "not-for-the-dashboard"  # noqa: S105


def test_the_chart_is_of_dagster_s_release() -> None:
    release = dict(PIN.findall(read("requirements.txt")))["dagster"]
    assert f"--version {release} " in read("deploy/kubernetes/values.yaml")


def test_one_version_of_the_image_is_named_everywhere() -> None:
    (version,) = re.findall(r'^version = "(.+)"$', read("pyproject.toml"), re.MULTILINE)
    compose = yaml.safe_load(read("deploy/compose/compose.yaml"))
    values = yaml.safe_load(read("deploy/kubernetes/values.yaml"))
    assert compose["services"]["code"]["image"] == f"spike:{version}"
    assert values["dagsterDaemon"]["image"]["tag"] == version
    assert f"Version: {version}\\n" in read("deploy/aws/Dockerfile")


# What is installed


def pins(path: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Give version and hashes of each requirement."""
    found = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", read(path)):
        named = PIN.match(block)
        if named:
            found[named[1].lower()] = (named[2], frozenset(HASH.findall(block)))
    return found


@pytest.mark.parametrize("path", ["deploy/requirements.txt", "deploy/function/requirements.txt"])
def test_deployed_requirements_are_those_of_the_suite(path: str) -> None:
    tested, deployed = pins("requirements.txt"), pins(path)
    assert deployed
    assert all(hashes for _, hashes in deployed.values())
    assert "://" not in re.sub(r"#.*", "", read(path))
    both = set(tested) & set(deployed)
    assert {name: deployed[name] for name in both} == {name: tested[name] for name in both}


def test_only_kubernetes_needs_more() -> None:
    assert "dagster-k8s" in set(pins("deploy/requirements.txt")) - set(pins("requirements.txt"))
    assert not set(pins("deploy/function/requirements.txt")) - set(pins("requirements.txt"))


def test_the_function_installs_all_that_it_imports_and_no_dagster() -> None:
    code = (
        "import sys, importlib.metadata as m\n"
        "import spike_assets.cloud\n"
        "alone = [n for n in sys.modules if n.startswith(('dagster', 'functions_framework', 'duckdb', 'psycopg'))]\n"
        "import spike_assets.sources.oanda, spike_assets.store.duckdb_engine, spike_assets.store.postgres_engine\n"
        "import spike_assets.alerts.channels.apprise_url, apprise, functions_framework\n"
        "of = m.packages_distributions()\n"
        "files = {n for n, module in sys.modules.items() if getattr(module, '__file__', None) and '.' not in n}\n"
        "print(*alone)\n"
        "print(*{d.lower().replace('_', '-') for n in files - {'_distutils_hack'} for d in of.get(n, [])})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    brought_by_the_functions, imported = done.stdout.splitlines()
    assert brought_by_the_functions == ""
    installed = set(pins("deploy/function/requirements.txt"))
    assert not {name for name in installed if "dagster" in name}
    assert set(imported.split()) - installed <= {"spike-assets", "pytz"}  # which pandas takes where it is
