#!/usr/bin/env python3
"""Writes models/text/*.inc: the data of ftfy and of Python's html module that cleaning a prompt needs.

Run it with ftfy 6.3.1 installed (Python 3.11 made the committed tables): tools/generate_text_tables.py models/text
"""
import html.entities
import pathlib
import re._constants as op
import re._parser as parser
import sys

import ftfy
from ftfy import badness, chardata

MAX_CODE_POINT = 0x10FFFF


def literal(text, prefix="U"):
    """A C++ literal in hexadecimal escapes: they end at the next backslash, so neighbours cannot run together."""
    return prefix + '"' + "".join(f"\\x{ord(c):x}" for c in text) + '"'


class Patterns:
    """Regular expressions without unbounded parts, as ordered alternatives: each a sequence of character classes."""

    def __init__(self):
        self.classes = []  # ((first, last), ...), negated, word

    def class_index(self, ranges, negated=False, word=False):
        entry = (tuple(ranges), negated, word)
        if entry not in self.classes:
            self.classes.append(entry)
        return self.classes.index(entry)

    def class_of(self, items):
        members, negated, word = set(), False, False
        for kind, value in items:
            if kind is op.NEGATE:
                negated = True
            elif kind is op.LITERAL:
                members.add(value)
            elif kind is op.RANGE:
                members.update(range(value[0], value[1] + 1))
            elif (kind, value) == (op.CATEGORY, op.CATEGORY_SPACE):
                members.update(c for c in range(MAX_CODE_POINT + 1) if chr(c).isspace())
            elif (kind, value) == (op.CATEGORY, op.CATEGORY_WORD):
                word = True
            else:
                raise ValueError(f"a class holds {kind} {value}")
        assert not (word and (members or negated))
        return self.class_index(runs(members), negated, word)

    def alternatives(self, parsed):
        """Every sequence that the expression matches, in the order in which a backtracking matcher tries them."""
        result = [[]]
        for kind, value in parsed:
            if kind is op.BRANCH:
                options = [a for branch in value[1] for a in self.alternatives(branch)]
            elif kind is op.SUBPATTERN:
                options = self.alternatives(value[3])
            elif kind is op.MAX_REPEAT:
                low, high, inner = value
                assert high <= 3, "only short repetitions can be written out"
                options = []
                for count in range(high, low - 1, -1):  # greedy: the longest first
                    repeated = [[]]
                    for _ in range(count):
                        repeated = [r + a for r in repeated for a in self.alternatives(inner)]
                    options += repeated
            elif kind is op.AT and value is op.AT_BEGINNING:
                options = [["start"]]
            elif kind is op.IN:
                options = [[self.class_of(value)]]
            elif kind is op.LITERAL:
                options = [[self.class_index([(value, value)])]]
            elif kind is op.NOT_LITERAL:
                options = [[self.class_index([(value, value)], negated=True)]]
            elif kind is op.ANY:  # every character but the line feed
                options = [[self.class_index([(10, 10)], negated=True)]]
            else:
                raise ValueError(f"the expression holds {kind} {value}")
            result = [r + o for r in result for o in options]
        return result


def runs(members):
    result = []
    for c in sorted(members):
        if result and result[-1][1] == c - 1:
            result[-1] = (result[-1][0], c)
        else:
            result.append((c, c))
    return result


def parse(expression):
    return parser.parse(expression.pattern, expression.flags)


def patterns_text():
    book = Patterns()
    # (?<! [strict]) ( ... )+ : the look-behind and the repetition are written by hand beside the table.
    look_behind, repeat = parse(chardata.UTF8_DETECTOR_RE)
    assert look_behind[0] is op.ASSERT_NOT and look_behind[1][0] == -1
    assert repeat[0] is op.MAX_REPEAT and repeat[1][:2] == (1, op.MAXREPEAT)
    tables = {
        "kBadSequences": book.alternatives(parse(badness.BADNESS_RE)),
        "kUtf8Sequences": book.alternatives(repeat[1][2]),
        "kContinuation": book.alternatives(look_behind[1][1]),
        "kSpacedBytes": book.alternatives(parse(chardata.ALTERED_UTF8_RE)),
        "kLossyBytes": book.alternatives(parse(chardata.LOSSY_UTF8_RE)),
    }
    lines = []
    for index, (ranges, _, _) in enumerate(book.classes):
        if ranges:
            body = ", ".join(f"{{0x{a:x}, 0x{b:x}}}" for a, b in ranges)
            lines.append(f"constexpr CharacterRange kRanges{index}[] = {{{body}}};")
    lines.append("constexpr CharacterClass kClasses[] = {")
    for index, (ranges, negated, word) in enumerate(book.classes):
        kind = "Word" if word else "NoneOf" if negated else "AnyOf"
        lines.append(f"    {{CharacterClass::{kind}, {f'kRanges{index}' if ranges else '{}'}}},")
    lines.append("};")
    for name, sequences in tables.items():
        lines.append(f"constexpr Sequence {name}[] = {{")
        for sequence in sequences:
            at_start = sequence[0] == "start"
            classes = sequence[at_start:]
            assert "start" not in classes and len(classes) <= 7
            body = ", ".join(map(str, classes))
            lines.append(f"    {{{'true' if at_start else 'false'}, {len(classes)}, {{{body}}}}},")
        lines.append("};")
    return lines


def code_pages_text():
    lines = ["constexpr CodePage kCodePages[] = {"]
    for encoding in chardata.CHARMAP_ENCODINGS:
        upper = bytes(range(0x80, 0x100)).decode(encoding)
        assert len(upper) == 128
        sloppy = bytes([0x1A]).decode(encoding) == "\ufffd"
        assert sloppy == encoding.startswith("sloppy")
        for byte in range(0x80):
            assert byte == 0x1A or bytes([byte]).decode(encoding) == chr(byte)
        lines.append(f"    // {encoding}")
        lines.append(f"    {{{str(sloppy).lower()}, {str(encoding == 'macroman').lower()}, {literal(upper)}}},")
    lines.append("};")
    return lines


def characters_text():
    lines = []
    for name, table in (("kLigatures", chardata.LIGATURES), ("kWidths", chardata.WIDTH_MAP)):
        lines.append(f"constexpr Replacement {name}[] = {{")
        lines += [f"    {{0x{c:x}, {literal(table[c])}}}," for c in sorted(table)]
        lines.append("};")
    return lines


def entities_text():
    lines = ["constexpr Entity kEntities[] = {"]
    for name, text in sorted(html.entities.html5.items()):
        capitals = ""
        if name.endswith(";") and name == name.lower() and name.upper() not in html.entities.html5:
            capitals = chardata.HTML_ENTITIES.get("&" + name.upper(), "")
        lines.append(f'    {{"{name}", {literal(text)}, {literal(capitals)}}},')
    lines.append("};")
    return lines


def main():
    assert ftfy.__version__ == "6.3.1", ftfy.__version__
    folder = pathlib.Path(sys.argv[1])
    sources = {
        "patterns.inc": ("the regular expressions of ftfy.badness and ftfy.chardata", patterns_text()),
        "code_pages.inc": ("the single-byte encodings that ftfy tries, in its order", code_pages_text()),
        "characters.inc": ("ftfy's ligatures and character widths", characters_text()),
        "entities.inc": ("the HTML5 entities of Python's html module, and ftfy's spelling in capitals", entities_text()),
    }
    for name, (what, lines) in sources.items():
        head = [f"// Made by tools/generate_text_tables.py: {what}. See NOTICE.", "// clang-format off"]
        (folder / name).write_text("\n".join(head + lines) + "\n")


main()
