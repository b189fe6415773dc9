// A gRPC backend for benchmarks: cleartext HTTP/2, one thread. Every call's messages come back as
// they were sent, and once the client has ended, `grpc-status: 0`: that is a unary call, and a
// stream in both directions. Prints the port it listens on and serves until standard input ends.

#include <algorithm>
#include <cstring>
#include <memory>

#include "tools/bench/h2.h"
#include "tools/bench/server.h"

namespace {

using weir::bench::field;
using weir::bench::Link;
using weir::bench::watch;

struct Call {
  std::string echo;
  bool answered = false;
  bool ended = false;
};

ssize_t read_echo(nghttp2_session* session, int32_t id, uint8_t* buffer, size_t size,
                  uint32_t* flags, nghttp2_data_source* source, void*) {
  auto* call = static_cast<Call*>(source->ptr);
  const size_t count = std::min(size, call->echo.size());
  memcpy(buffer, call->echo.data(), count);
  call->echo.erase(0, count);
  if (call->echo.empty() && call->ended) {
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    const nghttp2_nv trailers[] = {field("grpc-status", "0"), field("grpc-message", "")};
    nghttp2_submit_trailer(session, id, trailers, 2);
  } else if (count == 0) {
    return NGHTTP2_ERR_DEFERRED;
  }
  return static_cast<ssize_t>(count);
}

Call* find(nghttp2_session* session, int32_t id) {
  return static_cast<Call*>(nghttp2_session_get_stream_user_data(session, id));
}

// The head of an answer goes out with the first message, as with real servers.
void answer(nghttp2_session* session, int32_t id, Call* call) {
  if (call->answered) {
    nghttp2_session_resume_data(session, id);
    return;
  }
  call->answered = true;
  const nghttp2_nv fields[] = {field(":status", "200"), field("content-type", "application/grpc")};
  nghttp2_data_provider provider{};
  provider.source.ptr = call;
  provider.read_callback = read_echo;
  nghttp2_submit_response(session, id, fields, 2, &provider);
}

int on_begin(nghttp2_session* session, const nghttp2_frame* frame, void*) {
  if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, new Call);
  }
  return 0;
}

int on_data(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* bytes, size_t size,
            void*) {
  Call* call = find(session, id);
  if (call == nullptr) return 0;
  call->echo.append(weir::bench::text(bytes, size));
  answer(session, id, call);
  return 0;
}

int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void*) {
  const bool counts = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
  if (!counts || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
  Call* call = find(session, frame->hd.stream_id);
  if (call == nullptr) return 0;
  call->ended = true;
  answer(session, frame->hd.stream_id, call);
  return 0;
}

int on_close(nghttp2_session* session, int32_t id, uint32_t, void*) {
  delete find(session, id);
  return 0;
}

class Backend : public weir::bench::Server {
 public:
  Backend() {
    nghttp2_session_callbacks_new(&callbacks_);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks_, on_begin);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks_, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks_, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks_, on_close);
  }

 private:
  void accepted(int descriptor) override {
    auto* link = new Link;
    link->descriptor = descriptor;
    nghttp2_session_server_new(&link->session, callbacks_, nullptr);
    weir::bench::open_link(*link);
    watch(epoll_, descriptor, EPOLLIN, link);
  }

  void ready(void* watched) override {
    auto* link = static_cast<Link*>(watched);
    const ssize_t count = read(link->descriptor, buffer_.data(), buffer_.size());
    bool alive = count > 0 || (count < 0 && errno == EAGAIN);
    if (count > 0) {
      const auto* bytes = reinterpret_cast<const uint8_t*>(buffer_.data());
      alive = nghttp2_session_mem_recv(link->session, bytes, static_cast<size_t>(count)) == count;
    }
    if (alive && weir::bench::send_all(*link, epoll_)) return;
    close(link->descriptor);
    nghttp2_session_del(link->session);
    delete link;
  }

  nghttp2_session_callbacks* callbacks_ = nullptr;
};

}  // namespace

int main() {
  return std::make_unique<Backend>()->run();
}
