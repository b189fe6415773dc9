// Internal redirects, named locations, and subrequests.

#include "engine/event/loop.h"
#include "engine/http/core_settings.h"
#include "engine/http/exchange.h"
#include "engine/http/graph.h"
#include "engine/http/phase_engine.h"
#include "engine/http/request.h"
#include "engine/http/uri.h"
#include "engine/worker.h"

namespace weir::http {
namespace {

constexpr int kDepthLimit = 50;  // subrequests of subrequests

}  // namespace

PhaseResult Request::redirect(std::string_view uri, std::string_view args) {
  if (--uri_changes_left_ <= 0) {
    log(Severity::error,
        "rewrite or internal redirection cycle while internally redirecting to \"" +
            std::string(uri) + "\"");
    uri_changes_left_ = 0;
    return PhaseResult::status(500);
  }
  current_.uri = uri;
  current_.args = args;
  current_.extension = find_extension(uri);
  current_.internal = true;
  current_.unchanged = false;
  current_.location_valid = true;
  current_.behind_alias = false;
  drop_contexts();
  scope_ = server_->scope.get();
  location_ = nullptr;
  exchange_->apply_location();
  PhaseEngine::restart_at_server_rewrite(*this);
  return PhaseResult::redirected();
}

PhaseResult Request::redirect_named(std::string_view name) {
  if (--uri_changes_left_ <= 0) {
    log(Severity::error,
        "rewrite or internal redirection cycle while redirect to named location \"" +
            std::string(name) + "\"");
    uri_changes_left_ = 0;
    return PhaseResult::status(500);
  }
  if (current_.uri.empty()) {
    log(Severity::error, "empty URI in redirect to named location \"" + std::string(name) + "\"");
    return PhaseResult::status(500);
  }
  auto found = server_->named_locations.find(name);
  if (found == server_->named_locations.end()) {
    log(Severity::error, "could not find named location \"" + std::string(name) + "\"");
    return PhaseResult::status(500);
  }
  current_.internal = true;
  content_handler_ = nullptr;
  uri_changed_ = false;
  drop_contexts();
  PhaseEngine::enter_location(*this, *found->second);
  PhaseEngine::restart_at_location_rewrite(*this);
  return PhaseResult::redirected();
}

Request* Request::start_subrequest(std::string_view uri, std::string_view args,
                                   SubrequestOutput output) {
  if (depth_ + 1 >= kDepthLimit) {
    log(Severity::error, "subrequests cycle while processing \"" + std::string(uri) + "\"");
    return nullptr;
  }
  auto* child = arena_->make<Request>(*exchange_, this);
  child->depth_ = static_cast<uint16_t>(depth_ + 1);
  child->received_ = received_;
  child->body_ = body_;
  child->server_ = server_;
  child->scope_ = server_->scope.get();
  child->current_.uri = uri;
  child->current_.args = args;
  child->current_.extension = find_extension(uri);
  child->current_.method = Method::get;
  child->current_.method_text = "GET";
  child->current_.unchanged = false;
  child->current_.internal = true;
  child->subrequest_output_ = output;
  child->captures_ = captures_;
  child->capture_count_ = capture_count_;
  if (output == SubrequestOutput::inline_body) {
    auto* item = arena_->make<Postponed>();
    item->child = child;
    bool is_next = postponed_ == nullptr && exchange_->writing_ == this;
    (postponed_end_ == nullptr ? postponed_ : postponed_end_->next) = item;
    postponed_end_ = item;
    if (is_next) exchange_->writing_ = child;
  }
  exchange_->adopt(*child);
  child->resume_.schedule(worker_->loop);
  return child;
}

}  // namespace weir::http
