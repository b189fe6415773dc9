#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "confparse/ast.h"

namespace weir::conf {

struct Position {
  uint32_t line = 1;    // as nginx counts: line feeds
  uint32_t column = 1;  // in bytes
};

// The texts that a configuration was read from. A file that is included often is kept once, under
// one FileId. Ids and texts stay valid as long as the Sources. Used by one thread at a time.
class Sources {
 public:
  enum class Kind : uint8_t {
    file,
    command_line,  // the text of -g: messages end in " in command line"
    built_in,      // defaults of directives
  };

  Sources();
  Sources(const Sources&) = delete;
  Sources& operator=(const Sources&) = delete;

  // `name` as nginx prints it (the full path). `included_at`: the include statement that first
  // asked for it, if any. Texts over 4 GB are cut by World's limit long before.
  FileId add(std::string name, std::string text, Span included_at = {}, Kind kind = Kind::file);
  // The id of a file that was added under this name, or 0.
  FileId find(const std::string& name) const;

  size_t count() const { return files_.size() - 1; }  // ids are 1 … count()
  const std::string& name(FileId file) const { return files_[file].name; }
  std::string_view text(FileId file) const { return files_[file].text; }
  Kind kind(FileId file) const { return files_[file].kind; }
  Span included_at(FileId file) const { return files_[file].included_at; }

  // Line and column of a byte (or of the end of the text).
  Position locate(FileId file, uint32_t offset) const;
  // The text of a line without its line end.
  std::string_view line(FileId file, uint32_t line) const;
  // " in FILE:LINE" for the end of a span, as nginx appends it; " in command line" for -g.
  std::string place(const Span& span) const;

 private:
  struct File {
    std::string name;
    std::string text;
    Span included_at;
    Kind kind = Kind::file;
    mutable std::vector<uint32_t> line_starts;  // made at the first question
  };
  const std::vector<uint32_t>& line_starts(FileId file) const;

  std::deque<File> files_;  // texts must not move
  std::unordered_map<std::string, FileId> by_name_;
};

}  // namespace weir::conf
