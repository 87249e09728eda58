"""Alert rules and the dashboard: of the right form, and about metrics that there are."""

import json
import pathlib
import re
import shutil
import subprocess
import time

import pytest
import yaml

from serving.local_server.metrics import Metrics

MONITORING = pathlib.Path(__file__).parents[2] / "serving" / "kubernetes" / "monitoring"
SPEC = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["spec"]
ALERTS = [rule for group in SPEC["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
# Of Prometheus itself, for each server that it asks.
UP = "up"
METRIC = re.compile(r":\w+(?::\w+)+|\bup\b")


def expressions():
    """Where each expression stands, and its text."""
    for rule in ALERTS:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]


EXPRESSIONS = list(expressions())


@pytest.fixture(scope="module")
def exported():
    """Metrics and their labels, of a server that has answered a request."""
    metrics = Metrics()
    metrics.request("cats", "Predict", "REST", "OK", time.perf_counter())
    metrics.examples("cats", 3)
    found = {UP: {"service", "instance"}}
    for line in metrics.page().decode().splitlines():
        if not line.startswith("#"):
            name, labels = re.match(r"([\w:]+)(?:\{(.*)\})? ", line).groups()
            found[name] = set(re.findall(r'(\w+)="', labels or ""))
    return found


@pytest.mark.parametrize(("place", "expression"), EXPRESSIONS)
def test_every_metric_is_exported(place, expression, exported):
    names = METRIC.findall(expression)
    assert names
    assert set(names) <= exported.keys(), place


@pytest.mark.parametrize(("place", "expression"), EXPRESSIONS)
def test_every_label_is_exported(place, expression, exported):
    known = set().union(*(exported[name] for name in METRIC.findall(expression)))
    in_braces = re.findall(r"\{([^}]*)\}", expression)
    selected = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", ",".join(in_braces))
    grouped = re.findall(r"\bby \(([^)]*)\)", expression)
    named = {*selected, *re.findall(r"\w+", ",".join(grouped))}
    assert named <= known, place


def test_metrics_are_told_from_names_that_are_none(exported):
    assert METRIC.findall("sum(rate(:a:b:c_total[5m])) / up") == [":a:b:c_total", "up"]
    assert ":tensorflow:serving:request_count" in exported
    assert ":tensorflow:serving:requests" not in exported


def test_alerts_name_a_severity_and_what_to_do():
    names = [rule["alert"] for rule in ALERTS]
    assert len(set(names)) == len(names) > 1
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description"}


def test_panels_lie_beside_each_other():
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    cells = [
        (place["x"] + across, place["y"] + down)
        for place in places
        for across in range(place["w"])
        for down in range(place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert all(place["x"] + place["w"] <= 24 for place in places)
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


@pytest.fixture
def promtool():
    """Runs promtool with some words; its output."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool here (Debian: apt install prometheus)")

    def run(*words):
        done = subprocess.run(
            [program, *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_promtool_takes_the_rules(promtool, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump(SPEC))
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", str(rules))


def test_promtool_takes_what_the_dashboard_asks(promtool, tmp_path):
    asked = [
        {
            "record": f"dashboard:{place}",
            "expr": target["expr"]
            .replace("$__rate_interval", "5m")
            .replace("$model", "cats"),
        }
        for place, target in enumerate(
            target for panel in DASHBOARD["panels"] for target in panel["targets"]
        )
    ]
    rules = tmp_path / "asked.yaml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": asked}]}))
    promtool("check", "rules", str(rules))


# Alert -> series of a server that gives cause for it: name with labels, values a minute.
CAUSES = {
    "ModelServerDown": {'up{service="tensorflow-serving", instance="a"}': "0x30"},
    "ModelServersAbsent": {'up{service="other"}': "1x30"},
    "ModelServerErrors": {
        ':tensorflow:serving:request_count{model_name="cats", status="OK"}': "0+95x30",
        ':tensorflow:serving:request_count{model_name="cats", status="INTERNAL"}': "0+5x30",
    },
    "ModelServerOverloaded": {
        ':tensorflow:serving:request_count{model_name="cats", status="UNAVAILABLE"}': "0+60x30",
    },
    "ModelServerSlow": {
        ':tensorflow:serving:request_latency_bucket{model_name="cats", le="1e+06"}': "0+90x30",
        ':tensorflow:serving:request_latency_bucket{model_name="cats", le="4e+06"}': "0+99x30",
        ':tensorflow:serving:request_latency_bucket{model_name="cats", le="+Inf"}': "0+100x30",
    },
}
# A server that is well: half of its clients send broken images.
WELL = {
    'up{service="tensorflow-serving", instance="a"}': "1x30",
    ':tensorflow:serving:request_count{model_name="cats", status="OK"}': "0+100x30",
    ':tensorflow:serving:request_count{model_name="cats", status="INVALID_ARGUMENT"}': "0+100x30",
    ':tensorflow:serving:request_latency_bucket{model_name="cats", le="1e+06"}': "0+200x30",
    ':tensorflow:serving:request_latency_bucket{model_name="cats", le="+Inf"}': "0+200x30",
}


def series(values):
    return [{"series": name, "values": each} for name, each in values.items()]


@pytest.mark.parametrize("alert", CAUSES)
def test_each_alert_fires_for_its_cause_alone(alert, promtool, tmp_path):
    assert set(CAUSES) == {rule["alert"] for rule in ALERTS}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(SPEC))
    asked = [
        # Whatever its labels: as many alerts as expected.
        (
            CAUSES[alert],
            f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})',
            1,
        ),
        (WELL, f'count(ALERTS{{alertname="{alert}"}}) or vector(0)', 0),
    ]
    tests = [
        {
            "interval": "1m",
            "input_series": series(values),
            "promql_expr_test": [
                {
                    "expr": expression,
                    "eval_time": "25m",
                    "exp_samples": [{"labels": "{}", "value": count}],
                }
            ],
        }
        for values, expression, count in asked
    ]
    document = {"rule_files": ["rules.yaml"], "tests": tests}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(document))
    assert "SUCCESS" in promtool("test", "rules", str(tmp_path / "tests.yaml"))
