// A closed-loop load generator for cleartext HTTP/2 that checks every byte of every answer.
//
//   bench_h2_client MODE PORT CONNECTIONS STREAMS PATH
//
// Each connection has STREAMS exchanges under way at a time. MODE is `requests` (GET of a body as
// in wire.h), `unary` (a gRPC call with a message of 64 bytes that comes back) or `messages` (gRPC
// streams that stay open: a message of 64 bytes each way is an exchange). Makes one exchange
// everywhere and prints "ready". Then, for each line "N" on standard input, makes N exchanges and
// prints "done SECONDS". Ends with standard input. Anything wrong: a sentence, status 1.

#include <fcntl.h>

#include <memory>

#include "tools/bench/generator.h"
#include "tools/bench/h2.h"

namespace {

using weir::bench::field;
using weir::bench::Link;
using weir::bench::watch;
using weir::bench::wrong;

enum class Mode { requests, unary, messages };

class Client;

struct Call {
  Client* client = nullptr;
  Link* link = nullptr;
  int32_t id = -1;
  bool open = false;
  bool status = false;       // `:status: 200` was there
  bool grpc_status = false;  // `grpc-status: 0` was there
  std::string message;
  size_t sent = 0;
  size_t got = 0;
};

class Client : public weir::bench::Generator {
 public:
  Client(Mode mode, uint16_t port, size_t connections, size_t streams, std::string path)
      : Generator(port, connections, connections * streams),
        mode_(mode),
        path_(std::move(path)),
        streams_(streams),
        links_(connections),
        calls_(connections * streams) {
    wanted_ = mode == Mode::requests ? weir::bench::wanted_size(path_) : 0;
    set_callbacks();
  }

 private:
  void set_callbacks() {
    nghttp2_session_callbacks_new(&callbacks_);
    nghttp2_session_callbacks_set_on_header_callback(
        callbacks_, [](nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name,
                       size_t name_size, const uint8_t* value, size_t value_size, uint8_t, void*) {
          Call* call = find(session, frame->hd.stream_id);
          if (call == nullptr) return 0;
          const std::string_view key = weir::bench::text(name, name_size);
          const std::string_view data = weir::bench::text(value, value_size);
          if (key == ":status" && data != "200") wrong("status " + std::string(data));
          if (key == ":status") call->status = true;
          if (key == "grpc-status" && data != "0") wrong("grpc-status " + std::string(data));
          if (key == "grpc-status") call->grpc_status = true;
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        callbacks_, [](nghttp2_session* session, uint8_t, int32_t id, const uint8_t* bytes,
                       size_t size, void*) {
          Call* call = find(session, id);
          if (call != nullptr) call->client->take(*call, weir::bench::text(bytes, size));
          return 0;
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(
        callbacks_, [](nghttp2_session* session, int32_t id, uint32_t error, void*) {
          Call* call = find(session, id);
          if (call != nullptr) call->client->closed(*call, error);
          return 0;
        });
  }

  static Call* find(nghttp2_session* session, int32_t id) {
    return static_cast<Call*>(nghttp2_session_get_stream_user_data(session, id));
  }

  void open(size_t index) override {
    Link& link = links_[index];
    link.descriptor = connect(SOCK_STREAM);
    const int flags = fcntl(link.descriptor, F_GETFL);
    fcntl(link.descriptor, F_SETFL, flags | O_NONBLOCK);
    nghttp2_session_client_new(&link.session, callbacks_, nullptr);
    weir::bench::open_link(link);
    watch(epoll_, link.descriptor, EPOLLIN, &link);
    for (size_t i = 0; i < streams_; ++i) {
      Call& call = calls_[index * streams_ + i];
      call.client = this;
      call.link = &link;
      next(call);
    }
    flush(link);
  }

  void next(size_t index) override { next(calls_[index]); }

  void next(Call& call) {
    begun();
    call.got = 0;
    if (mode_ != Mode::requests) {
      call.sent = 0;
      call.message.assign("\0\0\0\0\x40", 5);
      for (size_t i = 0; i < 64; ++i) call.message += letter();
    }
    if (call.open) {
      nghttp2_session_resume_data(call.link->session, call.id);
    } else {
      submit(call);
    }
  }

  void submit(Call& call) {
    call.open = true;
    call.status = call.grpc_status = false;
    const nghttp2_nv get[] = {
        field(":method", "GET"),
        field(":scheme", "http"),
        field(":authority", "localhost"),
        field(":path", path_),
        field("user-agent",
              "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        field("accept", "*/*"),
        field("accept-language", "en")};
    const nghttp2_nv post[] = {field(":method", "POST"),
                               field(":scheme", "http"),
                               field(":authority", "localhost"),
                               field(":path", path_),
                               field("content-type", "application/grpc"),
                               field("user-agent", "grpc-c++/1.51.1"),
                               field("te", "trailers")};
    nghttp2_data_provider provider{};
    provider.source.ptr = &call;
    provider.read_callback = [](nghttp2_session*, int32_t, uint8_t* buffer, size_t size,
                                uint32_t* flags, nghttp2_data_source* source, void*) -> ssize_t {
      auto* call = static_cast<Call*>(source->ptr);
      const size_t count = std::min(size, call->message.size() - call->sent);
      memcpy(buffer, call->message.data() + call->sent, count);
      call->sent += count;
      const bool last = call->client->mode_ == Mode::unary && call->sent == call->message.size();
      if (last) *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (count == 0 && !last) return NGHTTP2_ERR_DEFERRED;
      return static_cast<ssize_t>(count);
    };
    const bool plain = mode_ == Mode::requests;
    call.id = nghttp2_submit_request(call.link->session, nullptr, plain ? get : post, 7,
                                     plain ? nullptr : &provider, &call);
    if (call.id < 0) wrong("no stream");
  }

  void take(Call& call, std::string_view bytes) {
    if (!call.status) wrong("a body without a head");
    const bool plain = mode_ == Mode::requests;
    const std::string_view whole =
        plain ? std::string_view(pattern_.data(), wanted_) : std::string_view(call.message);
    if (call.got + bytes.size() > whole.size()) wrong("the body is too long");
    if (whole.substr(call.got, bytes.size()) != bytes) wrong("the body is not what was sent");
    call.got += bytes.size();
    if (mode_ == Mode::messages && call.got == whole.size()) finish(call);
  }

  void closed(Call& call, uint32_t error) {
    if (error != 0) wrong("reset with " + std::to_string(error));
    if (mode_ == Mode::messages) wrong("the stream ended");
    const size_t wanted = mode_ == Mode::requests ? wanted_ : call.message.size();
    if (!call.status || call.got != wanted) wrong("the body is too short");
    if (mode_ == Mode::unary && !call.grpc_status) wrong("no grpc-status");
    call.open = false;
    finish(call);
  }

  void finish(Call& call) {
    if (ended()) next(call);
  }

  void all_begun() override {
    for (Link& link : links_) flush(link);
  }

  void flush(Link& link) {
    if (!weir::bench::send_all(link, epoll_)) wrong("the connection does not take anything");
  }

  void ready(void* link) override { serve(*static_cast<Link*>(link)); }

  void serve(Link& link) {
    const ssize_t count = read(link.descriptor, buffer_.data(), buffer_.size());
    if (count == 0 || (count < 0 && errno != EAGAIN)) wrong("the connection ended");
    if (count > 0) {
      const auto* bytes = reinterpret_cast<const uint8_t*>(buffer_.data());
      if (nghttp2_session_mem_recv(link.session, bytes, static_cast<size_t>(count)) != count) {
        wrong("these are no frames");
      }
    }
    flush(link);
  }

  Mode mode_;
  std::string path_;
  size_t streams_;
  size_t wanted_ = 0;
  nghttp2_session_callbacks* callbacks_ = nullptr;
  std::vector<Link> links_;
  std::vector<Call> calls_;
};

}  // namespace

int main(int count, char** arguments) {
  const std::string mode = count == 6 ? arguments[1] : "";
  if (mode != "requests" && mode != "unary" && mode != "messages") {
    fprintf(stderr,
            "usage: bench_h2_client requests|unary|messages PORT CONNECTIONS STREAMS PATH\n");
    return 2;
  }
  const Mode kind = mode == "requests" ? Mode::requests
                    : mode == "unary"  ? Mode::unary
                                       : Mode::messages;
  std::make_unique<Client>(kind, static_cast<uint16_t>(std::stoul(arguments[2])),
                           std::stoul(arguments[3]), std::stoul(arguments[4]), arguments[5])
      ->run();
  return 0;
}
