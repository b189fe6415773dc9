#include "engine/process/title.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace weir::process {

namespace {

char* g_space = nullptr;
size_t g_size = 0;
std::string g_words;
std::vector<std::string> g_command_line;
// Variables that had to leave the title's space; putenv() and its like may drop them from environ.
// Never destroyed: environ points at them until the very end.
std::vector<char*>& g_moved = *new std::vector<char*>;

}  // namespace

void remember_title_space(int count, char** words) {
  if (count == 0) return;
  char* end = words[0];
  for (int i = 0; i < count; ++i) {
    if (i > 0) g_words += ' ';
    g_words += words[i];
    g_command_line.emplace_back(words[i]);
    if (words[i] == end) end += std::strlen(words[i]) + 1;
  }
  for (char** variable = environ; *variable; ++variable) {
    if (*variable != end) continue;
    end += std::strlen(*variable) + 1;
    *variable = g_moved.emplace_back(strdup(*variable));
  }
  g_space = words[0];
  g_size = static_cast<size_t>(end - words[0]);
}

void set_title(std::string_view title) {
  if (g_size == 0) return;
  const size_t size = std::min(title.size(), g_size - 1);
  std::memcpy(g_space, title.data(), size);
  std::memset(g_space + size, 0, g_size - size);
}

std::string_view command_words() {
  return g_words;
}

const std::vector<std::string>& command_line() {
  return g_command_line;
}

}  // namespace weir::process
