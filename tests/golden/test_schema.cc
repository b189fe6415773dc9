#include "test_schema.h"

#include <memory>
#include <string>
#include <vector>

#include "confparse/address.h"
#include "confparse/compiler.h"
#include "confparse/pattern.h"
#include "confparse/setters.h"

namespace weir::conf {

namespace test {
enum class Modified : uint8_t { off, exact, before };
enum Next : uint32_t { kError = 1, kTimeout = 2, kInvalidHeader = 4, kOff = 8 };
}  // namespace test

template <>
struct EnumWords<test::Modified> {
  static constexpr std::pair<std::string_view, test::Modified> words[] = {
      {"off", test::Modified::off},
      {"exact", test::Modified::exact},
      {"before", test::Modified::before}};
};

template <>
struct EnumWords<test::Next> {
  static constexpr std::pair<std::string_view, test::Next> words[] = {
      {"error", test::kError},
      {"timeout", test::kTimeout},
      {"invalid_header", test::kInvalidHeader},
      {"off", test::kOff}};
};

namespace test {

namespace {

struct CoreConf {
  bool daemon = true;
  bool pcre_jit = false;
  std::optional<Number> worker_connections;
  bool events = false;
};

struct HttpConf {
  bool sendfile = false;
  Number keepalive_requests;
  Bytes body_buffer;
  FileOffset body_size;
  Milliseconds body_timeout;
  Buffers output_buffers;
  Modified if_modified_since = Modified::exact;
  Bitmask<Next> next_upstream;
  AccessMode store_access;
  FolderTree temp_path;
  Template root;
  std::vector<std::string> index;
};

struct LocationOwn {
  static constexpr bool kSeenByIf = true;
  Template answer;
};

// Keeps the scopes and variables of one compile.
struct Kept final : CompilerState {
  std::vector<std::unique_ptr<Scope>> scopes;
  VariableTable variables;
};

Value nothing(VariableSource&, const Variable&) {
  return Value::none();
}

void define(VariableTable& variables, std::string name, bool prefix = false) {
  Variable variable;
  variable.name = std::move(name);
  variable.get = nothing;
  variable.prefix = prefix;
  variables.define(std::move(variable));
}

void visit_child(Compiler& compiler, Scope& scope, const Statement& statement, Context context) {
  auto& scopes = compiler.state<Kept>().scopes;
  Scope& child = *scopes.emplace_back(std::make_unique<Scope>(context, &scope));
  compiler.visit(*statement.block, child);
}

void set_events(Compiler& compiler, Scope& scope, const Statement& statement) {
  scope.write<CoreConf>().events = true;
  visit_child(compiler, scope, statement, kEvents);
}

void set_user(Compiler& compiler, Scope&, const Statement& statement) {
  const std::string name(statement.argument(0));
  if (!compiler.world().user(name).ok()) {
    compiler.error(statement, "getpwnam(\"" + name + "\") failed");
  }
}

void complete_core(Compiler& compiler, Scope& root) {
  if (root.get<CoreConf>().events) return;
  compiler.late_error(compiler.root_block().end_number, 0,
                      "no \"events\" section in configuration");
}

void set_http(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto& scopes = compiler.state<Kept>().scopes;
  Scope& http = *scopes.emplace_back(std::make_unique<Scope>(kHttp, &scope));
  compiler.use_variables(&compiler.state<Kept>().variables);
  compiler.begin_root(http, kHttp);
  compiler.visit(*statement.block, http);
  compiler.complete_root(http, kHttp, *statement.block);
  compiler.use_variables(nullptr);
}

void prepare_http(Compiler& compiler, Scope&) {
  VariableTable& variables = compiler.variables();
  for (const char* name : {"host", "uri", "args", "remote_addr", "bytes_sent"}) {
    define(variables, name);
  }
  for (int i = 1; i <= 9; ++i) define(variables, "$" + std::to_string(i));
  define(variables, "http_", true);
  define(variables, "arg_", true);
}

void complete_http(Compiler& compiler, Scope&) {
  uint32_t stage = Compiler::kCompleteStage + 1000;
  for (const std::string& name : compiler.variables().finish()) {
    compiler.late_error(compiler.root_block().end_number, stage++,
                        "unknown \"" + name + "\" variable");
  }
}

void set_server(Compiler& compiler, Scope& scope, const Statement& statement) {
  visit_child(compiler, scope, statement, kServer);
}

void set_location(Compiler& compiler, Scope& scope, const Statement& statement) {
  const bool regex = statement.argument_count() == 2 && statement.argument(0).starts_with('~');
  if (regex) {
    make_pattern(compiler, statement, statement.argument(1), statement.argument(0) == "~*");
  }
  visit_child(compiler, scope, statement, kLocation);
}

void set_upstream(Compiler& compiler, Scope& scope, const Statement& statement) {
  visit_child(compiler, scope, statement, kUpstream);
  if (statement.block->statements.empty()) {
    compiler.error_at_close(statement, "no servers are inside upstream");
  }
}

void set_upstream_server(Compiler& compiler, Scope&, const Statement& statement) {
  const Url url = parse_url(compiler.world(), statement.argument(0), {});
  if (url.ok()) return;
  compiler.error(statement, url.problem + " in upstream \"" + url.text + "\"", {},
                 &statement.words[1]);
}

void set_listen(Compiler& compiler, Scope&, const Statement& statement) {
  const Url url = parse_url(compiler.world(), statement.argument(0), {.listen = true});
  if (url.ok()) return;
  compiler.error(statement, url.problem + " in \"" + url.text + "\" of the \"listen\" directive",
                 {}, &statement.words[1]);
}

void set_allow(Compiler& compiler, Scope&, const Statement& statement) {
  const Word& word = statement.words[1];
  Cidr cidr;
  if (word.text == "all" || word.text == "unix:") return;
  switch (parse_cidr(word.text, cidr)) {
    case CidrResult::ok:
      return;
    case CidrResult::low_bits:
      compiler.warn(statement, "low address bits of " + std::string(word.text) + " are meaningless",
                    {}, &word);
      return;
    case CidrResult::invalid:
      compiler.invalid_parameter(statement, word);
      return;
  }
}

void set_map(Compiler& compiler, Scope&, const Statement& statement) {
  compiler.make_template(statement, statement.words[1]);
  const std::string_view target = statement.argument(1);
  if (!target.starts_with('$')) {
    compiler.error(statement, "invalid variable name \"" + std::string(target) + "\"", {},
                   &statement.words[2]);
    return;
  }
  Variable variable;
  variable.name = target.substr(1);
  variable.get = nothing;
  variable.changeable = true;
  compiler.variables().define(std::move(variable));
  for (const Statement& line : statement.block->statements) {
    if (line.included) continue;
    if (line.name().starts_with('~')) {
      make_pattern(compiler, line, line.name().substr(1), false);
    }
    if (line.argument_count() == 1) compiler.make_template(line, line.words[1]);
  }
}

void set_data_block(Compiler&, Scope&, const Statement&) {}

void set_split_clients(Compiler& compiler, Scope&, const Statement& statement) {
  for (const Statement& line : statement.block->statements) {
    if (line.name() == "*") continue;
    if (!line.name().ends_with('%')) {
      compiler.error(line, "invalid percent value \"" + std::string(line.name()) + "\"");
    }
  }
}

constexpr uint32_t kAnywhereInHttp = kHttpServerLocation;

constexpr Directive kCore[] = {
    {.name = "daemon", .where = kMain, .form = Form::flag, .set = into<&CoreConf::daemon>},
    {.name = "pcre_jit", .where = kMain, .form = Form::flag, .set = into<&CoreConf::pcre_jit>},
    {.name = "user", .where = kMain, .args = {1, 2}, .set = set_user},
    {.name = "events", .where = kMain, .form = Form::block, .set = set_events},
    {.name = "worker_connections",
     .where = kEvents,
     .args = {1, 1},
     .initial = "512",
     .set = into<&CoreConf::worker_connections>},
    {.name = "http", .where = kMain, .form = Form::block, .set = set_http},
};

constexpr Directive kHttpDirectives[] = {
    {.name = "server",
     .where = kHttp,
     .form = Form::block,
     .repeat = Repeat::collect,
     .deferred = true,
     .set = set_server},
    {.name = "location",
     .where = kServer | kLocation,
     .args = {1, 2},
     .form = Form::block,
     .repeat = Repeat::collect,
     .deferred = true,
     .set = set_location},
    {.name = "upstream",
     .where = kHttp,
     .args = {1, 1},
     .form = Form::block,
     .repeat = Repeat::collect,
     .set = set_upstream},
    {.name = "server",
     .where = kUpstream,
     .args = {1, kNoLimit},
     .repeat = Repeat::collect,
     .set = set_upstream_server},
    {.name = "listen",
     .where = kServer,
     .args = {1, kNoLimit},
     .repeat = Repeat::collect,
     .set = set_listen},
    {.name = "allow",
     .where = kAnywhereInHttp,
     .args = {1, 1},
     .repeat = Repeat::collect,
     .set = set_allow},
    {.name = "map",
     .where = kHttp,
     .args = {2, 2},
     .form = Form::block,
     .repeat = Repeat::collect,
     .set = set_map},
    {.name = "types",
     .where = kAnywhereInHttp,
     .form = Form::block,
     .repeat = Repeat::collect,
     .set = set_data_block},
    {.name = "geo",
     .where = kHttp,
     .args = {1, 2},
     .form = Form::block,
     .repeat = Repeat::collect,
     .set = set_data_block},
    {.name = "split_clients",
     .where = kHttp,
     .args = {2, 2},
     .form = Form::block,
     .repeat = Repeat::collect,
     .set = set_split_clients},
    {.name = "sendfile",
     .where = kAnywhereInHttp,
     .form = Form::flag,
     .initial = "off",
     .set = into<&HttpConf::sendfile>},
    {.name = "keepalive_requests",
     .where = kAnywhereInHttp,
     .args = {1, 1},
     .initial = "1000",
     .set = into<&HttpConf::keepalive_requests>},
    {.name = "client_body_buffer_size",
     .where = kAnywhereInHttp,
     .args = {1, 1},
     .initial = "16k",
     .set = into<&HttpConf::body_buffer>},
    {.name = "client_max_body_size",
     .where = kAnywhereInHttp,
     .args = {1, 1},
     .initial = "1m",
     .set = into<&HttpConf::body_size>},
    {.name = "client_body_timeout",
     .where = kAnywhereInHttp,
     .args = {1, 1},
     .initial = "60s",
     .set = into<&HttpConf::body_timeout>},
    {.name = "output_buffers",
     .where = kAnywhereInHttp,
     .args = {2, 2},
     .initial = "2 32k",
     .set = into<&HttpConf::output_buffers>},
    {.name = "if_modified_since",
     .where = kAnywhereInHttp,
     .args = {1, 1},
     .initial = "exact",
     .set = into<&HttpConf::if_modified_since>},
    {.name = "proxy_next_upstream",
     .where = kAnywhereInHttp,
     .args = {1, kNoLimit},
     .repeat = Repeat::collect,
     .initial = "error timeout",
     .set = into<&HttpConf::next_upstream>},
    {.name = "proxy_store_access",
     .where = kAnywhereInHttp,
     .args = {1, 3},
     .initial = "user:rw",
     .set = into<&HttpConf::store_access>},
    {.name = "client_body_temp_path",
     .where = kAnywhereInHttp,
     .args = {1, 4},
     .set = into<&HttpConf::temp_path>},
    {.name = "root",
     .where = kAnywhereInHttp,
     .args = {1, 1},
     .initial = "html",
     .set = into<&HttpConf::root>},
    {.name = "index",
     .where = kAnywhereInHttp,
     .args = {1, kNoLimit},
     .repeat = Repeat::collect,
     .initial = "index.html",
     .merge = Merge::replace_list,
     .set = into<&HttpConf::index>},
    {.name = "return",
     .where = kServer | kLocation,
     .args = {1, 2},
     .repeat = Repeat::collect,
     .merge = Merge::own,
     .set =
         [](Compiler& compiler, Scope& scope, const Statement& statement) {
           const Word& text = statement.words.back();
           scope.write_own<LocationOwn>().answer = compiler.make_template(statement, text);
         }},
};

const Module kCoreModule = {
    .name = "ngx_core_module", .directives = kCore, .complete = complete_core, .root = kMain};
const Module kHttpModule = {.name = "ngx_http_core_module",
                            .directives = kHttpDirectives,
                            .prepare = prepare_http,
                            .complete = complete_http,
                            .root = kHttp};
const Module* const kModules[] = {&kCoreModule, &kHttpModule};

}  // namespace

std::span<const Module* const> test_modules() {
  return kModules;
}

}  // namespace test
}  // namespace weir::conf
