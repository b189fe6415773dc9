#include "engine/http/uri.h"

#include <array>
#include <cstring>

namespace weir::http {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = static_cast<char>(c | 0x20);
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// Does a target need more than to be cut at '?'?
bool is_simple_path(std::string_view path) {
  char before = 0;
  for (char c : path) {
    if (c == '%' || c == '#') return false;
    if (before == '/' && (c == '/' || c == '.')) return false;
    before = c;
  }
  return true;
}

// RFC 3986 sections 5.2.4 and 6.2.2, in one pass over the target and with nginx's reading of what
// an escape may hide: an escaped slash or dot counts as one, an escaped '%', '#' or '?' is text.
class Normaliser {
 public:
  Normaliser(char* to, bool merge_slashes) : start_(to), at_(to), merge_slashes_(merge_slashes) {}

  bool run(std::string_view target);
  std::string_view uri() const { return {start_, static_cast<size_t>(at_ - start_)}; }
  size_t consumed() const { return consumed_; }  // up to and with the '?' or '#'
  bool has_args() const { return has_args_; }

 private:
  enum class State : uint8_t { usual, slash, dot, dot_dot };

  bool feed(char c);
  bool finish();
  bool remove_segment();
  void put(char c) { *at_++ = c; }

  char* start_;
  char* at_;
  bool merge_slashes_;
  State state_ = State::usual;
  size_t consumed_ = 0;
  bool has_args_ = false;
};

bool Normaliser::run(std::string_view target) {
  size_t i = 0;
  while (i < target.size()) {
    char c = target[i++];
    if (c == '?' || c == '#') {
      has_args_ = c == '?';
      consumed_ = i;
      return finish();
    }
    if (c != '%') {
      if (!feed(c)) return false;
      continue;
    }
    if (i + 2 > target.size()) return false;
    int high = hex_digit(target[i]);
    int low = hex_digit(target[i + 1]);
    if (high < 0 || low < 0) return false;
    i += 2;
    c = static_cast<char>(high << 4 | low);
    if (c == 0) return false;
    if (c == '%' || c == '#' || c == '?') {
      state_ = State::usual;
      put(c);
    } else if (!feed(c)) {
      return false;
    }
  }
  consumed_ = target.size();
  return finish();
}

bool Normaliser::feed(char c) {
  switch (state_) {
    case State::usual:
      if (c == '/') state_ = State::slash;
      put(c);
      return true;
    case State::slash:
      if (c == '/') {
        if (!merge_slashes_) put(c);
        return true;
      }
      state_ = c == '.' ? State::dot : State::usual;
      put(c);
      return true;
    case State::dot:
      if (c == '/') {
        --at_;
        state_ = State::slash;
        return true;
      }
      state_ = c == '.' ? State::dot_dot : State::usual;
      put(c);
      return true;
    case State::dot_dot:
      if (c == '/') {
        state_ = State::slash;
        return remove_segment();
      }
      state_ = State::usual;
      put(c);
      return true;
  }
  return true;
}

// The output ends in "/segment/.." or "/..": back to the slash before the segment.
bool Normaliser::remove_segment() {
  if (at_ - start_ < 4) return false;
  at_ -= 4;
  while (*at_ != '/') {
    if (at_ == start_) return false;
    --at_;
  }
  ++at_;
  return true;
}

bool Normaliser::finish() {
  if (state_ == State::dot) --at_;
  if (state_ == State::dot_dot) return remove_segment();
  return true;
}

std::string_view until_fragment(std::string_view args) {
  return args.substr(0, args.find('#'));
}

using EscapeTable = std::array<bool, 256>;

constexpr EscapeTable make_table(std::string_view listed, bool eight_bit, bool delete_too) {
  EscapeTable table{};
  for (size_t i = 0; i < 0x20; ++i) table[i] = true;
  for (char c : listed) table[static_cast<unsigned char>(c)] = true;
  if (delete_too) table[0x7f] = true;
  if (eight_bit) {
    for (size_t i = 0x80; i < 256; ++i) table[i] = true;
  }
  return table;
}

constexpr EscapeTable kTables[] = {
    make_table(" \"#%<>?\\^`{|}", true, true),
    make_table(" \"#%&+;<>?\\^`{|}", true, true),
    make_table(" !\"#$%&'()*+,/:;<=>?@[\\]^`{|}", true, true),
    make_table(" \"#%'", true, true),
    make_table(" \"'", true, true),
    make_table(" %", false, false),
};

}  // namespace

std::string_view find_extension(std::string_view uri) {
  for (size_t i = uri.size(); i-- > 2;) {
    if (uri[i] == '/') return {};
    if (uri[i] == '.' && uri[i - 1] != '/') return uri.substr(i + 1);
  }
  return {};
}

ParsedTarget parse_target(Arena& arena, std::string_view target, bool merge_slashes) {
  ParsedTarget parsed;
  if (target.empty() || target[0] == '?' || target[0] == '#') {
    // An absolute form without a path.
    char* with_slash = arena.text(target.size() + 1);
    with_slash[0] = '/';
    if (!target.empty()) std::memcpy(with_slash + 1, target.data(), target.size());
    target = {with_slash, target.size() + 1};
    parsed.changed = true;
  }
  if (target[0] != '/') return parsed;
  size_t question = target.find('?');
  std::string_view path = target.substr(0, question);
  if (is_simple_path(path)) {
    parsed.uri = path;
    if (question != target.npos) parsed.args = until_fragment(target.substr(question + 1));
  } else {
    Normaliser normaliser(arena.text(target.size()), merge_slashes);
    if (!normaliser.run(target)) return parsed;
    parsed.uri = normaliser.uri();
    parsed.changed = true;
    if (normaliser.has_args()) {
      parsed.args = until_fragment(target.substr(normaliser.consumed()));
    }
  }
  if (parsed.args.empty()) parsed.args = {};  // `$args` is as good as missing
  parsed.ok = true;
  parsed.extension = find_extension(parsed.uri);
  return parsed;
}

SplitUri split_args(std::string_view text) {
  size_t question = text.find('?');
  if (question == text.npos) return {text, {}};
  return {text.substr(0, question), text.substr(question + 1)};
}

bool parse_unsafe_uri(Arena& arena, std::string_view text, SplitUri& out) {
  if (text.empty() || text[0] == '?') return false;
  if (text.size() >= 2 && text.substr(0, 2) == ".." && (text.size() == 2 || text[2] == '/')) {
    return false;
  }
  SplitUri split = split_args(text);
  std::string_view uri = split.uri;
  if (uri.find('\0') != uri.npos) return false;
  if (uri.find('%') != uri.npos) uri = unescape(arena, uri);
  if (uri.find('\0') != uri.npos) return false;
  for (size_t at = uri.find("/.."); at != uri.npos; at = uri.find("/..", at + 1)) {
    if (at + 3 == uri.size() || uri[at + 3] == '/') return false;
  }
  out = {uri, split.args};
  return true;
}

std::string_view escape(Arena& arena, std::string_view text, Escape kind) {
  const EscapeTable& table = kTables[static_cast<size_t>(kind)];
  size_t escaped = 0;
  for (char c : text) escaped += table[static_cast<unsigned char>(c)] ? 1 : 0;
  if (escaped == 0) return text;
  char* begin = arena.text(text.size() + 2 * escaped);
  char* at = begin;
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (!table[byte]) {
      *at++ = c;
      continue;
    }
    *at++ = '%';
    *at++ = "0123456789ABCDEF"[byte >> 4];
    *at++ = "0123456789ABCDEF"[byte & 15];
  }
  return {begin, static_cast<size_t>(at - begin)};
}

std::string_view unescape(Arena& arena, std::string_view text, bool until_question_mark) {
  if (text.find('%') == text.npos) return text;
  char* begin = arena.text(text.size());
  char* at = begin;
  size_t i = 0;
  while (i < text.size()) {
    char c = text[i++];
    if (c == '?' && until_question_mark) {
      --i;
      break;
    }
    if (c == '%' && i + 2 <= text.size()) {
      int high = hex_digit(text[i]);
      int low = hex_digit(text[i + 1]);
      if (high >= 0 && low >= 0) {
        c = static_cast<char>(high << 4 | low);
        i += 2;
      }
    }
    *at++ = c;
  }
  size_t rest = text.size() - i;
  if (rest > 0) std::memcpy(at, text.data() + i, rest);
  return {begin, static_cast<size_t>(at - begin) + rest};
}

std::string_view unescape_redirect(Arena& arena, std::string_view text) {
  if (text.find('%') == text.npos) return text;
  char* begin = arena.text(text.size());
  char* at = begin;
  size_t i = 0;
  bool decoding = true;
  while (i < text.size()) {
    const char c = text[i++];
    if (c == '?') decoding = false;
    if (decoding && c == '%' && i + 2 <= text.size()) {
      const int high = hex_digit(text[i]);
      const int low = hex_digit(text[i + 1]);
      const int decoded = high >= 0 && low >= 0 ? high << 4 | low : -1;
      if (decoded > '%' && decoded < 0x7f) {
        *at++ = static_cast<char>(decoded);
        if (decoded == '?') decoding = false;
        i += 2;
        continue;
      }
    }
    *at++ = c;
  }
  return {begin, static_cast<size_t>(at - begin)};
}

std::string_view escape_html(Arena& arena, std::string_view text) {
  size_t more = 0;
  for (char c : text) {
    if (c == '<' || c == '>') more += 3;
    if (c == '&') more += 4;
    if (c == '"') more += 5;
  }
  if (more == 0) return text;
  ArenaText out(arena, text.size() + more);
  for (char c : text) {
    switch (c) {
      case '<':
        out.append("&lt;");
        break;
      case '>':
        out.append("&gt;");
        break;
      case '&':
        out.append("&amp;");
        break;
      case '"':
        out.append("&quot;");
        break;
      default:
        out.push_back(c);
    }
  }
  return out.view();
}

}  // namespace weir::http
