#pragma once

#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "confparse/pattern.h"
#include "confparse/worlds.h"
#include "engine/http/graph.h"
#include "engine/process/compile_generation.h"
#include "modules/all.h"

// What the tests of modules share: a configuration compiled in memory, and variables without a
// request.
namespace weir::test {

// `http` is what stands in http { }.
class Compiled {
 public:
  explicit Compiled(const std::string& http) {
    world_.add_file("/p/nginx.conf", "events { }\nhttp {\n" + http + "\n}\n");
    process::Locations locations;
    locations.prefix = "/p/";
    locations.conf_file = "/p/nginx.conf";
    locations.conf_prefix = "/p/";
    locations.error_log = "stderr";
    compiled_ = process::compile_generation(world_, all_modules(), locations, 1);
  }
  bool ok() const { return compiled_.ok; }
  // The first problem as nginx prints it; empty: none.
  std::string problem() const {
    return compiled_.diagnostics.empty()
               ? std::string()
               : process::diagnostic_text(compiled_, compiled_.diagnostics.front());
  }
  const http::Graph& graph() const { return *compiled_.generation->http; }
  const http::VirtualServer& server(size_t index = 0) const { return *graph().servers[index]; }

 private:
  conf::VirtualWorld world_;
  process::CompiledGeneration compiled_;
};

// Variables with given values; those without one are computed by their own definition, which must
// be content with this source (map).
class Values final : public conf::VariableSource {
 public:
  explicit Values(const http::Graph& graph) : graph_(graph) {}
  void set(const std::string& name, std::string value) { values_[name] = std::move(value); }

  conf::Value of(std::string_view name) {
    for (size_t id = 0; id < graph_.variables.size(); ++id) {
      if (graph_.variables[static_cast<conf::VariableId>(id)].name == name)
        return variable(static_cast<conf::VariableId>(id));
    }
    return conf::Value::none();
  }
  conf::Value variable(conf::VariableId id) override {
    const conf::Variable& variable = graph_.variables[id];
    if (auto found = values_.find(variable.name); found != values_.end())
      return conf::Value::of(found->second);
    if (variable.name.starts_with("$")) {
      const auto number = static_cast<size_t>(variable.name[1] - '0');
      return number < captures.size() ? conf::Value::of(captures[number]) : conf::Value::none();
    }
    return variable.name.starts_with("m_") ? variable.get(*this, variable) : conf::Value::none();
  }
  bool match(const conf::Pattern& pattern, std::string_view subject) override {
    const conf::Regex::Match match = pattern.regex->match(subject);
    if (!match) return false;
    captures.clear();
    for (size_t i = 0; i < match.groups(); ++i) captures.emplace_back(match.group(subject, i));
    for (const auto& [group, id] : pattern.named_captures)
      values_[graph_.variables[id].name] = captures[group];
    return true;
  }
  char* allocate(size_t size) override { return memory_.emplace_back(size, '\0').data(); }

  std::vector<std::string> captures;

 private:
  const http::Graph& graph_;
  std::map<std::string, std::string> values_;
  std::deque<std::string> memory_;
};

}  // namespace weir::test
