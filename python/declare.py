#!/usr/bin/env python3
"""declare.py HEADER OUTPUT: writes mobiedit.h's enums, structs and functions as ctypes has them.

The header is the only place where they are written down, so that the Python package cannot drift from the library. It is
read word by word: what is not understood ends the program with the words that it stopped at. tests/python compares sizes
and offsets with the C compiler's.
"""
import os
import re
import sys
from dataclasses import dataclass

SCALARS = {  # C's name: ctypes' and, of a value read from a struct, Python's
    "bool": ("c_bool", "bool"), "char": ("c_char", "bytes"), "int": ("c_int", "int"), "unsigned": ("c_uint", "int"),
    "float": ("c_float", "float"), "double": ("c_double", "float"), "size_t": ("c_size_t", "int"),
    "int32_t": ("c_int32", "int"), "int64_t": ("c_int64", "int"), "uint64_t": ("c_uint64", "int")}
WORD = re.compile(r'\w+|"[^"]*"|\.\.\.|[^\s\w]')


@dataclass
class Declared:
    """A name with its type: `stars` pointers to `base`, or a function (`arguments`), or an array of `length`."""
    name: str
    base: str
    stars: int
    length: str = ""
    arguments: "list[Declared] | None" = None


class Header:
    def __init__(self, text):
        self.enums = {}      # name, or "" and a number for those without one: {member: value}
        self.structs = {}    # name: [Declared], or None where only the name is known
        self.callbacks = {}  # name: Declared
        self.functions = []  # Declared
        self.constants = {}  # name: int or str
        text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
        for name, value in re.findall(r'^#define (MOBIEDIT_\w+) ("[^"]*"|\d+)$', text, re.M):
            self.constants[name] = value.strip('"') if value[0] == '"' else int(value)
        text = re.sub(r"^#(?:.*\\\n)*.*$", "", text, flags=re.M)
        text = text.replace('extern "C" {', "").rstrip().removesuffix("}")
        self.words, self.at = WORD.findall(text), 0
        while self.at < len(self.words):
            self.declaration()

    # ---- words ----

    def peek(self, ahead=0):
        at = self.at + ahead
        return self.words[at] if at < len(self.words) else ""

    def take(self, *expected):
        word = self.peek()
        if not word or expected and word not in expected:
            near = " ".join(self.words[max(self.at - 8, 0):self.at + 8])
            sys.exit(f"expected {' or '.join(expected) or 'more'}: {near}")
        self.at += 1
        return word

    def skip(self, word):
        if self.peek() != word:
            return False
        self.at += 1
        return True

    # ---- declarations ----

    def declaration(self):
        if self.skip("MOBIEDIT_API"):
            self.functions.append(self.declared())
            self.take(";")
        elif self.peek() == "enum":
            self.enum()
        elif self.peek() == "struct":
            self.take()
            name = self.take()
            self.structs[name] = self.fields()
            self.take(";")
        else:
            self.take("typedef")
            self.type_definition()

    def type_definition(self):
        if self.peek() == "enum":
            self.enum()
        elif self.peek() == "struct" and self.peek(1) == "{":
            self.take()
            fields = self.fields()
            self.structs[self.take()] = fields
            self.take(";")
        elif self.peek() == "struct":
            self.take()
            self.structs[self.take()] = None
            self.take()
            self.take(";")
        else:
            callback = self.declared()
            self.callbacks[callback.name] = callback
            self.take(";")

    def enum(self):
        self.take("enum")
        self.take("{")
        members, value = {}, 0
        while not self.skip("}"):
            name = self.take()
            if self.skip("="):
                value = int(self.take())
            members[name] = value
            value += 1
            self.skip(",")
        name = f"{len(self.enums)}" if self.peek() == ";" else self.take()
        self.enums[name] = members
        self.take(";")

    def fields(self):
        self.take("{")
        fields = []
        while not self.skip("}"):
            first = self.declared()
            fields.append(first)
            while self.skip(","):
                fields.append(self.declarator(first.base, self.stars()))
            self.take(";")
        return fields

    def declared(self):
        while self.peek() in ("const", "struct"):
            self.take()
        base = self.take()
        return self.declarator(base, self.stars())

    def stars(self):
        n = 0
        while self.peek() in ("*", "const"):
            n += self.take() == "*"
        return n

    def declarator(self, base, stars):
        if self.skip("("):  # a pointer to a function
            self.take("*")
            name = self.take()
            self.take(")")
            return Declared(name, base, stars, arguments=self.arguments())
        name = self.take() if self.peek() not in (",", ")") else ""
        if self.peek() == "(":
            return Declared(name, base, stars, arguments=self.arguments())
        length = ""
        if self.skip("["):
            length = self.take()
            self.take("]")
        return Declared(name, base, stars, length)

    def arguments(self):
        self.take("(")
        arguments = []
        while not self.skip(")"):
            arguments.append(self.declared())
            self.skip(",")
        return [] if [(a.base, a.stars) for a in arguments] == [("void", 0)] else arguments


# ---- what is written --------------------------------------------------------------------------------------------------


class Writer:
    def __init__(self, header):
        self.header = header

    def pointer(self, base, stars):
        """The ctypes type of `stars` pointers to `base`."""
        if (base, stars) == ("char", 1):
            return "c_char_p"
        if (base, stars) == ("void", 1):
            return "c_void_p"
        if stars:
            return f"POINTER({self.pointer(base, stars - 1)})"
        if base in SCALARS:
            return SCALARS[base][0]
        if base in self.header.enums:
            return "c_int"
        if base not in self.header.structs and base not in self.header.callbacks:
            sys.exit(f"unknown type: {base}")
        return base

    def function(self, f):
        """The ctypes type of a pointer to a function."""
        types = [self.result(f), *map(self.argument, f.arguments)]
        return f"CFUNCTYPE({', '.join(types)})"

    def result(self, f):
        return "None" if (f.base, f.stars) == ("void", 0) else self.pointer(f.base, f.stars)

    def argument(self, d):
        return f"POINTER({self.pointer(d.base, d.stars)})" if d.length else self.pointer(d.base, d.stars)

    def field(self, d):
        if d.arguments is not None:
            return self.function(d)
        plain = self.pointer(d.base, d.stars)
        return f"{plain} * {self.length(d.length)}" if d.length else plain

    def length(self, length):
        return length if length.isdigit() else f"{self.constant(length)}"

    def constant(self, name):
        for values in (self.header.constants, *self.header.enums.values()):
            if name in values:
                return values[name]
        sys.exit(f"unknown constant: {name}")

    def python_type(self, d):
        """What Python reads from a field, for the type checker."""
        if d.arguments is None and not d.length:
            if (d.base, d.stars) == ("char", 1):
                return "bytes | None"
            if not d.stars and d.base in self.header.enums:
                return "int"
            if not d.stars and d.base in SCALARS:
                return SCALARS[d.base][1]
            if not d.stars and d.base in self.header.structs:
                return d.base
        return "Any"

    def enum(self, name, members):
        prefix = os.path.commonprefix(list(members))
        prefix = prefix[:prefix.rindex("_") + 1]
        yield f"\n\nclass {camel(name)}(enum.IntEnum):"
        yield from (f"    {member.removeprefix(prefix)} = {value}" for member, value in members.items())

    def lines(self):
        h = self.header
        yield '"""mobiedit.h as ctypes has it. Made by python/declare.py."""'
        yield "from __future__ import annotations\n\nimport enum"
        yield "from ctypes import *  # noqa: F403"
        yield "from typing import Any\n"
        for name, value in h.constants.items():
            yield f"{name.removeprefix('MOBIEDIT_')} = {value!r}"
        for name, members in h.enums.items():
            if name.isdigit():
                yield from (f"{member.removeprefix('MOBIEDIT_')} = {value}" for member, value in members.items())
        for name, members in h.enums.items():
            if not name.isdigit():
                yield from self.enum(name, members)
        for name, fields in h.structs.items():
            yield f"\n\nclass {name}(Structure):"
            yield from (f"    {d.name}: {self.python_type(d)}" for d in fields or [])
            if not fields:
                yield "    pass"
        yield "\n"
        for callback in h.callbacks.values():
            yield f"{callback.name} = {self.function(callback)}"
        for name, fields in h.structs.items():
            if fields is not None:
                yield f"{name}._fields_ = ["
                yield from (f'    ("{d.name}", {self.field(d)}),' for d in fields)
                yield "]"
        yield "\n\ndef declare(library: CDLL) -> None:"
        yield '    """Gives the library\'s functions their types."""'
        for f in h.functions:
            yield f"    library.{f.name}.restype = {self.result(f)}"
            yield f"    library.{f.name}.argtypes = [{', '.join(map(self.argument, f.arguments))}]"


def camel(name):
    return "".join(word.capitalize() for word in name.removeprefix("mobiedit_").split("_"))


def main(header, output):
    with open(header, encoding="utf-8") as file:
        lines = Writer(Header(file.read())).lines()
        text = "\n".join(lines) + "\n"
    with open(output, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
