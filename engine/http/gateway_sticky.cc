#include "confparse/value.h"
#include "engine/http/cookie.h"
#include "engine/http/gateway_run.h"
#include "engine/upstream/sticky.h"
#include "engine/worker.h"

// Clients that stay with a server (`sticky`): which one a request says, and what its client is
// told.
namespace weir::http {
namespace {

using upstream::StickyPolicy;

// The words of the attribute; what is none of them is the strictest.
std::string_view same_site(std::string_view text) {
  if (text.empty()) return {};
  if (conf::equal_without_case(text, "lax")) return "Lax";
  if (conf::equal_without_case(text, "none")) return "None";
  return "Strict";
}

}  // namespace

void GatewayRun::find_binding(upstream::Subject& subject) {
  const StickyPolicy& policy = *cluster_->sticky;
  if (policy.kind == StickyPolicy::Kind::cookie) {
    subject.bound_to = find_cookie(request_.headers(), policy.cookie).value_or("");
    return;
  }
  const std::string_view value = upstream::first_value(policy.lookup, request_);
  if (policy.kind == StickyPolicy::Kind::route) {
    subject.bound_to = value;
    return;
  }
  if (value.empty()) return;
  if (const auto server = upstream::find_session(policy, value, worker_.loop.now())) {
    subject.bound_to_digest = request_.arena().make<Md5Digest>(*server);
  }
}

void GatewayRun::bind_client() {
  const StickyPolicy& policy = *cluster_->sticky;
  const upstream::Selection::StickyName* server = selection_ ? selection_->sticky_name() : nullptr;
  if (!server) return;
  switch (policy.kind) {
    case StickyPolicy::Kind::cookie: {
      // A client that knows is told again only to put off the end of its cookie.
      const auto known = find_cookie(request_.headers(), policy.cookie);
      if (policy.expires != StickyPolicy::Expires::after && known == server->text) return;
      return set_sticky_cookie(policy, server->text);
    }
    case StickyPolicy::Kind::route:
      return;
    case StickyPolicy::Kind::learn:
      learning_ = server;
      if (policy.at_head) learn_session();
      return;
  }
}

void GatewayRun::set_sticky_cookie(const StickyPolicy& policy, std::string_view server) {
  ArenaText text(request_.arena(), policy.cookie.size() + server.size() + 128);
  text.append(policy.cookie);
  text.append("=");
  text.append(server);
  if (policy.expires == StickyPolicy::Expires::max) {
    text.append("; expires=Thu, 31-Dec-37 23:55:55 GMT");
  } else if (policy.expires == StickyPolicy::Expires::after) {
    const int64_t now = worker_.loop.wall_milliseconds() / 1000;
    text.append("; expires=");
    text.append(cookie_date(now + policy.expires_seconds));
  }
  const std::string_view domain = policy.domain.evaluate(request_);
  if (!domain.empty()) {
    text.append("; domain=");
    text.append(domain);
  }
  if (!policy.path.empty()) {
    text.append("; path=");
    text.append(policy.path);
  }
  if (policy.secure) text.append("; Secure");
  if (policy.http_only) text.append("; HttpOnly");
  const std::string_view site = same_site(policy.same_site.evaluate(request_));
  if (!site.empty()) {
    text.append("; SameSite=");
    text.append(site);
  }
  Header cookie;
  cookie.id = HeaderId::set_cookie;
  cookie.name = "Set-Cookie";
  cookie.value = text.view();
  request_.response().headers.add(request_.arena(), cookie);
}

void GatewayRun::learn_session() {
  const upstream::Selection::StickyName* server = learning_;
  learning_ = nullptr;
  const StickyPolicy& policy = *cluster_->sticky;
  const std::string_view session = upstream::first_value(policy.create, request_);
  if (session.empty()) return;
  upstream::learn_session(policy, session, server->digest, worker_.loop.now());
}

}  // namespace weir::http
