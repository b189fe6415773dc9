#include "confparse/compiler.h"

#include <catch2/catch.hpp>
#include <map>
#include <memory>

#include "confparse/render.h"
#include "confparse/setters.h"
#include "confparse/worlds.h"

using namespace weir::conf;

namespace {

struct Conf {
  Number number{1};
  bool flag = false;
  std::vector<std::string> list;
  std::optional<Milliseconds> time;
};
struct Own {
  static constexpr bool kSeenByIf = false;
  Number number{0};
};
struct Shown {
  static constexpr bool kSeenByIf = true;
  Number number{0};
};

struct Log final : CompilerState {
  std::string calls;
  std::map<std::string, std::unique_ptr<Scope>> scopes;
};

std::string& calls(Compiler& compiler) {
  return compiler.state<Log>().calls;
}

void block(Compiler& compiler, Scope& scope, const Statement& statement, Context context) {
  const std::string name(statement.argument_count() > 0 ? statement.argument(0) : statement.name());
  calls(compiler) += " +" + name;
  Scope* child = new Scope(context, &scope);
  compiler.state<Log>().scopes[name].reset(child);
  compiler.visit(*statement.block, *child);
  calls(compiler) += " -" + name;
}
void set_http(Compiler& compiler, Scope& scope, const Statement& statement) {
  Scope* http = new Scope(kHttp, &scope);
  compiler.state<Log>().scopes["http"].reset(http);
  compiler.begin_root(*http, kHttp);
  compiler.visit(*statement.block, *http);
  compiler.complete_root(*http, kHttp, *statement.block);
}
void set_server(Compiler& c, Scope& s, const Statement& at) {
  block(c, s, at, kServer);
}
void set_location(Compiler& c, Scope& s, const Statement& at) {
  block(c, s, at, kLocation);
}
void set_if(Compiler& c, Scope& s, const Statement& at) {
  block(c, s, at, kIfInLocation);
}
void read_if(Compiler& c, Scope&, const Statement&) {
  calls(c) += " read";
}
void set_upstream(Compiler& c, Scope& s, const Statement& at) {
  block(c, s, at, kUpstream);
}
void set_note(Compiler& c, Scope&, const Statement& at) {
  calls(c) += " " + std::string(at.argument(0));
}
void finish(Compiler& compiler, Scope& self, const Scope* parent) {
  calls(compiler) += parent ? " finish" : " finish-root";
  if (self.get<Conf>().number.value == 666) {
    compiler.late_error(compiler.root_block().end_number, Compiler::kFinishStage,
                        "number of the beast");
  }
}
void complete(Compiler& compiler, Scope&) {
  calls(compiler) += " complete";
}

constexpr uint32_t kAll = kHttpServerLocation | kIfInLocation | kUpstream;
constexpr Directive kDirectives[] = {
    {.name = "server",
     .where = kHttp,
     .args = {1, 1},
     .form = Form::block,
     .repeat = Repeat::collect,
     .deferred = true,
     .set = set_server},
    {.name = "location",
     .where = kServer | kLocation,
     .args = {1, 1},
     .form = Form::block,
     .repeat = Repeat::collect,
     .deferred = true,
     .set = set_location},
    {.name = "if",
     .where = kLocation,
     .args = {1, 1},
     .form = Form::block,
     .repeat = Repeat::collect,
     .deferred = true,
     .set = set_if,
     .read = read_if},
    {.name = "upstream",
     .where = kHttp,
     .args = {1, 1},
     .form = Form::block,
     .repeat = Repeat::collect,
     .set = set_upstream},
    {.name = "note", .where = kAll, .args = {1, 1}, .repeat = Repeat::collect, .set = set_note},
    {.name = "number", .where = kAll, .args = {1, 1}, .initial = "7", .set = into<&Conf::number>},
    {.name = "time", .where = kAll, .args = {1, 1}, .set = into<&Conf::time>},
    {.name = "list",
     .where = kAll,
     .args = {1, kNoLimit},
     .repeat = Repeat::collect,
     .initial = "default",
     .merge = Merge::replace_list,
     .set = into<&Conf::list>},
    {.name = "own",
     .where = kAll,
     .args = {1, 1},
     .merge = Merge::own,
     .set = own_into<&Own::number>},
    {.name = "shown",
     .where = kAll,
     .args = {1, 1},
     .merge = Merge::own_or_if,
     .set = own_into<&Shown::number>},
};
constexpr Directive kMainDirectives[] = {
    {.name = "http", .where = kMain, .form = Form::block, .set = set_http},
};
const Module kMainModule = {.name = "main", .directives = kMainDirectives, .root = kMain};
const Module kModule = {.name = "test",
                        .directives = kDirectives,
                        .finish = finish,
                        .complete = complete,
                        .root = kHttp};
const Module* const kModules[] = {&kMainModule, &kModule};

struct Run {
  explicit Run(std::string text) {
    const FileId file = sources.add("t", std::move(text));
    tree = parse_source(world, sources, file, {});
    ok = compiler.compile(tree, root);
  }
  const Scope& scope(const std::string& name) { return *compiler.state<Log>().scopes.at(name); }
  std::string problems() { return render_nginx(compiler.diagnostics(), sources); }

  VirtualWorld world;
  Sources sources;
  Tree tree;
  Compiler compiler{world, sources, kModules, "/p", "/p/conf/"};
  Scope root{kMain, nullptr};
  bool ok = false;
};

}  // namespace

TEST_CASE("plain directives come first, then finish, then deferred blocks") {
  Run run(
      "http { server a { note 1; location b { note 3; if x { note 5; } note 4; } note 2; }"
      " upstream u { note up; } note 0; }");
  CHECK(run.problems() == "");
  CHECK(calls(run.compiler) ==
        " +u up -u 0 finish-root +a 1 2 finish +b 3 read 4 finish +x 5 finish -x -b -a complete");
}

TEST_CASE("the compiler knows what the configuration uses, defaults apart") {
  Run run("http { server a { location b { if x { note 5; } } } }");
  REQUIRE(run.ok);
  const auto uses = [&run](std::string_view name) {
    for (const Directive& directive : kDirectives) {
      if (directive.name == name) return run.compiler.uses({&directive, 1});
    }
    return false;
  };
  CHECK(uses("note"));
  CHECK(uses("if"));
  CHECK_FALSE(uses("time"));
  CHECK_FALSE(uses("number"));  // its default is nobody's word
  CHECK(run.compiler.uses(kDirectives));
}

TEST_CASE("later lines of a block reach its earlier children") {
  Run run("http { server a { location b {} } server c { number 3; } number 2; time 1m; }");
  REQUIRE(run.ok);
  CHECK(run.scope("b").get<Conf>().number.value == 2);
  CHECK(run.scope("c").get<Conf>().number.value == 3);
  CHECK(run.scope("c").get<Conf>().time == Milliseconds{60'000});
  CHECK(run.scope("b").same<Conf>(run.scope("http")));
  CHECK_FALSE(run.scope("c").same<Conf>(run.scope("http")));
}

TEST_CASE("defaults are nginx text read by the same setter") {
  Run run("http { server a { list x y; list z; } server b { } server c { list q; } list h; }");
  REQUIRE(run.ok);
  CHECK(run.scope("http").get<Conf>().number.value == 7);
  CHECK(run.scope("a").get<Conf>().list == std::vector<std::string>{"x", "y", "z"});
  CHECK(run.scope("b").get<Conf>().list == std::vector<std::string>{"h"});
  CHECK(run.scope("c").get<Conf>().list == std::vector<std::string>{"q"});
  Run bare("http { server a {} }");
  CHECK(bare.scope("a").get<Conf>().list == std::vector<std::string>{"default"});
}

TEST_CASE("own settings stay where they are, or reach into an if") {
  Run run("http { server a { location b { own 1; shown 2; if c { } location d { } } } }");
  REQUIRE(run.ok);
  CHECK(run.scope("b").own<Own>()->number.value == 1);
  CHECK(run.scope("c").own<Own>() == nullptr);
  CHECK(run.scope("c").own<Shown>()->number.value == 2);
  CHECK(run.scope("d").own<Shown>() == nullptr);
  Run changed("http { server a { location b { shown 2; if c { shown 3; } } } }");
  CHECK(changed.scope("b").own<Shown>()->number.value == 2);
  CHECK(changed.scope("c").own<Shown>()->number.value == 3);
}

TEST_CASE("problems come in nginx's order") {
  Run run("http {\n server a {\n number x;\n }\n number 666;\n time x;\n}\nfoo;\n");
  CHECK_FALSE(run.ok);
  std::string order;
  for (const Diagnostic& diagnostic : run.compiler.diagnostics()) {
    order += nginx_text(diagnostic, run.sources) + "\n";
  }
  // The check made at http's closing brace comes after all of http, and before the rest of the
  // file.
  CHECK(order ==
        "\"number\" directive invalid number in t:3\n"
        "\"time\" directive invalid value in t:6\n"
        "number of the beast\n"
        "number of the beast\n"
        "unknown directive \"foo\" in t:8\n");
}

TEST_CASE("file names are relative to the prefix or to the configuration's folder") {
  Run run("");
  CHECK(run.compiler.full_path("logs/x") == "/p/logs/x");
  CHECK(run.compiler.full_path("x", true) == "/p/conf/x");
  CHECK(run.compiler.full_path("/x", true) == "/x");
}

TEST_CASE("the global directives of -g come before the file") {
  VirtualWorld world;
  world.add_file("/c/n.conf", "foo;");
  const auto first = [&](const std::string& global) {
    Sources sources;
    ParseOptions options;
    options.global_directives = global;
    Tree tree = parse_configuration(world, sources, "/c/n.conf", options);
    Compiler compiler(world, sources, kModules, "/", "/");
    Scope root(kMain, nullptr);
    compiler.compile(tree, root);
    return nginx_text(compiler.diagnostics().at(0), sources);
  };
  CHECK(first("") == "unknown directive \"foo\" in /c/n.conf:1");
  CHECK(first("bar;") == "unknown directive \"bar\" in command line");
  CHECK(first("bar") == "unexpected end of parameter, expecting \";\" in command line");
  CHECK(first("http {}") == "block directives are not supported in -g option in command line");
}

TEST_CASE("a configuration that cannot be read") {
  VirtualWorld world;
  Sources sources;
  Tree tree = parse_configuration(world, sources, "/c/n.conf", {});
  Compiler compiler(world, sources, kModules, "/", "/");
  Scope root(kMain, nullptr);
  CHECK_FALSE(compiler.compile(tree, root));
  REQUIRE(compiler.diagnostics().size() == 1);
  CHECK(nginx_text(compiler.diagnostics()[0], sources) ==
        "open() \"/c/n.conf\" failed (2: No such file or directory)");
}
