"""Every file of dashboards/ is explained."""

import pytest

from autoprune._resources import names, resource

FILES = [name for name in names("dashboards", "") if name != "README.md"]


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_told_of(name: str) -> None:
    assert f"`{name}`" in resource("dashboards", "README.md").read_text(encoding="utf-8")


def test_there_are_files() -> None:
    assert {"report.md.j2", "optuna/study.md.j2", "grafana/searches.json"} <= set(FILES)
