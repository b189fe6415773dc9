#include <algorithm>
#include <ctime>

#include "confparse/setters.h"
#include "engine/http/builder.h"
#include "engine/http/date.h"
#include "engine/http/request.h"
#include "modules/http/modules.h"

// ngx_http_headers_module: add_header, add_trailer, expires.
namespace weir::http {

namespace headers {

using namespace conf;

enum class Inherit : uint8_t { off, on, merge };

struct FieldRule {
  std::string name;
  HeaderId id = HeaderId::other;
  Template value;
  bool always = false;
};

struct Expires {
  enum class Kind : uint8_t { off, epoch, max, access, modified, daily };
  Kind kind = Kind::off;
  int64_t seconds = 0;
};

struct HeadersSettings {
  std::vector<FieldRule> fields;
  std::vector<FieldRule> trailers;
  Inherit inherit_fields = Inherit::on;
  Inherit inherit_trailers = Inherit::on;
  Expires expires;
  Template expires_template;  // with variables: read at run time
};

}  // namespace headers
}  // namespace weir::http

template <>
struct weir::conf::EnumWords<weir::http::headers::Inherit> {
  using E = weir::http::headers::Inherit;
  static constexpr std::pair<std::string_view, E> words[] = {
      {"off", E::off}, {"on", E::on}, {"merge", E::merge}};
};

namespace weir::http {
namespace headers {
namespace {

constexpr int64_t kDay = 24 * 60 * 60;

// "epoch", "max", "off", "[-|@]time"; `modified`: counts from Last-Modified. Null or the problem.
const char* read_expires(std::string_view text, bool modified, Expires& to) {
  if (!modified) {
    if (text == "epoch") return to.kind = Expires::Kind::epoch, nullptr;
    if (text == "max") return to.kind = Expires::Kind::max, nullptr;
    if (text == "off") return to.kind = Expires::Kind::off, nullptr;
  }
  const bool daily = text.starts_with("@");
  const bool minus = text.starts_with("-");
  if (daily && modified) return "daily time cannot be used with \"modified\" parameter";
  to.kind = daily      ? Expires::Kind::daily
            : modified ? Expires::Kind::modified
                       : Expires::Kind::access;
  if (daily || minus || text.starts_with("+")) text.remove_prefix(1);
  const auto seconds = parse_seconds(text);
  if (!seconds) return "invalid value";
  if (daily && *seconds > kDay) return "daily time value must be less than 24 hours";
  to.seconds = minus ? -*seconds : *seconds;
  return nullptr;
}

void set_expires(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto& settings = scope.write<HeadersSettings>();
  settings.expires_template = {};
  bool modified = false;
  if (statement.argument_count() == 2) {
    if (statement.argument(0) != "modified") {
      compiler.error(statement, "\"expires\" directive invalid value", {}, &statement.words[1]);
      return;
    }
    modified = true;
  }
  const Word& word = statement.words.back();
  Template value = compiler.make_template(statement, word);
  if (!value.is_literal()) {
    settings.expires_template = std::move(value);
    settings.expires = {modified ? Expires::Kind::modified : Expires::Kind::off, 0};
    return;
  }
  if (const char* problem = read_expires(word.text, modified, settings.expires)) {
    compiler.error(statement, "\"expires\" directive " + std::string(problem), {}, &word);
  }
}

template <auto List>
void add_field(Compiler& compiler, Scope& scope, const Statement& statement) {
  auto& settings = scope.write<HeadersSettings>();
  if (compiler.first_use(scope)) (settings.*List).clear();
  FieldRule rule;
  rule.name = statement.argument(0);
  rule.id = find_header_id(rule.name);
  // These are added beside nginx's own, not in their place.
  if (rule.id == HeaderId::server || rule.id == HeaderId::date) rule.id = HeaderId::other;
  rule.value = compiler.make_template(statement, statement.words[2]);
  if (statement.argument_count() == 3) {
    if (statement.argument(2) != "always") {
      compiler.invalid_parameter(
          statement, statement.words[3],
          "the third word can only be \"always\"; a value that holds spaces or \";\" needs quotes");
      return;
    }
    rule.always = true;
  }
  (settings.*List).push_back(std::move(rule));
}

template <auto List, auto Rule>
void settle_list(Scope& self, const HeadersSettings& above, bool set_here) {
  const auto& settings = self.get<HeadersSettings>();
  if (settings.*Rule == Inherit::merge && set_here && !(above.*List).empty()) {
    auto& list = self.write<HeadersSettings>().*List;
    list.insert(list.begin(), (above.*List).begin(), (above.*List).end());
  } else if (settings.*Rule == Inherit::off && !set_here && !(settings.*List).empty()) {
    (self.write<HeadersSettings>().*List).clear();
  }
}

void finish(Compiler& compiler, Scope& self, const Scope* parent) {
  if (!parent || self.same<HeadersSettings>(*parent)) return;
  const auto& above = parent->get<HeadersSettings>();
  settle_list<&HeadersSettings::fields, &HeadersSettings::inherit_fields>(
      self, above, compiler.used(self, "add_header"));
  settle_list<&HeadersSettings::trailers, &HeadersSettings::inherit_trailers>(
      self, above, compiler.used(self, "add_trailer"));
}

bool is_safe_status(int status) {
  switch (status) {
    case 200:
    case 201:
    case 204:
    case 206:
    case 301:
    case 302:
    case 303:
    case 304:
    case 307:
    case 308:
      return true;
    default:
      return false;
  }
}

void replace_field(Request& request, HeaderId id, std::string_view name, std::string_view value) {
  HeaderList& fields = request.response().headers;
  // The upstream's stays where it is; a second one goes.
  bool placed = false;
  for (Header& field : fields) {
    if (field.id != id) continue;
    if (placed) {
      field.name = {};
    } else {
      field.value = value;
    }
    placed = true;
  }
  if (!placed) fields.add(request.arena(), Header{name, value, id});
}

// The next moment when a day is so many seconds old.
std::time_t next_time(std::time_t now, int64_t seconds) {
  std::tm local{};
  localtime_r(&now, &local);
  local.tm_hour = static_cast<int>(seconds / 3600);
  local.tm_min = static_cast<int>(seconds / 60 % 60);
  local.tm_sec = static_cast<int>(seconds % 60);
  const std::time_t today = std::mktime(&local);
  if (today > now) return today;
  ++local.tm_mday;
  return std::mktime(&local);
}

void apply_expires(Request& request, const HeadersSettings& settings) {
  Expires expires = settings.expires;
  if (!settings.expires_template.empty()) {
    const bool modified = expires.kind == Expires::Kind::modified;
    const std::string_view text = settings.expires_template.evaluate(request);
    if (text.empty() || read_expires(text, modified, expires) != nullptr) return;
  }
  if (expires.kind == Expires::Kind::off) return;
  const auto set = [&](std::string_view date, std::string_view control) {
    replace_field(request, HeaderId::expires, "Expires", date);
    replace_field(request, HeaderId::cache_control, "Cache-Control", control);
  };
  if (expires.kind == Expires::Kind::epoch) return set("Thu, 01 Jan 1970 00:00:01 GMT", "no-cache");
  if (expires.kind == Expires::Kind::max)
    return set("Thu, 31 Dec 2037 23:55:55 GMT", "max-age=315360000");

  const std::time_t now = std::time(nullptr);
  std::time_t at = now + expires.seconds;
  int64_t age = expires.seconds;
  if (expires.kind == Expires::Kind::daily) {
    at = next_time(now, expires.seconds);
    age = at - now;
  } else if (expires.kind == Expires::Kind::modified && request.response().last_modified >= 0) {
    at = request.response().last_modified + expires.seconds;
    age = at - now;
  }
  char* text = request.arena().text(kDateSize);
  format_date(at, text);
  const std::string_view date(text, kDateSize);
  if (expires.seconds < 0 || age < 0) return set(date, "no-cache");
  set(date, request.arena().copy("max-age=" + std::to_string(age)));
}

void apply_field(Request& request, const FieldRule& rule, std::string_view value) {
  Response& response = request.response();
  if (rule.id == HeaderId::last_modified || rule.id == HeaderId::etag) {
    // Takes the place of the upstream's, or that of a file's; an empty value only takes away.
    if (rule.id == HeaderId::etag) {
      response.etag = value;
    } else {
      response.last_modified_text = value;
      response.last_modified = -1;
    }
    for (Header& field : response.headers) {
      if (field.id == rule.id && !value.empty()) {
        field.value = value;
        return;
      }
    }
    response.headers.remove(rule.id);
    if (rule.id == HeaderId::etag) return;
  }
  if (!value.empty()) response.headers.add(request.arena(), Header{rule.name, value, rule.id});
}

// Evaluates the trailers when the body is complete.
class TrailerFilter final : public BodyFilter {
 public:
  void on_data(Request& request, Chain&& data, bool last, bool flush) override {
    if (last) {
      const bool safe = is_safe_status(request.response().status);
      for (const FieldRule& rule : request.settings<HeadersSettings>().trailers) {
        if (!safe && !rule.always) continue;
        const std::string_view value = rule.value.evaluate(request);
        if (!value.empty())
          request.response().trailers.add(request.arena(), Header{rule.name, value, rule.id});
      }
    }
    forward(request, std::move(data), last, flush);
  }
};

void filter_head(Request& request) {
  if (!request.is_main()) return;
  const auto& settings = request.settings<HeadersSettings>();
  const bool safe = is_safe_status(request.response().status);
  if (safe) apply_expires(request, settings);
  for (const FieldRule& rule : settings.fields) {
    if (safe || rule.always) apply_field(request, rule, rule.value.evaluate(request));
  }
  const bool wanted = std::any_of(settings.trailers.begin(), settings.trailers.end(),
                                  [&](const FieldRule& rule) { return safe || rule.always; });
  if (wanted && !request.response().header_only) {
    request.response().expect_trailers = true;
    request.add_body_filter(request.arena().make<TrailerFilter>());
  }
}

constexpr uint32_t kPlaces = kHttpServerLocation | kIfInLocation;

constexpr Directive kDirectives[] = {
    {.name = "add_header",
     .where = kPlaces,
     .args = {2, 3},
     .repeat = Repeat::collect,
     .merge = Merge::replace_list,
     .set = add_field<&HeadersSettings::fields>,
     .doc = "Adds a field to the response."},
    {.name = "add_header_inherit",
     .where = kPlaces,
     .args = {1, 1},
     .initial = "on",
     .set = into<&HeadersSettings::inherit_fields>,
     .doc = "How add_header reaches nested levels."},
    {.name = "add_trailer",
     .where = kPlaces,
     .args = {2, 3},
     .repeat = Repeat::collect,
     .merge = Merge::replace_list,
     .set = add_field<&HeadersSettings::trailers>,
     .doc = "Adds a field after the response body."},
    {.name = "add_trailer_inherit",
     .where = kPlaces,
     .args = {1, 1},
     .initial = "on",
     .set = into<&HeadersSettings::inherit_trailers>,
     .doc = "How add_trailer reaches nested levels."},
    {.name = "expires",
     .where = kPlaces,
     .args = {1, 2},
     .initial = "off",
     .set = set_expires,
     .doc = "Sets Expires and Cache-Control."},
};

void complete(Compiler& compiler, Scope&) {
  if (!compiler.uses(kDirectives)) return;
  builder(compiler).add_head_filter(filter_head);
}

}  // namespace
}  // namespace headers

const conf::Module kHeadersModule{
    .name = "ngx_http_headers_module",
    .directives = headers::kDirectives,
    .finish = headers::finish,
    .complete = headers::complete,
};

}  // namespace weir::http
