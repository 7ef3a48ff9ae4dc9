import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from lossmith.cli import app
from lossmith.core.catalogue import CATALOGUE


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from lossmith.cli import main; main()", *arguments], capture_output=True, text=True
    )


def test_list_names_every_loss():
    output = CliRunner().invoke(app, ["list"]).output
    assert all(f"  {record.name} " in output and record.cls in output for record in CATALOGUE.values())


def test_list_as_json_is_an_array_of_records():
    records = json.loads(CliRunner().invoke(app, ["list", "--json"]).output)
    assert [record["name"] for record in records] == list(CATALOGUE)
    assert {"name", "family", "parameters", "paper"} <= set(records[0])
    focal = next(record for record in records if record["name"] == "focal")
    assert focal["family"] == "pixel"
    assert focal["parameters"][0] == {
        "name": "gamma", "default": 2.0, "legal": "in [0, inf)", "meaning": "focusing; 0 is cross-entropy",
    }  # fmt: skip


@pytest.mark.parametrize("name", CATALOGUE)
def test_show_tells_everything(name):
    record = CATALOGUE[name]
    output = CliRunner().invoke(app, ["show", name]).output
    for part in (record.summary, record.formula, record.paper, record.when, record.cls):
        assert part in output
    for parameter in record.parameters:
        assert f"{parameter.name} " in output
        assert str(parameter.legal) in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "focl"], "lossmith: there is no loss 'focl'; did you mean focal?"),
        (
            ["compare", "cracks", "--loss", "focal(gama=2)"],
            "lossmith: focal has no parameter gama; did you mean gamma?",
        ),
        (["compare", "no/such/folder", "--loss", "ce"], "lossmith: "),
    ],
)
def test_errors_are_one_line(arguments, message, tmp_path):
    result = run(*arguments, *(["--out", str(tmp_path / "out")] if arguments[0] == "compare" else []))
    assert result.returncode == 1
    assert result.stderr.startswith(message)
    assert len(result.stderr.splitlines()) == 1


def test_version():
    assert CliRunner().invoke(app, ["--version"]).output.startswith("lossmith ")
