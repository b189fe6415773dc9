// The HTTP/2 codec of a client. The first byte of an input is flags, the second how the rest is
// cut; what follows is what a server sends to some requests that are under way.
#include "tests/fuzz/h2_harness.h"

namespace weir::http::h2 {
namespace {

enum Flag : uint8_t { kLateCredit = 1, kBody = 2, kHead = 4, kEager = 8 };

class Run {
 public:
  explicit Run(uint8_t flags) : flags_(flags) {
    ClientOptions options;
    options.stream_window = 65536;
    codec_ = make_client_codec(checker_, options);
    checker_.codec = codec_.get();
    checker_.role = Role::client;
    checker_.credit_now = (flags & kLateCredit) == 0;
    for (int i = 0; i < 4; ++i) ask();
    watch(referee_, *codec_);
  }

  void feed(std::string_view piece) {
    const Slice slice = Slice::copy_of(piece);
    referee_.received(piece);
    require(codec_->feed(slice) == piece.size());
    for (const auto& reset : std::exchange(checker_.resets, {})) over(reset.stream);
    for (StreamId stream : std::exchange(checker_.ended, {})) over(stream);
    for (StreamId stream : std::exchange(checker_.writable, {})) go_on(stream);
    for (auto& [stream, state] : checker_.streams) {
      if (state.owed > 0) codec_->consumed(stream, std::exchange(state.owed, 0));
    }
    if ((flags_ & kEager) != 0) ask();
    watch(referee_, *codec_);
  }

  void finish() {
    codec_->end_of_input();
    while (!checker_.streams.empty()) over(checker_.streams.begin()->first);
    require(codec_->stream_count() == 0);
    watch(referee_, *codec_);
  }

 private:
  void ask() {
    if (!codec_->can_open_stream()) return;
    auto arena = std::make_unique<Arena>();
    const StreamId stream = codec_->open_stream(*arena);
    require(stream != 0);
    checker_.streams[stream].arena = std::move(arena);
    MessageHead head;
    head.method_text = (flags_ & kHead) != 0 ? "HEAD" : "POST";
    head.method = find_method(head.method_text);
    head.target = "/";
    head.authority = "a";
    const bool body = (flags_ & kBody) != 0;
    codec_->send_head(stream, head, !body);
    if (!body) return;
    bodies_[stream].push(Slice::copy_of(std::string(100'000, 'x')));
    go_on(stream);
  }
  void go_on(StreamId stream) {
    auto found = bodies_.find(stream);
    if (found == bodies_.end()) return;
    codec_->send_data(stream, found->second, true);
    if (found->second.empty()) bodies_.erase(found);
  }
  void over(StreamId stream) {
    bodies_.erase(stream);
    if (checker_.streams.contains(stream)) checker_.forget(stream);
  }

  uint8_t flags_;
  Checker checker_;
  test::Referee referee_{Role::client};
  std::map<StreamId, Chain> bodies_;
  std::unique_ptr<Codec> codec_;
};

}  // namespace
}  // namespace weir::http::h2

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weir::http::h2;
  if (size < 2) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  Run run(data[0]);
  Cutter cutter(bytes, data[1]);
  std::string_view piece;
  while (cutter.next(piece)) run.feed(piece);
  run.finish();
  return 0;
}
