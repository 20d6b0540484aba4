"""Asks a database what the panels of our Grafana dashboards ask, with the SQL that Grafana sends.

Variables are filled in as by Grafana's `interpolateVariable` of SQL data sources and by its format
`sqlstring`, which escapes quotation marks, too, since dashboards are scenes (Grafana 11).
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from autoprune._resources import names, resource

Rows = list[dict[str, Any]]
BOARDS = [name for name in names("dashboards", ".json") if name.startswith("grafana/")]


def board(name: str) -> dict[str, Any]:
    """Return a dashboard by its name, such as ``grafana/search``."""
    found: dict[str, Any] = json.loads(
        resource("dashboards", f"{name}.json").read_text(encoding="utf-8")
    )
    return found


class Grafana:
    """One dashboard over a database.

    Args:
        connection: The database.
        name: Name of the dashboard.
        since: From when on time series are asked for; a day if left out.
    """

    def __init__(
        self, connection: Connection, name: str, *, since: datetime | None = None
    ) -> None:
        self._connection, content = connection, board(f"grafana/{name}")
        self.panels = [one for one in content["panels"] if one["type"] != "row"]
        (self._variable,) = (o for o in content["templating"]["list"] if o["name"] == "run")
        now = datetime.now(UTC)
        self._span = (since or now - timedelta(days=1), now + timedelta(minutes=1))

    def runs(self) -> dict[str, str]:
        """Return what may be chosen as the run: values by what is shown."""
        found: dict[str, str] = {}
        for row in self._rows(self._variable["query"]):
            shown = str(row.get("__text", row.get("name")))
            found[shown] = str(row.get("__value", shown))
        return found

    def all(self, *runs: str) -> dict[str, Rows]:
        """Return what all panels show, by title, of runs that are chosen by name."""
        known = self.runs()
        return self.of_values([known[one] for one in runs])

    def of_values(self, values: Sequence[str]) -> dict[str, Rows]:
        """Return what all panels show, by title, where the variable has these values."""
        return {one["title"]: self._rows(self._filled_in(one, values)) for one in self.panels}

    def _filled_in(self, panel: Mapping[str, Any], values: Sequence[str]) -> str:
        (target,) = panel["targets"]
        variable = self._variable
        literals = ",".join(_literal(one) for one in values)
        several = variable["multi"] or variable["includeAll"]
        plain = literals if several else values[0].replace("'", "''")
        sqlstring = ",".join(_literal(one.replace('"', r"\"")) for one in values)
        kinds = {"${run:sqlstring}": sqlstring, "${run}": plain, "$run": plain}
        sql = re.sub(
            r"\$\{run(:sqlstring)?\}|\$run\b", lambda found: kinds[found[0]], target["rawSql"]
        )
        return self._without_macros(sql)

    def _without_macros(self, sql: str) -> str:
        low, high = (_literal(one.isoformat().replace("+00:00", "Z")) for one in self._span)
        sql = sql.replace("$__interval", "1m")
        sql = re.sub(r"\$__timeFilter\(([^)]*)\)", rf"\1 BETWEEN {low} AND {high}", sql)
        group = r'floor(extract(epoch from \1)/60)*60 AS "time"'
        return re.sub(r"\$__timeGroupAlias\(([^),]*),\s*1m\)", group, sql)

    def _rows(self, sql: str) -> Rows:
        escaped = sql.replace(":", r"\:").replace(r"\:\:", "::")
        with self._connection.begin():
            return [dict(row) for row in self._connection.execute(text(escaped)).mappings()]


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
