#include "modules/shared/health_check.h"

#include <algorithm>

#include "confparse/value.h"
#include "engine/base/md5.h"

namespace weir::shared {
namespace {

using conf::Compiler;
using conf::Statement;
using conf::Word;
using upstream::HealthCheck;

bool take_time(std::string_view text, uint64_t least, uint64_t& to) {
  const auto time = conf::parse_milliseconds(text);
  if (!time || *time < 0 || static_cast<uint64_t>(*time) < least) return false;
  to = static_cast<uint64_t>(*time);
  return true;
}

bool take_count(std::string_view text, int64_t most, uint32_t& to) {
  const auto number = conf::parse_number(text);
  if (!number || *number < 1 || *number > most) return false;
  to = static_cast<uint32_t>(*number);
  return true;
}

bool take_value(std::string_view name, std::string_view value, HealthCheck& check, bool& known) {
  upstream::HealthPolicy& policy = check.policy;
  if (name == "interval") return take_time(value, 1, policy.interval_milliseconds);
  if (name == "jitter") return take_time(value, 0, policy.jitter_milliseconds);
  if (name == "fails") return take_count(value, INT32_MAX, policy.fails);
  if (name == "passes") return take_count(value, INT32_MAX, policy.passes);
  if (name == "port") {
    uint32_t port = 0;
    if (!take_count(value, 65535, port)) return false;
    check.port = static_cast<uint16_t>(port);
    return true;
  }
  if (name == "match") {
    check.match = value;
    return !value.empty();
  }
  known = false;
  return true;
}

}  // namespace

ParameterUse read_health_parameter(Compiler& compiler, const Statement& at, const Word& word,
                                   HealthCheck& check) {
  const std::string_view text = word.text;
  upstream::HealthPolicy& policy = check.policy;
  if (text == "mandatory") {
    policy.mandatory = true;
    return ParameterUse::taken;
  }
  if (text == "persistent" && policy.mandatory) {
    policy.persistent = true;
    return ParameterUse::taken;
  }
  const size_t equals = text.find('=');
  if (equals == text.npos) return ParameterUse::unknown;
  bool known = true;
  if (!take_value(text.substr(0, equals), text.substr(equals + 1), check, known)) {
    compiler.invalid_parameter(at, word);
    return ParameterUse::wrong;
  }
  return known ? ParameterUse::taken : ParameterUse::unknown;
}

std::optional<RegexOperator> read_regex_operator(std::string_view word) {
  RegexOperator result;
  if (word.starts_with('!')) {
    result.negated = true;
    word.remove_prefix(1);
  }
  result.ignore_case = word == "~*";
  if (word != "~" && !result.ignore_case) return std::nullopt;
  return result;
}

void add_health_check(Compiler& compiler, const Statement& at,
                      const std::vector<std::unique_ptr<upstream::Cluster>>& clusters,
                      const upstream::Cluster* cluster, const std::shared_ptr<HealthCheck>& check) {
  if (!cluster->zone) {
    return compiler.error(
        at, "\"health_check\" requires \"zone\" in upstream \"" + cluster->name + "\"",
        "the state of the servers is shared by the workers: give the upstream "
        "block a zone");
  }
  const auto found = std::find_if(clusters.begin(), clusters.end(),
                                  [&](const auto& one) { return one.get() == cluster; });
  // Whatever stands in the line, the zone keeps few bytes of it.
  check->key = hexadecimal(md5(check->key));
  auto& checks = (*found)->checks;
  const auto same = std::count_if(checks.begin(), checks.end(), [&](const auto& other) {
    return other->key == check->key || other->key.starts_with(check->key + '#');
  });
  if (same) check->key += '#' + std::to_string(same);
  checks.push_back(check);
}

}  // namespace weir::shared
