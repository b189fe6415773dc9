#pragma once

#include <cstddef>
#include <cstdint>

namespace weir::http::h1 {

// The chunk framing of RFC 9112 section 7.1, without the trailers: those are field lines and belong
// to HeadParser. Strict: CRLF only, no bare CR or LF anywhere, no more than kLineLimit bytes around
// a size. Blanks behind the size are taken, as nginx takes them (old servers pad with them);
// extensions are dropped.
class ChunkDecoder {
 public:
  enum class Result : uint8_t {
    need_more,  // all bytes used
    data,  // `used` bytes of framing, then data: up to remaining() of them; tell took() how many
    last,  // the last chunk's line is read; trailers follow
    malformed,
  };
  static constexpr uint32_t kLineLimit = 4096;

  void begin() { *this = ChunkDecoder(); }
  Result next(const char* data, size_t size, size_t& used);
  uint64_t remaining() const { return remaining_; }
  void took(uint64_t bytes);

 private:
  enum class State : uint8_t {
    size_first,
    size,
    blank,
    extension,
    size_lf,
    data,
    data_cr,
    data_lf
  };

  bool line_byte(char c, Result& result);

  State state_ = State::size_first;
  uint32_t line_ = 0;      // bytes of this size line
  uint64_t overhead_ = 0;  // bytes of all size lines beyond a fair share of the data
  uint64_t data_ = 0;
  uint64_t remaining_ = 0;
};

}  // namespace weir::http::h1
