#!/usr/bin/env python3
"""check_docs.py: checks the repository's Markdown. Every finding is an error.

- A relative link leads to a file, and its #anchor to a heading there.
- A path in backticks, such as `src/edit/key.c`, and a page that a comment names (doc/method.md) exist.
- Prose and code are at most 100 columns wide (tables are not wrapped); README has at most 90 lines, all of 100 columns.

check_docs.py --links FOLDER checks only the links of the Markdown files below FOLDER.
"""
import pathlib
import re
import sys

WIDTH = 100
README_LINES = 90
ROOMS = "bench|cli|cmake|doc|examples|include|python|scripts|src|tests"

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`[^`]*`")
PATH = re.compile(rf"`((?:{ROOMS})/[\w./*-]*)`")
PAGE = re.compile(r"\bdoc/[\w/-]+\.md\b")


def text_outside_fences(path):
    """Pairs of line number and line, without what stands between ``` lines."""
    fenced = False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, line


def slug(heading):
    """The anchor that GitHub gives to a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def anchors(path):
    return {slug(line.lstrip("#")) for _, line in text_outside_fences(path) if line.startswith("#")}


def check_links(path):
    for number, line in text_outside_fences(path):
        for target in LINK.findall(CODE.sub("", line)):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            file = path.parent / name if name else path
            if not file.exists():
                yield number, f"the link {target} leads nowhere"
            elif anchor and anchor not in anchors(file):
                yield number, f"{file.name} has no heading for the link {target}"


def check_paths(path, root):
    for number, line in text_outside_fences(path):
        for name in PATH.findall(line):
            if not any(root.glob(name.rstrip("/"))):
                yield number, f"there is no {name}"


def check_width(path, tables):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if len(line) > WIDTH and (tables or not line.lstrip().startswith("|")):
            yield number, f"{len(line)} columns"


def check_length(path):
    lines = len(path.read_text().splitlines())
    if lines > README_LINES:
        yield lines, f"{lines} lines, more than {README_LINES}"


def check_comments(path, root):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        for name in PAGE.findall(line):
            if not (root / name).exists():
                yield number, f"there is no {name}"


def markdown(folder):
    return sorted(folder.rglob("*.md"))


def repository_findings(root):
    pages = sorted(root.glob("*.md")) + [page for room in ROOMS.split("|") for page in markdown(root / room)]
    readme = root / "README.md"
    for page in pages:
        for check in (check_links(page), check_paths(page, root), check_width(page, tables=page == readme)):
            yield from ((page, *finding) for finding in check)
    yield from ((readme, *finding) for finding in check_length(readme))
    for room in ROOMS.split("|"):
        for source in sorted((root / room).rglob("*.[ch]")):
            yield from ((source, *finding) for finding in check_comments(source, root))


def main(arguments):
    if arguments[:1] == ["--links"]:
        folder = pathlib.Path(arguments[1])
        found = [(page, *finding) for page in markdown(folder) for finding in check_links(page)]
    else:
        folder = pathlib.Path(__file__).resolve().parent.parent
        found = list(repository_findings(folder))
    for path, number, message in found:
        print(f"{path.relative_to(folder)}:{number}: {message}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
