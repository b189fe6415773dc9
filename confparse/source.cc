#include "confparse/source.h"

#include <algorithm>
#include <cstring>

namespace weir::conf {

Sources::Sources() {
  files_.emplace_back();
}

FileId Sources::add(std::string name, std::string text, Span included_at, Kind kind) {
  const FileId id = static_cast<FileId>(files_.size());
  if (kind == Kind::file) by_name_.emplace(name, id);
  File& file = files_.emplace_back();
  file.name = std::move(name);
  file.text = std::move(text);
  file.included_at = included_at;
  file.kind = kind;
  return id;
}

FileId Sources::find(const std::string& name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? 0 : found->second;
}

const std::vector<uint32_t>& Sources::line_starts(FileId file) const {
  const File& source = files_[file];
  std::vector<uint32_t>& starts = source.line_starts;
  if (!starts.empty()) return starts;
  starts.push_back(0);
  const char* begin = source.text.data();
  const char* end = begin + source.text.size();
  for (const char* at = begin; at < end;) {
    const void* found = std::memchr(at, '\n', static_cast<size_t>(end - at));
    if (!found) break;
    at = static_cast<const char*>(found) + 1;
    starts.push_back(static_cast<uint32_t>(at - begin));
  }
  return starts;
}

Position Sources::locate(FileId file, uint32_t offset) const {
  const auto& starts = line_starts(file);
  const auto after = std::upper_bound(starts.begin(), starts.end(), offset);
  const auto line = static_cast<uint32_t>(after - starts.begin());
  return {line, offset - starts[line - 1] + 1};
}

std::string_view Sources::line(FileId file, uint32_t line) const {
  const auto& starts = line_starts(file);
  if (line == 0 || line > starts.size()) return {};
  const std::string_view text = files_[file].text;
  const size_t begin = starts[line - 1];
  size_t end = line < starts.size() ? starts[line] - 1 : text.size();
  if (end > begin && text[end - 1] == '\r') --end;
  return text.substr(begin, end - begin);
}

std::string Sources::place(const Span& span) const {
  switch (files_[span.file].kind) {
    case Kind::command_line:
      return " in command line";
    case Kind::built_in:
      return " in " + files_[span.file].name;
    case Kind::file:
      break;
  }
  return " in " + files_[span.file].name + ":" + std::to_string(locate(span.file, span.end).line);
}

}  // namespace weir::conf
