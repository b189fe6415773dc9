#include "engine/upstream/sticky.h"

#include <span>

#include "confparse/value.h"
#include "engine/zone/registry.h"
#include "modules/http/modules.h"
#include "modules/http/upstream.h"

// ngx_http_upstream_sticky_module: clients that stay with a server. What it does is in
// engine/upstream/sticky and engine/http/gateway_sticky.
namespace weir::http {
namespace {

using conf::Compiler;
using conf::Scope;
using conf::Statement;
using conf::Template;
using conf::Word;
using upstream::StickyPolicy;

constexpr int64_t kLongestExpires = 100LL * 365 * 24 * 60 * 60;

// "$variable". False after an error.
bool read_variable(Compiler& compiler, const Statement& at, const Word& word, std::string_view part,
                   std::vector<Template>& to) {
  if (part.size() < 2 || part[0] != '$') {
    compiler.error(at, "invalid variable name \"" + std::string(part) + "\"",
                   "a variable is written $name", &word);
    return false;
  }
  to.push_back(compiler.make_template(at, word, part));
  return true;
}

bool read_expires(std::string_view text, StickyPolicy& policy) {
  if (text == "max") {
    policy.expires = StickyPolicy::Expires::max;
    return true;
  }
  const auto seconds = conf::parse_seconds(text);
  if (!seconds || *seconds > kLongestExpires) return false;
  policy.expires = StickyPolicy::Expires::after;
  policy.expires_seconds = *seconds;
  return true;
}

bool read_cookie_parameter(Compiler& compiler, const Statement& at, const Word& word,
                           StickyPolicy& policy) {
  const std::string_view text = word.text;
  if (text == "httponly") return policy.http_only = true;
  if (text == "secure") return policy.secure = true;
  if (text.starts_with("expires=")) return read_expires(text.substr(8), policy);
  if (text.starts_with("domain=")) {
    policy.domain = compiler.make_template(at, word, text.substr(7));
    return text.size() > 7;
  }
  if (text.starts_with("path=")) {
    policy.path = text.substr(5);
    return !policy.path.empty();
  }
  if (text.starts_with("samesite=")) {
    const std::string_view value = text.substr(9);
    policy.same_site = compiler.make_template(at, word, value);
    return value.starts_with('$') || value == "strict" || value == "lax" || value == "none";
  }
  return false;
}

// A parameter (or what begins with it and "=") stands once, but for those that add to a list.
bool check_repeats(Compiler& compiler, const Statement& at, std::span<const Word> parameters) {
  const auto name_of = [](const Word& word) {
    return std::string_view(word.text).substr(0, word.text.find('='));
  };
  for (size_t i = 0; i < parameters.size(); ++i) {
    const std::string_view name = name_of(parameters[i]);
    if (name == "create" || name == "lookup") continue;
    for (size_t before = 0; before < i; ++before) {
      if (name_of(parameters[before]) != name) continue;
      compiler.error(at, "duplicate parameter \"" + std::string(parameters[i].text) + "\"", {},
                     &parameters[i]);
      return false;
    }
  }
  return true;
}

bool read_cookie(Compiler& compiler, const Statement& at, StickyPolicy& policy) {
  policy.cookie = at.argument(1);
  if (policy.cookie.empty()) {
    compiler.error(at, "invalid cookie name \"\"", {}, &at.words[2]);
    return false;
  }
  for (const Word& word : at.words.subspan(3)) {
    if (read_cookie_parameter(compiler, at, word, policy)) continue;
    compiler.invalid_parameter(at, word,
                               "sticky cookie NAME [expires=TIME|max] [domain=] [httponly] "
                               "[samesite=strict|lax|none|$VARIABLE] [secure] [path=]");
    return false;
  }
  return check_repeats(compiler, at, at.words.subspan(3));
}

bool read_route(Compiler& compiler, const Statement& at, StickyPolicy& policy) {
  for (const Word& word : at.words.subspan(2)) {
    if (!read_variable(compiler, at, word, word.text, policy.lookup)) return false;
  }
  return true;
}

bool read_learn_parameter(Compiler& compiler, const Statement& at, const Word& word,
                          StickyPolicy& policy) {
  const std::string_view text = word.text;
  if (text.starts_with("create=")) {
    return read_variable(compiler, at, word, text.substr(7), policy.create);
  }
  if (text.starts_with("lookup=")) {
    return read_variable(compiler, at, word, text.substr(7), policy.lookup);
  }
  if (text.starts_with("zone=")) {
    const auto wanted = zone::read_name_and_size(compiler, at, word, text.substr(5));
    if (!wanted) return false;
    if (wanted->name.empty()) {
      compiler.error(at, "invalid zone name \"" + std::string(text) + "\"", {}, &word);
      return false;
    }
    policy.zone =
        zone::registry(compiler).declare(compiler, at, wanted->name, wanted->size, "http sticky 1");
    return policy.zone != nullptr;
  }
  if (text.starts_with("timeout=")) {
    const auto time = conf::parse_milliseconds(text.substr(8));
    if (time && *time > 0) {  // else sessions would be forgotten as they begin
      policy.timeout_milliseconds = *time;
      return true;
    }
  }
  if (text == "header") return policy.at_head = true;
  // Also `sync`: there are no other nodes to tell.
  compiler.invalid_parameter(
      at, word,
      "sticky learn create=$VARIABLE lookup=$VARIABLE zone=NAME:SIZE [timeout=] [header]");
  return false;
}

bool read_learn(Compiler& compiler, const Statement& at, StickyPolicy& policy) {
  for (const Word& word : at.words.subspan(2)) {
    if (!read_learn_parameter(compiler, at, word, policy)) return false;
  }
  const char* missing = policy.create.empty()   ? "create"
                        : policy.lookup.empty() ? "lookup"
                        : !policy.zone          ? "zone"
                                                : nullptr;
  if (!missing) return check_repeats(compiler, at, at.words.subspan(2));
  compiler.error(at, "\"sticky learn\" must have \"" + std::string(missing) + "\" parameter",
                 "sticky learn create=$VARIABLE lookup=$VARIABLE zone=NAME:SIZE");
  return false;
}

void set_sticky(Compiler& compiler, Scope&, const Statement& at) {
  auto& builder = compiler.state<UpstreamBuilder>();
  if (!builder.current) return;
  auto policy = std::make_shared<StickyPolicy>();
  const std::string_view kind = at.argument(0);
  bool good = false;
  if (kind == "cookie") {
    policy->kind = StickyPolicy::Kind::cookie;
    good = read_cookie(compiler, at, *policy);
  } else if (kind == "route") {
    policy->kind = StickyPolicy::Kind::route;
    good = read_route(compiler, at, *policy);
  } else if (kind == "learn") {
    policy->kind = StickyPolicy::Kind::learn;
    good = read_learn(compiler, at, *policy);
  } else {
    compiler.invalid_parameter(at, at.words[1], "it must be cookie, route or learn");
  }
  builder.block.method_seen = true;  // a balancer comes before it
  if (good) builder.current->sticky = std::move(policy);
}

constexpr conf::Directive kDirectives[] = {
    {.name = "sticky",
     .where = conf::kUpstream,
     .args = {2, conf::kNoLimit},
     .merge = conf::Merge::own,
     .set = set_sticky,
     .doc = "Clients stay with the server that they came to: by a cookie of ours, by a route that "
            "the request names, or by sessions that the servers' answers begin."},
};

}  // namespace

const conf::Module kUpstreamStickyModule = {
    .name = "ngx_http_upstream_sticky_module",
    .directives = kDirectives,
    .root = conf::kHttp,
};

}  // namespace weir::http
