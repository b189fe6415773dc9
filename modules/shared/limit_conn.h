#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "confparse/compiler.h"
#include "confparse/setters.h"
#include "confparse/template.h"
#include "engine/log/severity.h"
#include "engine/zone/registry.h"
#include "modules/shared/connection_counts.h"

// limit_conn, once for http and stream: how many requests or sessions of one key are open.
namespace weir::shared {

// Words of limit_conn_log_level and limit_req_log_level.
enum class LimitLogLevel : uint8_t { info, notice, warn, error };

}  // namespace weir::shared

template <>
struct weir::conf::EnumWords<weir::shared::LimitLogLevel> {
  static constexpr std::pair<std::string_view, weir::shared::LimitLogLevel> words[] = {
      {"info", weir::shared::LimitLogLevel::info},
      {"notice", weir::shared::LimitLogLevel::notice},
      {"warn", weir::shared::LimitLogLevel::warn},
      {"error", weir::shared::LimitLogLevel::error}};
};

namespace weir::shared {

Severity severity_of(LimitLogLevel level);

// A zone and what is counted in it.
struct ConnectionLimitZone {
  std::shared_ptr<zone::Zone> zone;
  conf::Template key;
  bool declared = false;
};

struct ConnectionLimit {
  std::shared_ptr<const ConnectionLimitZone> zone;
  uint32_t most = 0;
};

struct ConnectionLimitSettings {
  std::vector<ConnectionLimit> limits;
  bool dry_run = false;
  LimitLogLevel log_level = LimitLogLevel::error;
};

// The zones of one subsystem while it is compiled; `kind` keeps those of http and stream apart.
class ConnectionLimitZones {
 public:
  explicit ConnectionLimitZones(std::string_view kind) : kind_(kind) {}
  // `limit_conn_zone key zone=name:size`, `limit_conn name number`.
  void read_zone(conf::Compiler& compiler, const conf::Statement& statement);
  void read_limit(conf::Compiler& compiler, conf::Scope& scope, ConnectionLimitSettings& settings,
                  const conf::Statement& statement);

 private:
  ConnectionLimitZone& find(const std::shared_ptr<zone::Zone>& zone);
  std::string_view kind_;
  std::map<const zone::Zone*, std::shared_ptr<ConnectionLimitZone>> zones_;
};

struct LimitConnDocs {
  std::string_view zone, limit;
};

// The rows, but for the subsystem's top (`main`), where else they may stand, and what its
// ConnectionLimitZones do with zones and limits.
constexpr std::array<conf::Directive, 4> limit_conn_rows(uint32_t main, uint32_t where,
                                                         conf::SetFunction read_zone,
                                                         conf::SetFunction read_limit,
                                                         LimitConnDocs docs) {
  return {{
      {.name = "limit_conn_zone",
       .where = main,
       .args = {2, 2},
       .repeat = conf::Repeat::collect,
       .set = read_zone,
       .doc = docs.zone},
      {.name = "limit_conn",
       .where = where,
       .args = {2, 2},
       .repeat = conf::Repeat::collect,
       .merge = conf::Merge::replace_list,
       .set = read_limit,
       .doc = docs.limit},
      {.name = "limit_conn_log_level",
       .where = where,
       .args = {1, 1},
       .initial = "error",
       .set = conf::into<&ConnectionLimitSettings::log_level>,
       .doc = "The level at which refusals are logged."},
      {.name = "limit_conn_dry_run",
       .where = where,
       .args = {1, 1},
       .form = conf::Form::flag,
       .initial = "off",
       .set = conf::into<&ConnectionLimitSettings::dry_run>,
       .doc = "Counts and logs, and refuses nothing."},
  }};
}

enum class ConnectionVerdict : uint8_t { none, passed, rejected, rejected_dry_run };
// $limit_conn_status.
std::string_view text_of(ConnectionVerdict verdict);

// What one request or session is counted in. Takes itself out of all when it ends. Refers to
// nothing of a generation.
class CountedConnection {
 public:
  CountedConnection() = default;
  CountedConnection(CountedConnection&& other) noexcept = default;
  CountedConnection& operator=(CountedConnection&&) = delete;
  ~CountedConnection() { release(); }
  void release();
  bool empty() const { return counted_.empty(); }

  // Counts by all limits, or (rejected) by none. `log(severity, text)` gets nginx's lines.
  template <class Log>
  ConnectionVerdict count(const ConnectionLimitSettings& settings, conf::VariableSource& source,
                          Log log) {
    for (const ConnectionLimit& limit : settings.limits) {
      const std::string_view key = limit.zone->key.evaluate(source);
      if (key.empty()) continue;
      if (key.size() > kLongestKey) {
        log(Severity::error, too_long(*limit.zone, key));
        continue;
      }
      const Outcome outcome = count_one(limit, key);
      if (outcome == Outcome::counted) continue;
      release();
      if (outcome == Outcome::no_memory) log(Severity::crit, no_memory(*limit.zone));
      if (outcome == Outcome::over) {
        log(severity_of(settings.log_level), over(settings, limit));
      }
      return settings.dry_run ? ConnectionVerdict::rejected_dry_run : ConnectionVerdict::rejected;
    }
    return counted_.empty() ? ConnectionVerdict::none : ConnectionVerdict::passed;
  }

 private:
  static constexpr size_t kLongestKey = 255;
  using Outcome = ConnectionCounts::Counted::Outcome;
  struct Counted {
    std::shared_ptr<zone::Mapping> mapping;
    ConnectionCounts::Counted counted;
    uint64_t epoch = 0;
  };
  Outcome count_one(const ConnectionLimit& limit, std::string_view key);
  static std::string too_long(const ConnectionLimitZone& zone, std::string_view key);
  static std::string no_memory(const ConnectionLimitZone& zone);
  static std::string over(const ConnectionLimitSettings& settings, const ConnectionLimit& limit);

  std::vector<Counted> counted_;
};

}  // namespace weir::shared
