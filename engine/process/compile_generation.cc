#include "engine/process/compile_generation.h"

#include <algorithm>

#include "confparse/compiler.h"
#include "confparse/parser.h"
#include "confparse/render.h"
#include "engine/base/generation_heap.h"
#include "engine/http/builder.h"
#include "engine/http/graph.h"
#include "engine/process/settings.h"
#include "engine/process/transparent.h"
#include "engine/stream/builder.h"
#include "engine/upstream/cluster.h"
#include "engine/zone/registry.h"

namespace weir::process {

namespace {

bool fails(const conf::Diagnostic& diagnostic) {
  return diagnostic.severity <= conf::Severity::crit;
}

// nginx's syntax is fine when all that is wrong was found after the end of the file.
bool syntax_is_ok(const std::vector<conf::Diagnostic>& diagnostics, uint32_t end) {
  for (const conf::Diagnostic& diagnostic : diagnostics) {
    if (fails(diagnostic)) return diagnostic.number > end;
  }
  return true;
}

}  // namespace

CompiledGeneration compile_generation(conf::World& world,
                                      std::span<const conf::Module* const> modules,
                                      const Locations& locations, uint64_t number) {
  GenerationHeap heap_of_generation;
  CompiledGeneration result;
  result.sources = std::make_unique<conf::Sources>();
  conf::ParseOptions options;
  options.conf_prefix = locations.conf_prefix;
  options.global_directives = locations.global_directives;
  const conf::Tree tree =
      conf::parse_configuration(world, *result.sources, locations.conf_file, options);

  conf::Compiler compiler(world, *result.sources, modules, locations.prefix, locations.conf_prefix);
  auto generation = make_ref<Generation>();
  generation->number = number;
  generation->root = std::make_unique<conf::Scope>(conf::kMain, nullptr);
  result.ok = compiler.compile(tree, *generation->root);
  result.end_number = tree.root.end_number;
  // nginx finds this when it makes the zones, after reading.
  if (const std::string* name = compiler.state<zone::Registry>().first_without_size();
      result.ok && name) {
    compiler.late_error(result.end_number + 1, 0, "zero size shared memory zone \"" + *name + "\"",
                        nullptr, compiler.state<zone::Registry>().help_without_size(*name));
    result.ok = false;
  }
  result.diagnostics = std::move(compiler.diagnostics());
  result.syntax_ok = tree.file != 0 && syntax_is_ok(result.diagnostics, tree.root.end_number);
  if (!result.ok) return result;

  // Without an error_log, the one of -e or of the build, level error.
  Resources& wanted = compiler.state<http::ResourceList>().resources;
  if (generation->root->get<CoreSettings>().error_log.empty()) {
    ErrorLogTarget target;
    target.name = locations.error_log;
    if (target.name == "stderr") {
      target.kind = ErrorLogTarget::Kind::standard_error;
    } else if (std::find(wanted.log_files.begin(), wanted.log_files.end(), target.name) ==
               wanted.log_files.end()) {
      wanted.log_files.insert(wanted.log_files.begin(), target.name);
    }
    generation->root->write<CoreSettings>().error_log.push_back(std::move(target));
  }
  if (compiler.state<TransparentUse>().any) {
    generation->root->write<CoreSettings>().transparent = true;
  }
  generation->zones = compiler.state<zone::Registry>().all();
  for (const auto& zone : generation->zones) wanted.zones.push_back(zone->request);
  generation->resources = std::move(compiler.state<http::ResourceList>().resources);
  // Without an http block its builder made no servers and listens to nothing.
  generation->http = compiler.state<http::Builder>().take_graph();
  if (generation->http) {
    for (const auto& cluster : generation->http->clusters) cluster->generation = number;
    generation->http->error_log =
        std::make_shared<ErrorLogTargets>(generation->root->get<CoreSettings>().error_log);
  }
  generation->stream = compiler.state<stream::Builder>().take_graph();
  if (generation->stream) {
    for (const auto& cluster : generation->stream->clusters) cluster->generation = number;
    generation->stream->error_log =
        std::make_shared<ErrorLogTargets>(generation->root->get<CoreSettings>().error_log);
  }
  result.generation = std::move(generation);
  return result;
}

std::string diagnostic_text(const CompiledGeneration& compiled,
                            const conf::Diagnostic& diagnostic) {
  return conf::nginx_text(diagnostic, *compiled.sources);
}

std::string explained_text(const CompiledGeneration& compiled) {
  return conf::render_explained(compiled.diagnostics, *compiled.sources);
}

}  // namespace weir::process
