"""Which directives are weir's: those that confcheck knows, asked one by one."""

import csv
import os

# What Debian's nginx has in modules that it loads from elsewhere, and weir has in none.
STRANGE_ROOTS = {"mail"}


class Table:
    def __init__(self, folder, knows):
        """`knows(name)`: whether the program under test has a directive of that name."""
        self.rows = {}
        with open(os.path.join(folder, "directives.tsv"), encoding="utf-8") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                self.rows.setdefault(row["directive"], []).append(row)
        self.known = {name for name in self.rows if knows(name)}

    def why_out(self, directive):
        """The reason why this use is out of scope, or None. Names that no table knows are in: both programs refuse them."""
        name = directive.name
        if STRANGE_ROOTS & {name, *directive.parents}:
            return "mail"
        if name in self.rows and name not in self.known:
            return name
        return None

    def newer(self, name, oldest):
        """The version that brought the directive, when that is after `oldest`."""
        for row in self.rows.get(name, []):
            since = row["since"].split(",")[0]
            try:
                if name in self.known and tuple(map(int, since.split("."))) > oldest:
                    return since
            except ValueError:
                pass
        return None
