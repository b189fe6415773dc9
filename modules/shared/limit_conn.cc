#include "modules/shared/limit_conn.h"

#include "confparse/value.h"

namespace weir::shared {

Severity severity_of(LimitLogLevel level) {
  switch (level) {
    case LimitLogLevel::info:
      return Severity::info;
    case LimitLogLevel::notice:
      return Severity::notice;
    case LimitLogLevel::warn:
      return Severity::warn;
    case LimitLogLevel::error:
      break;
  }
  return Severity::error;
}

std::string_view text_of(ConnectionVerdict verdict) {
  switch (verdict) {
    case ConnectionVerdict::passed:
      return "PASSED";
    case ConnectionVerdict::rejected:
      return "REJECTED";
    case ConnectionVerdict::rejected_dry_run:
      return "REJECTED_DRY_RUN";
    case ConnectionVerdict::none:
      break;
  }
  return {};
}

ConnectionLimitZone& ConnectionLimitZones::find(const std::shared_ptr<zone::Zone>& zone) {
  auto& found = zones_[zone.get()];
  if (!found) {
    found = std::make_shared<ConnectionLimitZone>();
    found->zone = zone;
  }
  return *found;
}

void ConnectionLimitZones::read_zone(conf::Compiler& compiler, const conf::Statement& statement) {
  conf::Template key = compiler.make_template(statement, statement.words[1]);
  std::optional<zone::NameAndSize> wanted;
  for (const conf::Word& word : statement.words.subspan(2)) {
    if (!word.text.starts_with("zone=")) {
      compiler.invalid_parameter(statement, word, "limit_conn_zone KEY zone=NAME:SIZE");
      return;
    }
    wanted = zone::read_name_and_size(compiler, statement, word, word.text.substr(5));
    if (!wanted) return;
  }
  if (!wanted || wanted->name.empty()) {
    compiler.error(statement, "\"limit_conn_zone\" must have \"zone\" parameter",
                   "limit_conn_zone KEY zone=NAME:SIZE");
    return;
  }
  const auto zone =
      zone::registry(compiler).declare(compiler, statement, wanted->name, wanted->size, kind_);
  if (!zone) return;
  ConnectionLimitZone& limit = find(zone);
  if (limit.declared) {
    compiler.error(statement, "limit_conn_zone \"" + std::string(wanted->name) +
                                  "\" is already bound to key \"" + limit.key.source() + "\"");
    return;
  }
  limit.declared = true;
  zone->settle = &ConnectionCounts::settle;
  limit.key = std::move(key);
  zone->request.key = limit.key.source();
}

void ConnectionLimitZones::read_limit(conf::Compiler& compiler, conf::Scope& scope,
                                      ConnectionLimitSettings& settings,
                                      const conf::Statement& statement) {
  const std::string_view name = statement.argument(0);
  const auto zone = zone::registry(compiler).declare(compiler, statement, name, 0, kind_);
  if (!zone) return;
  if (compiler.first_use(scope)) settings.limits.clear();
  for (const ConnectionLimit& limit : settings.limits) {
    if (limit.zone->zone == zone) return compiler.duplicate(statement);
  }
  const auto number = conf::parse_number(statement.argument(1));
  if (!number || *number == 0) {
    compiler.error(statement,
                   "invalid number of connections \"" + std::string(statement.argument(1)) + "\"",
                   "a number from 1 to 65535", &statement.words[2]);
    return;
  }
  if (*number > 65535) {
    compiler.error(statement, "connection limit must be less 65536", "a number from 1 to 65535",
                   &statement.words[2]);
    return;
  }
  find(zone);
  settings.limits.push_back({zones_[zone.get()], static_cast<uint32_t>(*number)});
}

CountedConnection::Outcome CountedConnection::count_one(const ConnectionLimit& limit,
                                                        std::string_view key) {
  const auto& mapping = limit.zone->zone->mapping();
  zone::Locked<ConnectionCounts> counts(*mapping);
  const ConnectionCounts::Counted counted = counts->add(counts, key, limit.most);
  if (counted.outcome == Outcome::counted) counted_.push_back({mapping, counted, counts.epoch()});
  return counted.outcome;
}

void CountedConnection::release() {
  for (const Counted& counted : counted_) {
    zone::Locked<ConnectionCounts> counts(*counted.mapping);
    // Emptied meanwhile: whoever stands there now is somebody else.
    if (counts.epoch() != counted.epoch) continue;
    counts->remove(counts, counted.counted);
  }
  counted_.clear();
}

std::string CountedConnection::too_long(const ConnectionLimitZone& zone, std::string_view key) {
  return "the value of the \"" + zone.key.source() + "\" key is more than 255 bytes: \"" +
         std::string(key) + "\"";
}

std::string CountedConnection::no_memory(const ConnectionLimitZone& zone) {
  return "ngx_slab_alloc() failed: no memory in limit_conn_zone \"" + zone.zone->request.name +
         "\"";
}

std::string CountedConnection::over(const ConnectionLimitSettings& settings,
                                    const ConnectionLimit& limit) {
  return std::string("limiting connections") + (settings.dry_run ? ", dry run," : "") +
         " by zone \"" + limit.zone->zone->request.name + "\"";
}

}  // namespace weir::shared
