#include "engine/process/dry_check.h"

#include <cerrno>
#include <utility>

#include "confparse/advice.h"
#include "confparse/locate.h"
#include "confparse/parser.h"
#include "confparse/render.h"
#include "engine/log/error_log.h"

namespace weir::process {

namespace {

std::string folder_of(const std::string& path) {
  std::string trimmed = path;
  while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.pop_back();
  const size_t slash = trimmed.rfind('/');
  if (slash == trimmed.npos) return ".";
  return slash == 0 ? "/" : trimmed.substr(0, slash);
}

// The errno of making something at `path`, where nothing is yet; 0: it would work.
int error_of_making(conf::World& world, const std::string& path) {
  const auto folder = world.is_directory(folder_of(path));
  if (!folder.ok()) return folder.error;
  return folder.value ? 0 : ENOTDIR;
}

int error_of_opening(conf::World& world, const std::string& path) {
  const auto there = world.is_directory(path);
  if (there.ok()) return there.value ? EISDIR : 0;
  return there.error == ENOENT ? error_of_making(world, path) : there.error;
}

std::string failed(const char* call, const std::string& path, int error) {
  return std::string(call) + " \"" + path + "\" failed" + error_number_text(error);
}

}  // namespace

std::string check_files(conf::World& world, const CoreSettings& core, const Resources& resources) {
  if (const int error = error_of_opening(world, core.pid_file)) {
    return failed("open()", core.pid_file, error);
  }
  for (const TempFolder& folder : resources.temp_folders) {
    const auto there = world.is_directory(folder.path);
    if (there.ok()) continue;
    const int error = there.error == ENOENT ? error_of_making(world, folder.path) : there.error;
    if (error != 0) return failed("mkdir()", folder.path, error);
  }
  for (const std::string& path : resources.log_files) {
    if (const int error = error_of_opening(world, path)) return failed("open()", path, error);
  }
  return {};
}

std::string explain_file_problem(conf::World& world, const Locations& locations, std::string text) {
  conf::Sources sources;
  conf::ParseOptions options;
  options.conf_prefix = locations.conf_prefix;
  options.global_directives = locations.global_directives;
  const conf::Tree tree = conf::parse_configuration(world, sources, locations.conf_file, options);
  conf::Diagnostic diagnostic;
  const size_t begin = text.find('"');
  const size_t end = begin == text.npos ? begin : text.find('"', begin + 1);
  if (end != text.npos) {
    diagnostic.span = conf::find_word(tree.root, text.substr(begin + 1, end - begin - 1),
                                      conf::Depth::all_blocks);
  }
  diagnostic.help = conf::explain_message(text);
  if (diagnostic.span.file == 0)
    diagnostic.help += " (it is the default of a directive, or of the build)";
  diagnostic.text = std::move(text);
  return conf::render_explained({&diagnostic, 1}, sources);
}

}  // namespace weir::process
