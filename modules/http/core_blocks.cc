#include <algorithm>
#include <cctype>

#include "engine/http/core_settings.h"
#include "modules/http/core.h"

// The blocks of ngx_http_core_module: http, server, location, limit_except, types.
namespace weir::http::core {

void read_http(Compiler& compiler, Scope& main, const Statement& statement) {
  Builder& build = builder(compiler);
  Graph& graph = build.graph();
  graph.scope = std::make_unique<Scope>(conf::kHttp, &main);
  graph.prefix = compiler.prefix();
  build.close_number = statement.block->end_number;
  compiler.use_variables(&graph.variables);
  compiler.begin_root(*graph.scope, conf::kHttp);
  compiler.visit(*statement.block, *graph.scope);
  compiler.complete_root(*graph.scope, conf::kHttp, *statement.block);
  compiler.report_unknown_variables(build.close_number, kStageVariables, *statement.block);
  compiler.use_variables(nullptr);
}

void read_server(Compiler& compiler, Scope& http, const Statement& statement) {
  Builder& build = builder(compiler);
  auto server = std::make_unique<VirtualServer>();
  server->scope = std::make_unique<Scope>(conf::kServer, &http);
  build.current_server = server.get();
  build.server_statements[server.get()] = &statement;
  build.graph().servers.push_back(std::move(server));
  compiler.visit(*statement.block, *build.current_server->scope);
  finish_server_addresses(compiler, statement);
  VirtualServer& read = *build.current_server;
  if (read.names.empty()) read.names.emplace_back();
  read.locations.finish();
  build.current_server = nullptr;
}

namespace {

// Splits "location = /x", "location =/x", "location ~* \.php$" into kind and name.
bool read_name(Compiler& compiler, const Statement& statement, Location& location,
               bool& ignore_case) {
  std::string_view name = statement.argument(0);
  if (statement.argument_count() == 2) {
    const std::string_view modifier = name;
    name = statement.argument(1);
    if (modifier == "=") {
      location.kind = Location::Kind::exact;
    } else if (modifier == "^~") {
      location.kind = Location::Kind::prefix_no_regex;
    } else if (modifier == "~" || modifier == "~*") {
      location.kind = Location::Kind::regex;
      ignore_case = modifier == "~*";
    } else {
      compiler.error(statement, "invalid location modifier \"" + std::string(modifier) + "\"",
                     "a modifier is one of =, ^~, ~ and ~*", &statement.words[1]);
      return false;
    }
  } else if (name.starts_with("=")) {
    location.kind = Location::Kind::exact;
    name.remove_prefix(1);
  } else if (name.starts_with("^~")) {
    location.kind = Location::Kind::prefix_no_regex;
    name.remove_prefix(2);
  } else if (name.starts_with("~")) {
    location.kind = Location::Kind::regex;
    ignore_case = name.starts_with("~*");
    name.remove_prefix(ignore_case ? 2 : 1);
  } else if (name.starts_with("@")) {
    location.kind = Location::Kind::named;
  }
  location.name = name;
  return true;
}

bool check_nesting(Compiler& compiler, const Statement& statement, const Location& outer,
                   const Location& inner) {
  const std::string quoted = "location \"" + inner.name + "\"";
  const std::string quoted_outer = "location \"" + outer.name + "\"";
  if (outer.kind == Location::Kind::exact) {
    compiler.error(statement, quoted + " cannot be inside the exact " + quoted_outer,
                   "\"= /path\" is one path only: nothing can be below it");
  } else if (outer.kind == Location::Kind::named) {
    compiler.error(statement, quoted + " cannot be inside the named " + quoted_outer,
                   "a named location is one place for error_page and try_files, without a path");
  } else if (inner.kind == Location::Kind::named) {
    compiler.error(statement, "named " + quoted + " can be on the server level only",
                   "move it out of the location around it");
  } else if (inner.kind != Location::Kind::regex && !inner.name.starts_with(outer.name)) {
    compiler.error(statement, quoted + " is outside " + quoted_outer,
                   "a nested location must begin with the name of the one around it");
  } else {
    return true;
  }
  return false;
}

// Locations that cannot be, kept as long as the compile: what was read in them points to them.
class RefusedLocations final : public conf::CompilerState {
 public:
  std::vector<std::unique_ptr<Location>> kept;
};

// nginx finds duplicates at the closing brace of http, and names the later one.
void report_duplicate(Compiler& compiler, const Statement& statement, const Location& location,
                      LocationTable& table) {
  // Of named locations the first one is used, without a word.
  if (location.kind == Location::Kind::named || !table.find_same(location)) return;
  compiler.late_error(builder(compiler).close_number, kStageLocations,
                      "duplicate location \"" + location.name + "\"", &statement,
                      "one server has each location once" + compiler.earlier(statement, true),
                      conf::Severity::emerg, statement.words.back().span);
}

}  // namespace

void read_location(Compiler& compiler, Scope& outer, const Statement& statement) {
  Builder& build = builder(compiler);
  auto made = std::make_unique<Location>();
  Location& location = *made;
  location.server = build.current_server;
  location.parent = build.current_location;
  bool ignore_case = false;
  bool good = read_name(compiler, statement, location, ignore_case);
  if (good && location.kind == Location::Kind::regex) {
    location.pattern = conf::make_pattern(compiler, statement, location.name, ignore_case);
    good = location.pattern != nullptr;
  }
  good =
      good && (!location.parent || check_nesting(compiler, statement, *location.parent, location));

  location.scope = std::make_unique<Scope>(conf::kLocation, &outer);
  auto& table = location.parent ? build.current_location->nested : made->nested;
  LocationTable* into = &build.current_server->locations;
  if (location.parent) {
    if (!table) table = std::make_unique<LocationTable>();
    into = table.get();
  }
  if (good) report_duplicate(compiler, statement, location, *into);

  Location* const outer_location = build.current_location;
  PhaseHandler* const outer_handler = build.content_handler;
  build.current_location = &location;
  build.content_handler = &location.content_handler;
  compiler.visit(*statement.block, *location.scope);
  build.current_location = outer_location;
  build.content_handler = outer_handler;

  // It was read for its problems only.
  if (!good) {
    compiler.state<RefusedLocations>().kept.push_back(std::move(made));
    return;
  }
  // proxy_pass and its like make "/x" redirect to "/x/" (nginx's auto_redirect).
  location.auto_redirect = location.content_handler && location.name.ends_with('/') &&
                           location.kind != Location::Kind::regex &&
                           location.kind != Location::Kind::named;
  if (location.kind == Location::Kind::named) {
    build.current_server->named_locations.emplace(location.name, &location);
  }
  into->add(std::move(made));
}

void read_limit_except(Compiler& compiler, Scope& outer, const Statement& statement) {
  static constexpr std::pair<std::string_view, Method> kMethods[] = {
      {"GET", Method::get},
      {"HEAD", Method::head},
      {"POST", Method::post},
      {"PUT", Method::put},
      {"DELETE", Method::delete_},
      {"MKCOL", Method::mkcol},
      {"COPY", Method::copy},
      {"MOVE", Method::move},
      {"OPTIONS", Method::options},
      {"PROPFIND", Method::propfind},
      {"PROPPATCH", Method::proppatch},
      {"LOCK", Method::lock},
      {"UNLOCK", Method::unlock},
      {"PATCH", Method::patch},
  };
  Builder& build = builder(compiler);
  auto limit = std::make_unique<LimitExcept>();
  for (size_t i = 0; i < statement.argument_count(); ++i) {
    std::string upper(statement.argument(i));
    std::transform(upper.begin(), upper.end(), upper.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    auto known = std::find_if(std::begin(kMethods), std::end(kMethods),
                              [&](const auto& method) { return method.first == upper; });
    if (known == std::end(kMethods)) {
      compiler.error(
          statement, "invalid method \"" + std::string(statement.argument(i)) + "\"",
          "methods are GET, HEAD, POST, PUT, DELETE, MKCOL, COPY, MOVE, OPTIONS, PROPFIND, "
          "PROPPATCH, LOCK, UNLOCK and PATCH",
          &statement.words[i + 1]);
      return;
    }
    limit->allowed |= 1u << static_cast<uint32_t>(known->second);
    if (known->second == Method::get) limit->allowed |= 1u << static_cast<uint32_t>(Method::head);
  }
  limit->scope = std::make_unique<Scope>(conf::kLimitExcept, &outer);
  PhaseHandler* const outer_handler = build.content_handler;
  build.content_handler = &limit->content_handler;
  compiler.visit(*statement.block, *limit->scope);
  build.content_handler = outer_handler;
  build.current_location->limit_except = std::move(limit);
}

void set_internal(Compiler& compiler, Scope&, const Statement&) {
  if (Location* location = builder(compiler).current_location) location->internal = true;
}

void read_types(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto& settings = scope.write<CoreSettings>();
  auto types = std::make_shared<TypeMap>();
  // A second block at the same level adds to the first; the first drops what was inherited.
  if (!compiler.first_use(scope)) *types = *settings.types;
  for (const Statement& line : statement.block->statements) {
    if (line.included) continue;
    const std::string type(line.name());
    for (size_t i = 0; i < line.argument_count(); ++i) {
      std::string extension(line.argument(i));
      std::transform(extension.begin(), extension.end(), extension.begin(),
                     [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      auto [entry, is_new] = types->emplace(extension, type);
      if (!is_new) {
        compiler.warn(line,
                      "duplicate extension \"" + extension + "\", content type: \"" + type +
                          "\", previous content type: \"" + entry->second + "\"",
                      {}, &line.words[i + 1]);
        entry->second = type;
      }
    }
  }
  settings.types = std::move(types);
}

}  // namespace weir::http::core
