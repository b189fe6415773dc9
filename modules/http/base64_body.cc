#include "modules/http/base64_body.h"

#include <algorithm>

#include "engine/http/request.h"
#include "engine/net/stream.h"

namespace weir::http {
namespace {

constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// The value of a character, 64 for '=', -1 for what is not base64.
int value_of(char character) {
  if (character >= 'A' && character <= 'Z') return character - 'A';
  if (character >= 'a' && character <= 'z') return character - 'a' + 26;
  if (character >= '0' && character <= '9') return character - '0' + 52;
  if (character == '+') return 62;
  if (character == '/') return 63;
  return character == '=' ? 64 : -1;
}

// Blocks that are filled one byte after the other. They are no larger than what is to come: a few
// bytes that wait for a slow peer must not hold a large one.
class BlockWriter {
 public:
  BlockWriter(Chain& out, size_t expected) : out_(out), expected_(expected) {}
  ~BlockWriter() { finish(); }
  BlockWriter(const BlockWriter&) = delete;
  BlockWriter& operator=(const BlockWriter&) = delete;
  void put(char byte) {
    if (!block_ || size_ == block_->capacity()) {
      finish();
      block_ = Block::take(std::clamp<size_t>(expected_, 16, Block::kBlockSize));
      expected_ -= std::min<size_t>(expected_, block_->capacity());
      size_ = 0;
    }
    block_->data()[size_++] = byte;
  }
  // Hands over what was put so far.
  void finish() {
    if (block_ && size_ > 0) out_.push(Slice(block_, block_->data(), size_));
    block_ = Ref<Block>();
  }

 private:
  Chain& out_;
  size_t expected_;
  Ref<Block> block_;
  size_t size_ = 0;
};

}  // namespace

bool Base64Decoder::decode(std::string_view text, Chain& out) {
  BlockWriter writer(out, text.size() / 4 * 3 + 3);
  for (const char character : text) {
    const int value = value_of(character);
    if (value < 0 || (value == 64 && count_ < 2) || (value != 64 && padding_ > 0)) return false;
    if (value == 64) ++padding_;
    group_ = group_ << 6 | (value == 64 ? 0 : static_cast<uint32_t>(value));
    if (++count_ < 4) continue;
    writer.put(static_cast<char>(group_ >> 16));
    if (padding_ < 2) writer.put(static_cast<char>(group_ >> 8));
    if (padding_ < 1) writer.put(static_cast<char>(group_));
    group_ = 0;
    count_ = padding_ = 0;
  }
  return true;
}

Chain encode_base64(Chain&& data) {
  Chain out;
  BlockWriter writer(out, (data.bytes() + 2) / 3 * 4);
  uint32_t group = 0;
  int count = 0;
  for (size_t i = 0; i < data.count(); ++i) {
    const Slice& slice = data[i];
    for (const char byte : std::string_view(slice.data(), slice.size())) {
      group = group << 8 | static_cast<unsigned char>(byte);
      if (++count < 3) continue;
      for (int shift = 18; shift >= 0; shift -= 6) writer.put(kAlphabet[group >> shift & 63]);
      group = 0;
      count = 0;
    }
  }
  if (count > 0) {
    group <<= count == 1 ? 16 : 8;
    writer.put(kAlphabet[group >> 18 & 63]);
    writer.put(kAlphabet[group >> 12 & 63]);
    writer.put(count == 2 ? kAlphabet[group >> 6 & 63] : '=');
    writer.put('=');
  }
  writer.finish();
  data.clear();
  return out;
}

Base64Body::Base64Body(RequestBody& inner) : inner_(inner) {
  length_ = inner.length();
  if (length_.kind == BodyLength::Kind::exact && length_.bytes > 0) {
    length_ = BodyLength{BodyLength::Kind::chunked, 0};
  }
}

bool Base64Body::decode(Chain& from, Chain& to) const {
  while (!from.empty()) {
    const Slice slice = from.take_front();
    if (!decoder_.decode({slice.data(), slice.size()}, to)) return false;
  }
  return true;
}

Task<int> Base64Body::read_all(Request& request) {
  const int status = co_await inner_.read_all(request);
  if (status) co_return status;
  Chain encoded = inner_.stored();
  while (!encoded.empty()) {
    Chain one;
    if (!encoded.front().is_file()) {
      one.push(encoded.take_front());
    } else {
      net::FileRead read = net::read_file_slice(encoded.front(), Block::take());
      if (read.error != 0) co_return 500;
      encoded.consume(read.slice.size());
      one.push(std::move(read.slice));
    }
    if (!decode(one, stored_)) co_return 400;
  }
  co_return decoder_.unfinished() ? 400 : 0;
}

void Base64Body::pull() const {
  Chain& encoded = inner_.arrived();
  if (encoded.empty() || broken_) return;
  encoded_ += encoded.bytes();
  const uint64_t before = arrived_.bytes();
  broken_ = !decode(encoded, arrived_);
  decoded_ += arrived_.bytes() - before;
}

Chain& Base64Body::arrived() {
  pull();
  received_ = decoded_;
  return arrived_;
}

void Base64Body::consumed(size_t bytes) {
  consumed_ += bytes;
  // In proportion; all of it when nothing is held any more.
  const uint64_t due = consumed_ >= decoded_ ? encoded_ : consumed_ + consumed_ / 3;
  if (due <= credited_) return;
  const uint64_t more = due - credited_;
  credited_ = due;
  inner_.consumed(more);
}

bool Base64Body::ended() const {
  return inner_.ended() && inner_.arrived().empty();
}

int Base64Body::error() const {
  if (inner_.error()) return inner_.error();
  pull();
  if (broken_ || (ended() && decoder_.unfinished())) return 400;
  return 0;
}

}  // namespace weir::http
