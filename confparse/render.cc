#include "confparse/render.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace weir::conf {

namespace {

constexpr size_t kMostColumns = 160;
constexpr size_t kLongestText = 1024;  // where nginx cuts a message, before the place is added

bool fails(const Diagnostic& diagnostic) {
  return diagnostic.severity <= Severity::crit;
}

// Tabs become one space and control characters a dot, so that the caret stands right.
std::string printable(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c == '\t') {
      c = ' ';
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      c = '.';
    }
  }
  return result;
}

// Characters, not bytes: continuation bytes of UTF-8 take no column on the screen.
size_t screen_width(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

void append_source(std::string& out, const Span& span, const Sources& sources) {
  const Position at = sources.locate(span.file, span.begin);
  std::string_view line = sources.line(span.file, at.line);
  size_t column = std::min<size_t>(at.column - 1, line.size());
  size_t length =
      std::max<size_t>(1, std::min<size_t>(span.end - span.begin, line.size() - column));
  // Of a long line the part around the problem.
  if (line.size() > kMostColumns) {
    const size_t cut = column > kMostColumns / 2 ? column - kMostColumns / 2 : 0;
    line = line.substr(cut, kMostColumns);
    column -= cut;
    length = std::min(length, line.size() - std::min(column, line.size() - 1));
  }
  std::string number = std::to_string(at.line);
  if (number.size() < 6) number.insert(0, 6 - number.size(), ' ');
  out += number + " | " + printable(line) + "\n";
  out += std::string(number.size(), ' ') + " | " +
         std::string(screen_width(line.substr(0, column)), ' ') + "^";
  const size_t marked = screen_width(line.substr(column, length));
  if (marked > 1) out.append(marked - 1, '~');
  out += '\n';
}

void append_help(std::string& out, std::string_view help) {
  while (!help.empty()) {
    const size_t end = std::min(help.find('\n'), help.size());
    if (end > 0) out += "         " + printable(help.substr(0, end)) + "\n";
    help.remove_prefix(std::min(end + 1, help.size()));
  }
}

// Where the file was first included, and where that file was, outwards.
void append_includes(std::string& out, FileId file, const Sources& sources) {
  constexpr int kMostLevels = 8;
  for (int level = 0; level < kMostLevels; ++level) {
    const Span from = sources.included_at(file);
    if (from.file == 0) return;
    out += "         included" + sources.place(from) + "\n";
    file = from.file;
  }
}

}  // namespace

std::string_view severity_name(Severity severity) {
  constexpr std::string_view kNames[] = {"",     "emerg",  "alert", "crit", "error",
                                         "warn", "notice", "info",  "debug"};
  return kNames[static_cast<size_t>(severity)];
}

std::string nginx_text(const Diagnostic& diagnostic, const Sources& sources) {
  std::string text = diagnostic.text.substr(0, kLongestText);
  if (diagnostic.placed) text += sources.place(diagnostic.nginx_place);
  return text;
}

std::string render_nginx(std::span<const Diagnostic> sorted, const Sources& sources) {
  std::string out;
  for (const Diagnostic& diagnostic : sorted) {
    out += "nginx: [";
    out += severity_name(diagnostic.severity);
    out += "] " + nginx_text(diagnostic, sources) + "\n";
    if (fails(diagnostic)) break;
  }
  return out;
}

std::string render_explained(std::span<const Diagnostic> sorted, const Sources& sources) {
  std::string out;
  for (const Diagnostic& diagnostic : sorted) {
    const bool shown = diagnostic.span.file != 0;
    if (shown) {
      const Position at = sources.locate(diagnostic.span.file, diagnostic.span.begin);
      out += sources.name(diagnostic.span.file) + ":" + std::to_string(at.line) + ":" +
             std::to_string(at.column) + ": ";
    }
    out += severity_name(diagnostic.severity);
    out += ": " + printable(diagnostic.text.substr(0, kLongestText)) + "\n";
    if (shown) append_source(out, diagnostic.span, sources);
    append_help(out, diagnostic.help);
    if (shown) append_includes(out, diagnostic.span.file, sources);
  }
  return out;
}

std::string render(std::span<const Diagnostic> sorted, const Sources& sources,
                   std::string_view configuration_file, bool explain) {
  std::string out = render_nginx(sorted, sources);
  if (std::any_of(sorted.begin(), sorted.end(), fails)) {
    out += "nginx: configuration file " + std::string(configuration_file) + " test failed\n";
  }
  if (explain && !sorted.empty()) out += "\n" + render_explained(sorted, sources);
  return out;
}

std::string render_json(std::span<const Diagnostic> sorted, const Sources& sources) {
  nlohmann::json list = nlohmann::json::array();
  for (const Diagnostic& diagnostic : sorted) {
    nlohmann::json entry;
    entry["severity"] = severity_name(diagnostic.severity);
    entry["text"] = diagnostic.text;
    if (diagnostic.span.file != 0) {
      const Position begin = sources.locate(diagnostic.span.file, diagnostic.span.begin);
      entry["file"] = sources.name(diagnostic.span.file);
      entry["line"] = begin.line;
      entry["column"] = begin.column;
      entry["end_column"] = begin.column + (diagnostic.span.end - diagnostic.span.begin);
    }
    if (diagnostic.placed) {
      entry["nginx_line"] =
          sources.locate(diagnostic.nginx_place.file, diagnostic.nginx_place.end).line;
    }
    if (!diagnostic.help.empty()) entry["help"] = diagnostic.help;
    list.push_back(std::move(entry));
  }
  // Bytes that are no UTF-8 are replaced.
  return list.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace weir::conf
