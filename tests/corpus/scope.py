"""Which directives are weir's: those that confcheck knows, asked one by one."""

import csv
import os
import re

# What Debian's nginx has in modules that it loads from elsewhere, and weir has in none.
STRANGE_ROOTS = {"mail"}
# Parameters that came later than their directive (the table has directives only), from nginx's change log.
PARAMETERS = {"resolve": "1.27.3", "service=": "1.27.3"}
# What the older nginx says of what it does not have yet, and where the table says since when it is there.
REFUSALS = (
    (re.compile(r'unknown directive "([^"]+)"'), "directive"),
    (re.compile(r'"([^"]+)" directive is not allowed here'), "directive"),
    (re.compile(r'invalid parameter "([^"=]+=?)'), "parameter"),
)
ADVICE = re.compile(r'\[warn\] .*use the "([^"]+)" directive instead')


def version(text):
    """(1, 27, 3) of "1.27.3, 1.26.9": mainline comes first."""
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", text)
    return tuple(map(int, match.groups())) if match else (0, 0, 0)


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

    def directive_since(self, name, oldest):
        """The version that brought the directive, or the last place where it may stand, when that is after `oldest`."""
        if name not in self.known:
            return None
        newest = max((row["since"].split(",")[0] for row in self.rows[name]), key=version)
        return newest if version(newest) > oldest else None

    def newer(self, line, oldest):
        """The version that brought what `line`, of an nginx of version `oldest`, refuses; None when it knew that."""
        for pattern, kind in REFUSALS:
            match = pattern.search(line)
            if not match:
                continue
            if kind == "directive":
                return self.directive_since(match.group(1), oldest)
            since = PARAMETERS.get(match.group(1))
            return since if since and version(since) > oldest else None
        return None

    def warns_since(self, line, oldest):
        """The same for a warning: it advises a directive that an nginx of version `oldest` does not have."""
        match = ADVICE.search(line)
        return self.directive_since(match.group(1), oldest) if match else None
