"""The catalogue as text: what `lossmith list` and `lossmith show` print."""

from collections.abc import Iterable, Mapping

from lossmith.core.catalogue import BOXES, CATALOGUE, FRAMEWORKS, PRIORS, Prior, Record, find, frameworks_of, limits_of

RECORDS: Mapping[str, Record | Prior] = {**CATALOGUE, **PRIORS, **BOXES}


def as_dict(record: Record | Prior) -> dict[str, object]:
    """A record as plain data, for JSON."""
    return {
        "name": record.name,
        "class": record.cls,
        "family": record.family,
        "summary": record.summary,
        "formula": record.formula,
        "parameters": [
            {"name": p.name, "default": p.default, "legal": str(p.legal), "meaning": p.meaning}
            for p in record.parameters
        ],
        "tasks": list(record.tasks),
        "frameworks": list(frameworks_of(record)),
        "limits": list(limits_of(record)),
        "range": str(record.range).removeprefix("in "),
        "paper": record.paper,
        "when": record.when,
    }


def catalogue() -> list[dict[str, object]]:
    """All records as plain data."""
    return [as_dict(record) for record in RECORDS.values()]


def table() -> str:
    """One line for each loss, by family."""
    lines: list[str] = []
    for family in dict.fromkeys(record.family for record in RECORDS.values()):
        records = [record for record in RECORDS.values() if record.family == family]
        some = frameworks_of(records[0])
        title = f"{family} losses" + ("" if some == FRAMEWORKS else f", for {' and '.join(some)} alone")
        lines += ["", title, *_columns((record.name, record.cls, _line(record)) for record in records)]
    return "\n".join(lines[1:])


def _line(record: Record | Prior) -> str:
    """What a loss is, and where it is not all that it is elsewhere."""
    limits = "; ".join(limits_of(record))
    return f"{record.summary} ({limits})" if limits else record.summary


def page(name: str) -> str:
    """Everything about one loss."""
    record = PRIORS.get(name) or find(name)
    facts = (
        ("formula", record.formula),
        ("class", f"lossmith.torch.{record.cls}"),
        ("frameworks", ", ".join(frameworks_of(record))),
        *(("limit", limit) for limit in limits_of(record)),
        *([("tasks", ", ".join(record.tasks))] if record.tasks else []),
        ("range", str(record.range).removeprefix("in ")),
        ("use it", record.when),
        ("paper", record.paper),
    )
    parameters = ((p.name, f"= {p.default!r}", f"{p.meaning}; {p.legal}") for p in record.parameters)
    return "\n".join(
        [f"{record.name}: {record.summary}", "", *_columns(facts), "", "parameters", *_columns(parameters)]
    )


def markdown() -> str:
    """The catalogue as a page of the docs."""
    lines = [
        "# The losses",
        "",
        "Written from the catalogue by `python -m lossmith.show > docs/losses.md`. Options that every loss has are",
        "explained once, at `CrossEntropyLoss`, `DiceLoss` and, for boxes, `IoULoss`.",
        "",
    ]
    for record in RECORDS.values():
        tasks = f"*Tasks:* {', '.join(record.tasks)}. " if record.tasks else ""
        lines += [
            f"## `{record.cls}` (`{record.name}`)",
            "",
            f"{record.summary[:1].upper()}{record.summary[1:]}: `{record.formula}`.",
            "",
            f"*Use it:* {record.when}. {tasks}*Paper:* {record.paper}.",
            "",
            "| parameter | default | legal | meaning |",
            "|---|---|---|---|",
            *(f"| `{p.name}` | `{p.default!r}` | {p.legal} | {p.meaning} |" for p in record.parameters),
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def _columns(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Rows with their columns aligned."""
    table = [tuple(row) for row in rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]) - 1)]
    return [
        "  " + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in table
    ]


if __name__ == "__main__":
    print(markdown(), end="")
