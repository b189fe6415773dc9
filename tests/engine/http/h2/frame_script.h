#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::http::h2::test {

// A connection written down, frame by frame (tests/engine/http/h2/frames/*.frames):
//
//   # text                          a remark
//   preface                         the client's preface; left out, nothing comes first
//   bytes 00 00 04 …                raw bytes, in hexadecimal; "text" in quotes
//   settings [ack] [NAME=VALUE]… [stream=N]
//   headers STREAM [end] [more] [priority] [pad=N] : name=value | name=value …
//   continuation STREAM [more] : name=value …
//   data STREAM [end] [pad=N] TEXT | data STREAM [end] size=N
//   rst STREAM CODE  ping [ack] [8 letters]  goaway LAST CODE  window STREAM INCREMENT
//   priority STREAM DEPENDS_ON
//   frame TYPE FLAGS STREAM HEX…    anything
//   repeat N LINE [; LINE]          the lines N times; %n in them counts up by two from 1
//   time MILLISECONDS               the clock goes on
//   answer STREAM STATUS [BODY]     what the server answers, once the request is there
//   expect LINE                     what has to come out, in order; see describe(); * is any word
//   quiet                           nothing has to come out
//
// Header blocks are literals without indexing unless a line says `raw HEX`.
struct Step {
  enum class Kind : uint8_t { send, time, expect, quiet };
  Kind kind = Kind::send;
  std::string bytes;  // send; else the text behind the word
  int line = 0;
};

// Empty `problem`: well-formed.
std::vector<Step> parse_script(std::string_view text, std::string& problem);

// All that a peer sends in a script, as one byte string: the seed of the fuzzers.
std::string bytes_of(const std::vector<Step>& steps);

// The frames in `bytes`, one line each: "settings", "settings ack", "headers 1 end :status=200
// content-length=2", "data 1 end 5", "rst 1 PROTOCOL_ERROR", "goaway 1 NO_ERROR", "window 0 100",
// "ping ack". What is not a whole frame stays in `bytes`.
class FrameReader {
 public:
  FrameReader();
  ~FrameReader();
  FrameReader(const FrameReader&) = delete;
  FrameReader& operator=(const FrameReader&) = delete;
  std::vector<std::string> read(std::string& bytes);

 private:
  std::string fields(std::string_view block);
  struct Inflater;
  Inflater* inflater_;
  std::string block_;  // of a head that continues
};

}  // namespace weir::http::h2::test
