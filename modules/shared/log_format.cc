#include "modules/shared/log_format.h"

#include <array>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace weir::shared {

namespace {

constexpr char kUpperDigits[] = "0123456789ABCDEF";

// The first byte at or behind `from` that may need an escape; a piece at the end is not looked at.
size_t skip_plain(std::string_view text, size_t from) {
#if defined(__SSE2__)
  // Signed: bytes above 0x7f are below the space too.
  const __m128i space = _mm_set1_epi8(0x20);
  const __m128i quote = _mm_set1_epi8('"');
  const __m128i backslash = _mm_set1_epi8('\\');
  const __m128i del = _mm_set1_epi8(0x7f);
  while (from + 16 <= text.size()) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + from));
    const __m128i special =
        _mm_or_si128(_mm_or_si128(_mm_cmplt_epi8(bytes, space), _mm_cmpeq_epi8(bytes, quote)),
                     _mm_or_si128(_mm_cmpeq_epi8(bytes, backslash), _mm_cmpeq_epi8(bytes, del)));
    const int mask = _mm_movemask_epi8(special);
    if (mask != 0) return from + static_cast<size_t>(__builtin_ctz(static_cast<unsigned>(mask)));
    from += 16;
  }
#endif
  (void)text;
  return from;
}

constexpr std::array<bool, 256> kPlain = [] {
  std::array<bool, 256> plain{};
  for (int c = 0x20; c < 0x7f; ++c) plain[c] = c != '"' && c != '\\';
  return plain;
}();

void append_standard(std::string& line, std::string_view text) {
  size_t plain = 0;
  for (size_t i = skip_plain(text, 0); i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (kPlain[c]) continue;
    line.append(text, plain, i - plain);
    const char escaped[] = {'\\', 'x', kUpperDigits[c >> 4], kUpperDigits[c & 15]};
    line.append(escaped, sizeof escaped);
    plain = i + 1;
  }
  line.append(text, plain);
}

void append_json(std::string& line, std::string_view text) {
  for (const char raw : text) {
    const auto c = static_cast<unsigned char>(raw);
    switch (raw) {
      case '"':
        line += "\\\"";
        break;
      case '\\':
        line += "\\\\";
        break;
      case '\n':
        line += "\\n";
        break;
      case '\r':
        line += "\\r";
        break;
      case '\t':
        line += "\\t";
        break;
      case '\b':
        line += "\\b";
        break;
      case '\f':
        line += "\\f";
        break;
      default:
        if (c >= 0x20) {
          line += raw;
        } else {
          line += "\\u00";
          line += kUpperDigits[c >> 4];
          line += kUpperDigits[c & 15];
        }
    }
  }
}

bool in_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

}  // namespace

void append_escaped(std::string& line, conf::Value value, LogEscape escape) {
  if (!value.found) {
    if (escape == LogEscape::standard) line += '-';
    return;
  }
  switch (escape) {
    case LogEscape::standard:
      append_standard(line, value.text);
      break;
    case LogEscape::json:
      append_json(line, value.text);
      break;
    case LogEscape::none:
      line += value.text;
      break;
  }
}

void LogFormat::append_line(std::string& line, conf::VariableSource& source) const {
  for (const Piece& piece : pieces) {
    if (piece.variable == conf::kNoVariable) {
      line += piece.literal;
    } else {
      append_escaped(line, source.variable(piece.variable), escape);
    }
  }
}

namespace {

// The word that `text` is, for the caret.
const conf::Word* word_of(const conf::Statement& at, std::string_view text) {
  for (const conf::Word& word : at.words) {
    if (word.text.data() == text.data()) return &word;
  }
  return nullptr;
}

}  // namespace

const LogFormat* LogFormats::find(std::string_view name) const {
  for (const auto& format : all) {
    if (format->name == name) return format.get();
  }
  return nullptr;
}

bool LogFormats::parse(conf::Compiler& compiler, const conf::Statement* at, std::string_view text,
                       LogFormat& format) {
  const auto literal = [&](std::string_view part) {
    if (!format.pieces.empty() && format.pieces.back().variable == conf::kNoVariable) {
      format.pieces.back().literal += part;
    } else {
      format.pieces.push_back({std::string(part), conf::kNoVariable});
    }
  };
  for (size_t i = 0; i < text.size();) {
    if (text[i] != '$') {
      const size_t end = std::min(text.find('$', i), text.size());
      literal(text.substr(i, end - i));
      i = end;
      continue;
    }
    const size_t dollar = i++;
    const bool bracket = i < text.size() && text[i] == '{';
    if (bracket) ++i;
    const size_t begin = i;
    while (i < text.size() && in_name(text[i])) ++i;
    const std::string_view name = text.substr(begin, i - begin);
    const bool closed = !bracket || (i < text.size() && text[i] == '}');
    if (at && !closed && (!name.empty() || i < text.size())) {
      compiler.error(*at,
                     "the closing bracket in \"" + std::string(name) + "\" variable is missing",
                     "after \"${\" come the name of a variable and \"}\"", word_of(*at, text));
      return false;
    }
    if (name.empty() || !closed) {
      if (at) {
        compiler.error(*at, "invalid parameter \"" + std::string(text.substr(dollar)) + "\"",
                       "a \"$\" begins the name of a variable", word_of(*at, text));
      }
      return false;
    }
    if (bracket) ++i;
    format.pieces.push_back({{}, compiler.variables().use(name)});
  }
  return true;
}

LogFormat& LogFormats::add_built_in(conf::Compiler& compiler, std::string name,
                                    std::string_view text) {
  auto format = std::make_shared<LogFormat>();
  format->name = std::move(name);
  parse(compiler, nullptr, text, *format);
  all.push_back(format);
  return *format;
}

void LogFormats::read(conf::Compiler& compiler, const conf::Statement& statement) {
  const std::string_view name = statement.argument(0);
  if (find(name)) {
    compiler.error(statement, "duplicate \"log_format\" name \"" + std::string(name) + "\"",
                   name == "combined" ? "a format of this name is built in"
                                      : "every format needs a name of its own",
                   &statement.words[1]);
    return;
  }
  auto format = std::make_shared<LogFormat>();
  format->name = name;
  format->number = statement.number;
  size_t first = 2;
  if (statement.words.size() > 2 && statement.words[2].text.starts_with("escape=")) {
    const std::string_view escape = statement.words[2].text.substr(7);
    if (escape == "default")
      format->escape = LogEscape::standard;
    else if (escape == "json")
      format->escape = LogEscape::json;
    else if (escape == "none")
      format->escape = LogEscape::none;
    else {
      compiler.error(statement, "unknown log format escaping \"" + std::string(escape) + "\"",
                     "escape= is default, json or none", &statement.words[2]);
      return;
    }
    first = 3;
  }
  for (size_t i = first; i < statement.words.size(); ++i) {
    if (!parse(compiler, &statement, statement.words[i].text, *format)) return;
  }
  all.push_back(std::move(format));
}

}  // namespace weir::shared
