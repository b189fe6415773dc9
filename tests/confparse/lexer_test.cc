#include "confparse/lexer.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "confparse/print.h"
#include "confparse/source.h"

using namespace weir::conf;

namespace {

// All tokens as text: words in <>, punctuation as itself, "!message" for an error, "$" at the end.
std::string lex(std::string_view text) {
  Sources sources;
  const FileId file = sources.add("t", std::string(text));
  TreeArena arena;
  Lexer lexer(file, sources.text(file), arena);
  std::string out;
  for (;;) {
    const Token token = lexer.next();
    switch (token.kind) {
      case TokenKind::word:
        out += "<" + std::string(token.word.text) + ">";
        continue;
      case TokenKind::semicolon:
      case TokenKind::open:
      case TokenKind::close:
        out += token.word.text;
        continue;
      case TokenKind::comment:
        continue;
      case TokenKind::error:
        return out + "!" + token.message;
      case TokenKind::end:
        return out + (lexer.ended_inside_word() ? "?" : "$");
    }
  }
}

}  // namespace

TEST_CASE("words end where nginx ends them") {
  CHECK(lex("a b;c{d}") == "<a><b>;<c>{?");
  CHECK(lex("a b; }") == "<a><b>;}$");
  CHECK(lex("a#b 'c'\n#d\ne;") == "<a#b><c><e>;$");
  CHECK(lex("a\"b' x;") == "<a\"b'><x>;$");
  CHECK(lex("a\rb\tc\nd") == "<a><b><c>?");
  CHECK(lex("") == "$");
  CHECK(lex("# only a comment") == "$");
  CHECK(lex("a ;") == "<a>;$");
}

TEST_CASE("a brace after a dollar belongs to the word") {
  CHECK(lex("a${b}c x;") == "<a${b}c><x>;$");
  CHECK(lex("${b x;") == "<${b><x>;$");
  CHECK(lex("a$x{b x;") == "<a$x>{<b><x>;$");
  CHECK(lex("a$${b} x;") == "<a$${b}><x>;$");
  CHECK(lex("a{b") == "<a>{?");
}

TEST_CASE("escapes resolve as in nginx") {
  CHECK(lex(R"("a\"b\t\n\r\\ \q\;\'";)") == "<a\"b\t\n\r\\ \\q\\;'>;$");
  CHECK(lex(R"(fo\"o\t\\\;\{\ \q x;)") == "<fo\"o\t\\\\;\\{\\ \\q><x>;$");
  CHECK(lex("foo\\\nbar x;") == "<foo\\\nbar><x>;$");
  CHECK(lex("'a\\tb' \"c'd\";") == "<a\tb><c'd>;$");
  CHECK(lex("\"${a}\" \"\";") == "<${a}><>;$");
  CHECK(lex("a\\") == "?");
}

TEST_CASE("after a closing quote only some characters may follow") {
  CHECK(lex("\"a\"x;") == "!unexpected \"x\"");
  CHECK(lex("\"a\"\"x\";") == "!unexpected \"\"\"");
  CHECK(lex("\"a\"{") == "<a>{$");
  CHECK(lex("(\"a\")b;") == "<(\"a\")b>;$");
  CHECK(lex("\"a\")b;") == "<a><)b>;$");
  CHECK(lex("\"a\"") == "<a>$");
}

TEST_CASE("words are bounded by nginx's buffer") {
  const auto word = [](size_t n) { return std::string(n, 'y'); };
  const std::string too_long = "!too long parameter \"yyyyyyyyyy...\" started";
  // Measured with nginx: lengths of the last accepted and the first refused word.
  CHECK(lex(word(4094) + " ;e{}") == "<" + word(4094) + ">;<e>{}$");
  CHECK(lex(word(4095) + " ;e{}") == too_long);
  CHECK(lex(word(4095) + ";e{}") == "<" + word(4095) + ">;<e>{}$");
  CHECK(lex(word(4096) + ";e{}") == too_long);
  CHECK(lex("u \"" + word(4094) + "\";e{}") == "<u><" + word(4094) + ">;<e>{}$");
  CHECK(lex("u \"" + word(4095) + "\";e{}") == "<u>" + too_long);
  CHECK(lex("u \"" + word(4096) + "\";e{}") ==
        "<u>!too long parameter, probably missing terminating \"\"\" character");
  CHECK(lex("u '" + word(5000)) ==
        "<u>!too long parameter, probably missing terminating \"'\" character");
  CHECK(lex("#" + word(9000) + "\na;") == "!too long parameter \"#yyyyyyyyy...\" started");
  CHECK(lex("#" + word(4094) + "\na;") == "<a>;$");
  CHECK(lex(std::string(9000, ' ') + "a;") == "<a>;$");
}

TEST_CASE("tokens with their layout print the text again") {
  const std::string texts[] = {
      "events {} # c\n\n http {\r\n\tserver { listen 80 ; }\n}\n#end",
      "a \"b\\\"c\" 'd';# x\n",
      "  ",
      "a \"b\"x ; c",
      "\xef\xbb\xbf"
      "a;",
  };
  for (const std::string& text : texts) {
    Sources sources;
    const FileId file = sources.add("t", text);
    TreeArena arena;
    CHECK(print_tokens(tokens_with_layout(sources, file, arena), sources.text(file)) == text);
  }
}

TEST_CASE("a quoted word reads as the same word again") {
  for (const std::string& word :
       {std::string("a b"), std::string(""), std::string("a\"b"), std::string("a\\b\\\\c"),
        std::string("'\""), std::string("a;"), std::string("\\"), std::string("}"),
        std::string("x\ny"), std::string("\\d+\\.\\t"), std::string("#a"), std::string("a\\\"")}) {
    CHECK(lex(quote_word(word) + ";") == "<" + word + ">;$");
  }
}
