#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace weir::http::h2::test {

// RFC 9113 section 7, by number.
inline constexpr std::array<const char*, 14> kErrorNames = {
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
};

inline const std::map<std::string, uint16_t> kSettingNames = {
    {"HEADER_TABLE_SIZE", 1},       {"ENABLE_PUSH", 2},           {"MAX_CONCURRENT_STREAMS", 3},
    {"INITIAL_WINDOW_SIZE", 4},     {"MAX_FRAME_SIZE", 5},        {"MAX_HEADER_LIST_SIZE", 6},
    {"ENABLE_CONNECT_PROTOCOL", 8}, {"NO_RFC7540_PRIORITIES", 9},
};

// The frames in `bytes`, one line each: "settings MAX_CONCURRENT_STREAMS=10", "settings ack",
// "headers 1 end :status=200 content-length=2" (!= for a field that is never to be indexed), "data
// 1 end 5", "rst 1 PROTOCOL_ERROR", "goaway 1 NO_ERROR", "window 0 100", "ping ack pingping". What
// is not a whole frame stays in `bytes`; a client's preface is left out.
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
  std::string end_;    // of that head
};

}  // namespace weir::http::h2::test
