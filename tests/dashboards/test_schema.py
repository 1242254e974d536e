"""The dashboards' JSON has the types of Grafana's own schema, each panel those of its kind."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.dashboards.grafana import dashboards, panels
from tests.support.child_process import cache_directory
from tests.support.require import ENVIRONMENT, absent

LOCK = Path(__file__).parent / "schema" / "package-lock.json"
COMPOSABLE = "@grafana/schema/dist/esm/raw/composable"
# `Plain` makes of the schema's enums what JSON has: their values.
TYPES = f"""
import type {{ Dashboard, FieldConfigSource, Panel, RowPanel }} from "@grafana/schema";
import type * as stat from "{COMPOSABLE}/stat/panelcfg/x/StatPanelCfg_types.gen.d.ts";
import type * as table from "{COMPOSABLE}/table/panelcfg/x/TablePanelCfg_types.gen.d.ts";
import type * as series from "{COMPOSABLE}/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen.d.ts";

type Plain<T> =
  T extends string ? `${{T}}`
  : T extends Array<infer U> ? Plain<U>[]
  : T extends object ? {{ [K in keyof T]: Plain<T[K]> }}
  : T;
type Typed<O, F> = Plain<
  Omit<Panel, "options" | "fieldConfig"> & {{ options: Partial<O>; fieldConfig: FieldConfigSource<Partial<F>> }}
>;
type Kinds = {{
  row: Plain<RowPanel>;
  stat: Typed<stat.Options, object>;
  table: Typed<table.Options, table.FieldConfig>;
  timeseries: Typed<series.Options, series.FieldConfig>;
}};
"""
CONFIGURATION = {
    "files": ["check.ts"],
    "compilerOptions": {
        "noEmit": True,
        "strict": True,
        "skipLibCheck": True,
        "module": "esnext",
        "moduleResolution": "bundler",
        "target": "es2022",
    },
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory in which the schema's packages are installed."""
    place = cache_directory() / f"grafana-schema-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"
    if not (place / "node_modules" / ".package-lock.json").exists():
        absent("grafana-schema", f"{place} is not there; run tests/dashboards/schema/install")
    (tmp_path / "node_modules").symlink_to(place / "node_modules")
    return tmp_path


def complaints(project: Path, boards: Mapping[str, dict[str, Any]]) -> str:
    """What the compiler says about the types of dashboards; empty where it is content."""
    node = shutil.which("node", path=ENVIRONMENT.get("PATH"))
    if node is None:
        absent("grafana-schema", "node is not on PATH")
    lines = [TYPES]
    for number, board in enumerate(boards.values()):
        lines.append(f"export const board{number}: Plain<Dashboard> = {json.dumps(board)};")
        for panel in board["panels"]:
            kind = f'Kinds["{panel["type"]}"]'
            lines.append(f"export const panel{number}_{panel['id']}: {kind} = {json.dumps(panel)};")
    (project / "check.ts").write_text("\n".join(lines), encoding="utf-8")
    (project / "tsconfig.json").write_text(json.dumps(CONFIGURATION), encoding="utf-8")
    compiler = project / "node_modules" / "typescript" / "bin" / "tsc"
    done = subprocess.run(
        [node, str(compiler), "--project", "."],
        cwd=project,
        env={"PATH": ENVIRONMENT.get("PATH", "")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode == 0) == (not done.stdout), done.stderr
    return done.stdout


def test_the_dashboards_have_the_types_of_grafanas_schema(project: Path) -> None:
    assert not complaints(project, dashboards())


def test_wrong_types_and_unknown_keys_would_be_found(project: Path) -> None:
    boards = deepcopy(dashboards())
    stat, *_ = (panel for panel in panels(boards["cost-and-tokens.json"]) if panel["type"] == "stat")
    stat["options"]["colorMode"] = "rainbow"
    series, *_ = (panel for panel in panels(boards["agents.json"]) if panel["type"] == "timeseries")
    series["gridPos"]["w"] = "12"
    boards["telemetry-health.json"]["templating"]["list"][0]["nonsense"] = True
    said = complaints(project, boards)
    assert "rainbow" in said
    assert "Type 'string' is not assignable to type 'number'" in said
    assert "nonsense" in said
