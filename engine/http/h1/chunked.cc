#include "engine/http/h1/chunked.h"

#include <cstring>

namespace weir::http::h1 {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = static_cast<char>(c | 0x20);
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// Extensions of a whole body may take this much more than the data they come with.
constexpr uint64_t kOverheadAllowance = 64 * 1024;

}  // namespace

void ChunkDecoder::took(uint64_t bytes) {
  remaining_ -= bytes;
  data_ += bytes;
  if (remaining_ == 0) state_ = State::data_cr;
}

// One byte of a size line. False: malformed. `result` is set where the line ends.
bool ChunkDecoder::line_byte(char c, Result& result) {
  if (state_ != State::size_lf && ++line_ > kLineLimit) return false;
  int digit;
  switch (state_) {
    case State::size_first:
    case State::size:
      digit = hex_value(c);
      if (digit >= 0) {
        if (remaining_ > static_cast<uint64_t>(INT64_MAX) >> 4) return false;
        remaining_ = remaining_ * 16 + static_cast<uint64_t>(digit);
        state_ = State::size;
        return true;
      }
      if (state_ == State::size_first) return false;
      [[fallthrough]];
    case State::blank:
      if (c == ' ' || c == '\t') {
        state_ = State::blank;
      } else if (c == ';') {
        state_ = State::extension;
      } else if (c == '\r') {
        state_ = State::size_lf;
      } else {
        return false;
      }
      return true;
    case State::extension:
      if (c == '\r') state_ = State::size_lf;
      return c != '\n' && c != '\0';
    case State::size_lf:
      if (c != '\n') return false;
      overhead_ += line_ > 16 ? line_ - 16 : 0;
      if (overhead_ > kOverheadAllowance + data_) return false;
      line_ = 0;
      if (remaining_ == 0) {
        result = Result::last;
      } else {
        state_ = State::data;
        result = Result::data;
      }
      return true;
    default:
      return false;
  }
}

ChunkDecoder::Result ChunkDecoder::next(const char* data, size_t size, size_t& used) {
  used = 0;
  if (state_ == State::data) return size == 0 ? Result::need_more : Result::data;
  while (used < size) {
    char c = data[used++];
    if (state_ == State::data_cr) {
      if (c != '\r') return Result::malformed;
      state_ = State::data_lf;
    } else if (state_ == State::data_lf) {
      if (c != '\n') return Result::malformed;
      state_ = State::size_first;
    } else {
      Result result = Result::need_more;
      if (!line_byte(c, result)) return Result::malformed;
      if (result == Result::last) return result;
      if (result == Result::data) return used < size ? result : Result::need_more;
    }
  }
  return Result::need_more;
}

}  // namespace weir::http::h1
