// The table of a worker's client connections.

#include <unistd.h>

#include <algorithm>
#include <vector>

#include "engine/event/loop.h"
#include "engine/http/graph.h"
#include "engine/http/h1/codec.h"
#include "engine/http/session.h"
#include "engine/net/passed_connection.h"
#include "engine/tls/report.h"
#include "engine/worker.h"

namespace weir::http {

Sessions::Sessions(Worker& worker, CodecFactory factory)
    : worker_(worker), factory_(factory != nullptr ? factory : &h1::make_server_codec) {
  tls::set_reporter([&worker](Severity severity, const std::string& text) {
    if (!worker.generation || !worker.generation->http) return;
    const ErrorLogTargets& targets = *worker.generation->http->error_log;
    if (ErrorLog::wants(targets, severity)) worker.error_log.write(targets, severity, 0, text);
  });
}

Sessions::~Sessions() {
  on_empty = nullptr;
  tls::set_reporter(nullptr);
  close_all();
}

void Sessions::accept(int descriptor, const net::Address& peer, size_t resource) {
  auto session = std::make_unique<Session>(*this, peer, resource);
  // Owns itself from here.
  if (session->start(descriptor)) session.release();  // NOLINT(bugprone-unused-return-value)
}

void Sessions::accept(net::PassedConnection& connection, size_t resource) {
  auto session = std::make_unique<Session>(*this, connection.peer, resource);
  if (session->start(connection.descriptor, std::move(connection.layer))) {
    session.release();  // NOLINT(bugprone-unused-return-value)
  }
}

void Sessions::add(Session& session) {
  session.next_ = first_;
  session.link_ = &first_;
  if (first_ != nullptr) first_->link_ = &session.next_;
  first_ = &session;
  ++count_;
  ++worker_.connections;
}

void Sessions::remove(Session& session) {
  *session.link_ = session.next_;
  if (session.next_ != nullptr) session.next_->link_ = session.link_;
  --count_;
  --worker_.connections;
  if (count_ == 0 && worker_.draining && on_empty) worker_.loop.post(on_empty);
}

void Sessions::drain() {
  for (Session *session = first_, *next = nullptr; session != nullptr; session = next) {
    next = session->next_;
    session->drain();
  }
  if (count_ == 0 && on_empty) worker_.loop.post(on_empty);
}

void Sessions::generation_changed(const Generation& before) {
  const Generation& now = *worker_.generation;
  const auto& old_listeners = before.resources.listeners;
  const auto& new_listeners = now.resources.listeners;
  std::vector<size_t> moved(old_listeners.size(), Session::kNoResource);
  for (size_t i = 0; i < old_listeners.size(); ++i) {
    for (size_t j = 0; j < new_listeners.size(); ++j) {
      if (new_listeners[j].is_http == old_listeners[i].is_http &&
          new_listeners[j].options.address == old_listeners[i].options.address) {
        moved[i] = j;
        break;
      }
    }
  }
  for (Session *session = first_, *next = nullptr; session != nullptr; session = next) {
    next = session->next_;
    size_t resource = session->resource_;
    session->move_to(resource < moved.size() ? moved[resource] : Session::kNoResource);
  }
}

size_t Sessions::close_some_idle() {
  std::vector<Session*> idle;
  for (Session* session = first_; session != nullptr; session = session->next_) {
    if (session->may_be_reused()) idle.push_back(session);
  }
  const size_t count = std::min<size_t>(idle.size(), std::clamp<size_t>(idle.size() / 8, 1, 32));
  const auto end = idle.begin() + static_cast<ptrdiff_t>(count);
  std::partial_sort(idle.begin(), end, idle.end(), [](const Session* a, const Session* b) {
    if (a->timer_.deadline() != b->timer_.deadline()) {
      return a->timer_.deadline() < b->timer_.deadline();
    }
    return a->facts_->serial < b->facts_->serial;
  });
  for (auto session = idle.begin(); session != end; ++session) delete *session;
  return count;
}

// Nothing is under way, and nothing has come that was not looked at.
bool Session::may_be_reused() const {
  return state_ == State::idle && !has_exchanges() && !unread_ && !settling_ && !handed_over_;
}

void Sessions::give_up_all() {
  for (Session *session = first_, *next = nullptr; session != nullptr; session = next) {
    next = session->next_;
    session->give_up();
    session->settle();
  }
}

void Sessions::close_all() {
  while (first_ != nullptr) delete first_;
}

}  // namespace weir::http
