#include "modules/shared/map.h"

#include <algorithm>

#include "modules/shared/hash_size.h"

namespace weir::shared {

namespace {

bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](char c) { return static_cast<char>(is_upper(c) ? c | 0x20 : c); });
  return result;
}

using conf::quoted;

conf::Value evaluate_map(conf::VariableSource& source, const conf::Variable& variable) {
  return reinterpret_cast<const Map*>(variable.data)->evaluate(source);
}

}  // namespace

std::unique_ptr<Map> Map::read(conf::Compiler& compiler, const conf::Statement& statement) {
  auto map = std::make_unique<Map>();
  map->source_ = compiler.make_template(statement, statement.words[1]);
  for (const conf::Statement& line : statement.block->statements) {
    if (line.included || line.block) continue;  // a block here was reported when it was read
    map->read_line(compiler, line);
  }
  if (map->failed_) return nullptr;
  return map;
}

std::unique_ptr<Map> Map::define(conf::Compiler& compiler, const conf::Scope& scope,
                                 const conf::Statement& statement) {
  const std::string_view name = statement.argument(1);
  if (!name.starts_with("$") || name.size() == 1) {
    compiler.error(statement, "invalid variable name \"" + std::string(name) + "\"",
                   "the second word of map is the variable that it defines: it begins with $",
                   &statement.words[2]);
    return nullptr;
  }
  auto map = Map::read(compiler, statement);
  if (!map) return nullptr;
  const auto& sizes = scope.get<MapTuning>();
  std::string problem = map->has_keys() ? hash_size_problem("map_hash", sizes.hash_max_size.value,
                                                            sizes.hash_bucket_size.value)
                                        : std::string();
  if (!problem.empty()) {
    compiler.late_error(statement.block->end_number, 0, std::move(problem), nullptr, kHashSizeHelp);
  }
  conf::Variable variable;
  variable.name = name.substr(1);
  variable.get = evaluate_map;
  variable.data = reinterpret_cast<uintptr_t>(map.get());
  variable.cacheable = !map->is_volatile();
  variable.changeable = true;
  variable.reads = map->reads();
  if (!compiler.variables().define(variable)) {
    compiler.error(statement, "the duplicate \"" + std::string(name.substr(1)) + "\" variable", {},
                   &statement.words[2]);
    return nullptr;
  }
  return map;
}

void Map::read_special(conf::Compiler& compiler, const conf::Statement& line) {
  if (line.name() == "hostnames") {
    hostnames_ = true;
  } else if (line.name() == "volatile") {
    volatile_ = true;
  } else {
    compiler.error(line, "invalid number of the map parameters",
                   line.name() == "..."
                       ? "\"...\" looks like lines left out by whoever wrote the example: "
                         "put the real lines here, or delete it"
                       : "a line of a map is a source value and a result");
    failed_ = true;
  }
}

void Map::read_line(conf::Compiler& compiler, const conf::Statement& line) {
  if (line.words.size() == 1) return read_special(compiler, line);
  if (line.words.size() != 2) {
    compiler.error(line, "invalid number of the map parameters",
                   "a line of a map is a source value and a result; quote values that hold spaces");
    failed_ = true;
    return;
  }
  std::string_view key = line.name();
  const auto result = static_cast<uint32_t>(results_.size());
  results_.push_back(compiler.make_template(line, line.words[1]));
  if (key == "default") {
    if (default_ >= 0) {
      compiler.error(line, "duplicate default map parameter", "a map has one default");
      failed_ = true;
      return;
    }
    default_ = result;
  } else if (key.starts_with("~")) {
    read_expression(compiler, line, key.substr(1), result);
  } else {
    if (key.starts_with("\\")) key.remove_prefix(1);
    read_key(compiler, line, key, result);
  }
}

void Map::read_expression(conf::Compiler& compiler, const conf::Statement& line,
                          std::string_view key, uint32_t result) {
  const bool ignore_case = key.starts_with("*");
  if (ignore_case) key.remove_prefix(1);
  auto pattern = conf::make_pattern(compiler, line, key, ignore_case);
  if (!pattern) {
    failed_ = true;
    return;
  }
  expressions_.emplace_back(std::move(pattern), result);
}

void Map::read_key(conf::Compiler& compiler, const conf::Statement& line, std::string_view key,
                   uint32_t result) {
  const std::string name = lower(key);
  bool is_new = true;
  if (hostnames_) {
    const auto stars = std::count(name.begin(), name.end(), '*');
    const bool leading = name.starts_with("*.") && name.size() > 2;
    const bool trailing = name.ends_with(".*") && name.size() > 2;
    if (name.find("..") != std::string::npos || stars > 1 ||
        (stars == 1 && !leading && !trailing)) {
      compiler.error(line, "invalid hostname or wildcard " + quoted(key),
                     "a wildcard stands for whole labels, once: *.example.com, www.example.*",
                     &line.words[0]);
      failed_ = true;
      return;
    }
    if (name.size() > 1 && name.starts_with(".")) {
      is_new = exact_.emplace(name.substr(1), result).second;
      is_new = leading_.emplace(name, result).second && is_new;
    } else if (leading) {
      is_new = leading_.emplace(name.substr(1), result).second;
    } else if (trailing) {
      is_new = trailing_.emplace(name.substr(0, name.size() - 1), result).second;
    } else {
      is_new = exact_.emplace(name, result).second;
    }
  } else {
    is_new = exact_.emplace(name, result).second;
  }
  if (!is_new) {
    compiler.error(line, "conflicting parameter " + quoted(name),
                   "this source value has a line already");
    failed_ = true;
  }
}

const uint32_t* Map::find_host(std::string_view key) const {
  for (size_t dot = key.find('.'); !leading_.empty() && dot != std::string_view::npos;
       dot = key.find('.', dot + 1)) {
    if (auto found = leading_.find(key.substr(dot)); found != leading_.end()) return &found->second;
  }
  for (size_t dot = key.rfind('.'); !trailing_.empty() && dot != std::string_view::npos && dot > 0;
       dot = key.rfind('.', dot - 1)) {
    if (auto found = trailing_.find(key.substr(0, dot + 1)); found != trailing_.end())
      return &found->second;
  }
  return nullptr;
}

const uint32_t* Map::find(std::string_view key) const {
  if (auto found = exact_.find(key); found != exact_.end()) return &found->second;
  return hostnames_ && !key.empty() ? find_host(key) : nullptr;
}

std::vector<conf::VariableId> Map::reads() const {
  std::vector<conf::VariableId> ids;
  const auto add = [&](conf::VariableId id) { ids.push_back(id); };
  source_.for_each_variable(add);
  for (const conf::Template& result : results_) result.for_each_variable(add);
  return ids;
}

conf::Value Map::evaluate(conf::VariableSource& source) const {
  std::string_view value = source_.evaluate(source);
  if (hostnames_ && value.ends_with('.')) value.remove_suffix(1);
  const uint32_t* result = nullptr;
  const bool has_upper = std::any_of(value.begin(), value.end(), is_upper);
  if (exact_.empty() && leading_.empty() && trailing_.empty()) {
    // Expressions only: they see the value as it is.
  } else if (has_upper) {
    char* copy = source.allocate(value.size());
    std::transform(value.begin(), value.end(), copy,
                   [](char c) { return static_cast<char>(is_upper(c) ? c | 0x20 : c); });
    result = find({copy, value.size()});
  } else {
    result = find(value);
  }
  if (!result) {
    for (const auto& [pattern, index] : expressions_) {
      if (source.match(*pattern, value)) {
        result = &index;
        break;
      }
    }
  }
  if (result) return conf::Value::of(results_[*result].evaluate(source));
  if (default_ >= 0)
    return conf::Value::of(results_[static_cast<size_t>(default_)].evaluate(source));
  return conf::Value::of("");
}

}  // namespace weir::shared
