"""Arithmetic in settings: numbers, `sqrt`, `/` and `**`, read without running any code."""

import ast
import math

LONGEST = 200
"""Characters; keeps the depth of what is parsed harmless."""


def parse_numbers(text: str) -> tuple[float, ...]:
    """Read a list of numbers such as `1, 0.7071`, `1/2` or the published `[1, 1/2**(1/2), 1/2]`.

    Raises:
        ValueError: The text holds anything but numbers, `sqrt(…)`, `/`, `**` and brackets.
    """
    if len(text) > LONGEST:
        raise ValueError(f"is longer than {LONGEST} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError("is not a list of numbers, such as 1,0.7071,1/2") from None
    items = tree.elts if isinstance(tree, ast.List | ast.Tuple) else [tree]
    try:
        return tuple(_number(item) for item in items)
    except (OverflowError, ZeroDivisionError):
        raise ValueError("cannot be computed") from None


def _number(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return float(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_number(operand)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return _number(left) / _number(right)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return math.pow(_number(left), _number(right))
        case ast.Call(func=ast.Name(id="sqrt"), args=[argument], keywords=[]):
            return math.sqrt(_number(argument))
    raise ValueError("may hold only numbers, sqrt(…), / and **")
