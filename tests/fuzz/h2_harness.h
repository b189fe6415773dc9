#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/http/h2/codec.h"
#include "tests/engine/http/h2/referee.h"

namespace weir::http::h2 {

inline void require(bool condition) {
  if (!condition) std::abort();
}

// Checks the order of what an HTTP/2 codec tells, stream by stream, and its credit.
class Checker : public CodecReceiver {
 public:
  enum class At : uint8_t { begun, body, trailers, ended, reset };
  struct State {
    At at = At::begun;
    uint64_t left = UINT64_MAX;
    size_t owed = 0;
    bool head = false;
    std::unique_ptr<Arena> arena = std::make_unique<Arena>();
  };

  Arena& on_begin(StreamId stream) override {
    require(stream != 0);
    if (role == Role::server) require(!streams.contains(stream));
    return *streams[stream].arena;
  }
  void on_interim(StreamId stream, MessageHead& head) override {
    require(role == Role::client && at(stream).at == At::begun);
    require(head.status >= 100 && head.status < 200 && head.status != 101);
  }
  void on_head(StreamId stream, MessageHead& head) override {
    State& state = at(stream);
    require(state.at == At::begun);
    state.at = At::body;
    state.head = true;
    if (head.body.kind == BodyLength::Kind::exact) state.left = head.body.bytes;
    if (head.body.kind == BodyLength::Kind::none) state.left = 0;
    if (role == Role::server) {
      require(!head.method_text.empty() && !head.target.empty() && !head.host.empty());
    } else {
      require(head.status >= 200 && head.status <= 999);
    }
    for (const Header& field : head.headers) check(field);
  }
  void on_data(StreamId stream, Slice data) override {
    State& state = at(stream);
    require(state.at == At::body && !data.empty() && data.size() <= state.left);
    if (state.left != UINT64_MAX) state.left -= data.size();
    unsigned sum = 0;
    for (char c : data.view()) sum += static_cast<unsigned char>(c);  // readable memory
    total += sum;
    if (credit_now) {
      codec->consumed(stream, data.size());
    } else {
      state.owed += data.size();
      require(state.owed <= window);
    }
  }
  void on_trailers(StreamId stream, HeaderList& trailers) override {
    require(at(stream).at == At::body);
    at(stream).at = At::trailers;
    for (const Header& field : trailers) check(field);
  }
  void on_end(StreamId stream) override {
    State& state = at(stream);
    require(state.at == At::body || state.at == At::trailers);
    require(state.left == 0 || state.left == UINT64_MAX);
    state.at = At::ended;
    ended.push_back(stream);
  }
  void on_upgraded(StreamId) override { require(false); }
  void on_reset(StreamId stream, const Reset& reset) override {
    State& state = at(stream);
    require(reset.reason != nullptr);
    state.at = At::reset;
    resets.push_back({stream, reset.cause == Reset::Cause::malformed ? reset.status : 0});
  }
  void on_goaway(StreamId) override {}
  void on_writable(StreamId stream) override { writable.push_back(stream); }
  uint64_t now() const override { return time; }

  static void check(const Header& field) {
    require(!field.name.empty());
    for (char c : field.name) require(c != '\n' && c != '\r' && c != '\0' && c != ':');
    for (char c : field.value) require(c != '\n' && c != '\r' && c != '\0');
  }
  State& at(StreamId stream) {
    auto found = streams.find(stream);
    require(found != streams.end());
    return found->second;
  }
  void forget(StreamId stream) {
    codec->forget(stream);
    streams.erase(stream);
  }

  Codec* codec = nullptr;
  Role role = Role::server;
  std::map<StreamId, State> streams;
  std::vector<StreamId> ended, writable;
  struct ResetNote {
    StreamId stream;
    int status;
  };
  std::vector<ResetNote> resets;
  bool credit_now = true;
  size_t window = 65536;
  uint64_t time = 0;
  unsigned total = 0;
};

// What goes out is held against RFC 9113.
inline void watch(test::Referee& referee, Codec& codec) {
  Chain& output = codec.output();
  std::string bytes;
  while (!output.empty()) bytes += output.take_front().view();
  referee.sent(bytes);
  if (referee.problem().empty()) return;
  std::fprintf(stderr, "%s\n", referee.problem().c_str());
  std::abort();
}

// Cuts the input as its second byte says, so that frames come in pieces.
class Cutter {
 public:
  Cutter(std::string_view bytes, uint8_t how) : rest_(bytes), how_(how) {}
  bool next(std::string_view& piece) {
    if (rest_.empty()) return false;
    size_t size = rest_.size();
    if (how_ != 0) size = 1 + (seed_ = seed_ * 1103515245 + how_) / 65536 % (1 + how_ * 4u);
    if (size > rest_.size()) size = rest_.size();
    piece = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }

 private:
  std::string_view rest_;
  uint32_t seed_ = 1;
  uint8_t how_;
};

}  // namespace weir::http::h2
