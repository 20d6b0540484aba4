from pathlib import Path

import pytest
import yaml

import autoprune
from autoprune import _resources
from autoprune._resources import FOLDERS, cache_dir, names, resource
from autoprune.errors import ConfigError


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_explains_itself(folder: str) -> None:
    assert resource(folder, "README.md").read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_folder_holds_python(folder: str) -> None:
    assert names(folder, ".py") == []


def test_names_come_without_their_suffix() -> None:
    assert "local" in names("runners", ".yaml")


@pytest.mark.parametrize("name", names("runners", ".yaml"))
def test_every_runner_says_its_kind(name: str) -> None:
    runner = yaml.safe_load(resource("runners", f"{name}.yaml").read_text(encoding="utf-8"))
    assert "kind" in runner


def test_an_unknown_file_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"runners/locl\.yaml.*Did you mean 'local\.yaml'"):
        resource("runners", "locl.yaml")


def test_a_file_outside_the_folder_is_never_found() -> None:
    with pytest.raises(ConfigError, match="ships no"):
        resource("runners", "../pyproject.toml")


def test_an_unknown_folder_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'runners'"):
        resource("runner", "local.yaml")


def test_the_package_comes_before_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged = _tree(tmp_path / "autoprune/_data/runners")
    _tree(tmp_path / "runners")
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(_resources, "_PACKAGE", tmp_path / "autoprune")
    assert resource("runners", "a.yaml") == packaged / "a.yaml"


def test_a_folder_beside_an_installed_package_is_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _tree(tmp_path / "runners")
    monkeypatch.setattr(_resources, "_PACKAGE", tmp_path / "autoprune")
    with pytest.raises(ConfigError, match="Install it again"):
        resource("runners", "a.yaml")


def test_the_cache_is_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOPRUNE_CACHE", str(tmp_path / "deep/cache"))
    assert cache_dir() == tmp_path / "deep/cache"
    assert cache_dir().is_dir()


def test_the_cache_is_in_the_home_folder_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AUTOPRUNE_CACHE", raising=False)
    assert cache_dir() == tmp_path / ".cache/autoprune"


def test_a_cache_that_cannot_be_made_is_an_error_that_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AUTOPRUNE_CACHE", str(tmp_path / "file/cache"))
    with pytest.raises(ConfigError, match="Set AUTOPRUNE_CACHE"):
        cache_dir()


def _tree(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "a.yaml").write_text("kind: local\n", encoding="utf-8")
    return folder


def test_every_folder_of_modules_is_a_package() -> None:
    """One without is none to import-linter, and easily lost: .gitignore hid one named runs."""
    package = Path(autoprune.__file__).parent
    folders = {file.parent for file in package.rglob("*.py")}
    bare = {
        str(one.relative_to(package)) for one in folders if not (one / "__init__.py").is_file()
    }
    assert bare == {"storage/migrations", "storage/migrations/versions"}
