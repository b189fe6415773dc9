#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "confparse/compiler.h"
#include "engine/upstream/cluster.h"
#include "engine/upstream/health.h"

// health_check and match, as far as http and stream have them in common.
namespace weir::shared {

enum class ParameterUse : uint8_t { taken, unknown, wrong };
// interval=, jitter=, fails=, passes=, mandatory, persistent, match=, port=. `wrong` is reported.
ParameterUse read_health_parameter(conf::Compiler& compiler, const conf::Statement& at,
                                   const conf::Word& word, upstream::HealthCheck& check);

// "~" and "~*", and with an exclamation mark in front.
struct RegexOperator {
  bool negated = false;
  bool ignore_case = false;
};
std::optional<RegexOperator> read_regex_operator(std::string_view word);

// Gives the check to the cluster, which is one of `clusters`. Its key is made different from those
// of the cluster's other checks. Reports where the cluster has no zone.
void add_health_check(conf::Compiler& compiler, const conf::Statement& at,
                      const std::vector<std::unique_ptr<upstream::Cluster>>& clusters,
                      const upstream::Cluster* cluster,
                      const std::shared_ptr<upstream::HealthCheck>& check);

// The match blocks of a subsystem, by name. A health_check may come before the block it names.
template <class Match>
class MatchBlocks {
 public:
  // Null after an error.
  std::shared_ptr<Match> define(conf::Compiler& compiler, const conf::Statement& at) {
    auto& match = blocks_[std::string(at.argument(0))];
    if (match) {
      compiler.error(at, "duplicate match \"" + std::string(at.argument(0)) + "\"", {},
                     &at.words[1]);
      return nullptr;
    }
    match = std::make_shared<Match>();
    return match;
  }
  // Null after an error, and for an empty name.
  std::shared_ptr<const Match> find(conf::Compiler& compiler, const conf::Statement& at,
                                    const std::string& name) const {
    if (name.empty()) return nullptr;
    const auto found = blocks_.find(name);
    if (found != blocks_.end()) return found->second;
    compiler.error(at, "match \"" + name + "\" is not found");
    return nullptr;
  }

 private:
  std::map<std::string, std::shared_ptr<Match>> blocks_;
};

}  // namespace weir::shared
