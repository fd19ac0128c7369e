"""Mechanical mutations of a Python function, and what a plain process says of a program."""

from __future__ import annotations

import ast
import copy
import hashlib
import subprocess
import sys
from collections.abc import Iterator

_COMPARE = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
_ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.FloorDiv,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
}


def _variants(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What may stand in the node's place: (kind of mutation, node)."""
    if isinstance(node, ast.Compare):
        for other in _COMPARE.get(type(node.ops[0]), ()):
            yield "comparison", ast.Compare(left=node.left, ops=[other(), *node.ops[1:]], comparators=node.comparators)
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        yield "arithmetic", ast.BinOp(left=node.left, op=_ARITHMETIC[type(node.op)](), right=node.right)
    elif isinstance(node, ast.BoolOp):
        yield "boolean", ast.BoolOp(op=ast.Or() if isinstance(node.op, ast.And) else ast.And(), values=node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield "sign", node.operand
    elif isinstance(node, ast.Constant):
        yield from _constants(node.value)
    elif isinstance(node, ast.Return) and node.value is not None:
        yield "return", ast.Return(value=ast.Constant(value=None))
        yield "return", ast.Return(value=ast.List(elts=[node.value], ctx=ast.Load()))
    elif isinstance(node, ast.Assign | ast.AugAssign):
        yield "deletion", ast.Pass()
    elif isinstance(node, ast.If | ast.While):
        changed = copy.copy(node)
        changed.test = ast.UnaryOp(op=ast.Not(), operand=node.test)
        yield "condition", changed
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
        last = len(node.args) - 1 if len(node.args) < 3 else 1
        off = ast.BinOp(left=node.args[last], op=ast.Sub(), right=ast.Constant(value=1))
        yield (
            "off by one",
            ast.Call(func=node.func, args=[*node.args[:last], off, *node.args[last + 1 :]], keywords=node.keywords),
        )


def _constants(value: object) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(value, bool):
        yield "constant", ast.Constant(value=not value)
    elif isinstance(value, int | float):
        yield "constant", ast.Constant(value=value + 1)
        yield "constant", ast.Constant(value=value - 1)
    elif isinstance(value, str):
        yield "constant", ast.Constant(value=value + "x" if value else "x")


def mutations(source: str, function: str, num: int) -> list[tuple[str, str]]:
    """``num`` mutated programs with their kinds, or all; the same for the same source, spread over the kinds."""
    tree = ast.parse(source)
    (target,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
    if ast.get_docstring(target) is not None:
        target.body = target.body[1:]
    found = {}
    for place, node in enumerate(ast.walk(ast.Module(body=target.body, type_ignores=[]))):
        for kind, other in _variants(node):
            program = ast.unparse(_replaced(tree, target, place, other))
            found[program] = kind
    ranked = sorted(found, key=lambda program: hashlib.sha256(program.encode()).digest())
    order = {program: sum(found[one] == found[program] for one in ranked[:rank]) for rank, program in enumerate(ranked)}
    chosen = sorted(ranked, key=lambda program: order[program])[:num]
    return [(found[program], program) for program in chosen]


def _replaced(tree: ast.Module, target: ast.FunctionDef, place: int, other: ast.AST) -> ast.Module:
    """A copy of the tree in which the node at ``place`` of the target's walk is ``other``."""
    changed = copy.deepcopy(tree)
    (function,) = (node for node in changed.body if isinstance(node, ast.FunctionDef) and node.name == target.name)
    body = ast.Module(body=function.body, type_ignores=[])
    old = list(ast.walk(body))[place]
    for parent in ast.walk(body):
        for field, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, field, copy.deepcopy(other))
            elif isinstance(value, list):
                value[:] = [copy.deepcopy(other) if item is old else item for item in value]
    function.body = body.body
    return ast.fix_missing_locations(changed)


def passes_in_a_plain_process(program: str, test: str, function: str, *, cpu_s: int = 3) -> bool:
    """Whether ``check(function)`` returns in an ordinary interpreter in which code and test stand together."""
    opening = f"import random, resource\nresource.setrlimit(resource.RLIMIT_CPU, ({cpu_s}, {cpu_s}))\n"
    opening += "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\nrandom.seed(0)\n"
    text = (
        f"{opening}exec(compile({program!r}, 'program', 'exec'))\n{test}\ncheck({function})\nprint('reached the end')\n"
    )
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", text], capture_output=True, timeout=120)
    return ran.returncode == 0 and ran.stdout.endswith(b"reached the end\n")
