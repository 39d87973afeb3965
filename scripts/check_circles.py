#!/usr/bin/env python3
"""Import circles between the files of src/: there are none.

Reads the `use crate::…` and `use super::…` lines (and paths in the code that begin with `crate::`) of every file that is no test, and maps each
path to the file of the deepest module in it. A file and the files in the folder of its name are parent and parts: a part may use its parent's
types, so edges between them do not count. Prints each circle and ends with 1 if there is one.

Usage: scripts/check_circles.py [SRC]
"""
import os
import re
import sys

SRC = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..", "src")


def module_of(path):
    """The module path of a file: src/judge/drift.rs -> (judge, drift)."""
    parts = os.path.relpath(path, SRC)[:-3].split(os.sep)
    return () if parts in (["lib"], ["main"]) else tuple(parts)


def without_tests(text):
    """The code up to the tests, which stand last in every file, without comments."""
    text = text.split("#[cfg(test)]\nmod tests")[0]
    return re.sub(r"//[^\n]*", "", text)


def expand(tree):
    """The paths of a use tree: a::{b, c::d} -> [a::b, a::c::d]."""
    tree = tree.strip()
    brace = tree.find("{")
    if brace < 0:
        return [tree.split(" as ")[0].strip()]
    head, body, depth, piece, out = tree[:brace], tree[brace + 1 : tree.rfind("}")], 0, "", []
    for char in body + ",":
        if char == "," and depth == 0:
            out += [head + path for path in expand(piece)] if piece.strip() else []
            piece = ""
            continue
        depth += {"{": 1, "}": -1}.get(char, 0)
        piece += char
    return out


def paths_in(text):
    for use in re.findall(r"\buse\s+((?:crate|super|self)\b[^;]*);", text):
        yield from expand(use)
    yield from re.findall(r"\bcrate(?:::\w+)+", text)


def resolve(path, module, modules):
    """The deepest module that a path names, seen from `module`."""
    parts = [part for part in path.split("::") if part]
    at = ()
    if parts and parts[0] in ("super", "self"):
        at = module
        while parts and parts[0] == "super":
            at, parts = at[:-1], parts[1:]
        parts = parts[1:] if parts and parts[0] == "self" else parts
    elif parts and parts[0] == "crate":
        parts = parts[1:]
    for part in parts:
        if at + (part,) not in modules:
            break
        at += (part,)
    return at


def graph():
    files = [os.path.join(d, f) for d, _, names in os.walk(SRC) for f in names if f.endswith(".rs")]
    files = [f for f in files if not re.search(r"(^|/)tests?(\.rs$|/)", f)]
    modules = {module_of(f): f for f in files}
    edges = {}
    for module, file in modules.items():
        for path in paths_in(without_tests(open(file, encoding="utf-8").read())):
            other = resolve(path, module, modules)
            related = other[: len(module)] == module or module[: len(other)] == other
            if other in modules and not related:
                edges.setdefault(module, set()).add(other)
    return modules, edges


def circles(modules, edges):
    """Strongly connected components of more than one file (Tarjan 1972)."""
    index, low, stack, on, found, count = {}, {}, [], set(), [], [0]

    def visit(node):
        index[node] = low[node] = count[0]
        count[0] += 1
        stack.append(node)
        on.add(node)
        for other in sorted(edges.get(node, ())):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in on:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = []
            while True:
                other = stack.pop()
                on.discard(other)
                component.append(other)
                if other == node:
                    break
            if len(component) > 1:
                found.append(sorted(component))

    sys.setrecursionlimit(10_000)
    for module in sorted(modules):
        if module not in index:
            visit(module)
    return found


def main():
    modules, edges = graph()
    found = circles(modules, edges)
    for circle in found:
        print("circle:", ", ".join("::".join(module) for module in circle))
        for module in circle:
            inside = sorted("::".join(other) for other in edges.get(module, ()) if other in circle)
            print("  ", "::".join(module), "->", ", ".join(inside))
    print(f"{len(modules)} files, {sum(map(len, edges.values()))} imports between them, {len(found)} circles")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
