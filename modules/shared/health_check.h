#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "confparse/compiler.h"
#include "confparse/schema.h"
#include "engine/upstream/cluster.h"
#include "engine/upstream/health.h"

// health_check and match, as far as http and stream have them in common.
namespace weir::shared {

enum class ParameterUse : uint8_t { taken, unknown, wrong };
// interval=, jitter=, fails=, passes=, mandatory, persistent, match=, port=.
ParameterUse read_health_parameter(std::string_view text, upstream::HealthCheck& check);

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

// The health_check lines and match blocks of a subsystem, kept until all upstreams are known:
// either may come before what it names. `Kind` says what is the subsystem's own:
//
//   using Check, Match;                               // a HealthCheck with `tests`; a match block
//   static void begin(Compiler&, Check&);             // where the line stands
//   static ParameterUse read_own(string_view, Check&);  // a parameter; asked first
//   static const upstream::Cluster* find_upstream(Compiler&, const Statement&, Check&);
//                                                     // whose servers; null after an error
//   static std::string key(const Check&);             // what it asks, to tell checks apart
template <class Kind>
class HealthChecks final : public conf::CompilerState {
 public:
  using Check = typename Kind::Check;
  using Match = typename Kind::Match;

  static void set_check(conf::Compiler& compiler, conf::Scope&, const conf::Statement& at) {
    auto check = std::make_shared<Check>();
    Kind::begin(compiler, *check);
    for (const conf::Word& word : at.words.subspan(1)) {
      ParameterUse use = Kind::read_own(word.text, *check);
      if (use == ParameterUse::unknown) use = read_health_parameter(word.text, *check);
      if (use != ParameterUse::taken) return compiler.invalid_parameter(at, word);
    }
    compiler.state<HealthChecks>().pending_.push_back({&at, std::move(check)});
  }

  static void set_match(conf::Compiler& compiler, conf::Scope&, const conf::Statement& at) {
    auto& match = compiler.state<HealthChecks>().matches_[std::string(at.argument(0))];
    if (match) {
      return compiler.error(at, "duplicate match \"" + std::string(at.argument(0)) + "\"", {},
                            &at.words[1]);
    }
    match = std::make_shared<Match>();
    match->read(compiler, at);
  }

  // Gives the checks to their clusters, which are among `clusters`.
  void complete(conf::Compiler& compiler,
                const std::vector<std::unique_ptr<upstream::Cluster>>& clusters) {
    for (const Pending& pending : pending_) {
      Check& check = *pending.check;
      const upstream::Cluster* cluster = Kind::find_upstream(compiler, *pending.at, check);
      if (!cluster || !find_match(compiler, pending)) continue;
      check.key = Kind::key(check);
      add_health_check(compiler, *pending.at, clusters, cluster, pending.check);
    }
  }

  static constexpr conf::Directive check_row(uint32_t where, std::string_view doc) {
    return {.name = "health_check",
            .where = where,
            .args = {0, conf::kNoLimit},
            .repeat = conf::Repeat::collect,
            .merge = conf::Merge::own,
            .set = &HealthChecks::set_check,
            .doc = doc};
  }
  static constexpr conf::Directive match_row(uint32_t where, std::string_view doc) {
    return {.name = "match",
            .where = where,
            .args = {1, 1},
            .form = conf::Form::block,
            .repeat = conf::Repeat::collect,
            .merge = conf::Merge::own,
            .set = &HealthChecks::set_match,
            .doc = doc};
  }

 private:
  struct Pending {
    const conf::Statement* at;
    std::shared_ptr<Check> check;
  };

  bool find_match(conf::Compiler& compiler, const Pending& pending) {
    const std::string& name = pending.check->match;
    if (name.empty()) return true;
    const auto found = matches_.find(name);
    if (found == matches_.end()) {
      compiler.error(*pending.at, "match \"" + name + "\" is not found");
      return false;
    }
    pending.check->tests = found->second;
    return true;
  }

  std::map<std::string, std::shared_ptr<Match>> matches_;
  std::vector<Pending> pending_;
};

}  // namespace weir::shared
