#include "confparse/lexer.h"

namespace weir::conf {

namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

}  // namespace

Lexer::Lexer(FileId file, std::string_view text, TreeArena& arena, Comments comments, bool limited)
    : file_(file), text_(text), arena_(arena), comments_(comments), limited_(limited) {}

Token Lexer::simple(TokenKind kind, uint32_t begin, uint32_t end) {
  Token token;
  token.kind = kind;
  token.word.span = {file_, begin, end};
  token.word.text = text_.substr(begin, end - begin);
  return token;
}

Token Lexer::too_long(uint32_t start, char quote) {
  Token token = simple(TokenKind::error, start, start);
  if (quote) {
    token.message = "too long parameter, probably missing terminating \"";
    token.message += quote;
    token.message += "\" character";
    token.open_quote = true;
  } else {
    token.message = "too long parameter \"";
    token.message += text_.substr(start, 10);
    token.message += "...\" started";
  }
  return token;
}

Token Lexer::end_inside_word(uint32_t begin, bool quote) {
  at_ = static_cast<uint32_t>(text_.size());
  ended_inside_word_ = true;
  unfinished_ = begin;
  unfinished_quote_ = quote;
  return simple(TokenKind::end, at_, at_);
}

Token Lexer::next() {
  while (at_ < text_.size()) {
    const char c = text_[at_];
    switch (c) {
      case ' ':
      case '\t':
      case '\r':
      case '\n':
        ++at_;
        continue;
      case ';':
        ++at_;
        return simple(TokenKind::semicolon, at_ - 1, at_);
      case '{':
        ++at_;
        return simple(TokenKind::open, at_ - 1, at_);
      case '}':
        ++at_;
        return simple(TokenKind::close, at_ - 1, at_);
      case '#': {
        const uint32_t begin = at_;
        const size_t found = text_.find('\n', at_);
        const auto end =
            static_cast<uint32_t>(found == std::string_view::npos ? text_.size() : found);
        // nginx keeps a comment in its buffer as if it were a word.
        if (limited_ && end - begin >= kLongestWord && begin + kLongestWord < text_.size()) {
          return too_long(begin, 0);
        }
        at_ = end;
        if (comments_ == Comments::deliver) return simple(TokenKind::comment, begin, end);
        continue;
      }
      case '"':
      case '\'':
        return quoted_word(c);
      default:
        return plain_word();
    }
  }
  return simple(TokenKind::end, at_, at_);
}

Token Lexer::plain_word() {
  const uint32_t begin = at_;
  const auto size = static_cast<uint32_t>(text_.size());
  bool escaped = false;
  bool after_dollar = false;
  uint32_t i = begin;
  for (;; ++i) {
    if (over_limit(begin, i)) return too_long(begin, 0);
    if (i >= size) return end_inside_word(begin, false);
    const char c = text_[i];
    if (c == '{' && after_dollar) continue;
    after_dollar = false;
    if (c == '\\') {
      escaped = true;
      ++i;
      if (over_limit(begin, i)) return too_long(begin, 0);
      if (i >= size) return end_inside_word(begin, false);
    } else if (c == '$') {
      after_dollar = true;
    } else if (is_space(c) || c == ';' || c == '{') {
      break;
    }
  }
  // The space that ends a word still counts against the buffer; a terminator does not.
  if (is_space(text_[i]) && over_limit(begin, i + 1)) return too_long(begin, 0);
  at_ = i;
  return finish_word(begin, begin, i, i, 0, escaped);
}

Token Lexer::quoted_word(char quote) {
  const uint32_t begin = at_;
  const uint32_t start = begin + 1;
  const auto size = static_cast<uint32_t>(text_.size());
  bool escaped = false;
  uint32_t i = start;
  for (;; ++i) {
    if (over_limit(start, i)) {
      Token token = too_long(start, quote);
      token.word.span = {file_, begin, start};
      return token;
    }
    if (i >= size) return end_inside_word(begin, true);
    const char c = text_[i];
    if (c == quote) break;
    if (c == '\\') {
      escaped = true;
      ++i;
      if (over_limit(start, i)) {
        Token token = too_long(start, quote);
        token.word.span = {file_, begin, start};
        return token;
      }
      if (i >= size) return end_inside_word(begin, true);
    }
  }
  const uint32_t end = i + 1;
  if (over_limit(start, end)) return too_long(start, 0);
  if (end < size) {
    const char c = text_[end];
    if (is_space(c)) {
      if (over_limit(start, end + 1)) return too_long(start, 0);
    } else if (c != ';' && c != '{' && c != ')') {
      Token token = simple(TokenKind::error, end, end + 1);
      token.message = std::string("unexpected \"") + c + "\"";
      token.quote_begin = begin;
      token.after_quote = true;
      return token;
    }
  }
  at_ = end;
  return finish_word(begin, start, i, end, quote, escaped);
}

Token Lexer::finish_word(uint32_t begin, uint32_t text_begin, uint32_t text_end, uint32_t end,
                         char quote, bool escaped) {
  Token token;
  token.kind = TokenKind::word;
  token.word.span = {file_, begin, end};
  token.word.quote = quote;
  const std::string_view raw = text_.substr(text_begin, text_end - text_begin);
  token.word.text = escaped ? resolve(raw) : raw;
  return token;
}

// Before quotes and a backslash, a backslash disappears; \t \r \n become their characters; all
// other pairs stay as they are (regular expressions need them).
std::string_view Lexer::resolve(std::string_view raw) {
  char* out = static_cast<char*>(arena_.allocate(raw.size(), 1));
  size_t length = 0;
  for (size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] == '\\' && i + 1 < raw.size()) {
      switch (raw[i + 1]) {
        case '"':
        case '\'':
        case '\\':
          out[length++] = raw[++i];
          continue;
        case 't':
          out[length++] = '\t';
          ++i;
          continue;
        case 'r':
          out[length++] = '\r';
          ++i;
          continue;
        case 'n':
          out[length++] = '\n';
          ++i;
          continue;
        default:
          break;
      }
    }
    out[length++] = raw[i];
  }
  return {out, length};
}

}  // namespace weir::conf
