// A configuration of hostile text: read, checked, compiled with the real modules, and every kind of
// output made. The text
// may hold further files, divided by lines "++++ NAME", so that includes are reached.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "confparse/parser.h"
#include "confparse/print.h"
#include "confparse/render.h"
#include "confparse/worlds.h"
#include "engine/process/compile_generation.h"
#include "modules/all.h"

using namespace weir::conf;

namespace {

void add_files(VirtualWorld& world, std::string_view text) {
  constexpr std::string_view kDivider = "\n++++ ";
  std::string name = "nginx.conf";
  for (;;) {
    const size_t end = text.find(kDivider);
    world.add_file("/c/" + name, std::string(text.substr(0, end)));
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + kDivider.size());
    const size_t line = text.find('\n');
    name = text.substr(0, line);
    if (line == std::string_view::npos) return;
    text.remove_prefix(line + 1);
  }
}

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  VirtualWorld world(40, 128 << 10);
  add_files(world, {reinterpret_cast<const char*>(data), size});
  Sources sources;
  ParseOptions options;
  options.conf_prefix = "/c/";
  options.limits.includes = 40;
  options.limits.total_bytes = 128 << 10;
  const Tree tree = parse_configuration(world, sources, "/c/nginx.conf", options);

  weir::process::Locations locations;
  locations.prefix = "/p/";
  locations.conf_prefix = "/c/";
  locations.conf_file = "/c/nginx.conf";
  locations.error_log = "/p/error.log";
  const weir::process::CompiledGeneration compiled =
      weir::process::compile_generation(world, weir::all_modules(), locations, 1);
  require(compiled.ok == (compiled.generation.get() != nullptr));
  uint32_t before = 0;
  for (const Diagnostic& diagnostic : compiled.diagnostics) {
    require(diagnostic.number >= before);
    before = diagnostic.number;
    weir::process::diagnostic_text(compiled, diagnostic);
  }
  weir::process::explained_text(compiled);
  render(compiled.diagnostics, *compiled.sources, "/c/nginx.conf");
  render_json(compiled.diagnostics, *compiled.sources);

  for (FileId file = 1; file <= sources.count(); ++file) {
    TreeArena arena;
    const std::string_view text = sources.text(file);
    require(print_tokens(tokens_with_layout(sources, file, arena), text) == text);
  }

  // What is printed in one form reads as the same again.
  if (tree.problems.empty()) {
    const std::string printed = print_normalised(tree.root);
    const FileId again = sources.add("printed", printed);
    ParseOptions plain;
    const Tree second = parse_source(world, sources, again, plain);
    // Words longer than nginx takes can arise by quoting; includes are gone.
    if (second.problems.empty()) require(print_normalised(second.root) == printed);
  }
  return 0;
}
