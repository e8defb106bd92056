"""Versions, citations, workflows and forms say the same, and are what their readers take."""

import datetime
import importlib.util
import re
import tomllib
from typing import Any

import pytest
import yaml

import atc
from tests.tracked import ROOT, tracked

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
URLS = PYPROJECT["project"]["urls"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
AUTHORS = [
    ("Haurum", "Joakim Bruslund"),
    ("Escalera", "Sergio"),
    ("Taylor", "Graham W."),
    ("Moeslund", "Thomas B."),
]


def test_what_pypi_shows_leads_to_the_repository() -> None:
    shown = PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    relative = re.findall(r"\]\((?!https?://)([^)#]+)", text)
    assert len(relative) > 20
    for one in shown["substitutions"]:
        text = re.sub(one["pattern"], one["replacement"], text)
    assert re.findall(r"\]\((?!https?://)[^)]*\)", text) == []
    raw = URLS["Source"].replace("github.com", "raw.githubusercontent.com")
    for link in relative:
        assert any(f"]({where}/{link}" in text for where in (f"{raw}/main", f"{URLS['Source']}/blob/main")), link
    assert f"]({raw}/main/docs/merging.png)" in text
    assert URLS["Source"] in shown["fragments"][0]["text"]


def test_one_version() -> None:
    assert PYPROJECT["project"]["dynamic"] == ["version", "readme"]
    assert PYPROJECT["tool"]["hatch"]["version"] == {"path": "atc/__init__.py"}
    assert CITATION["version"] == atc.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", atc.__version__)


def test_addresses_are_of_one_repository() -> None:
    assert {"Homepage", "Documentation", "Source", "Issues", "Changelog"} == set(URLS)
    source = URLS["Source"]
    assert all(URLS[name].startswith(source) for name in ("Homepage", "Issues", "Changelog"))
    assert CITATION["repository-code"] == source


def test_the_citation_is_complete() -> None:
    """The keys that version 1.2.0 of the format requires, of the software and of both papers."""
    assert CITATION["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(CITATION)
    assert CITATION["license"] == PYPROJECT["project"]["license"]
    assert CITATION["authors"] == [{"name": one["name"]} for one in PYPROJECT["project"]["authors"]]
    papers = {one["url"].rpartition("/")[2]: one for one in CITATION["references"]}
    assert {number: paper["year"] for number, paper in papers.items()} == {"2409.11923": 2024, "2308.04657": 2023}
    for number, paper in papers.items():
        assert {"type", "title", "authors"} <= set(paper)
        assert [(one["family-names"], one["given-names"]) for one in paper["authors"]] == AUTHORS
        assert [one["value"] for one in paper["identifiers"]] == [f"arXiv:{number}"]
    assert CITATION["preferred-citation"] == papers["2409.11923"]


def test_pre_commit_has_the_version_of_ruff_that_is_tested() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (pinned,) = re.findall(r"^ruff==(.*)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert repository["rev"] == f"v{pinned}"
    assert [hook["id"] for hook in repository["hooks"]] == ["ruff-check", "ruff-format"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows(path: Any) -> None:
    """Actions are pinned to commits, with their version beside; nothing may be written but where a job says so."""
    text = path.read_text()
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert True in workflow  # `on`, as YAML 1.1 reads it
    for job in workflow["jobs"].values():
        assert set(job.get("needs", []) if isinstance(job.get("needs"), list) else [job.get("needs")]) <= {
            None,
            *workflow["jobs"],
        }
        assert re.fullmatch(r"ubuntu-24\.04|\$\{\{ matrix\.os \}\}", job["runs-on"])
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])
    used = re.findall(r"uses: (.*)", text)
    assert [one for one in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one)] == []


def test_workflows_call_what_there_is() -> None:
    texts = {path.stem: path.read_text() for path in WORKFLOWS}
    assert set(texts) == {"ci", "docs", "release"}
    assert "- run: bash .ci/run" in texts["ci"]
    assert "python -m sphinx -W --keep-going -b html docs" in texts["docs"]
    assert "docs" in PYPROJECT["project"]["optional-dependencies"]
    for name in re.findall(r"\.ci/\w+(?:\.py)?", "".join(texts.values())):
        assert (ROOT / name).is_file(), name
    pinned = dict(re.findall(r"^(\w+)==(.*)$", (ROOT / "constraints.txt").read_text(), re.M))
    assert f"build=={pinned['build']}" in texts["release"]
    jobs = yaml.safe_load(texts["release"])["jobs"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["publish"]["if"] == "github.ref_type == 'tag'"
    assert set(jobs["publish"]["needs"]) == set(jobs) - {"publish"}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_forms(path: Any) -> None:
    """As GitHub reads them: a name, a description, and fields with ids of their own."""
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= set(form)
    kinds = {field["type"] for field in form["body"]}
    assert kinds <= {"textarea", "input", "checkboxes", "dropdown", "markdown"}
    ids = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert len(ids) == len(set(ids)) > 1
    assert all(field["attributes"]["label"] for field in form["body"] if field["type"] != "markdown")


def test_forms_ask_for_what_there_is_to_compute_with() -> None:
    assert [path.stem for path in FORMS] == ["bug", "feature", "number"]
    for stem in ("bug", "number"):
        assert "`python -m atc.info`" in (ROOT / ".github" / "ISSUE_TEMPLATE" / f"{stem}.yml").read_text()
    assert "## Benchmark" in (ROOT / ".github" / "pull_request_template.md").read_text()
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]
    assert [one["package-ecosystem"] for one in updates] == ["github-actions", "pip"]


def test_the_licence_is_that_of_the_metadata() -> None:
    first, _, holder, *_ = (ROOT / "LICENSE").read_text().splitlines()
    assert first == f"{PYPROJECT['project']['license']} License"
    year, name = re.fullmatch(r"Copyright \(c\) (\d+) (.*)", holder).groups()  # type: ignore[union-attr]
    assert name == PYPROJECT["project"]["authors"][0]["name"]
    assert 2024 <= int(year) <= datetime.date.today().year + 1


def test_the_sdist_holds_what_the_project_is_made_of() -> None:
    """Every top-level entry that is no setting of a tool."""
    kept = {name.removeprefix("/") for name in PYPROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]}
    always = {"pyproject.toml", "README.md", "LICENSE", ".gitignore"}  # hatchling's
    tops = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert {one for one in tops if one not in kept | always} == set()
    assert all((ROOT / name).exists() for name in kept)


def test_the_changelog_lists_public_names_once_and_nothing_else() -> None:
    """Of the library all; of what files of their own add, a method for one, those listed are there."""
    text = (ROOT / "CHANGELOG.md").read_text()
    assert f"## [{atc.__version__}]" in text
    listed = re.findall(r"^- `([^`]+)`:", text, re.M)
    assert len(listed) == len(set(listed)) > 200
    for name in ("atc", "atc.core", "atc.ops.linkage"):
        assert {f"{name}.{one}" for one in importlib.import_module(name).__all__} <= set(listed)
    groups = {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()}
    for group, _, option in (one.partition("=") for one in listed if "=" in one):
        if group in groups and re.fullmatch(r"\w+", option):
            assert (ROOT / "conf" / group / f"{option}.yaml").is_file(), f"{group}={option}"
    assert all((ROOT / f"{one}.yaml").is_file() for one in listed if one.startswith("sweeps/"))
    commands = {one.removeprefix("python -m ") for one in listed if one.startswith("python -m ")}
    assert all(importlib.util.find_spec(one) is not None for one in commands)
