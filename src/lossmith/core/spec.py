"""The spec language: ``0.5*ce + focal(gamma=2, alpha=0.25)`` or ``my.module:MyLoss(width=3)``.

    spec  = term {"+" term}
    term  = [number "*"] atom | atom "*" number | [number "*"] "(" spec ")"
    atom  = name | name "(" name "=" value, ... ")"
    value = a Python literal; for a parameter that is itself a loss, an atom

Parsed with `ast`, never evaluated.
"""

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

EXAMPLES = "a spec is such as 'ce', 'focal(gamma=2)', '0.5*ce + dice' or 'my.module:MyLoss'"
_REFERENCE = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)")


@dataclass(frozen=True)
class Atom:
    """A loss by name ("focal") or by reference ("my.module:MyLoss"), with its arguments."""

    name: str
    arguments: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        inside = ", ".join(f"{name}={_literal(value)}" for name, value in self.arguments.items())
        return f"{self.name}({inside})" if inside else self.name


@dataclass(frozen=True)
class Term:
    """A loss with its coefficient."""

    coefficient: float
    atom: Atom

    def __str__(self) -> str:
        return str(self.atom) if self.coefficient == 1 else f"{_short(self.coefficient)}*{self.atom}"


def parse_spec(text: str) -> tuple[Term, ...]:
    """The terms of a spec; a ValueError that says where it is not one."""
    if not isinstance(text, str):
        raise TypeError(f"a loss spec must be a string; got {text!r}")
    references: dict[str, str] = {}

    def name_reference(match: re.Match[str]) -> str:
        alias = f"_reference_{len(references)}"
        references[alias] = match.group(0)
        return alias

    try:
        tree = ast.parse(_REFERENCE.sub(name_reference, text).strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _not_a_spec(text, "it cannot be read") from error
    return tuple(_terms(tree.body, 1.0, text, references))


def _terms(node: ast.expr, factor: float, text: str, references: Mapping[str, str]) -> list[Term]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _terms(node.left, factor, text, references) + _terms(node.right, factor, text, references)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        for number, other in ((node.left, node.right), (node.right, node.left)):
            coefficient = _number(number)
            if coefficient is not None:
                if not (coefficient > 0 and math.isfinite(coefficient)):
                    raise _not_a_spec(text, f"a coefficient must be > 0 and finite; got {coefficient:g}")
                return _terms(other, factor * coefficient, text, references)
        raise _not_a_spec(text, "a product needs a number and a loss")
    return [Term(factor, _atom(node, text, references))]


def _number(node: ast.expr) -> float | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _number(node.operand)
        return None if value is None else -value
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return float(node.value)
    return None


def _atom(node: ast.expr, text: str, references: Mapping[str, str]) -> Atom:
    if isinstance(node, ast.Name):
        return Atom(references.get(node.id, node.id))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.args:
            raise _not_a_spec(text, "parameters are given by name, as in focal(gamma=2)")
        arguments: dict[str, object] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                raise _not_a_spec(text, "parameters are given by name, as in focal(gamma=2)")
            if keyword.arg in arguments:
                raise _not_a_spec(text, f"{keyword.arg} is given twice")
            arguments[keyword.arg] = _value(keyword.value, text, references)
        return Atom(references.get(node.func.id, node.func.id), arguments)
    raise _not_a_spec(text, f"{ast.unparse(node)!r} is no loss")


def _value(node: ast.expr, text: str, references: Mapping[str, str]) -> object:
    try:
        return _written(ast.literal_eval(node), references)
    except ValueError:
        return _atom(node, text, references)


def _written(value: object, references: Mapping[str, str]) -> object:
    """Text as it was written: "a:b" is no reference there."""
    if isinstance(value, str):
        for alias, name in reversed(list(references.items())):  # _reference_10 before _reference_1
            value = value.replace(alias, name)
    return value


def _short(number: float) -> str:
    """A number without needless digits, and without losing any."""
    return f"{number:g}" if float(f"{number:g}") == number else repr(number)


def _literal(value: object) -> str:
    return str(value) if isinstance(value, Atom) else repr(value)


def _not_a_spec(text: str, why: str) -> ValueError:
    return ValueError(f"{text!r} is not a loss spec: {why}; {EXAMPLES}")
