#include "confparse/parser.h"

#include <catch2/catch.hpp>

#include "confparse/print.h"
#include "confparse/worlds.h"

using namespace weir::conf;

namespace {

struct Parsed {
  explicit Parsed(std::string text, ParseLimits limits = {}) {
    world.add_file("/c/n.conf", std::move(text));
    options.conf_prefix = "/c/";
    options.limits = limits;
  }
  void run() { tree = parse_configuration(world, sources, "/c/n.conf", options); }
  std::string normal() {
    run();
    return print_normalised(tree.root);
  }

  VirtualWorld world;
  Sources sources;
  ParseOptions options;
  Tree tree;
};

}  // namespace

TEST_CASE("includes are expanded in place") {
  Parsed parsed("a; include inc/*.conf; b { include x; }\n");
  parsed.world.add_file("/c/inc/2.conf", "two;");
  parsed.world.add_file("/c/inc/1.conf", "one;");
  parsed.world.add_file("/c/x", "x;");
  CHECK(parsed.normal() == "a;\none;\ntwo;\nb {\n    x;\n}\n");
  CHECK(parsed.tree.problems.empty());
  uint32_t before = 0;
  for (const Statement& statement : parsed.tree.root.statements) {
    CHECK(statement.number > before);
    before = statement.number;
    if (statement.block) before = statement.block->end_number;
  }
  CHECK(parsed.tree.root.end_number > before);
  CHECK(print_dump(parsed.sources) ==
        "# configuration file /c/n.conf:\na; include inc/*.conf; b { include x; }\n\n"
        "# configuration file /c/inc/1.conf:\none;\n"
        "# configuration file /c/inc/2.conf:\ntwo;\n"
        "# configuration file /c/x:\nx;\n");
}

TEST_CASE("a file that is included often is kept once") {
  Parsed parsed("a { include x; } b { include x; }");
  parsed.world.add_file("/c/x", "x;");
  CHECK(parsed.normal() == "a {\n    x;\n}\nb {\n    x;\n}\n");
  CHECK(parsed.sources.count() == 2);
}

TEST_CASE("cycles, depth and size are bounded") {
  Parsed self("include n.conf;");
  self.run();
  CHECK(self.tree.problems.size() == 1);

  std::string nested;
  for (int i = 0; i < 2000; ++i) nested += "a {";
  Parsed blocks(nested);
  blocks.run();
  REQUIRE(blocks.tree.problems.size() == 1);
  CHECK(blocks.tree.problems[0].text == "blocks are nested too deeply");

  // Each file includes the next one ten times: 10^9 expansions if nobody counted.
  Parsed bomb("include 0;", {.includes = 1000});
  for (int i = 0; i < 9; ++i) {
    std::string text;
    for (int j = 0; j < 10; ++j) text += "include " + std::to_string(i + 1) + ";";
    bomb.world.add_file("/c/" + std::to_string(i), text);
  }
  bomb.world.add_file("/c/9", "x;");
  bomb.run();
  CHECK(bomb.tree.problems.size() == 1);

  std::string many;
  for (int i = 0; i < 5000; ++i) many += ";";
  Parsed semicolons(many);
  semicolons.run();
  CHECK(semicolons.tree.problems.size() < 300);
}

TEST_CASE("what follows a recoverable error is still read") {
  Parsed parsed("a { b c }\n d; ; e; } f;");
  CHECK(parsed.normal() == "a {\n    b c;\n}\nd;\ne;\nf;\n");
  CHECK(parsed.tree.problems.size() == 3);
}

TEST_CASE("spans and places") {
  Parsed parsed("one\n  \"two words\"\n;\n");
  parsed.run();
  const Statement& statement = parsed.tree.root.statements[0];
  CHECK(statement.name() == "one");
  CHECK(statement.argument(0) == "two words");
  CHECK(statement.words[1].quote == '"');
  const Span span = statement.words[1].span;
  CHECK(parsed.sources.text(span.file).substr(span.begin, span.end - span.begin) ==
        "\"two words\"");
  CHECK(parsed.sources.place(statement.terminator) == " in /c/n.conf:3");
  const Position at = parsed.sources.locate(span.file, span.begin);
  CHECK((at.line == 2 && at.column == 3));
  CHECK(parsed.sources.line(span.file, 2) == "  \"two words\"");
}
