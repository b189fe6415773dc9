#include <algorithm>
#include <utility>

#include "engine/stream/session.h"
#include "engine/worker.h"

// What a client says first, looked at before anybody reads it: the PROXY protocol's header, and
// what the preread phase asks for.
namespace weir::stream {

std::string_view Session::preread() const {
  if (datagram_) return datagram_->first_datagram();
  return preread_ ? std::string_view(preread_->data(), preread_size_) : std::string_view();
}

bool Session::peek(size_t limit) {
  if (!preread_) preread_ = Block::take(limit);
  const Transfer seen = stream_.peek(preread_->data(), limit);
  switch (seen.state) {
    case Transfer::State::would_block:
      return false;
    case Transfer::State::failed:
      log(Severity::info, "recv() failed", seen.error);
      finish(200);
      return false;
    case Transfer::State::end:
      finish(state_ == State::proxy_header ? 400 : 200);
      return false;
    case Transfer::State::done:
      break;
  }
  preread_size_ = static_cast<uint32_t>(seen.bytes);
  return true;
}

void Session::discard_preread() {
  char room[1024];
  for (size_t left = std::exchange(preread_size_, 0); left > 0 && stream_.is_open();) {
    const Transfer moved = stream_.read(room, std::min(left, sizeof room));
    if (moved.state != Transfer::State::done) return;
    left -= moved.bytes;
  }
}

bool Session::preread_more(bool& grown) {
  const auto& core = settings<CoreSettings>();
  const size_t limit = std::max<size_t>(core.preread_buffer_size.value, 1);
  if (state_ != State::prereading) {
    state_ = State::prereading;
    activity_ = "prereading client data";
    timer_.arm(worker_.loop, static_cast<uint64_t>(core.preread_timeout.value));
  }
  if (preread_size_ >= limit) {
    log(Severity::error, "preread buffer full");
    finish(400);
    return false;
  }
  const uint32_t before = preread_size_;
  if (!peek(limit)) return !finished_;
  grown = preread_size_ > before;
  if (!grown && stream_.socket().peer_closed()) {
    finish(200);
    return false;
  }
  return true;
}

void Session::read_proxy_header() {
  if (!peek(net::ProxyProtocolReader::kLimit)) {
    if (finished_ && status_ == 400) {
      log(Severity::error, "broken header: \"\"");
    }
    return;
  }
  net::ProxyProtocolReader reader;
  const auto result = reader.read(preread());
  if (result.state == net::ProxyProtocolReader::State::need_more) {
    if (!stream_.socket().peer_closed()) return;
    log(Severity::error, "broken header: \"" + std::string(preread()) + "\"");
    return finish(400);
  }
  if (result.state == net::ProxyProtocolReader::State::failed) {
    log(Severity::error, reader.error());
    return finish(400);
  }
  char* to = preread_->data();
  for (size_t left = result.consumed; left > 0;) {
    const Transfer moved = stream_.read(to, left);
    if (moved.state != Transfer::State::done) return finish(400);
    left -= moved.bytes;
  }
  proxy_header_ = std::make_unique<net::ProxyHeader>(std::move(reader.header()));
  preread_ = {};
  preread_size_ = 0;
  timer_.cancel();
  activity_ = "initializing session";
  run_phases();
}

}  // namespace weir::stream
