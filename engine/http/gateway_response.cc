#include <charconv>

#include "engine/http/date.h"
#include "engine/http/framing.h"
#include "engine/http/gateway_run.h"
#include "engine/http/uri.h"
#include "engine/worker.h"

// What the gateway does with a response head: another peer, an error page, X-Accel-Redirect, or the
// client's response.
namespace weir::http {
namespace {

struct StatusCondition {
  int status;
  NextUpstream condition;
};
constexpr StatusCondition kConditions[] = {
    {500, NextUpstream::http_500}, {502, NextUpstream::http_502}, {503, NextUpstream::http_503},
    {504, NextUpstream::http_504}, {403, NextUpstream::http_403}, {404, NextUpstream::http_404},
    {429, NextUpstream::http_429},
};

// Fields that an internal redirect by X-Accel-Redirect keeps.
bool survives_redirect(HeaderId id) {
  switch (id) {
    case HeaderId::content_type:
    case HeaderId::set_cookie:
    case HeaderId::content_disposition:
    case HeaderId::cache_control:
    case HeaderId::expires:
    case HeaderId::accept_ranges:
      return true;
    default:
      return false;
  }
}

}  // namespace

// Whether an answer is dropped because another peer may have a better one.
bool GatewayRun::may_pass_on(NextUpstream why) {
  // The peer in use counts: there must be another.
  if (selection_->tries_left() <= 1 || !may_try_next(why) || !budget_allows()) return false;
  retry_granted_ = true;
  return true;
}

GatewayRun::Step GatewayRun::judge_status() {
  const int status = exchange_->head->status;
  const NextUpstream why = plan_.judge_head(request_, *exchange_->head);
  if (why != NextUpstream::none && may_pass_on(why)) return attempt_failed(why, status);
  if (status < 300) return go_on();
  for (const StatusCondition& known : kConditions) {
    if (known.status != status) continue;
    if (may_pass_on(known.condition)) return attempt_failed(known.condition, status);
    break;
  }
  if (!settings_.intercept_errors) return go_on();
  for (const ErrorPageRule& rule : request_.settings<CoreSettings>().error_pages) {
    for (const int code : rule.codes) {
      if (code != status) continue;
      if (status == 401) {
        for (const Header& header : exchange_->head->headers) {
          if (header.id == HeaderId::www_authenticate) {
            request_.response().headers.add(request_.arena(), header);
          }
        }
      }
      return finish_with(status);
    }
  }
  return go_on();
}

bool GatewayRun::take_head() {
  Response& response = request_.response();
  const MessageHead& head = *exchange_->head;
  buffering_ = settings_.buffering;
  response.status = head.status;
  response.reason = head.reason;
  response.not_modified_test = false;
  if (settings_.force_ranges) {
    response.allow_ranges = true;
    response.single_range = true;
  }
  for (const Header& header : head.headers) {
    take_accel(header);
    if (!settings_.hidden.contains(header)) take_field(header);
  }
  // Passed on means the upstream's or none: a field without a name is in the way of ours.
  for (const HeaderId id : {HeaderId::server, HeaderId::date}) {
    const Header none{{}, {}, id};
    if (!head.headers.find(id) && !settings_.hidden.contains(none)) {
      response.headers.add(request_.arena(), none);
    }
  }
  if (head.body.kind == BodyLength::Kind::exact) {
    response.content_length = static_cast<int64_t>(head.body.bytes);
  }
  if (settings_.pass_trailers && head.headers.find(HeaderId::trailer) &&
      (plan_.multiplexed || head.body.kind == BodyLength::Kind::chunked)) {
    response.expect_trailers = true;
  }
  if (!settings_.limit_rate.empty()) {
    const std::string_view text = settings_.limit_rate.evaluate(request_);
    if (const auto rate = conf::parse_size(text)) rate_ = *rate;
  }
  relay_started_ = worker_.loop.now();
  if (cluster_->sticky) bind_client();
  plan_.finish_head(request_);
  return true;
}

void GatewayRun::take_accel(const Header& header) {
  switch (header.id) {
    case HeaderId::x_accel_limit_rate:
      if (!settings_.ignore_headers.has(IgnoredHeader::accel_limit_rate)) {
        if (const auto rate = conf::parse_number(header.value)) {
          request_.set_limit_rate(static_cast<uint64_t>(*rate));
        }
      }
      break;
    case HeaderId::x_accel_buffering:
      if (!settings_.ignore_headers.has(IgnoredHeader::accel_buffering)) {
        if (conf::equal_without_case(header.value, "yes")) buffering_ = true;
        if (conf::equal_without_case(header.value, "no")) buffering_ = false;
      }
      break;
    default:
      break;
  }
}

void GatewayRun::take_field(const Header& header) {
  Response& response = request_.response();
  Arena& arena = request_.arena();
  switch (header.id) {
    case HeaderId::connection:
    case HeaderId::keep_alive:
    case HeaderId::transfer_encoding:
      return;
    case HeaderId::content_length:
      if (const auto length = parse_content_length(header.value)) {
        response.content_length = static_cast<int64_t>(*length);
      }
      return;
    case HeaderId::content_type:
      response.content_type = header.value;
      return;
    case HeaderId::last_modified:
      response.last_modified_text = header.value;
      if (const auto time = parse_date(header.value)) response.last_modified = *time;
      break;
    case HeaderId::etag:
      response.etag = header.value;
      break;
    case HeaderId::accept_ranges:
      if (settings_.force_ranges) return;
      break;
    case HeaderId::location: {
      const std::string_view value = plan_.rewrite_header(request_, header);
      // A relative target as the upstream sent it stays relative; one that was rewritten becomes
      // absolute.
      if (value.data() == header.value.data() || !value.starts_with('/')) {
        Header changed = header;
        changed.value = value;
        response.headers.add(arena, changed);
      } else {
        response.location = value;
      }
      return;
    }
    case HeaderId::refresh:
    case HeaderId::set_cookie: {
      Header changed = header;
      changed.value = plan_.rewrite_header(request_, header);
      response.headers.add(arena, changed);
      return;
    }
    default:
      break;
  }
  response.headers.add(arena, header);
}

PhaseResult GatewayRun::accel_redirect(std::string_view target) {
  Response& response = request_.response();
  if (cluster_->sticky) bind_client();
  end_attempt(upstream::Selection::Result::ok);
  // Its body is not wanted: the connection can go back when it has come whole already.
  if (exchange_->ended) release_connection();
  for (const Header& header : exchange_->head->headers) {
    if (!survives_redirect(header.id) || settings_.hidden.contains(header)) continue;
    take_field(header);
  }
  drop_connection();
  // The upstream stays in the log lines of this request.
  request_.log_upstream = request_.arena().copy(record_.url());
  request_.set_activity("reading response header from upstream");
  if (target.starts_with('@')) return request_.redirect_named(target);
  SplitUri split;
  if (!parse_unsafe_uri(request_.arena(), target, split)) {
    log(Severity::error, "unsafe URI \"" + std::string(target) + "\" was detected");
    response.headers.clear();
    return PhaseResult::status(404);
  }
  CurrentTarget& current = request_.current();
  if (current.method != Method::head) {
    current.method = Method::get;
    current.method_text = "GET";
  }
  PhaseResult result = request_.redirect(split.uri, split.args);
  request_.set_activity("");
  return result;
}

}  // namespace weir::http
