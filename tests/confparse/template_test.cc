#include "confparse/template.h"

#include <catch2/catch.hpp>
#include <deque>

#include "confparse/pattern.h"

using namespace weir::conf;

namespace {

// Every variable's value is its name in brackets; a name beginning with "big" is long.
class Source final : public VariableSource {
 public:
  explicit Source(const VariableTable& table) : table_(table) {}
  Value variable(VariableId id) override { return table_[id].get(*this, table_[id]); }
  bool match(const Pattern&, std::string_view) override { return false; }
  char* allocate(size_t size) override { return memory_.emplace_back(size, '\0').data(); }
  size_t allocations() const { return memory_.size(); }

 private:
  const VariableTable& table_;
  std::deque<std::string> memory_;
};

Value get_name(VariableSource& source, const Variable& variable) {
  std::string text = "[" + variable.name + "]";
  if (variable.name.starts_with("big")) text.append(5000, 'x');
  char* memory = source.allocate(text.size());
  text.copy(memory, text.size());
  return Value::of({memory, text.size()});
}
Value get_suffix(VariableSource&, const Variable& variable) {
  return Value::of(variable.suffix());
}

Variable variable(std::string name, bool prefix = false) {
  Variable result;
  result.name = std::move(name);
  result.get = prefix ? get_suffix : get_name;
  result.prefix = prefix;
  return result;
}

std::string error_of(std::string_view text) {
  VariableTable table;
  TemplateBuilder builder(table);
  Template result;
  return builder.build(text, result) ? "" : builder.error();
}

}  // namespace

TEST_CASE("templates evaluate") {
  VariableTable table;
  for (const char* name : {"host", "a_1", "$1", "big", "bigger"}) table.define(variable(name));
  table.define(variable("http_", true));
  const auto evaluate = [&](std::string_view text) {
    TemplateBuilder builder(table);
    Template result;
    REQUIRE(builder.build(text, result));
    REQUIRE(table.finish().empty());
    Source source(table);
    const std::string value(result.evaluate(source));
    std::string appended = "<";
    result.append_to(appended, source);
    CHECK(appended == "<" + value);
    CHECK(result.source() == text);
    return value;
  };
  CHECK(evaluate("") == "");
  CHECK(evaluate("plain") == "plain");
  CHECK(evaluate("$host") == "[host]");
  CHECK(evaluate("${HOST}s") == "[host]s");
  CHECK(evaluate("a$host-${a_1}$host") == "a[host]-[a_1][host]");
  CHECK(evaluate("$10") == "[$1]0");
  CHECK(evaluate("x$http_user_agent.") == "xuser_agent.");
  CHECK(evaluate("$big-$bigger").size() == 5005 + 1 + 5008);
}

TEST_CASE("literals and single variables are not copied") {
  VariableTable table;
  table.define(variable("http_", true));
  TemplateBuilder builder(table);
  Template literal;
  REQUIRE(builder.build("text", literal));
  Template single;
  REQUIRE(builder.build("$http_x", single));
  REQUIRE(table.finish().empty());
  Source source(table);
  CHECK(literal.is_literal());
  CHECK(literal.evaluate(source).data() == literal.literal_text().data());
  CHECK(single.evaluate(source) == "x");
  CHECK(source.allocations() == 0);
}

// Texts as nginx gives them for `return 200 "…"`.
TEST_CASE("errors of templates") {
  for (const char* text :
       {"$", "a$", "$$", "${", "${}", "a${", "$-", "$ x", "$host$", "$\xc3\xa9"}) {
    CAPTURE(text);
    CHECK(error_of(text) == "invalid variable name");
  }
  CHECK(error_of("${a") == "the closing bracket in \"a\" variable is missing");
  CHECK(error_of("${ host}") == "the closing bracket in \"\" variable is missing");
  CHECK(error_of("${a-b}") == "the closing bracket in \"a\" variable is missing");
  CHECK(error_of("${$}") == "the closing bracket in \"\" variable is missing");
  CHECK(error_of("$a}") == "");
}

TEST_CASE("unknown variables are named in the order of first use") {
  VariableTable table;
  table.define(variable("host"));
  TemplateBuilder builder(table);
  Template result;
  REQUIRE(builder.build("$Zz$host$yy$zz${1}", result));
  CHECK(table.finish() == std::vector<std::string>{"zz", "yy", "1"});
}

TEST_CASE("definitions") {
  VariableTable table;
  CHECK(table.define(variable("host")));
  CHECK_FALSE(table.define(variable("HOST")));
  Variable mine = variable("mine");
  mine.changeable = true;
  CHECK(table.define(mine));
  mine.data = 7;
  CHECK(table.define(mine));
  CHECK(table.find("Mine")->data == 7);
  CHECK(table.find("nope") == nullptr);

  // An own name goes before a prefix, and a weak one (set by `set`) reads as the prefix.
  table.define(variable("http_", true));
  table.define(variable("http_host"));
  Variable weak = variable("http_weak");
  weak.weak = true;
  weak.changeable = true;
  table.define(weak);
  const VariableId own = table.use("http_host");
  const VariableId covered = table.use("http_weak");
  REQUIRE(table.finish().empty());
  CHECK(table[own].get == get_name);
  CHECK(table[covered].get == get_suffix);
  CHECK(table[covered].suffix() == "weak");
  CHECK(table[covered].changeable);
}
