"""A configuration as a tree, and a configuration without some of its directives."""

import glob
import os
import re

import reader

DEEPEST_INCLUDE = 6


class Block:
    """A directive; `inner` is None where it has no block."""

    def __init__(self, words):
        self.name = words[0] if words else ""
        self.words = words[1:]
        self.inner = None

    def all(self, name):
        return [inner for inner in self.inner or [] if inner.name == name]


def everything(blocks):
    for block in blocks or []:
        yield block
        yield from everything(block.inner)


def plain(word):
    return re.sub(r"\\([\"'\\ ;{}])", r"\1", word)


def included(words, root, folder, depth):
    pattern = words[1] if len(words) > 1 else ""
    pattern = root + pattern if pattern.startswith("/") else os.path.join(folder, pattern)
    for name in sorted(glob.glob(pattern)):
        yield from parse(name, root, folder, depth + 1)


def parse(path, root, folder, depth=0):
    """The directives of a file and of what it includes; relative names start at `folder`."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        text = file.read()
    places, words = [[]], []
    for word, quoted, _ in reader.tokens(text):
        if quoted or word not in ("{", "}", ";"):
            words.append(plain(word))
            continue
        if word == "{":
            block = Block(words)
            block.inner = []
            places[-1].append(block)
            places.append(block.inner)
        elif word == "}" and len(places) > 1:
            places.pop()
        elif word == ";" and words:
            if words[0] == "include" and depth < DEEPEST_INCLUDE:
                places[-1].extend(included(words, root, folder, depth))
            else:
                places[-1].append(Block(words))
        words = []
    return places[0]


def spans(text):
    """Yields (words, names of the blocks around, begin, end) of each directive, of a block when it ends."""
    words, begin, around, position = [], 0, [], 0
    while position < len(text):
        char = text[position]
        if char in " \t\r\n":
            position += 1
        elif char == "#":
            position = text.find("\n", position) if "\n" in text[position:] else len(text)
        elif char in "{;}":
            position += 1
            if char == "{":
                around.append((words or [""], begin))
            elif char == ";" and words:
                yield words, [block[0][0] for block in around], begin, position
            elif char == "}" and around:
                block, first = around.pop()
                yield block, [outer[0][0] for outer in around], first, position
            words = []
        else:
            if not words:
                begin = position
            word, _, position, _ = reader.word_at(text, position)
            words.append(word)


def without(text, unwanted):
    """`text` with spaces where directives are for which unwanted(name, words, names of the blocks around)."""
    out = list(text)
    for words, around, begin, end in spans(text):
        if unwanted(words[0], words[1:], around):
            out[begin:end] = [char if char == "\n" else " " for char in text[begin:end]]
    return "".join(out)
