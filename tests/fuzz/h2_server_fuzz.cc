// The HTTP/2 codec of a server. The first byte of an input is flags, the second how the rest is
// cut; what follows is what a client sends. Checked: order of events, credit, texts; every request
// is answered, some with a body that has to wait for windows.
#include "tests/fuzz/h2_harness.h"

namespace weir::http::h2 {
namespace {

enum Flag : uint8_t {
  kNoPreface = 1,
  kLateCredit = 2,
  kLongAnswer = 4,
  kConnect = 8,
  kFinish = 16,
  kTrailers = 32,
  kClock = 64,
};

class Run {
 public:
  explicit Run(uint8_t flags) : flags_(flags) {
    ServerOptions options;
    options.max_concurrent_streams = 8;
    options.extended_connect = (flags & kConnect) != 0;
    codec_ = make_server_codec(checker_, limits_, options);
    checker_.codec = codec_.get();
    checker_.credit_now = (flags & kLateCredit) == 0;
  }

  void feed(std::string_view piece) {
    const Slice slice = Slice::copy_of(piece);
    referee_.received(piece);
    require(codec_->feed(slice) == piece.size());
    if ((flags_ & kClock) != 0) checker_.time += 1000;
    settle();
  }

  void finish() {
    if ((flags_ & kFinish) != 0) codec_->finish_connection();
    codec_->end_of_input();
    settle();
    while (!checker_.streams.empty()) checker_.forget(checker_.streams.begin()->first);
    require(codec_->stream_count() == 0);
    drop_output();
  }

 private:
  void settle() {
    for (const auto& reset : std::exchange(checker_.resets, {})) {
      if (!checker_.streams.contains(reset.stream)) continue;
      if (reset.status != 0) answer(reset.stream, reset.status);
      checker_.forget(reset.stream);
      waiting_.erase(reset.stream);
    }
    for (StreamId stream : std::exchange(checker_.ended, {})) {
      if (checker_.streams.contains(stream)) answer(stream, 200);
    }
    for (StreamId stream : std::exchange(checker_.writable, {})) go_on(stream);
    for (auto& [stream, state] : checker_.streams) {
      if (state.owed > 0) codec_->consumed(stream, std::exchange(state.owed, 0));
    }
    drop_output();
  }
  void answer(StreamId stream, int status) {
    MessageHead head;
    head.status = status;
    head.body.kind = BodyLength::Kind::chunked;
    head.headers.add(arena_, "X-Answer", "yes");
    codec_->send_head(stream, head, false);
    Chain& body = waiting_[stream];
    body.push(Slice::copy_of(std::string((flags_ & kLongAnswer) != 0 ? 100'000 : 10, 'x')));
    go_on(stream);
  }
  void go_on(StreamId stream) {
    auto found = waiting_.find(stream);
    if (found == waiting_.end()) return;
    const bool trailers = (flags_ & kTrailers) != 0;
    codec_->send_data(stream, found->second, !trailers);
    if (!found->second.empty()) return;
    waiting_.erase(found);
    if (trailers) {
      HeaderList list;
      list.add(arena_, "sum", "1");
      codec_->send_trailers(stream, list);
    }
    if (checker_.streams.contains(stream)) checker_.forget(stream);
  }
  void drop_output() { watch(referee_, *codec_); }

  uint8_t flags_;
  Checker checker_;
  test::Referee referee_{Role::server};
  HeadLimits limits_;
  Arena arena_;
  std::unique_ptr<Codec> codec_;
  std::map<StreamId, Chain> waiting_;
};

}  // namespace
}  // namespace weir::http::h2

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weir::http::h2;
  if (size < 2) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  Run run(data[0]);
  if ((data[0] & kNoPreface) == 0) run.feed(kPreface);
  Cutter cutter(bytes, data[1]);
  std::string_view piece;
  while (cutter.next(piece)) run.feed(piece);
  run.finish();
  return 0;
}
