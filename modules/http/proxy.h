#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "confparse/compiler.h"
#include "confparse/pattern.h"
#include "confparse/template.h"
#include "confparse/value.h"
#include "engine/http/gateway.h"
#include "engine/http/request.h"
#include "modules/http/gateway_directives.h"
#include "modules/http/upstream_tls.h"

// ngx_http_proxy_module: proxy.cc holds the directives, proxy_values.cc their setters,
// proxy_pass.cc proxy_pass itself, proxy_request.cc what is sent, proxy_rewrite.cc what comes back.
namespace weir::http::proxy {

enum class HttpVersion : uint8_t { http_1_0, http_1_1, http_2 };

// What is compared with a value: a text (exact, prefix …: the user decides) or an expression.
struct Matcher {
  conf::Template text;
  std::shared_ptr<const conf::Pattern> pattern;  // instead of text
};

struct RewriteRule {
  Matcher match;
  conf::Template replacement;
};

struct CookieFlagRule {
  Matcher match;
  std::vector<conf::Template> flags;
};

// A list that may also be turned off, and is inherited as a whole.
template <class Rule>
struct RuleList {
  enum class State : uint8_t { unset, off, rules };
  State state = State::unset;
  std::vector<Rule> rules;
};

struct ProxySettings {
  GatewaySettings gateway;
  UpstreamTlsSettings tls;
  HttpVersion http_version = HttpVersion::http_1_1;
  conf::Template method;
  conf::Template body;
  bool has_body = false;
  HeaderRules headers;
  RuleList<RewriteRule> redirect, cookie_domain, cookie_path;
  RuleList<CookieFlagRule> cookie_flags;
  conf::Number headers_hash_max_size{512}, headers_hash_bucket_size{64};
  conf::Bytes send_lowat{0};
};

// proxy_pass of one scope; nested locations do not see it.
struct ProxyPass {
  static constexpr bool kSeenByIf = true;
  std::string url;        // as written
  conf::Template target;  // when it has variables
  const upstream::Cluster* cluster = nullptr;
  bool secure = false;      // https://, or it depends on variables
  UpstreamTls tls;          // when `secure`, after finish()
  std::string host_header;  // $proxy_host
  std::string port;         // $proxy_port
  std::string uri;          // what replaces `location`
  std::string location;     // name of the location; empty where nothing is replaced
  std::string place;        // tells this location from others, for `keepalive … local`
  // Of pooled connections, see GatewayPlan; `local_traits` names the place too.
  std::string traits, local_traits;
};

// For the variables $proxy_host, $proxy_port and the internal ones.
struct ProxyContext {
  std::string_view host;
  std::string_view port;
  BodyLength body;
};

using conf::Compiler;
using conf::Scope;
using conf::Statement;

void set_pass(Compiler&, Scope&, const Statement&);
void set_body(Compiler&, Scope&, const Statement&);
void set_redirect(Compiler&, Scope&, const Statement&);
void set_cookie_domain(Compiler&, Scope&, const Statement&);
void set_cookie_path(Compiler&, Scope&, const Statement&);
void set_cookie_flags(Compiler&, Scope&, const Statement&);
void set_temp_path(Compiler&, Scope&, const Statement&);
void set_limit_rate(Compiler&, Scope&, const Statement&);
void set_send_lowat(Compiler&, Scope&, const Statement&);
void finish(Compiler&, Scope& self, const Scope* parent);
void define_variables(conf::VariableTable& variables);

// The content handler.
PhaseResult handle(Request& request);
// The plan of a request that is not a client's (a health check's), to the location's upstream. In
// the request's arena; null where the location has none.
GatewayPlan* make_plan(Request& request);
// A response field by the rules of `settings`; the value itself when none applies.
std::string_view rewrite(Request& request, const ProxySettings& settings, const Header& header);

}  // namespace weir::http::proxy
