"""The dashboard, the alert rules and docs/metrics.md name what a server exports, and all of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock
from twisted.web.resource import Resource

from djoauth2_twisted import AuthorizationServer
from djoauth2_twisted.metrics import Metrics
from djoauth2_twisted.metrics.sums import Sums
from djoauth2_twisted.standalone.connections import Connections
from djoauth2_twisted.web.site import LimitedSite

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "metrics.md").read_text("utf-8")
PROMETHEUS = ROOT / "deploy" / "prometheus"
ALERTS = (PROMETHEUS / "alerts.yml").read_text("utf-8")
DASHBOARD = (ROOT / "deploy" / "grafana" / "djoauth2.json").read_text("utf-8")

#: What Prometheus adds to the names of a histogram.
PARTS = ("_bucket", "_count", "_sum")


def exported() -> dict[str, str]:
    """The type of each metric of a stand-alone server, by its name."""
    reactor: Any = MemoryReactorClock()
    metrics = Metrics()
    AuthorizationServer.from_url(reactor, "sqlite://", issuer="https://as.example", metrics=metrics)
    metrics.watch_connections(Connections(LimitedSite(Resource(), reactor)), [])
    text = metrics.text() + Sums().text(2, 0)
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text.decode(), re.MULTILINE))


def documented() -> dict[str, str]:
    """The type of each metric in the tables of the page."""
    return dict(re.findall(r"^\| `([a-z0-9_]+)` \| (counter|gauge|histogram) \|", PAGE, re.MULTILINE))


def named(text: str) -> set[str]:
    """The metrics that a text names, without the parts of histograms."""
    names = set(re.findall(r"\b(?:djoauth2|process)_[a-z0-9_]+\b", text)) - {"djoauth2_twisted"}
    return {
        next((name.removesuffix(part) for part in PARTS if name.endswith(part)), name) for name in names
    }


def test_each_metric_is_documented_with_its_type() -> None:
    assert documented() == exported()
    assert len(exported()) > 30


@pytest.mark.parametrize("text", [ALERTS, DASHBOARD], ids=["alerts", "dashboard"])
def test_files_name_only_metrics_that_exist(text: str) -> None:
    names = named(text)
    assert len(names) > 10
    assert names - set(exported()) == set()


def test_dashboard_shows_every_metric_of_the_server() -> None:
    """But for two of the process that no panel needs."""
    missing = set(exported()) - named(DASHBOARD)
    assert missing == {"process_virtual_memory_bytes", "process_start_time_seconds"}
    panels = json.loads(DASHBOARD)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)


def labels_of(names: set[str]) -> set[str]:
    """The labels that the page gives to metrics."""
    rows = re.findall(r"^\| `([a-z0-9_]+)` \| \w+ \| ([^|]*) \|", PAGE, re.MULTILINE)
    return {label for name, labels in rows if name in names for label in labels.split(", ") if label}


@pytest.mark.parametrize("text", [ALERTS, DASHBOARD], ids=["alerts", "dashboard"])
def test_files_select_only_labels_that_exist(text: str) -> None:
    """`instance` and `job` are Prometheus's own, and `le` is of every histogram."""
    selected = set(re.findall(r"[{,] ?([a-z_]+)(?:=~|=|!=)\\?\"", text))
    grouped = {label for each in re.findall(r"by \(([a-z_, ]+)\)", text) for label in each.split(", ")}
    assert selected
    assert selected | grouped <= labels_of(named(text)) | {"instance", "job", "le"}


def test_each_alert_is_documented_and_tested() -> None:
    alerts = re.findall(r"^ +- alert: (\w+)$", ALERTS, re.MULTILINE)
    assert re.findall(r"^\| `(Djoauth2\w+)` \|", PAGE, re.MULTILINE) == alerts
    tests = (PROMETHEUS / "alerts_test.yml").read_text("utf-8")
    fired = re.findall(r"alertname: (\w+), exp_alerts: \[\{", tests)
    assert sorted(fired) == sorted(alerts)


@pytest.mark.skipif(
    shutil.which("promtool") is None and not os.environ.get("CI"), reason="promtool is not installed"
)
@pytest.mark.parametrize(
    "command", [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]]
)
def test_promtool_accepts_the_rules(command: list[str]) -> None:
    done = subprocess.run(
        ["promtool", *command], cwd=PROMETHEUS, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
