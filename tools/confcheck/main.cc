#include <malloc.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "confparse/print.h"
#include "confparse/render.h"
#include "confparse/worlds.h"
#include "engine/process/build_info.h"
#include "engine/process/command_line.h"
#include "engine/process/compile_generation.h"
#include "engine/process/dry_check.h"
#include "engine/process/process_log.h"
#include "engine/process/settings.h"
#include "modules/all.h"

namespace {

using namespace weir;
using weir::process::CompiledGeneration;
using weir::process::print_error;

struct Options {
  bool dump = false;
  bool quiet = false;
  bool json = false;
  bool resolve = false;
  process::CommandLine command_line;
};

void print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

std::string nginx_line(const CompiledGeneration& compiled, const conf::Diagnostic& diagnostic) {
  return "nginx: [" + std::string(conf::severity_name(diagnostic.severity)) + "] " +
         process::diagnostic_text(compiled, diagnostic) + "\n";
}

// As nginx -t tells it, then every problem with its place and a suggestion.
void tell(const Options& options, const std::string& file, const CompiledGeneration& compiled,
          const std::string& files_problem) {
  const std::string syntax_ok =
      options.quiet ? "" : "nginx: the configuration file " + file + " syntax is ok\n";
  std::string text;
  bool told = false;
  for (const conf::Diagnostic& diagnostic : compiled.diagnostics) {
    if (diagnostic.number > compiled.end_number && !std::exchange(told, true)) text += syntax_ok;
    text += nginx_line(compiled, diagnostic);
    if (diagnostic.severity <= conf::Severity::crit) break;
  }
  if (compiled.ok && !told) text += syntax_ok;
  if (!files_problem.empty()) text += "nginx: [emerg] " + files_problem + "\n";
  if (!compiled.ok || !files_problem.empty()) {
    text += "nginx: configuration file " + file + " test failed\n";
    if (!compiled.ok) text += process::explained_text(compiled);
  } else if (!options.quiet) {
    text += "nginx: configuration file " + file + " test is successful\n";
  }
  print_error(text);
}

int check(const Options& options) {
  const process::Locations locations = process::Locations::of(options.command_line);
  conf::DryWorld world(options.resolve);
  const CompiledGeneration compiled =
      process::compile_generation(world, all_modules(), locations, 1);
  std::string files_problem;
  if (compiled.ok) {
    files_problem =
        process::check_files(world, compiled.generation->root->get<process::CoreSettings>(),
                             compiled.generation->resources);
  }
  if (options.json) {
    print(conf::render_json(compiled.diagnostics, *compiled.sources) + "\n");
    if (!files_problem.empty()) print_error("nginx: [emerg] " + files_problem + "\n");
  } else {
    tell(options, locations.conf_file, compiled, files_problem);
  }
  const bool good = compiled.ok && files_problem.empty();
  if (good && options.dump) print(conf::print_dump(*compiled.sources));
  return good ? 0 : 1;
}

}  // namespace

int main(int count, char** words) {
  Options options;
  bool test = true;
  CLI::App app("Judges an nginx configuration without touching anything outside.", "confcheck");
  app.set_version_flag("-v,--version", "confcheck " WEIR_VERSION " (" + process::product() + ")");
  app.add_flag("-t", test, "test the configuration (what it does anyway)");
  app.add_flag("-T", options.dump, "print every file of a good configuration");
  app.add_option("-c", options.command_line.conf_file, "the configuration file")->type_name("FILE");
  app.add_option("-p", options.command_line.prefix, "the prefix of relative paths")
      ->type_name("PATH");
  app.add_option("-g", options.command_line.global_directives,
                 "directives outside of the configuration file")
      ->type_name("DIRECTIVES");
  app.add_flag("-q", options.quiet, "no words about a good configuration");
  app.add_flag("--json", options.json, "problems as JSON on standard output");
  app.add_flag("--resolve", options.resolve, "look names up (without it every name resolves)");
  CLI11_PARSE(app, count, words);
  return check(options);
}
