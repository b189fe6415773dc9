#include "engine/stream/sessions.h"

#include "engine/stream/session.h"
#include "engine/worker.h"

namespace weir::stream {

Sessions::~Sessions() {
  while (first_) delete first_;
}

void Sessions::accept(int descriptor, const net::Address& peer, size_t resource) {
  auto session = std::make_unique<Session>(*this, peer, resource);
  if (session->start(descriptor)) static_cast<void>(session.release());  // owns itself from here
}

void Sessions::accept(net::PassedConnection& connection, size_t resource) {
  auto session = std::make_unique<Session>(*this, connection.peer, resource);
  if (session->start_passed(connection)) session.release();
}

Session* Sessions::accept_datagram(DatagramClient& client, const net::Address& peer,
                                   const net::Address& local, size_t resource) {
  auto session = std::make_unique<Session>(*this, peer, resource);
  return session->start_datagram(client, local) ? session.release() : nullptr;
}

void Sessions::drain() {
  for (Session* session = first_; session; session = session->next_) {
    if (!session->is_datagram() || session->finished()) continue;
    session->log_plain(Severity::info, "disconnected on shutdown");
    session->finish(200);
  }
}

void Sessions::generation_changed() {
  for (Session* session = first_; session; session = session->next_) session->let_go();
}

void Sessions::close_all() {
  while (first_) Session::end(first_);
}

void Sessions::for_each(const std::function<void(Session&)>& visit) {
  for (Session *session = first_, *next = nullptr; session; session = next) {
    next = session->next_;
    visit(*session);
  }
}

void Sessions::add(Session& session) {
  session.next_ = first_;
  session.link_ = &first_;
  if (first_) first_->link_ = &session.next_;
  first_ = &session;
  ++count_;
  ++worker_.connections;
}

void Sessions::remove(Session& session) {
  *session.link_ = session.next_;
  if (session.next_) session.next_->link_ = session.link_;
  --count_;
  --worker_.connections;
}

}  // namespace weir::stream
