#include "confparse/print.h"

namespace weir::conf {

std::string print_dump(const Sources& sources) {
  std::string out;
  for (FileId file = 1; file <= sources.count(); ++file) {
    if (sources.kind(file) != Sources::Kind::file) continue;
    out += "# configuration file " + sources.name(file) + ":\n";
    out += sources.text(file);
    out += '\n';
  }
  return out;
}

std::vector<LaidOutToken> tokens_with_layout(const Sources& sources, FileId file,
                                             TreeArena& arena) {
  const std::string_view text = sources.text(file);
  Lexer lexer(file, text, arena, Lexer::Comments::deliver, false);
  std::vector<LaidOutToken> tokens;
  size_t end = 0;
  for (;;) {
    Token token = lexer.next();
    const bool last = token.kind == TokenKind::end || token.kind == TokenKind::error;
    if (last) {
      tokens.push_back({std::move(token), text.substr(end)});
      return tokens;
    }
    const Span span = token.word.span;
    tokens.push_back({std::move(token), text.substr(end, span.begin - end)});
    end = span.end;
  }
}

std::string print_tokens(const std::vector<LaidOutToken>& tokens, std::string_view text) {
  std::string out;
  for (const LaidOutToken& entry : tokens) {
    out += entry.leading;
    const bool last = entry.token.kind == TokenKind::end || entry.token.kind == TokenKind::error;
    if (!last) {
      const Span span = entry.token.word.span;
      out += text.substr(span.begin, span.end - span.begin);
    }
  }
  return out;
}

std::string quote_word(std::string_view text) {
  bool plain = !text.empty() && text.find_first_of(" \t\r\n;{\"'\\") == std::string_view::npos &&
               text.front() != '}' && text.front() != '#';
  if (plain) return std::string(text);
  // Only a backslash that would be read as an escape is doubled, so that regular expressions stay
  // as they were written.
  const char quote = text.find('"') != text.npos && text.find('\'') == text.npos ? '\'' : '"';
  std::string out(1, quote);
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == quote) {
      out += '\\';
    } else if (c == '\\') {
      const char next = i + 1 < text.size() ? text[i + 1] : quote;
      if (next == '"' || next == '\'' || next == '\\' || next == 't' || next == 'r' ||
          next == 'n') {
        out += '\\';
      }
    }
    out += c;
  }
  return out + quote;
}

std::string print_normalised(const Block& block, unsigned level) {
  std::string out;
  const std::string indent(4 * static_cast<size_t>(level), ' ');
  for (const Statement& statement : block.statements) {
    if (statement.included) continue;
    out += indent;
    for (size_t i = 0; i < statement.words.size(); ++i) {
      if (i > 0) out += ' ';
      out += quote_word(statement.words[i].text);
    }
    if (statement.block) {
      out += " {\n" + print_normalised(*statement.block, level + 1) + indent + "}\n";
    } else {
      out += ";\n";
    }
  }
  return out;
}

}  // namespace weir::conf
