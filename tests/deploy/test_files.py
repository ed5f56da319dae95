"""The files under deploy/, checked without an engine: schema, pins, privileges, secrets, settings, queries."""

from __future__ import annotations

import importlib
import json
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import promql_parser
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from compose_file import DEPLOY, OURS, composed, raw, used_variables, variables
from prometheus_client import REGISTRY
from queries import alerts, metric_names, panels

from regrow.local import certificates
from services.common.settings import CommonSettings
from services.gateway.settings import GatewaySettings
from services.labeling.settings import LabelingSettings
from services.registry.settings import RegistrySettings
from services.training.settings import TrainingSettings

SETTINGS: dict[str, type[CommonSettings]] = {
    "gateway": GatewaySettings, "labeling": LabelingSettings, "registry": RegistrySettings, "training": TrainingSettings,
}  # fmt: skip
METERS = (
    "services.common.objects.measured", "services.gateway.calls", "services.gateway.inference.meters",
    "services.gateway.inference.prediction_log", "services.gateway.appending", "services.gateway.audit.trail",
    "services.gateway.feedback.from_log", "services.labeling.feedback.meters",
    "services.labeling.feedback.fates", "services.registry.meters", "services.training.meters",
)  # fmt: skip
"""Modules that make the meters of all services, beside those of `services.common`."""
COMPOSE, ALL = raw(), composed()


def test_the_compose_file_is_valid_by_the_specifications_schema() -> None:
    schema = get_builtin_schema("vendor.compose-spec")
    content = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    jsonschema.validators.validator_for(schema)(schema).validate(content)
    broken = {**content, "services": {**content["services"], "gateway": {"imge": "x"}}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validators.validator_for(schema)(schema).validate(broken)


def test_the_file_that_adds_tls_gives_each_service_the_certificates_that_regrow_certs_makes(tmp_path: Path) -> None:
    content = yaml.safe_load((DEPLOY / "compose.tls.yaml").read_text())
    schema = get_builtin_schema("vendor.compose-spec")
    jsonschema.validators.validator_for(schema)(schema).validate(content)
    made = certificates.make(tmp_path / "certs")
    assert set(content["services"]) == set(OURS)
    for name, service in content["services"].items():
        mounted = {there: made.parent / here for here, there, _ in (volume.split(":") for volume in service["volumes"])}
        assert all(volume.endswith(":ro") for volume in service["volumes"])
        for variable, path in service["environment"].items():
            folder, _, file = path.rpartition("/")
            assert (mounted[folder] / file).is_file(), (name, variable)
            assert variable.removeprefix("REGROW_").lower() in CommonSettings.model_fields
    assert content["services"]["gateway"]["healthcheck"]["test"] == [*ALL["gateway"]["healthcheck"]["test"], "--public"]


@pytest.mark.parametrize("name", list(ALL))
def test_every_image_is_pinned_and_every_service_is_checked_for_health_and_restarted(name: str) -> None:
    service = ALL[name]
    _, _, tag = service["image"].partition(":")
    assert tag and tag != "latest" and re.search(r"\d+\.\d+|\d{4}-\d\d-\d\d", tag)
    assert service["healthcheck"]["test"][0] == "CMD" and service["restart"] == "unless-stopped"
    assert "no-new-privileges:true" in service["security_opt"] and not service.get("privileged")


@pytest.mark.parametrize("name", OURS)
def test_our_services_run_without_privileges_on_a_root_that_they_cannot_write(name: str) -> None:
    service = ALL[name]
    assert service["user"] == "10001:10001" and service["read_only"] and service["cap_drop"] == ["ALL"]
    assert service["volumes"] == [f"{name}-data:/data"] and service["environment"]["REGROW_DATA_DIR"] == "/data"
    for engine in ("kafka", "minio", "postgres"):
        assert service["depends_on"][engine] == {"condition": "service_healthy"}


def test_only_the_gateway_and_grafana_can_be_reached_from_outside() -> None:
    assert {name for name, service in ALL.items() if service.get("ports")} == {"gateway", "grafana"}
    assert {name for name, service in ALL.items() if "front" in service["networks"]} == {"gateway", "grafana"}
    assert COMPOSE["networks"]["back"]["internal"] is True


def test_whatever_a_service_names_is_declared() -> None:
    for name, service in ALL.items():
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"]), name
        assert set(service["networks"]) <= set(COMPOSE["networks"]), name
        assert set(service.get("depends_on", {})) <= set(ALL), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], volume


def test_no_secret_is_in_the_file_and_each_that_is_named_is_mounted_where_the_service_looks() -> None:
    for name, service in ALL.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"TOKEN|PASSWORD|SECRET|DATABASE_URL|PEPPER", variable):
                assert variable.endswith("_FILE"), f"{name}: {variable}"
                assert value.removeprefix("/run/secrets/") in service["secrets"], f"{name}: {variable}"


@pytest.mark.parametrize("name", OURS)
def test_every_variable_of_ours_is_a_setting_of_that_service(name: str) -> None:
    settings = SETTINGS[name]
    own = str(settings.model_config["env_prefix"])
    common = {f"REGROW_{field}".upper() for field in CommonSettings.model_fields}
    known = common | {f"{own}{field}".upper() for field in settings.model_fields}
    told = {variable.removesuffix("_FILE") if "/run/secrets/" in value else variable
            for variable, value in ALL[name]["environment"].items()}  # fmt: skip
    assert {variable for variable in told if variable.startswith("REGROW_")} <= known


def test_the_example_environment_has_every_variable_and_no_other() -> None:
    assert set(variables()) == used_variables()


def test_secrets_are_made_once_and_are_all_that_the_file_names(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    script = [sys.executable, str(DEPLOY / "make_secrets.py"), str(folder)]
    subprocess.run(script, check=True, capture_output=True)
    first = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(first) == {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}
    assert len(set(first.values())) == len(first) and all(len(value) >= 32 for value in first.values())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    subprocess.run(script, check=True, capture_output=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == first


def _stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage of the Dockerfile, under its name."""
    text = re.sub(r"\\\n", " ", (DEPLOY / "Dockerfile").read_text())
    stages: dict[str, list[tuple[str, str]]] = {}
    for line in (line for line in text.splitlines() if line.strip() and not line.startswith("#")):
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            base, _, name = rest.partition(" AS ")
            stages[name] = [("FROM", base)]
        else:
            list(stages.values())[-1].append((instruction, rest.strip()))
    return stages


def test_the_dockerfile_has_an_unprivileged_stage_for_each_service_that_runs_what_compose_runs() -> None:
    stages = _stages()
    for name in OURS:
        build = ALL[name]["build"]
        assert build["target"] == name and (DEPLOY / build["context"] / build["dockerfile"]).samefile(DEPLOY / "Dockerfile")
        stage = dict(stages[name])
        assert stage["USER"] == ALL[name]["user"] and stage["FROM"] == "base"
        assert json.loads(stage["CMD"]) == ALL[name]["command"]


def test_the_build_sees_what_the_dockerfile_copies_and_nothing_else_of_the_clone() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    ignored = [line for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] not in ("#", "")]
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == {one for line in copied for one in line.split()}


def test_images_are_built_from_the_lock_file_and_only_training_has_torch() -> None:
    stages = _stages()
    installs = {name: rest for name, stage in stages.items() for instruction, rest in stage
                if instruction == "RUN" and "pip install" in rest}  # fmt: skip
    assert set(installs) == {f"{name}-packages" for name in OURS}
    for name, line in installs.items():
        assert "-c constraints.txt" in line and "--no-cache-dir" in line
        assert ("training" in line) == name.startswith("training")
        assert f".[{name.removesuffix('-packages')},engines]" in line
    bases = {dict(stage)["FROM"] for stage in stages.values()} - set(stages)
    assert all(re.fullmatch(r"[a-z/]+:\d+\.\d+\.\d+[\w.-]*", base) for base in bases)
    assert not [1 for stage in stages.values() for instruction, _ in stage if instruction == "ADD"]


def test_prometheus_scrapes_each_service_at_the_port_that_it_is_given() -> None:
    content = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
    (job,) = content["scrape_configs"]
    expected = {f"{name}:{ALL[name]['environment']['REGROW_METRICS_PORT']}" for name in OURS}
    assert set(job["static_configs"][0]["targets"]) == expected
    assert all((DEPLOY / "prometheus" / file).is_file() for file in content["rule_files"])


def _exposed() -> set[str]:
    """Every sample name of the meters of all services."""
    for module in METERS:
        importlib.import_module(module)
    found = {"up"}
    for family in REGISTRY.collect():
        found |= {sample.name for sample in family.samples} | {family.name}
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(family.type, [])
        found |= {family.name + suffix for suffix in suffixes}
    return found


def _queries() -> Iterator[tuple[str, str]]:
    yield from panels(DEPLOY / "grafana" / "dashboards" / "regrow.json")
    yield from ((rule["alert"], rule["expr"]) for rule in alerts(DEPLOY / "prometheus" / "alerts.yaml"))


@pytest.mark.parametrize(("where", "query"), list(_queries()))
def test_every_query_of_dashboard_and_alerts_can_be_parsed_and_names_metrics_that_exist(where: str, query: str) -> None:
    names = metric_names(query)
    assert names and names <= _exposed(), where


def test_the_operators_guide_names_every_metric_of_ours_and_no_other() -> None:
    there = _exposed()
    families = [f for f in REGISTRY.collect() if f.name.startswith("regrow_") and not f.name.startswith("regrow_test_")]
    ours = {family.name + "_total" * (family.type == "counter") for family in families}
    told = set(re.findall(r"`(regrow_[a-z_]+)`", (DEPLOY.parent / "docs" / "operations.md").read_text()))
    assert told - there == set()
    assert ours - told == set()


def test_a_query_of_a_metric_that_nobody_has_would_be_noticed() -> None:
    assert metric_names('sum(rate(regrow_apples_total{code="OK"}[5m])) / regrow_ready') == {
        "regrow_apples_total",
        "regrow_ready",
    }
    assert "regrow_apples_total" not in _exposed()
    with pytest.raises(ValueError):
        promql_parser.parse("sum(rate(regrow_ready[5m])")


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    for rule in alerts(DEPLOY / "prometheus" / "alerts.yaml"):
        assert rule["annotations"]["summary"].endswith(".") and rule["annotations"]["action"].endswith("."), rule["alert"]
        assert rule["labels"]["severity"] in ("page", "warn")


def test_the_dashboard_uses_the_data_source_that_is_provisioned_and_its_panels_do_not_overlap() -> None:
    dashboard: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboards" / "regrow.json").read_text())
    sources = yaml.safe_load((DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yaml").read_text())
    (source,) = sources["datasources"]
    cells: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == source["uid"] and panel["title"]
        box = panel["gridPos"]
        own = {(x, y) for x in range(box["x"], box["x"] + box["w"]) for y in range(box["y"], box["y"] + box["h"])}
        assert not own & cells and box["x"] + box["w"] <= 24, panel["title"]
        cells |= own
