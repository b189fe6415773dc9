#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::http::h2::test {

// A connection written down, frame by frame (tests/engine/http/h2/frames/*.frames). What a peer of
// ours sends:
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
//
// Header blocks are literals without indexing unless a field says `raw HEX`. What else happens:
//
//   role server|client|both         what is tested (a server); both: twice, without a preface the
//                                   second time
//   option NAME=VALUE               see script_run.h
//   time MILLISECONDS               the clock goes on
//   do WORDS                        what the program asks of the codec; see script_run.h
//   expect FRAME                    what has to come out, in order; see frame_reader.h; * is any
//                                   text. Windows and answers to settings are passed over
//   quiet                           nothing else has to come out
//   closed                          the connection is over
//   heard STREAM TEXT               all that the codec told of the stream; see recorder.h
//   heard error TEXT                why it ended the connection
struct Step {
  enum class Kind : uint8_t { send, time, expect, quiet, closed, heard, act, role, option };
  Kind kind = Kind::send;
  std::string bytes;  // send; else the text behind the word
  int line = 0;
};

// Empty `problem`: well-formed.
std::vector<Step> parse_script(std::string_view text, std::string& problem);

// All that a peer sends in a script, as one byte string: the seed of the fuzzers.
std::string bytes_of(const std::vector<Step>& steps);

}  // namespace weir::http::h2::test
