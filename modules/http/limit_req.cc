#include <algorithm>
#include <cstdio>
#include <map>

#include "confparse/setters.h"
#include "engine/http/builder.h"
#include "engine/http/request.h"
#include "engine/worker.h"
#include "engine/zone/registry.h"
#include "modules/http/limit_status.h"
#include "modules/http/modules.h"
#include "modules/http/request_rate.h"
#include "modules/shared/limit_conn.h"

// ngx_http_limit_req_module: how many requests of one key may come in a time.
namespace weir::http {

namespace {

using namespace conf;

struct LimitReqSettings {
  std::vector<RateLimit> limits;
  bool dry_run = false;
  shared::LimitLogLevel log_level = shared::LimitLogLevel::error;
  Number status{503};
};

struct RateZones final : CompilerState {
  std::map<const zone::Zone*, std::shared_ptr<RateZone>> zones;
  std::shared_ptr<RateZone> find(const std::shared_ptr<zone::Zone>& zone) {
    auto& found = zones[zone.get()];
    if (!found) {
      found = std::make_shared<RateZone>();
      found->zone = zone;
    }
    return found;
  }
};

constexpr std::string_view kKind = "http limit_req 1";
constexpr size_t kLongestKey = 65535;

enum class Outcome : uint8_t { none, passed, delayed, rejected, delayed_dry_run, rejected_dry_run };
struct LimitReqState {
  Outcome outcome = Outcome::none;
};

// --- configuration

std::optional<uint64_t> read_rate(std::string_view text) {
  uint64_t scale = 1;
  if (text.ends_with("r/s")) {
    text.remove_suffix(3);
  } else if (text.ends_with("r/m")) {
    scale = 60;
    text.remove_suffix(3);
  }
  const auto number = parse_number(text);
  if (!number || *number == 0 || *number > INT64_MAX / 1000) return {};
  return static_cast<uint64_t>(*number) * 1000 / scale;
}

void read_zone(Compiler& compiler, Scope&, const Statement& statement) {
  Template key = compiler.make_template(statement, statement.words[1]);
  std::optional<zone::NameAndSize> wanted;
  uint64_t rate = 1000;
  for (const Word& word : statement.words.subspan(2)) {
    if (word.text.starts_with("zone=")) {
      wanted = zone::read_name_and_size(compiler, statement, word, word.text.substr(5));
      if (!wanted) return;
    } else if (word.text.starts_with("rate=")) {
      const auto value = read_rate(word.text.substr(5));
      if (!value) {
        compiler.error(statement, "invalid rate \"" + std::string(word.text) + "\"",
                       "a rate is written 10r/s or 30r/m", &word);
        return;
      }
      rate = *value;
    } else {
      compiler.invalid_parameter(statement, word, "limit_req_zone KEY zone=NAME:SIZE rate=RATE");
      return;
    }
  }
  if (!wanted || wanted->name.empty()) {
    compiler.error(statement, "\"limit_req_zone\" must have \"zone\" parameter",
                   "limit_req_zone KEY zone=NAME:SIZE rate=RATE");
    return;
  }
  const auto zone =
      zone::registry(compiler).declare(compiler, statement, wanted->name, wanted->size, kKind);
  if (!zone) return;
  const auto limit = compiler.state<RateZones>().find(zone);
  if (limit->declared) {
    compiler.error(statement, "limit_req_zone \"" + std::string(wanted->name) +
                                  "\" is already bound to key \"" + limit->key.source() + "\"");
    return;
  }
  limit->declared = true;
  limit->rate = std::max<uint64_t>(rate, 1);
  limit->key = std::move(key);
  zone->request.key = limit->key.source();
}

// The value of "burst=" or "delay=" in thousandths; nothing after an error.
std::optional<uint64_t> read_amount(Compiler& compiler, const Statement& statement,
                                    const Word& word, const char* name) {
  const auto number = parse_number(word.text.substr(6));
  if (number && *number > 0 && *number <= INT64_MAX / 1000) {
    return static_cast<uint64_t>(*number) * 1000;
  }
  compiler.error(statement,
                 std::string("invalid ") + name + " value \"" + std::string(word.text) + "\"",
                 "a number of requests, at least 1", &word);
  return {};
}

void read_limit(Compiler& compiler, Scope& scope, const Statement& statement) {
  RateLimit limit;
  std::shared_ptr<zone::Zone> zone;
  for (const Word& word : statement.words.subspan(1)) {
    if (word.text.starts_with("zone=")) {
      zone = zone::registry(compiler).declare(compiler, statement, word.text.substr(5), 0, kKind);
      if (!zone) return;
    } else if (word.text.starts_with("burst=")) {
      const auto value = read_amount(compiler, statement, word, "burst");
      if (!value) return;
      limit.burst = *value;
    } else if (word.text.starts_with("delay=")) {
      const auto value = read_amount(compiler, statement, word, "delay");
      if (!value) return;
      limit.delay = *value;
    } else if (word.text == "nodelay") {
      limit.delay = RateLimit::kNoDelay;
    } else {
      compiler.invalid_parameter(statement, word,
                                 "limit_req zone=NAME [burst=NUMBER] [nodelay | delay=NUMBER]");
      return;
    }
  }
  if (!zone) {
    compiler.error(statement, "\"limit_req\" must have \"zone\" parameter",
                   "limit_req zone=NAME [burst=NUMBER] [nodelay | delay=NUMBER]");
    return;
  }
  auto& settings = scope.write<LimitReqSettings>();
  if (compiler.first_use(scope)) settings.limits.clear();
  for (const RateLimit& other : settings.limits) {
    if (other.zone->zone == zone) return compiler.duplicate(statement);
  }
  limit.zone = compiler.state<RateZones>().find(zone);
  settings.limits.push_back(std::move(limit));
}

// --- requests

std::string excess_text(uint64_t excess) {
  char text[40];
  std::snprintf(text, sizeof text, "%llu.%03llu", static_cast<unsigned long long>(excess / 1000),
                static_cast<unsigned long long>(excess % 1000));
  return text;
}

Severity delay_severity(shared::LimitLogLevel level) {
  switch (level) {
    case shared::LimitLogLevel::error:
      return Severity::warn;
    case shared::LimitLogLevel::warn:
      return Severity::notice;
    default:
      return Severity::info;
  }
}

void log_no_memory(Request& request, const RateLimit& limit) {
  const std::string where = " in limit_req zone \"" + limit.zone->zone->request.name + "\"";
  request.log(Severity::alert, "could not allocate node" + where);
}

PhaseResult reject(Request& request, const LimitReqSettings& settings, const RateVerdict& verdict,
                   LimitReqState& state) {
  if (verdict.kind == RateVerdict::Kind::no_memory) {
    log_no_memory(request, *verdict.limit);
  } else {
    request.log(shared::severity_of(settings.log_level),
                std::string("limiting requests") + (settings.dry_run ? ", dry run" : "") +
                    ", excess: " + excess_text(verdict.excess) + " by zone \"" +
                    verdict.limit->zone->zone->request.name + "\"");
  }
  state.outcome = settings.dry_run ? Outcome::rejected_dry_run : Outcome::rejected;
  if (settings.dry_run) return PhaseResult::next();
  return PhaseResult::status(static_cast<int>(settings.status.value));
}

Task<PhaseResult> wait_its_turn(Request& request, uint64_t milliseconds) {
  Loop& loop = request.worker().loop;
  const uint64_t until = loop.now() + milliseconds;
  while (loop.now() < until) {
    const Wait wait = co_await request.event().wait(until - loop.now());
    if (wait == Wait::timed_out) break;
    if (wait == Wait::cancelled || request.client_gone()) {
      request.log(Severity::info, "client prematurely closed connection");
      co_return PhaseResult::status(499);
    }
  }
  co_return PhaseResult::next();
}

PhaseResult check(Request& request) {
  const auto& settings = request.settings<LimitReqSettings>();
  if (settings.limits.empty()) return PhaseResult::next();
  auto& state = request.main().lasting_context<LimitReqState>();
  if (state.outcome != Outcome::none) return PhaseResult::next();
  std::vector<RateKey> keys;
  bool last_counts = false;
  for (const RateLimit& limit : settings.limits) {
    const std::string_view key = limit.zone->key.evaluate(request);
    last_counts = !key.empty() && key.size() <= kLongestKey;
    if (key.size() > kLongestKey) {
      request.log(Severity::error, "the value of the \"" + limit.zone->key.source() +
                                       "\" key is more than 65535 bytes: \"" + std::string(key) +
                                       "\"");
    }
    if (last_counts) keys.push_back({&limit, key});
  }
  const RateVerdict verdict = count_request(keys, last_counts, request.worker().loop.now());
  switch (verdict.kind) {
    case RateVerdict::Kind::none:
      return PhaseResult::next();
    case RateVerdict::Kind::pass:
      state.outcome = Outcome::passed;
      return PhaseResult::next();
    case RateVerdict::Kind::delay:
      break;
    default:
      return reject(request, settings, verdict, state);
  }
  request.log(delay_severity(settings.log_level),
              std::string("delaying request") + (settings.dry_run ? ", dry run" : "") +
                  ", excess: " + excess_text(verdict.excess) + ", by zone \"" +
                  verdict.limit->zone->zone->request.name + "\"");
  state.outcome = settings.dry_run ? Outcome::delayed_dry_run : Outcome::delayed;
  if (settings.dry_run) return PhaseResult::next();
  return PhaseResult::pending(wait_its_turn(request, verdict.delay));
}

Value get_status(VariableSource& source, const Variable&) {
  constexpr std::string_view kTexts[] = {"",         "PASSED",          "DELAYED",
                                         "REJECTED", "DELAYED_DRY_RUN", "REJECTED_DRY_RUN"};
  const auto* state = static_cast<Request&>(source).main().peek<LimitReqState>();
  if (!state || state->outcome == Outcome::none) return Value::none();
  return Value::of(kTexts[static_cast<size_t>(state->outcome)]);
}

constexpr Directive kDirectives[] = {
    {.name = "limit_req_zone",
     .where = kHttp,
     .args = {3, 3},
     .repeat = Repeat::collect,
     .set = read_zone,
     .doc = "Shared memory in which requests are counted, by a key, and their rate."},
    {.name = "limit_req",
     .where = kHttpServerLocation,
     .args = {1, 3},
     .repeat = Repeat::collect,
     .merge = Merge::replace_list,
     .set = read_limit,
     .doc = "Limits requests to the zone's rate: up to burst= more wait, nodelay or delay= let "
            "them pass at once."},
    {.name = "limit_req_log_level",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .initial = "error",
     .set = into<&LimitReqSettings::log_level>,
     .doc = "The level at which refusals are logged; delays one lower."},
    {.name = "limit_req_status",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .initial = "503",
     .set = read_limit_status<&LimitReqSettings::status>,
     .doc = "The status of refused requests."},
    {.name = "limit_req_dry_run",
     .where = kHttpServerLocation,
     .args = {1, 1},
     .form = Form::flag,
     .initial = "off",
     .set = into<&LimitReqSettings::dry_run>,
     .doc = "Counts and logs, and neither delays nor refuses."},
};

void prepare(Compiler& compiler, Scope&) {
  Variable status;
  status.name = "limit_req_status";
  status.get = get_status;
  status.cacheable = false;
  compiler.variables().define(status);
}

void complete(Compiler& compiler, Scope&) {
  if (!compiler.uses(kDirectives)) return;
  builder(compiler).add_phase_handler(Phase::preaccess, check);
}

}  // namespace

const conf::Module kLimitReqModule{
    .name = "ngx_http_limit_req_module",
    .directives = kDirectives,
    .prepare = prepare,
    .complete = complete,
};

}  // namespace weir::http
