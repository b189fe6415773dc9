#include "engine/http/builder.h"

#include <algorithm>

namespace weir::http {

void Builder::add_phase_handler(Phase phase, PhaseHandler handler) {
  graph().hooks.phases[static_cast<size_t>(phase)].push_back(handler);
}

void Builder::add_head_filter(HeadFilter filter) {
  graph().hooks.head_filters.push_back(filter);
}

bool is_default_statement(conf::Compiler& compiler, const conf::Statement& statement) {
  return compiler.sources().kind(statement.terminator.file) == conf::Sources::Kind::built_in;
}

void ResourceList::want_log_file(const std::string& full_path) {
  auto& files = resources.log_files;
  if (std::find(files.begin(), files.end(), full_path) == files.end()) files.push_back(full_path);
}

void ResourceList::want_temp_folder(const std::string& full_path) {
  auto& folders = resources.temp_folders;
  const TempFolder folder{full_path};
  if (std::find(folders.begin(), folders.end(), folder) == folders.end()) folders.push_back(folder);
}

}  // namespace weir::http
