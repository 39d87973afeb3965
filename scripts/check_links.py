#!/usr/bin/env python3
"""Checks that the target of every relative link in the committed Markdown files exists.

A link may name a file or folder of the repository, with or without `#heading`. Links to other hosts are not followed, because a
check that needs the network also fails for reasons that have nothing to do with the change.
"""
import pathlib
import re
import subprocess
import sys
import unicodedata

# [text](target) and [text](target "title"), images included; code spans are taken out first.
LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.M | re.S)
CODE = re.compile(r"`[^`\n]*`")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*\s*$", re.M)
ELSEWHERE = ("http://", "https://", "mailto:")


def anchor(heading: str) -> str:
    """The anchor of a heading, as the usual renderers generate it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
    kept = (c for c in text if c in "-_ " or unicodedata.category(c)[0] in "LN")
    return "".join(kept).replace(" ", "-")


def anchors(markdown: str) -> set[str]:
    """Every anchor of a document; a repeated heading gets -1, -2, ..."""
    seen: dict[str, int] = {}
    found = set()
    for heading in HEADING.findall(FENCE.sub("", markdown)):
        name = anchor(heading)
        count = seen.get(name, 0)
        seen[name] = count + 1
        found.add(name if count == 0 else f"{name}-{count}")
    return found


def faults(root: pathlib.Path, file: pathlib.Path) -> list[str]:
    text = file.read_text(encoding="utf-8")
    found = []
    for target in LINK.findall(CODE.sub("", FENCE.sub("", text))):
        if target.startswith(ELSEWHERE):
            continue
        path, _, heading = target.partition("#")
        to = (file.parent / path).resolve() if path else file
        if not to.exists() or not to.is_relative_to(root):
            found.append(f"{file.relative_to(root)}: link to '{target}', which does not exist")
        elif heading and to.suffix == ".md" and heading not in anchors(to.read_text(encoding="utf-8")):
            found.append(f"{file.relative_to(root)}: link to '{target}', but it has no such heading")
    return found


def main() -> int:
    root = pathlib.Path(__file__).resolve().parent.parent
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"], cwd=root, check=True, capture_output=True, text=True
    )
    files = [root / name for name in listed.stdout.splitlines() if (root / name).exists()]
    found = [fault for file in files for fault in faults(root, file)]
    print("\n".join(found) if found else f"links: {len(files)} documents, every relative link has a target")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
