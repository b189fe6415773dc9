#include <algorithm>

#include "confparse/address.h"
#include "confparse/setters.h"
#include "engine/http/builder.h"
#include "modules/http/core.h"
#include "modules/http/proxy.h"
#include "modules/shared/hash_size.h"

// Setters of the directives that have rules of their own, and what is settled per scope.
namespace weir::http::proxy {
namespace {

// Fields that are never taken from the client: they have values of their own or belong to one
// connection.
constexpr std::string_view kDefaults[] = {
    "Host", "Connection", "Content-Length", "Transfer-Encoding",
    "TE",   "Keep-Alive", "Expect",         "Upgrade"};

template <class Rule>
RuleList<Rule>* begin_list(Compiler& compiler, Scope& scope, const Statement& at,
                           RuleList<Rule> ProxySettings::* member) {
  auto& list = scope.write<ProxySettings>().*member;
  if (compiler.first_use(scope)) list = {};
  if (list.state == RuleList<Rule>::State::off) {
    compiler.duplicate(at);
    return nullptr;
  }
  return &list;
}

// "off" stands alone. True when the word was handled.
template <class Rule>
bool take_off(Compiler& compiler, const Statement& at, RuleList<Rule>& list) {
  if (at.argument_count() != 1 || at.argument(0) != "off") return false;
  if (list.state == RuleList<Rule>::State::rules) {
    compiler.duplicate(at);
  } else {
    list.state = RuleList<Rule>::State::off;
  }
  return true;
}

// "text", "~expression", "~*expression"; with `ignore_case` there is no "~*".
bool read_matcher(Compiler& compiler, const Statement& at, const conf::Word& word, bool ignore_case,
                  Matcher& out) {
  if (word.text.starts_with('~')) {
    std::string_view text = word.text.substr(1);
    if (!ignore_case && text.starts_with('*')) {
      text.remove_prefix(1);
      ignore_case = true;
    }
    auto pattern = conf::make_pattern(compiler, at, text, ignore_case);
    if (!pattern) return false;
    out.pattern = std::move(pattern);
    return true;
  }
  out.text = compiler.make_template(at, word);
  return true;
}

void set_cookie_rule(Compiler& compiler, Scope& scope, const Statement& at,
                     RuleList<RewriteRule> ProxySettings::* member, bool domain) {
  RuleList<RewriteRule>* list = begin_list(compiler, scope, at, member);
  if (!list || take_off(compiler, at, *list)) return;
  if (at.argument_count() == 1) return compiler.invalid_parameter(at, at.words[1]);
  RewriteRule rule;
  conf::Word word = at.words[1];
  // A leading dot of a domain does not count.
  if (domain && word.text.starts_with('.')) word.text.remove_prefix(1);
  if (!read_matcher(compiler, at, word, domain, rule.match)) return;
  rule.replacement = compiler.make_template(at, at.words[2]);
  list->state = RuleList<RewriteRule>::State::rules;
  list->rules.push_back(std::move(rule));
}

RewriteRule inverse_of(const ProxyPass& pass) {
  RewriteRule rule;
  rule.match.text = conf::Template::literal(pass.uri.empty() ? pass.url + "/" : pass.url);
  rule.replacement = conf::Template::literal(pass.uri.empty() ? "/" : pass.location);
  return rule;
}

// Reports a check of nginx's merge: its place is the closing brace of http.
void error_at_end(Compiler& compiler, std::string text, std::string help = {},
                  conf::Span about = {}) {
  const conf::Word word{"http", about, 0};
  Statement closing;
  closing.words = {&word, 1};
  closing.terminator = compiler.root_block().close;
  compiler.error(closing, std::move(text), std::move(help));
}

void check_buffers(Compiler& compiler, const GatewaySettings& settings) {
  if (settings.buffers.count < 2) {
    return error_at_end(compiler, "there must be at least 2 \"proxy_buffers\"");
  }
  const size_t largest = std::max(settings.buffer_size.value, settings.buffers.size);
  const size_t busy = settings.busy_buffers_size ? settings.busy_buffers_size->value : 2 * largest;
  static constexpr char kAtLeast[] =
      "must be equal to or greater than the maximum of the value of \"proxy_buffer_size\" and one "
      "of the \"proxy_buffers\"";
  if (busy < largest) {
    return error_at_end(compiler, std::string("\"proxy_busy_buffers_size\" ") + kAtLeast);
  }
  if (busy > (settings.buffers.count - 1) * settings.buffers.size) {
    const bool given = settings.busy_buffers_size.has_value();
    return error_at_end(
        compiler,
        "\"proxy_busy_buffers_size\" must be less than the size of all "
        "\"proxy_buffers\" minus one buffer",
        given ? ""
              : "it is twice proxy_buffer_size, or one of the proxy_buffers if that "
                "is larger: a larger proxy_buffer_size needs larger proxy_buffers",
        compiler.in_effect(given ? "proxy_busy_buffers_size" : "proxy_buffer_size"));
  }
  if (settings.temp_file_write_size && settings.temp_file_write_size->value < largest) {
    return error_at_end(compiler, std::string("\"proxy_temp_file_write_size\" ") + kAtLeast);
  }
  if (settings.temp_file_limit() != 0 && settings.temp_file_limit() < largest) {
    return error_at_end(compiler,
                        std::string("\"proxy_max_temp_file_size\" must be equal to zero to disable "
                                    "temporary files usage or ") +
                            kAtLeast);
  }
}

std::string make_traits(const ProxySettings& settings) {
  static constexpr std::string_view kProtocols[] = {"http/1.0", "http/1.1", "http/2"};
  return connection_traits(kProtocols[static_cast<size_t>(settings.http_version)],
                           settings.gateway);
}

}  // namespace

void set_body(Compiler& compiler, Scope& scope, const Statement& at) {
  auto& settings = scope.write<ProxySettings>();
  settings.body = compiler.make_template(at, at.words[1]);
  settings.has_body = true;
}

void set_redirect(Compiler& compiler, Scope& scope, const Statement& at) {
  RuleList<RewriteRule>* list = begin_list(compiler, scope, at, &ProxySettings::redirect);
  if (!list || take_off(compiler, at, *list)) return;
  RewriteRule rule;
  if (at.argument_count() == 1) {
    if (at.argument(0) != "default") return compiler.invalid_parameter(at, at.words[1]);
    const ProxyPass* pass = scope.own<ProxyPass>();
    if (!pass) {
      return compiler.error(
          at, "\"proxy_redirect default\" should be placed after the \"proxy_pass\" directive");
    }
    if (pass->url.empty()) {
      return compiler.error(at,
                            "\"proxy_redirect default\" cannot be used with \"proxy_pass\" "
                            "directive with variables");
    }
    rule = inverse_of(*pass);
  } else {
    if (!read_matcher(compiler, at, at.words[1], false, rule.match)) return;
    rule.replacement = compiler.make_template(at, at.words[2]);
  }
  list->state = RuleList<RewriteRule>::State::rules;
  list->rules.push_back(std::move(rule));
}

void set_cookie_domain(Compiler& compiler, Scope& scope, const Statement& at) {
  set_cookie_rule(compiler, scope, at, &ProxySettings::cookie_domain, true);
}

void set_cookie_path(Compiler& compiler, Scope& scope, const Statement& at) {
  set_cookie_rule(compiler, scope, at, &ProxySettings::cookie_path, false);
}

void set_cookie_flags(Compiler& compiler, Scope& scope, const Statement& at) {
  RuleList<CookieFlagRule>* list = begin_list(compiler, scope, at, &ProxySettings::cookie_flags);
  if (!list || take_off(compiler, at, *list)) return;
  if (at.argument_count() == 1) return compiler.invalid_parameter(at, at.words[1]);
  CookieFlagRule rule;
  if (!read_matcher(compiler, at, at.words[1], true, rule.match)) return;
  for (const conf::Word& word : at.words.subspan(2)) {
    rule.flags.push_back(compiler.make_template(at, word));
  }
  list->state = RuleList<CookieFlagRule>::State::rules;
  list->rules.push_back(std::move(rule));
}

void set_temp_path(Compiler& compiler, Scope& scope, const Statement& at) {
  read_temp_path(compiler, at, scope.write<ProxySettings>().gateway.temp_path);
}

void set_limit_rate(Compiler& compiler, Scope& scope, const Statement& at) {
  const conf::Template text = compiler.make_template(at, at.words[1]);
  if (text.is_literal() && !conf::parse_size(text.literal_text())) {
    return compiler.error(at, "\"proxy_limit_rate\" directive invalid value", {}, &at.words[1]);
  }
  scope.write<ProxySettings>().gateway.limit_rate = text;
}

void set_send_lowat(Compiler& compiler, Scope& scope, const Statement& at) {
  conf::Bytes value;
  if (!conf::read_setting(compiler, scope, at, value)) return;
  compiler.warn(at, "\"proxy_send_lowat\" is not supported, ignored");
}

class HttpBuffers final : public conf::CompilerState {
 public:
  bool checked = false;
};

// nginx checks what servers and locations have: what http says alone is nobody's.
bool wants_check(Compiler& compiler, const Scope& self, const Scope& parent) {
  if (!self.same<ProxySettings>(parent)) return true;
  if (self.context() != conf::kServer) return false;
  return !std::exchange(compiler.state<HttpBuffers>().checked, true);
}

// The inverse of proxy_pass, where proxy_redirect says nothing else.
void settle_redirect(Scope& self, const ProxyPass& pass) {
  if (pass.url.empty()) return;
  if (self.get<ProxySettings>().redirect.state != RuleList<RewriteRule>::State::unset) return;
  auto& redirect = self.write<ProxySettings>().redirect;
  redirect.state = RuleList<RewriteRule>::State::rules;
  redirect.rules.push_back(inverse_of(pass));
}

void finish(Compiler& compiler, Scope& self, const Scope* parent) {
  const bool changed = !parent || !self.same<ProxySettings>(*parent);
  if (changed) {
    auto& settings = self.write<ProxySettings>();
    settle_hidden(settings.gateway);
    settle_names(settings.headers, kDefaults);
  }
  if (parent &&
      (self.context() == conf::kServer || (changed && compiler.block_has("proxy_set_header")))) {
    const auto& settings = self.get<ProxySettings>();
    shared::check_hash_size(compiler, "proxy_headers_hash", settings.headers_hash_max_size.value,
                            settings.headers_hash_bucket_size.value);
  }
  if (parent && wants_check(compiler, self, *parent)) {
    check_buffers(compiler, self.get<ProxySettings>().gateway);
  }
  const ProxyPass* pass = self.own<ProxyPass>();
  if (!pass) return;
  settle_redirect(self, *pass);
  const auto& settings = self.get<ProxySettings>();
  const std::string traits = make_traits(settings);
  const bool made = traits == pass->traits && (!pass->secure || pass->tls.context);
  if (made && !changed) return;
  auto& own = self.write_own<ProxyPass>();
  own.traits = traits;
  own.local_traits = traits + " in " + own.place;
  if (own.secure) own.tls = make_upstream_tls(compiler, settings.tls, "proxy_");
}

}  // namespace weir::http::proxy
