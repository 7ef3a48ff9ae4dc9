"""A page from its template: one HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Callable

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, /, *, filters: dict[str, Callable[..., object]] | None = None, **values: object) -> str:
    """The text of `templates/<template>`; a name that it does not find in `values` is an error."""
    environment = Environment(
        loader=PackageLoader("lossmith.lab"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters or {}
    return environment.get_template(template).render(values)
