import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from lossmith.cli import app
from lossmith.core.catalogue import BOXES, CATALOGUE, PRIORS

RECORDS = {**CATALOGUE, **PRIORS, **BOXES}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from lossmith.cli import main; main()", *arguments], capture_output=True, text=True
    )


def test_list_names_every_loss():
    output = CliRunner().invoke(app, ["list"]).output
    assert all(f"  {record.name} " in output and record.cls in output for record in RECORDS.values())


def test_list_as_json_is_an_array_of_records():
    records = json.loads(CliRunner().invoke(app, ["list", "--json"]).output)
    assert [record["name"] for record in records] == list(RECORDS)
    assert {"name", "family", "parameters", "paper"} <= set(records[0])
    focal = next(record for record in records if record["name"] == "focal")
    assert focal["family"] == "pixel"
    assert focal["frameworks"] == ["torch", "jax", "keras", "numpy"]
    assert [record["name"] for record in records if record["frameworks"] == ["torch"]] == list(PRIORS)
    assert focal["parameters"][0] == {
        "name": "gamma", "default": 2.0, "legal": "in [0, inf)", "meaning": "focusing; 0 is cross-entropy",
    }  # fmt: skip


@pytest.mark.parametrize("arguments", [["list"], ["show", "dice"], ["show", "focl"]])
def test_the_package_is_the_command_line(arguments):
    package = subprocess.run([sys.executable, "-m", "lossmith", *arguments], capture_output=True, text=True)
    command = run(*arguments)
    assert (package.stdout, package.stderr, package.returncode) == (command.stdout, command.stderr, command.returncode)


@pytest.mark.parametrize("name", RECORDS)
def test_show_tells_everything(name):
    record = RECORDS[name]
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
        (
            ["compare", "no/such/folder", "--loss", "ce"],
            "lossmith: data must be a folder or one of shapes, cracks; got ",
        ),
    ],
)
def test_errors_are_one_line(arguments, message, tmp_path):
    result = run(*arguments, *(["--out", str(tmp_path / "out")] if arguments[0] == "compare" else []))
    assert result.returncode == 1
    assert result.stderr.startswith(message)
    assert len(result.stderr.splitlines()) == 1


def test_version():
    assert CliRunner().invoke(app, ["--version"]).output.startswith("lossmith ")


def test_wrong_options_show_the_usage():
    for arguments in (["compare", "cracks", "--loss", "ce", "--labels", "a"], ["bogus"], ["show"]):
        result = run(*arguments)
        assert result.returncode == 2
        assert "Usage: " in result.stderr
    assert "--labels must be whole numbers, such as 2,4; got 'a'" in " ".join(
        run("compare", "cracks", "--loss", "ce", "--labels", "a").stderr.split()
    )


def test_an_interrupted_comparison_says_how_to_go_on(tmp_path):
    """Ctrl-C during the runs, by a loss that presses it."""
    (tmp_path / "presses.py").write_text(
        "import os, signal, torch\n"
        "class CtrlC(torch.nn.Module):\n"
        "    def forward(self, logits, target):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        return logits.mean()\n"
    )
    # The background jobs of a shell, and all that they start, ignore the signal: listen again.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from lossmith.cli import main; main()"
    )
    arguments = [
        "compare",
        "shapes(images=10)",
        "--loss",
        "presses:CtrlC",
        "--steps",
        "2",
        "--batch",
        "2",
        "--out",
        "out",
    ]
    result = subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 130
    message = "lossmith: interrupted; finished runs are kept, the same command goes on from there"
    assert result.stderr.splitlines()[-1] == message


def test_a_missing_module_of_ones_own_is_no_missing_extra(tmp_path):
    (tmp_path / "mine.py").write_text("import not_there_at_all\n")
    code = "from lossmith.cli import main; main()"
    arguments = ["compare", "shapes(images=10)", "--loss", "ce", "--model", "mine:net", "--steps", "1", "--out", "out"]
    result = subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.strip() == "lossmith: there is no module 'not_there_at_all' to import"
