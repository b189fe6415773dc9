#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "engine/base/pooled.h"
#include "engine/http/codec.h"
#include "engine/http/h2/field_writer.h"
#include "engine/http/h2/flood_guard.h"
#include "engine/http/h2/frame_tracker.h"
#include "engine/http/h2/native_session.h"

namespace weir::http::h2 {

// One stream, from its first frame until the receiver forgets it. What nghttp2 knows of it may be
// gone before.
struct Stream : Pooled {
  StreamId handle = 0;
  int32_t number = -1;  // on the wire; -1: not sent yet
  Arena* arena = nullptr;
  MessageHead* head = nullptr;  // received
  HeaderList* trailers = nullptr;
  Chain* source = nullptr;  // while send_data() runs
  Ref<Block> tail;          // small pieces of a body are gathered here
  uint32_t tail_used = 0;
  uint32_t owed = 0;         // bytes of on_data without credit
  uint32_t field_bytes = 0;  // of the head under way
  uint32_t field_count = 0;
  uint32_t frame_size = 0;  // the most body bytes in a frame we send; 0: no wish
  uint32_t interims = 0;
  uint64_t received = 0;  // body bytes
  uint64_t sent = 0;      // bytes on the wire
  uint64_t head_sent = 0;
  int refused = 0;  // the head is malformed: the status that answers it
  const char* refused_reason = "";
  Method request_method = Method::unknown;
  bool head_done : 1 = false;  // a final head was received
  bool input_ended : 1 = false;
  bool output_begun : 1 = false;
  bool output_ended : 1 = false;  // END_STREAM is out
  bool finish : 1 = false;        // END_STREAM goes with the last of what is left
  bool blocked : 1 = false;       // a window holds data back
  bool closed : 1 = false;        // nghttp2 has forgotten it
  bool told : 1 = false;          // the receiver had its on_reset, or asked for the end itself
  bool forgotten : 1 = false;
  bool drops_input : 1 = false;
  bool pseudo_done : 1 = false;   // a field that is none has come
  bool field_secret : 1 = false;  // the one that is being read is never to be indexed
  bool has_cookies : 1 = false;
};

// What both roles share: nghttp2's session, streams, credit, windows, bytes out.
class Multiplexer : public Codec {
 public:
  ~Multiplexer() override;

  size_t feed(const Slice& bytes) final;
  void end_of_input() final;
  void consumed(StreamId stream, size_t bytes) final;
  void send_data(StreamId stream, Chain& data, bool end) final;
  void send_trailers(StreamId stream, const HeaderList& trailers) final;
  void send_reset(StreamId stream, uint32_t code) final;
  Chain& output() final;
  bool idle() const final { return held_ == 0 && tracker_.at_boundary(); }
  void next_exchange() final {}
  void release_memory() final;
  bool multiplexes() const final { return true; }
  size_t stream_count() const final { return held_; }
  void forget(StreamId stream) final;
  uint64_t stream_bytes(StreamId stream) const final;
  bool is_blocked(StreamId stream) const final;
  void send_ping() final;
  void widen_window(StreamId stream) final;
  bool wants_close() const final { return dead_; }

 protected:
  Multiplexer(CodecReceiver& receiver, Role role);
  void open() { session_.open(role_ == Role::server, callbacks(), this, options()); }
  // Callbacks and options that both roles use; the role adds nothing to them.
  static const nghttp2_session_callbacks* callbacks();
  static const nghttp2_option* options();

  // --- the role's part of a head
  virtual void on_begin_headers(const nghttp2_frame& frame) = 0;
  virtual void on_field(Stream& stream, std::string_view name, std::string_view value) = 0;
  virtual void on_headers(Stream& stream, bool end) = 0;
  virtual void on_trailing_headers(Stream& stream);
  virtual void on_ping_answered() { receiver_.on_pong(); }
  virtual void on_stream_gone(Stream&) {}

  Stream* make_stream();
  Stream* find(StreamId handle) const;
  Stream* of_number(int32_t number) const;
  void take_trailer(Stream& stream, std::string_view name, std::string_view value);
  void finish_input(Stream& stream);
  // The receiver learns that the stream is no more; what comes for it is dropped.
  void tell_reset(Stream& stream, Reset::Cause cause, int status, const char* reason,
                  uint32_t code = 0, bool retry_safe = false);
  // RST_STREAM for what the peer did.
  void refuse_stream(int32_t number, uint32_t code);
  bool take_token(FloodGuard::Kind kind);
  void flood(const char* reason);
  // Ends the connection with GOAWAY; `reason` is static.
  void break_off(const char* reason, uint32_t code);
  // Sends what nghttp2 has ready.
  void pump();
  void pump_if_wanted() {
    if (want_pump_) pump();
  }
  // Fields of `writer` may be used in place when they go out at once.
  const nghttp2_nv* settled(FieldWriter& writer);
  nghttp2_data_provider provider(Stream& stream);
  void fail(const char* reason);

  CodecReceiver& receiver_;
  Role role_;
  NativeSession session_;
  FrameTracker tracker_;
  FloodGuard guard_;
  Chain output_;
  Ref<Block> block_;  // where frames are put, from used_ on
  uint32_t used_ = 0;
  uint32_t held_ = 0;        // streams not forgotten, or not closed
  uint32_t open_ = 0;        // streams that nghttp2 has
  uint32_t head_bytes_ = 0;  // of the header block under way, or of the last one
  bool in_feed_ = false;
  bool pumping_ = false;
  bool dead_ = false;
  bool want_pump_ = false;
  bool finishing_ = false;        // no new streams
  bool goaway_received_ = false;  // client role
  bool settings_received_ = false;

 private:
  friend struct Callbacks;
  struct Slot {
    Stream* stream = nullptr;
    uint16_t serial = 0;
  };
  void write(const uint8_t* data, size_t size);
  void write_slice(Slice slice);
  bool watch_frames(std::string_view bytes);
  bool has_valid_size(const FrameHead& frame);
  void note_windows();
  void check_windows();
  void tell_windows();
  void after_input();
  void release(Stream& stream);
  void on_data_chunk(int32_t number, const uint8_t* data, size_t size);
  void on_frame_head(const nghttp2_frame_hd& head);
  void on_frame(const nghttp2_frame& frame);
  void cut_short(int32_t number);
  static const char* describe_cancel(Stream& stream, uint32_t code);
  void on_close(int32_t number, uint32_t code);
  void on_sent(const nghttp2_frame& frame);
  void note_violation(const nghttp2_goaway& goaway);
  Slice body_slice(Stream& stream, const char* data, size_t size);
  ssize_t read_source(Stream& stream, size_t length, uint32_t& flags);
  void send_source(Stream& stream, const uint8_t* frame_head, size_t length);

  std::vector<Slot> slots_;
  size_t first_free_ = 0;           // no slot before it is free
  std::vector<int32_t> cut_short_;  // streams that we reset, the last of them
  uint32_t continuations_ = 0;      // of the head under way
  int64_t first_window_ = 0;        // ahead of SETTINGS: what the peer's streams begin with,
  int32_t widest_window_ = 0;       // and the widest that it gave us
  int32_t last_number_ = 0;         // the highest of the peer's streams
  uint32_t first_told_ = 0;         // where tell_windows() began last
  Stream* heading_ = nullptr;       // whose header block is being read
  const Slice* feeding_ = nullptr;  // what feed() was given
  const char* error_ = "";          // why we ended the connection
  char last_words_[160] = "";       // nghttp2's, of what it found last
  bool windows_opened_ = false;
  bool settings_changed_ = false;
};

// RFC 9113 section 8.2.1. `odd`: valid, but not for nginx, which ignores such fields.
enum class NameVerdict : uint8_t { valid, odd, invalid };
NameVerdict judge_name(std::string_view name, bool allow_underscores);
bool is_valid_value(std::string_view value);
bool has_outer_blanks(std::string_view value);
std::string_view without_outer_blanks(std::string_view value);

}  // namespace weir::http::h2
