#pragma once

#include <string>
#include <string_view>

#include "confparse/arena.h"
#include "confparse/ast.h"

namespace weir::conf {

// A word longer than nginx's read buffer is an error: every byte of it, and the byte that ends it,
// must fit.
inline constexpr uint32_t kLongestWord = 4096;

enum class TokenKind : uint8_t {
  word,
  semicolon,
  open,     // {
  close,    // }
  comment,  // only with Lexer::Comments::deliver
  end,      // end of text between statements
  error,    // Token::message says what; the lexer stands still afterwards
};

struct Token {
  TokenKind kind = TokenKind::end;
  Word word;  // span for every kind; text and quote for words; text of comments with the '#'
  std::string message = {};  // nginx's text
  bool open_quote = false;   // the error is a quote that nobody closes; span is where it opens
  uint32_t quote_begin = 0;  // of an error behind a quoted word: where that word begins
  bool after_quote = false;
};

// nginx's lexical rules over one text. A word ends at white space, ';' or '{'; '}' ends one only
// where a word would begin; '#', quotes and '}' inside a word belong to it; "${" does not open a
// block. What lies between the tokens (white space and, unless delivered, comments) is found by
// their spans.
class Lexer {
 public:
  enum class Comments : uint8_t { skip, deliver };

  // Resolved words go to `arena`. `limited` is false for -g, which is not read through a buffer.
  Lexer(FileId file, std::string_view text, TreeArena& arena, Comments comments = Comments::skip,
        bool limited = true);

  Token next();
  uint32_t offset() const { return at_; }
  // Goes on elsewhere, after an error or at the end.
  void go_to(uint32_t offset) {
    at_ = offset;
    ended_inside_word_ = false;
    unfinished_quote_ = false;
  }
  // True when the text ended inside a word or quote (with TokenKind::end).
  bool ended_inside_word() const { return ended_inside_word_; }
  uint32_t unfinished_word() const { return unfinished_; }
  bool unfinished_quote() const { return unfinished_quote_; }

 private:
  Token plain_word();
  Token quoted_word(char quote);
  Token finish_word(uint32_t begin, uint32_t text_begin, uint32_t text_end, uint32_t end,
                    char quote, bool escaped);
  bool over_limit(uint32_t start, uint32_t index) const {
    return limited_ && index - start >= kLongestWord && index < text_.size();
  }
  Token too_long(uint32_t start, char quote);
  Token end_inside_word(uint32_t begin, bool quote);
  Token simple(TokenKind kind, uint32_t begin, uint32_t end);
  std::string_view resolve(std::string_view raw);

  FileId file_;
  std::string_view text_;
  TreeArena& arena_;
  Comments comments_;
  bool limited_;
  uint32_t at_ = 0;
  uint32_t unfinished_ = 0;
  bool ended_inside_word_ = false;
  bool unfinished_quote_ = false;
};

}  // namespace weir::conf
