#pragma once

#include <cstdint>
#include <string>

#include "engine/event/timer.h"
#include "engine/http/core_settings.h"
#include "engine/http/request_body.h"

namespace weir::http {

class Exchange;

// client_max_body_size as it counts for this request; 0: no limit.
int64_t body_limit(const Request& request);

// The body of an exchange's request. Before anybody asks, what arrived waits here without credit,
// so that the session stops reading. Lives in the exchange.
class ClientBody final : public RequestBody {
 public:
  explicit ClientBody(Exchange& exchange);
  ~ClientBody() override;

  // --- for readers
  Task<int> read_all(Request& request) override;
  // client_body_early_read: read_all() for a server, whose client_body_in_file_only does not count.
  Task<int> read_early(Request& request);
  bool is_kept() const override { return mode_ == Mode::storing; }
  bool came_whole() const override;
  bool is_dropped() const override { return mode_ == Mode::discarding && length_at_discard_ == 0; }
  const Chain& stored() const override { return stored_; }
  uint64_t stored_bytes() const override { return stored_.bytes(); }
  std::string_view temp_file_name() const override { return file_name_; }
  void begin_streaming(Request& request) override;
  Chain& arrived() override { return arrived_; }
  void consumed(size_t bytes) override;
  bool ended() const override { return ended_; }
  int error() const override { return error_; }
  const HeaderList& trailers() const override { return trailers_; }
  void discard() override;

  // The steps of read_all.
  void begin_storing(Request& request);
  bool wants_more() const;
  int end_storing();

  // --- for the exchange
  void declare(const BodyLength& length) { length_ = length; }
  void on_data(Slice data);
  void on_trailers(const HeaderList& trailers) { trailers_ = trailers; }
  void on_end();
  // Malformed chunks (400), a client that left (400), too slow (408).
  void fail(int status);
  // The same, of a body that broke the rules: none of it counts in $request_length.
  void refuse(int status) {
    refused_ = refused_ || error_ == 0;
    fail(status);
  }
  bool was_refused() const { return refused_; }
  // What had been received of the request when the body was no longer wanted by who had asked for
  // it; 0: nobody had.
  uint64_t length_at_discard() const { return length_at_discard_; }
  bool complete() const { return ended_ || !present(); }
  bool was_asked_for() const { return mode_ != Mode::waiting; }
  bool is_discarding() const { return mode_ == Mode::discarding; }
  bool is_streaming() const { return mode_ == Mode::streaming; }
  // Expect: 100-continue: answered when reading begins; never after this.
  void no_continue() { continue_settled_ = true; }
  void stop_timer() { timer_.cancel(); }
  // RFC 8441: what comes from now on is a stream without a length and without a timeout.
  void open_stream(Request& request);

 private:
  enum class Mode : uint8_t { waiting, storing, streaming, discarding };
  static void timed_out(void* self);
  void begin(Request& request, Mode mode);
  void send_continue();
  void take_arrived();
  BodyInFile in_file() const;
  bool store(Slice data);
  void finish_storing();
  bool buffer(std::string_view data);
  bool write_file(std::string_view data);
  bool open_file();
  void check_size(uint64_t now);  // `now` of received_ came last

  Exchange& exchange_;
  Timer timer_;
  Request* reader_ = nullptr;  // whose settings count
  Chain arrived_;              // streaming; and what came before anybody asked
  Chain stored_;
  Ref<Block> buffer_;
  size_t buffered_ = 0;
  Ref<File> file_;
  uint64_t file_bytes_ = 0;
  std::string file_name_;
  HeaderList trailers_;
  int error_ = 0;
  Mode mode_ = Mode::waiting;
  bool ended_ = false;
  bool stored_done_ = false;
  bool continue_settled_ = false;
  bool early_ = false;  // read before there was a location
  bool keep_file_ = false;
  bool unlimited_ = false;  // a tunnel
  bool refused_ = false;
  uint64_t length_at_discard_ = 0;
};

}  // namespace weir::http
