#include "engine/http/h1/writer.h"

#include <cstring>

namespace weir::http::h1 {
namespace {

template <class Word>
void copy_ends(char* to, std::string_view from) {
  Word first;
  Word last;
  std::memcpy(&first, from.data(), sizeof(Word));
  std::memcpy(&last, from.data() + from.size() - sizeof(Word), sizeof(Word));
  std::memcpy(to, &first, sizeof(Word));
  std::memcpy(to + from.size() - sizeof(Word), &last, sizeof(Word));
}

// Writes into memory whose size was computed before. Names and most values are short: two moves
// that overlap cost less than a call.
struct Cursor {
  char* at;
  void text(std::string_view value) {
    const size_t size = value.size();
    if (size > 16) {
      std::memcpy(at, value.data(), size);
    } else if (size >= 8) {
      copy_ends<uint64_t>(at, value);
    } else if (size >= 4) {
      copy_ends<uint32_t>(at, value);
    } else {
      for (size_t i = 0; i < size; ++i) at[i] = value[i];
    }
    at += size;
  }
  void byte(char c) { *at++ = c; }
  void number(uint64_t value) {
    char digits[20];
    int count = 0;
    do {
      digits[count++] = static_cast<char>('0' + value % 10);
      value /= 10;
    } while (value != 0);
    while (count > 0) *at++ = digits[--count];
  }
  void field(const Header& header) {
    text(header.name);
    text(": ");
    text(header.value);
    text("\r\n");
  }
};

size_t fields_size(const HeaderList& headers) {
  size_t size = 0;
  for (const Header& header : headers) size += header.name.size() + header.value.size() + 4;
  return size;
}

// Room for everything in a response head but its fields and its reason.
constexpr size_t kResponseFixed = 192;

std::string_view status_text(const MessageHead& head) {
  return head.reason.empty() ? reason_phrase(head.status) : head.reason;
}

void status_line(Cursor& to, const MessageHead& head) {
  to.text("HTTP/1.1 ");
  if (!head.reason.empty()) {
    to.text(head.reason);
    to.text("\r\n");
    return;
  }
  if (head.status < 100) to.byte('0');
  if (head.status < 10) to.byte('0');
  to.number(static_cast<uint64_t>(head.status < 0 ? 0 : head.status));
  to.byte(' ');
  to.text(reason_phrase(head.status));
  to.text("\r\n");
}

bool in_first_group(HeaderId id) {
  return id == HeaderId::server || id == HeaderId::date || id == HeaderId::content_type;
}
bool in_second_group(HeaderId id) {
  return id == HeaderId::last_modified || id == HeaderId::location;
}

}  // namespace

char* Writer::take(size_t size) {
  if (!block_ || block_->capacity() - used_ < size) {
    block_ = Block::take(size > Block::kBlockSize ? size : Block::kBlockSize);
    used_ = 0;
  }
  return block_->data() + used_;
}

void Writer::put(const char* from, const char* to) {
  auto size = static_cast<size_t>(to - from);
  used_ += static_cast<uint32_t>(size);
  output_.push(Slice(block_, from, size));
}

void Writer::release() {
  block_ = nullptr;
  used_ = 0;
  if (output_.empty()) output_.release();
}

void Writer::response_head(const MessageHead& head, const SentFraming& framing) {
  char* begin = take(kResponseFixed + status_text(head).size() + fields_size(head.headers));
  Cursor to{begin};
  status_line(to, head);
  const Header* field = head.headers.begin();
  const Header* end = head.headers.end();
  while (field != end && in_first_group(field->id)) to.field(*field++);
  if (framing.content_length) {
    to.text("Content-Length: ");
    to.number(head.body.bytes);
    to.text("\r\n");
  }
  while (field != end && in_second_group(field->id)) to.field(*field++);
  if (framing.body == SentFraming::Body::chunked) to.text("Transfer-Encoding: chunked\r\n");
  if (framing.body == SentFraming::Body::raw) {
    to.text("Connection: upgrade\r\n");
  } else if (framing.keep_alive) {
    to.text("Connection: keep-alive\r\n");
    if (head.keep_alive_seconds != 0) {
      to.text("Keep-Alive: timeout=");
      to.number(head.keep_alive_seconds);
      to.text("\r\n");
    }
  } else {
    to.text("Connection: close\r\n");
  }
  while (field != end) to.field(*field++);
  to.text("\r\n");
  put(begin, to.at);
}

void Writer::interim_head(const MessageHead& head) {
  char* begin = take(kResponseFixed + status_text(head).size() + fields_size(head.headers));
  Cursor to{begin};
  status_line(to, head);
  for (const Header& header : head.headers) to.field(header);
  to.text("\r\n");
  put(begin, to.at);
}

void Writer::request_head(const MessageHead& head) {
  char* begin = take(32 + head.method_text.size() + head.target.size() + fields_size(head.headers));
  Cursor to{begin};
  to.text(head.method_text);
  to.byte(' ');
  to.text(head.target);
  to.text(head.version == Version::http_1_0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n");
  for (const Header& header : head.headers) to.field(header);
  to.text("\r\n");
  put(begin, to.at);
}

void Writer::chunk(Chain& data) {
  size_t size = data.bytes();
  if (size == 0) return;  // a chunk of nothing would end the body
  char* begin = take(18);
  char* at = begin;
  int shift = 60;
  while (shift > 0 && (size >> shift) == 0) shift -= 4;
  for (; shift >= 0; shift -= 4) *at++ = "0123456789abcdef"[size >> shift & 15];
  *at++ = '\r';
  *at++ = '\n';
  put(begin, at);
  output_.append(std::move(data));
  data = Chain();
  output_.push(Slice::borrowed("\r\n"));
}

void Writer::last_chunk() {
  output_.push(Slice::borrowed("0\r\n\r\n"));
}

void Writer::last_chunk(const HeaderList& trailers) {
  char* begin = take(8 + fields_size(trailers));
  Cursor to{begin};
  to.text("0\r\n");
  for (const Header& header : trailers) to.field(header);
  to.text("\r\n");
  put(begin, to.at);
}

}  // namespace weir::http::h1
