#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/http/codec.h"

namespace weir::http::h2::test {

// Watches a connection of ours from the wire and holds what our side sends against what RFC 9113
// and RFC 7541 demand of a sender. Every script and every input of the fuzzers is watched; the
// rules have names, for musts.tsv.
class Referee {
 public:
  // The codec's role.
  explicit Referee(Role role);
  ~Referee();
  Referee(const Referee&) = delete;
  Referee& operator=(const Referee&) = delete;

  // In the order in which it happens; `bytes` may end anywhere.
  void received(std::string_view bytes);
  void sent(std::string_view bytes);
  // What had to be answered has been.
  void finish();
  // The first thing that was wrong: "windows: DATA of 5 in a window of 3". Empty: nothing.
  const std::string& problem() const { return problem_; }
  // Name and what it says.
  static const std::map<std::string, std::string>& rules();

 private:
  struct Frame {
    uint8_t type = 0;
    uint8_t flags = 0;
    bool reserved = false;
    uint32_t stream = 0;
    std::string_view payload;
    bool has(uint8_t flag) const { return (flags & flag) != 0; }
  };
  struct Stream {
    int64_t window = 0;  // for what we send
    bool headed = false;
    bool sent_end = false, received_end = false;
    bool sent_reset = false, received_reset = false;
    bool crossing = false;  // that came with what we answer: ours may have been on its way
    bool over() const { return sent_reset || received_reset || (sent_end && received_end); }
  };
  struct Inflater;

  static bool cut(std::string& bytes, std::string& payload, Frame& frame);
  void fail(const char* rule, const std::string& what);
  void check_sent(std::string_view bytes);
  void on_received(const Frame& frame);
  void on_received_settings(const Frame& frame);
  void on_sent(const Frame& frame);
  void check_shape(const Frame& frame);
  void check_stream(const Frame& frame);
  void on_sent_headers(const Frame& frame);
  void on_sent_block(uint32_t stream, bool end);
  void check_fields(Stream& stream, bool end);
  void check_field(std::string_view name, std::string_view value);
  void on_sent_data(const Frame& frame);
  void on_sent_settings(const Frame& frame);
  void on_sent_goaway(const Frame& frame);
  size_t open_streams() const;
  std::string_view fragment(const Frame& frame);

  Role role_;
  std::string problem_;
  std::string received_, sent_;  // not whole yet
  bool lost_ = false;            // the peer's preface is none
  bool preface_in_ = false, preface_out_ = false;
  bool begun_ = false;  // our SETTINGS are out
  bool over_ = false;   // GOAWAY with an error is out
  bool goaway_received_ = false;
  std::map<uint32_t, Stream> streams_;
  std::vector<uint32_t> crossing_;
  uint32_t highest_ = 0;  // the client's streams
  uint32_t ending_ = 0;   // ends with the block that is under way from the peer
  uint32_t goaway_last_ = 0x7fffffff;
  int64_t window_ = 65535;  // of the connection, for what we send
  int64_t first_window_ = 65535;
  int64_t lent_ = 65535;  // of the connection, for what the peer sends
  uint64_t frame_limit_ = 16384;
  uint64_t stream_limit_ = UINT64_MAX;
  int owed_acks_ = 0;
  std::deque<std::string> pings_;
  uint32_t heading_ = 0;  // the stream whose block goes on
  bool heading_end_ = false;
  std::string block_;
  std::unique_ptr<Inflater> inflater_;
};

}  // namespace weir::http::h2::test
