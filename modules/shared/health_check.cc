#include "modules/shared/health_check.h"

#include <algorithm>

#include "confparse/value.h"
#include "engine/base/md5.h"

namespace weir::shared {
namespace {

using conf::Compiler;
using conf::Statement;
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

bool take_port(std::string_view text, uint16_t& to) {
  uint32_t port = 0;
  if (!take_count(text, 65535, port)) return false;
  to = static_cast<uint16_t>(port);
  return true;
}

}  // namespace

ParameterUse read_health_parameter(std::string_view text, HealthCheck& check) {
  upstream::HealthPolicy& policy = check.policy;
  const auto taken = [](bool well) { return well ? ParameterUse::taken : ParameterUse::wrong; };
  if (text == "mandatory") return taken(policy.mandatory = true);
  if (text == "persistent") return taken(policy.persistent = policy.mandatory);
  const size_t equals = text.find('=');
  if (equals == text.npos) return ParameterUse::unknown;
  const std::string_view name = text.substr(0, equals);
  const std::string_view value = text.substr(equals + 1);
  if (name == "interval") return taken(take_time(value, 1, policy.interval_milliseconds));
  if (name == "jitter") return taken(take_time(value, 0, policy.jitter_milliseconds));
  if (name == "fails") return taken(take_count(value, INT32_MAX, policy.fails));
  if (name == "passes") return taken(take_count(value, INT32_MAX, policy.passes));
  if (name == "port") return taken(take_port(value, check.port));
  if (name != "match") return ParameterUse::unknown;
  check.match = value;
  return taken(!value.empty());
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
