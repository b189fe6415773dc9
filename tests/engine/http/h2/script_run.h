#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/engine/http/h2/frame_reader.h"
#include "tests/engine/http/h2/frame_script.h"
#include "tests/engine/http/h2/recorder.h"
#include "tests/engine/http/h2/referee.h"

namespace weir::http::h2::test {

// The role that a script is for; `both`: it is run twice.
enum class ScriptRole : uint8_t { server, client, both };
ScriptRole role_of(const std::vector<Step>& steps);

// Runs a script against a codec, checks what comes out, and has it watched by a Referee.
//
//   option streams=N            http2_max_concurrent_streams, 10
//   option window=N             http2_body_preread_size; the client's window of a stream
//   option extended_connect=1   http2_extended_connect
//   option credit=late          bodies are consumed by `do consume` only
//   option start=1              what the codec sends first has to be expected too
//
//   do ask METHOD PATH [end] : name=value | …   a request; streams are 1, 3, … in that order
//   do body STREAM BYTES [end]  of that request
//   do consume STREAM BYTES, do cancel STREAM, do forget STREAM, do widen STREAM,
//   do finish, do ping
//   do not ask                  no request can be sent now
//
// A request is answered when it is whole: 200 with its path as body. Other paths: /wait… never,
// /trailers what the codec told of the request, /size/N so many bytes, /early before the end of the
// request, /echo with its fields, /long-head, /hint, /with-trailers, /http1 (fields of HTTP/1).
class ScriptRun {
 public:
  // `cut`: bytes that the codec is fed at once; 0: all of a line. It must not matter.
  ScriptRun(Role role, const std::vector<Step>& steps, size_t cut);
  void run(const std::string& name);
  // All that the codec sent.
  const std::string& answered() const { return answered_; }

 private:
  void send(std::string_view bytes);
  bool expect(const std::string& pattern);
  void quiet();
  void heard(const std::string& text);
  void act(const std::string& text);
  void ask(const std::string& text);
  void settle();
  void settle_server(StreamId stream, Heard& heard);
  void settle_client(StreamId stream, Heard& heard);
  void serve(StreamId stream, Heard& heard);
  void answer(StreamId stream, int status, std::string_view body);
  void go_on(StreamId stream);
  void collect();
  StreamId handle(size_t number) const;

  Role role_;
  const std::vector<Step>& steps_;
  size_t cut_;
  HeadLimits limits_;
  Recorder heard_;
  Referee referee_;
  std::unique_ptr<Codec> codec_;
  FrameReader reader_;
  std::string bytes_;
  std::string answered_;
  std::vector<std::string> frames_;
  std::map<StreamId, bool> done_;
  struct Body {
    Chain data;
    bool end = true;
    bool trailers = false;
  };
  std::map<StreamId, Body> bodies_;
  std::vector<StreamId> asked_;
  std::set<StreamId> unfinished_;  // requests
};

}  // namespace weir::http::h2::test
