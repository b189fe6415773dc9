// What RFC 9113 and RFC 7541 demand of a server, frame by frame: each file of frames/ is a
// connection. A request is answered when it is whole: 200 with the path as body; the paths /wait…
// never.

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/engine/http/h2/frame_script.h"
#include "tests/engine/http/h2/recorder.h"

using namespace weir;
using namespace weir::http;
using namespace weir::http::h2;
using namespace weir::http::h2::test;

namespace {

std::filesystem::path folder() {
  return WEIR_H2_FRAMES;
}

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// `pattern` may have a * for one word.
bool matches(const std::string& text, const std::string& pattern) {
  const size_t star = pattern.find('*');
  if (star == std::string::npos) return text == pattern;
  const std::string_view behind = std::string_view(pattern).substr(star + 1);
  return text.starts_with(pattern.substr(0, star)) && text.ends_with(behind);
}

class Script {
 public:
  Script() {
    ServerOptions options;
    options.max_concurrent_streams = 10;
    codec_ = make_server_codec(heard_, limits_, options);
    heard_.codec = codec_.get();
    collect();
    frames_.clear();
  }

  void run(const std::string& name, const std::vector<Step>& steps) {
    size_t sent = 0;
    for (const Step& step : steps) {
      INFO(name << ":" << step.line);
      switch (step.kind) {
        case Step::Kind::send:
          ++sent;
          // All at once, and byte by byte: it must not matter.
          codec_->feed(Slice::borrowed(step.bytes));
          settle();
          break;
        case Step::Kind::time:
          heard_.time += std::stoul(step.bytes);
          break;
        case Step::Kind::expect: {
          std::string all;
          for (const std::string& frame : frames_) all += frame + "; ";
          INFO("came: " << all << " error: " << heard_.error);
          // What is of no interest here: windows, answers to settings.
          while (!frames_.empty() && frames_.front() != step.bytes &&
                 (frames_.front() == "settings ack" || frames_.front().starts_with("window "))) {
            frames_.erase(frames_.begin());
          }
          const bool there = !frames_.empty() && matches(frames_.front(), step.bytes);
          const std::string came = frames_.empty() ? "(nothing)" : frames_.front();
          CHECK(came == (there ? came : step.bytes));
          if (!there) return;
          // Whoever is sent away reads why in the error log.
          const bool sent_away = came.starts_with("goaway") && !came.ends_with("NO_ERROR");
          CHECK((!sent_away || !heard_.error.empty()));
          frames_.erase(frames_.begin());
          break;
        }
        case Step::Kind::quiet:
          std::erase_if(frames_, [](const std::string& frame) {
            return frame == "settings ack" || frame.starts_with("window ");
          });
          CHECK(frames_.empty());
          frames_.clear();
          break;
      }
    }
    CHECK(sent > 0);
  }

  const std::string& answered() const { return answered_; }

 private:
  void settle() {
    for (auto& [stream, heard] : heard_.streams) {
      if (done_.contains(stream)) continue;
      if (heard.was_reset) {
        done_[stream] = true;
        if (heard.reset.cause == Reset::Cause::malformed && heard.reset.status >= 400) {
          answer(stream, heard.reset.status, "");
        }
        codec_->forget(stream);
      } else if (heard.ended && !std::string_view(heard.head->target).starts_with("/wait")) {
        done_[stream] = true;
        std::string body(heard.head->target);
        if (body == "/trailers") body = heard.text;
        answer(stream, 200, body);
        codec_->forget(stream);
      }
    }
    collect();
  }
  void answer(StreamId stream, int status, std::string_view body) {
    MessageHead head;
    head.status = status;
    head.body = {BodyLength::Kind::exact, body.size()};
    codec_->send_head(stream, head, body.empty());
    if (body.empty()) return;
    Chain data;
    data.push(Slice::copy_of(body));
    codec_->send_data(stream, data, true);
  }
  void collect() {
    const std::string more = take_output(*codec_);
    answered_ += more;
    bytes_ += more;
    for (std::string& frame : reader_.read(bytes_)) frames_.push_back(std::move(frame));
  }

  HeadLimits limits_;
  Recorder heard_;
  std::unique_ptr<Codec> codec_;
  FrameReader reader_;
  std::string bytes_;
  std::string answered_;
  std::vector<std::string> frames_;
  std::map<StreamId, bool> done_;
};

}  // namespace

TEST_CASE("h2: frames that a server must take, refuse or ignore") {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    if (entry.path().extension() != ".frames") continue;
    ++count;
    std::string problem;
    const auto steps = parse_script(content(entry.path()), problem);
    INFO(entry.path().filename().string());
    REQUIRE(problem == "");
    Script script;
    script.run(entry.path().filename().string(), steps);
  }
  CHECK(count > 60);
}

// Not a test: writes the seeds of the fuzzers, what clients send and what servers answer.
// WEIR_SEEDS names tests/fuzz/seeds.
TEST_CASE("h2: seeds", "[.seeds]") {
  const char* to = std::getenv("WEIR_SEEDS");
  REQUIRE(to != nullptr);
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    std::string problem;
    const auto steps = parse_script(content(entry.path()), problem);
    const std::string bytes = bytes_of(steps);
    const auto name = entry.path().stem();
    if (bytes.size() > 16384) continue;
    const std::filesystem::path seeds(to);
    std::ofstream file(seeds / "h2_server_fuzz" / name, std::ios::binary);
    const bool preface = bytes.starts_with(kPreface);
    // The fuzzer's flags and cuts, and no preface twice.
    file << std::string(1, preface ? '\0' : '\1') << '\0'
         << (preface ? bytes.substr(kPreface.size()) : bytes);
    Script script;
    script.run(name.string(), steps);
    std::ofstream answer(seeds / "h2_client_fuzz" / name, std::ios::binary);
    answer << std::string(2, '\0') << script.answered().substr(0, 8192);
  }
}
